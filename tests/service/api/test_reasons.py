"""Over HTTP: why something is refused, what would help, and promises that are not met."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from rag_audio.domain.licensing import Revocation, RevocationOf
from rag_audio.service.revoking import end_revocation, revoke_source
from tests.service.api.conftest import FAST, Serve, Served
from tests.service.api.test_generations import events_of

GERMAN, FULL = "Nebel Kapelle", "Copper Lantern Trio"


@pytest.fixture(scope="module")
def keyed(serve: Serve) -> Served:
    """An app with keys; its rights may be changed and are put back."""
    made = serve()
    made.key("admin")
    return made


def refused(app: Served, headers: dict[str, str], **more: Any) -> dict[str, Any]:
    """What each way to a generation answers; all the same."""
    answers = [
        app.client.post(url, json={**FAST, **more}, headers=headers)
        for url in ("/v1/generations", "/v1/plans")
    ]
    assert [answer.status_code for answer in answers] == [403, 403], answers[0].text
    first, second = (answer.json() for answer in answers)
    assert first == second
    found: dict[str, Any] = first
    return found


def test_a_territory_that_nobody_stated_is_the_reason_and_stating_it_the_cure(
    keyed: Served,
) -> None:
    own = keyed.key("generate", "search")
    for more in ({"artist": GERMAN}, {"prompt": f"brass in the style of {GERMAN}"}):
        told = refused(keyed, own, **more)
        assert "license german covers DE only, and no territory was stated" in told["detail"]
        assert "`territory` such as DE" in told["hint"]
        asked = {**FAST, **more, "territory": "DE"}
        assert keyed.client.post("/v1/plans", json=asked, headers=own).status_code == 200
        told = refused(keyed, own, **more, territory="FR")
        assert "covers DE only, and the output is for FR" in told["detail"]
    artists = keyed.client.get("/v1/artists", headers=own).json()["artists"]
    said = {one["artist"]: (one["style"], one["refusal"], one["cure"]) for one in artists}
    assert not said[GERMAN][0]
    assert "no territory was stated" in said[GERMAN][1] and "`territory`" in said[GERMAN][2]
    assert said[FULL] == (True, "", "")
    asked = {"text": "brass", "artist": GERMAN}
    found = keyed.client.post("/v1/search", json=asked, headers=own).json()
    assert found["references"] == [] and "no territory was stated" in found["notes"][0]
    here = keyed.client.post("/v1/search", json={**asked, "territory": "DE"}, headers=own).json()
    assert here["references"] and here["notes"] == []


def test_an_edit_is_refused_before_it_waits(keyed: Served) -> None:
    own = keyed.key("generate")
    made = keyed.generation(own)
    asked = {"kind": "vary", "generation": made["id"], "artist": GERMAN}
    answer = keyed.client.post("/v1/edits", json=asked, headers=own)
    assert answer.status_code == 403
    assert "no territory was stated" in answer.json()["detail"]


def test_an_artist_without_a_source_is_refused_until_the_library_is_indexed(keyed: Served) -> None:
    own, workspace = keyed.key("generate"), keyed.service.workspace
    asked = Revocation(RevocationOf.ARTIST, FULL, "", "test", datetime.now(UTC))
    index = workspace.home.index
    points = [p for p in index.scroll() if p.segment.stem.artist == FULL]
    revoke_source(workspace.home, asked)
    told = refused(keyed, own, artist=FULL)
    assert f"artist {FULL} was revoked" in told["detail"] and "undo the revocation" in told["hint"]
    end_revocation(workspace.home, asked)
    told = refused(keyed, own, artist=FULL)
    assert f"nothing by {FULL} would go into the output" in told["detail"]
    assert "`POST /v1/indexing`" in told["hint"]
    index.upsert(points)
    assert keyed.generation(own, artist=FULL)["references"]


def test_reasons_of_other_libraries_are_nobody_s_business(keyed: Served) -> None:
    """A key bound to another library is told the same of a real artist as of an invented one."""
    bound = keyed.key("generate", "search", libraries=["somebody-elses"])
    for more in ("artist", "prompt"):
        told = []
        for name in (GERMAN, "Zorblat Quux"):
            value = name if more == "artist" else f"in the style of {name}"
            answer = keyed.client.post("/v1/plans", json={**FAST, more: value}, headers=bound)
            assert answer.status_code in (403, 422)
            told.append(answer.text.replace(name, "NAME"))
        if more == "artist":
            assert told[0] == told[1]
        assert not any(word in told[0] for word in ("german", "territory", "DE only"))


def test_a_promise_that_is_not_met_is_said_of_job_take_and_event(served: Served) -> None:
    """A second of music has no tempo that could be heard: the promise cannot be met."""
    done = served.generation(enforce=["tempo"], bpm=92, candidates=1, k=0, variations=2)
    assert done["enforced_met"] is False and done["enforced"]["met"] is False
    assert [(one["take"], one["aim"], one["wanted"], one["heard"]) for one in done["unmet"]] == [
        (1, "tempo", 92.0, None), (2, "tempo", 92.0, None)
    ]  # fmt: skip
    assert [one["enforced_met"] for one in done["outputs"]] == [False, False]
    assert done["outputs"][0]["unmet"][0]["aim"] == "tempo"
    assert any("tempo not met" in note for note in done["notes"])
    last = events_of(served.client.get(done["links"]["events"]).text)[-1][2]
    assert last["state"] == "succeeded" and last["enforced_met"] is False
    home = str(served.service.workspace.home.folder)
    assert home not in json.dumps(done["unmet"]) + json.dumps(done["outputs"])
    sound = served.client.get(done["outputs"][0]["content"]).content
    assert b"tempo not met: 92 bpm" in sound


def test_what_nobody_enforced_is_no_promise(served: Served) -> None:
    done = served.generation(bpm=92, k=0)
    assert done["enforced_met"] is None and done["unmet"] == []
    last = events_of(served.client.get(done["links"]["events"]).text)[-1][2]
    assert "enforced_met" not in last
