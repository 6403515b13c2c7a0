"""An edit is accepted where it can be made: what can be known of it then is said then."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_audio.domain import Use
from rag_audio.domain.licensing import RevocationOf
from tests.service.api.small_service import SmallService
from tests.support.rights_world import TARGET_ARTIST


@pytest.fixture
def service(cleared: SmallService) -> SmallService:
    return cleared


@pytest.fixture(scope="module")
def take(small: SmallService) -> str:
    """A finished generation of 1 s."""
    small.world.reset()
    small.empty()
    job = small.accept(k=0)["id"]
    assert small.run(job)["state"] == "succeeded"
    return str(job)


@pytest.fixture(scope="module")
def sound(small: SmallService) -> str:
    """An upload of 1 s that nobody knows."""
    file = io.BytesIO()
    soundfile.write(file, np.random.default_rng(3).normal(0, 0.1, 16_000), 16_000, format="WAV")
    return small.upload(file.getvalue())


def ask(service: SmallService, **asked: Any) -> tuple[int, dict[str, Any]]:
    answer = service.client.post("/v1/edits", json={"kind": "vary", "steps": 2, **asked})
    found: dict[str, Any] = answer.json()
    return answer.status_code, found


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"key": "foo"}, "foo"),
        ({"references": ["abc"]}, "no stem's id starts with 'abc'"),
        ({"exclude": ["abc"]}, "no stem's id starts with 'abc'"),
        ({"prompt": "word " * 100}, "tokens"),
        ({"seed": 2**63 - 1, "variations": 2}, "leaves no seeds for 2 variations"),
        ({"artist": " "}, "artist"),
        ({"kind": "extend", "right_s": 1e-9}, "at least 0.1 s"),
        ({"kind": "extend", "right_s": 2, "left_s": 0.05}, "at least 0.1 s"),
        ({"weights": [1]}, "not a field"),
    ],
)
def test_what_can_never_be_made_is_refused_at_once(
    asked: dict[str, Any], says: str, service: SmallService, take: str
) -> None:
    status, found = ask(service, generation=take, **asked)
    assert status == 422, found
    assert says in found["detail"] and "\n" not in found["detail"]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"prompt": "bells"}, "state your rights"),
        ({"audio_rights": "own"}, "the new part has no prompt"),
    ],
)
def test_an_upload_needs_words_and_a_right(
    asked: dict[str, Any], says: str, service: SmallService, sound: str
) -> None:
    status, found = ask(service, upload=sound, **asked)
    assert status == 422, found
    assert says in found["detail"] + found["hint"], found


def test_rights_are_asked_when_an_edit_is_accepted(service: SmallService, take: str) -> None:
    world = service.world
    world.revoke(RevocationOf.STEM, world.target.id)
    status, found = ask(service, generation=take, references=[world.target.id])
    assert status == 403 and "revoked" in found["detail"]
    upload = service.upload((world.library / "target.wav").read_bytes())
    status, found = ask(service, upload=upload, prompt="bells", audio_rights="own")
    assert status == 403 and "revoked" in found["detail"]
    world.reset()
    world.license(uses=frozenset({Use.PROMPT}))
    status, found = ask(service, generation=take, artist=TARGET_ARTIST)
    assert status == 403 and "does not grant style" in found["detail"]


def test_what_is_accepted_can_be_made(service: SmallService, take: str, sound: str) -> None:
    target = service.world.target.id

    @settings(max_examples=5, deadline=None)
    @given(
        st.fixed_dictionaries(
            {},
            optional={
                "prompt": st.sampled_from(["", "bells", "word " * 63, "word " * 64, "\u200b"]),
                "key": st.sampled_from(["A minor", "H", "Am"]),
                "seed": st.sampled_from([0, 2**63 - 1]),
                "variations": st.integers(1, 2),
                "references": st.sampled_from([[], [target], ["0"]]),
                "format": st.sampled_from(["wav", "mp3"]),
                "audio_rights": st.just("own"),
            },
        ),
        st.sampled_from(["generation", "upload"]),
    )
    def check(asked: dict[str, Any], of: str) -> None:
        status, found = ask(service, **{of: take if of == "generation" else sound}, **asked)
        if status == 202:
            done = service.run(found["id"])
            assert done["state"] == "succeeded", (asked, done["problem"])
        else:
            assert status in (403, 422)

    check()
