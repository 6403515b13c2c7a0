"""The plan that is shown of a waiting job is the one that runs, or nothing is made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import soundfile
from sqlalchemy import update

from rag_audio.audio import writing as audio
from rag_audio.domain import Key, Use
from rag_audio.domain.licensing import RevocationOf
from rag_audio.domain.stems import WithheldFile
from rag_audio.pipeline.pipeline import Pipeline
from rag_audio.retrieval.recognition import ForeignFinding, Inspector, Recognised
from rag_audio.service.tables import jobs
from rag_audio.storage.database import writing
from tests.service.api.small_service import SHORT, SmallService
from tests.support.hums import make_notes, perform
from tests.support.rights_world import GOOD_ARTIST, TARGET_ARTIST, TOML
from tests.support.small_library import RATE, chords


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallService]:
    made = SmallService(tmp_path_factory.mktemp("one plan"))
    with made.client:
        yield made


@pytest.fixture(autouse=True)
def fresh(service: SmallService) -> None:
    service.world.reset()
    service.empty()


@pytest.fixture(scope="module")
def sounds(service: SmallService, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Uploads: a hummed tune, and two voices at once."""
    folder = tmp_path_factory.mktemp("brought")
    audio.save(perform(make_notes(3, 4.0), "hum", duration_s=4.0).audio, folder / "hum.wav")
    soundfile.write(folder / "chords.wav", chords(80, 311.0, 4.0, seed=40), RATE)
    return {
        name: service.upload((folder / f"{name}.wav").read_bytes()) for name in ("hum", "chords")
    }


def asked(case: str, service: SmallService, sounds: dict[str, str]) -> dict[str, Any]:
    target, good = service.world.target.id, service.world.good.id
    cases: dict[str, dict[str, Any]] = {
        "words": {},
        "references": {"references": [target, {"stem": good, "start_s": 2, "duration_s": 4}]},
        "one of several is left out": {"k": 3, "channels": ["prompt"]},
        "artist": {"artist": TARGET_ARTIST.lower(), "k": 2},
        "an artist in the prompt": {"prompt": f"warm piano like {GOOD_ARTIST}"},
        "a negative prompt": {"negative_prompt": f"anything like {GOOD_ARTIST}"},
        "weights": {"references": [target, good], "weights": [3, 1], "strength": 0.3},
        "no share": {"references": [target, good], "weights": [0, 1]},
        "automatic strength": {"auto_strength": True, "k": 2},
        "layers": {
            "layers": [{"layer": "harmony", "stem": service.world.score.id}],
            "references": [target],
        },
        "sections": {
            "arrange": [
                {"stem": target, "first_bar": 1, "last_bar": 1},
                {"stem": good, "first_bar": 2, "last_bar": 2},
            ],
            "bpm": 120, "duration_s": 4.0,
        },
        "latents": {"mix": "latent", "references": [target]},
        "melody": {"audio": sounds["hum"], "audio_as": "melody", "audio_rights": "own"},
        "melody beside a stem": {
            "audio": sounds["hum"], "audio_rights": "licensed", "references": [good],
        },
        "a sound to be near": {"audio": sounds["chords"], "audio_rights": "own"},
        "controls": {
            "bars": 2, "bpm": 120, "time_signature": [3, 4], "mood": ["calm"],
            "instrumentation": ["harmonium"], "midi_instruments": ["Vibraphone"],
            "references": [service.world.score.id], "duration_s": None,
        },
        "takes": {"variations": 3, "enforce": ["tempo"], "candidates": 2, "bpm": 100},
    }  # fmt: skip
    return cases[case]


CASES = (
    *("words", "references", "one of several is left out", "artist", "an artist in the prompt"),
    *("a negative prompt", "weights", "no share", "automatic strength", "layers", "sections"),
    *("latents", "melody", "melody beside a stem", "a sound to be near", "controls", "takes"),
)


@pytest.mark.parametrize("case", CASES)
def test_the_plan_that_is_shown_runs(
    case: str, service: SmallService, sounds: dict[str, str]
) -> None:
    wanted = asked(case, service, sounds)
    job = service.accept(**wanted)
    shown = service.plan(job["id"])
    done = service.run(job["id"])
    assert done["state"] == "succeeded", done["problem"]
    made = service.plan(job["id"])
    assert {**made, "notes": made["notes"][: len(shown["notes"])]} == shown
    dry = service.client.post("/v1/plans", json={**SHORT, **wanted}).json()["plan"]
    assert dry == shown
    record = service.client.get(done["outputs"][0]["record"]).json()["record"]
    assert record["plan"]["strength"] == done["strength"] == shown["strength"]
    assert len(done["outputs"]) == shown["variations"]


def test_what_was_indexed_meanwhile_changes_no_plan(service: SmallService) -> None:
    """Also where another stem would now be the better one."""
    words = {"k": 1, "prompt": "zither seaworthy"}
    job = service.accept(**words)
    shown = service.plan(job["id"])
    (chosen,) = shown["references"]
    world = service.world
    index = world.home.index
    here, there = (index.find_stem(one.id) for one in (world.target, world.good))
    index.upsert(
        [
            replace(a, dense=b.dense, sparse=b.sparse)
            for a, b in (*zip(here, there, strict=True), *zip(there, here, strict=True))
        ]
    )
    fresh = service.client.post("/v1/plans", json={**SHORT, **words}).json()["plan"]
    assert [one["stem"]["id"] for one in fresh["references"]] != [chosen["stem"]["id"]]
    done = service.run(job["id"])
    assert done["state"] == "succeeded", done["problem"]
    assert service.plan(job["id"]) == shown


EDITS: dict[str, dict[str, Any]] = {
    "vary": {"kind": "vary"},
    "inpaint with a stem": {"kind": "inpaint", "regions": [[0.2, 0.6]], "references": ["target"]},
    "extend in a style": {"kind": "extend", "right_s": 0.5, "artist": TARGET_ARTIST, "k": 1},
}


@pytest.fixture(scope="module")
def take(service: SmallService) -> str:
    """A finished generation of 1 s that a stem went into."""
    service.world.reset()
    service.empty()
    job = service.accept(references=[service.world.good.id])["id"]
    assert service.run(job)["state"] == "succeeded"
    return str(job)


def accept_edit(service: SmallService, take: str, case: str) -> dict[str, Any]:
    wanted = {"steps": 2, **EDITS[case]}
    if "references" in wanted:
        wanted["references"] = [service.world.target.id]
    answer = service.client.post("/v1/edits", json={"generation": take, **wanted})
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    return job


@pytest.mark.parametrize("case", EDITS)
def test_an_edit_is_planned_once(
    case: str, service: SmallService, take: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = accept_edit(service, take, case)
    shown = service.plan(job["id"])
    good = service.world.good.id
    assert good in [one["stem"]["id"] for one in shown["references"]]
    monkeypatch.delattr(Pipeline, "planned")
    done = service.run(job["id"])
    assert done["state"] == "succeeded", done["problem"]
    assert service.plan(job["id"]) == shown
    record = service.client.get(done["outputs"][0]["record"]).json()["record"]
    assert record["plan"]["edit"] == shown["edit"]


@pytest.mark.parametrize("of", ["target", "good"])
def test_an_edit_whose_source_was_revoked_meanwhile_fails(
    of: str, service: SmallService, take: str
) -> None:
    job = accept_edit(service, take, "inpaint with a stem")
    service.world.revoke(RevocationOf.STEM, getattr(service.world, of).id)
    problem = refused(service, job["id"])
    assert (problem["type"], "revoked" in problem["message"]) == ("RequestRefused", True)


def test_an_edited_sound_that_is_known_as_something_else_now_fails_the_job(
    service: SmallService, take: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = accept_edit(service, take, "vary")
    found = Recognised((service.world.target,), "sound", 0.1)
    real = Inspector.inspect

    def inspect(self: Inspector, path: Path) -> ForeignFinding:
        return replace(real(self, path), stems=(found,))

    monkeypatch.setattr(Inspector, "inspect", inspect)
    problem = refused(service, job["id"])
    assert "changed since the plan was made" in problem["message"]
    assert problem["hint"].startswith("ask again")


def refused(service: SmallService, job: str) -> dict[str, Any]:
    """The problem of a job that made nothing."""
    ledger = service.world.home.ledger
    before, given = len(ledger.outputs()), len(service.world.generator.given)
    done = service.run(job)
    assert done["state"] == "failed" and done["outputs"] == []
    assert len(service.world.generator.given) == given
    assert len(ledger.outputs()) == before
    problem: dict[str, Any] = done["problem"]
    return problem


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("how", ["stem", "license", "artist", "ended"])
def test_a_right_that_ended_meanwhile_fails_the_job_in_plain_words(
    how: str, named: bool, service: SmallService
) -> None:
    world = service.world
    wanted = {"references": [world.target.id]} if named else {"prompt": "zither seaworthy", "k": 1}
    job = service.accept(**wanted)
    (chosen,) = service.plan(job["id"])["references"]
    assert chosen["stem"]["id"] == world.target.id
    if how == "ended":
        world.license(valid_until=date(2020, 1, 1))
    else:
        of = RevocationOf(how)
        world.revoke(
            of, {"stem": world.target.id, "artist": TARGET_ARTIST}.get(how, "small/target")
        )
    problem = refused(service, job["id"])
    assert problem["type"] == "RequestRefused"
    assert ("expired" if how == "ended" else "revoked") in problem["message"]
    assert problem["hint"].startswith("ask again")


CHANGED: dict[str, dict[str, Any]] = {
    "bpm": {"bpm": 61.0},
    "key": {"key": Key.parse("D minor")},
    "downbeat_s": {"downbeat_s": 0.25},
    "time_signature": {"time_signature": (3, 4)},
    "loudness_lufs": {"loudness_lufs": -9.0},
    "tags": {"tags": ("zither", "stormy")},
    "artist": {"artist": "Somebody Else"},
}
"""What a library can say anew of a stem, and what an output would be made or credited by."""


@pytest.mark.parametrize("field", CHANGED)
def test_a_stem_that_is_described_otherwise_now_fails_the_job(
    field: str, service: SmallService
) -> None:
    world = service.world
    job = service.accept(references=[world.target.id], bpm=100, key="C major")
    world.describe(replace(world.target, **CHANGED[field]))
    problem = refused(service, job["id"])
    assert problem["message"].startswith(f"{world.target.title} changed since the plan was shown")
    assert f"{field} " in problem["message"] and " now" in problem["message"]
    assert problem["hint"].startswith("ask again")


@pytest.mark.parametrize("field", ["credit", "holder", "spdx"])
def test_a_credit_line_that_is_another_now_fails_the_job(field: str, service: SmallService) -> None:
    job = service.accept(references=[service.world.target.id])
    service.world.license(**{field: "LicenseRef-New-1"})
    problem = refused(service, job["id"])
    assert "license small/target of Hidden Tide changed" in problem["message"]
    assert f"{field} " in problem["message"] and "'LicenseRef-New-1' now" in problem["message"]
    assert problem["hint"].startswith("ask again")


@pytest.mark.parametrize(
    "change", [{"path": "elsewhere/target.wav"}, {"title": "High Tide"}, {"isrc": "QZAAA2600001"}]
)
def test_what_only_identifies_a_stem_may_change(
    change: dict[str, Any], service: SmallService, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = service.world
    job = service.accept(references=[world.target.id])
    shown = service.plan(job["id"])
    told = replace(world.target, **change)
    monkeypatch.setattr(type(world.home.catalogue), "copies", lambda *_: [told])
    done = service.run(job["id"])
    assert done["state"] == "succeeded", done["problem"]
    made = service.plan(job["id"])
    assert made["seed_parts"] == shown["seed_parts"]
    assert made["enriched_prompt"] == shown["enriched_prompt"]


def test_a_license_that_was_renewed_is_no_change(service: SmallService) -> None:
    job = service.accept(references=[service.world.target.id])
    service.world.license(valid_until=date(2090, 1, 1))
    done = service.run(job["id"])
    assert done["state"] == "succeeded", done["problem"]


def test_an_ended_license_is_the_reason_also_once_its_library_was_indexed(tmp_path: Path) -> None:
    service = SmallService(tmp_path)
    world = service.world
    with service.client:
        job = service.accept(references=[world.target.id])
        toml = world.library / "library.toml"
        ended = TOML.replace(
            'credit = "Contains Target', 'valid_until = 2020-01-01\ncredit = "Contains Target'
        )
        toml.write_text(ended)
        world.index()
        assert "target.wav" in world.home.catalogue.withheld("small")
        problem = refused(service, job["id"])
        assert problem["message"] == "refused: target.wav: license target expired on 2020-01-01"
        assert problem["reasons"] == ["target.wav: license target expired on 2020-01-01"]
        assert problem["hint"].startswith("ask again")


def test_a_license_that_grants_again_asks_for_its_library_to_be_indexed(
    service: SmallService, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue = service.world.home.catalogue
    job = service.accept(references=[service.world.target.id])
    kept = [("small", WithheldFile("target.wav", 1, 1, service.world.target.id, "target"))]
    monkeypatch.setattr(type(catalogue), "copies", lambda *_: [])
    monkeypatch.setattr(type(catalogue), "withheld_copies", lambda *_: kept)
    problem = refused(service, job["id"])
    assert problem["message"] == (
        "refused: target.wav: it is not indexed under its current license"
    )
    assert "`POST /v1/indexing` on small" in problem["hint"]


def test_a_stem_whose_library_was_taken_away_is_said_so(service: SmallService) -> None:
    world = service.world
    job = service.accept(references=[world.target.id])
    catalogue = world.home.catalogue
    state = catalogue.files("small")["target.wav"]
    catalogue.remove_files("small", ["target.wav"])
    try:
        problem = refused(service, job["id"])
    finally:
        catalogue.put_files("small", [state])
    assert "is in no indexed library" in problem["message"]


def test_a_style_that_is_no_longer_licensed_fails_the_job(service: SmallService) -> None:
    job = service.accept(artist=TARGET_ARTIST, k=1)
    assert service.plan(job["id"])["artist"] == TARGET_ARTIST
    service.world.license(uses=frozenset({Use.PROMPT, Use.INIT_AUDIO}))
    assert refused(service, job["id"])["type"] == "RequestRefused"


def test_another_model_makes_no_plan_of_the_one_before(
    service: SmallService, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = service.accept()
    generator = service.world.generator
    monkeypatch.setattr(generator, "info", replace(generator.info, name="newer-model"))
    problem = refused(service, job["id"])
    assert "'fake-model'" in problem["message"] and "'newer-model'" in problem["message"]
    assert problem["hint"].startswith("ask again")


def test_rights_to_a_file_that_was_brought_are_asked_again(service: SmallService) -> None:
    world = service.world
    upload = service.upload((world.library / "target.wav").read_bytes())
    job = service.accept(audio=upload, k=0, audio_as="search")
    assert "recognised as Hidden Tide" in " ".join(service.plan(job["id"])["notes"])
    world.revoke(RevocationOf.STEM, world.target.id)
    assert "may not be used" in refused(service, job["id"])["message"]


def test_a_tune_that_was_recognised_since_is_not_left_uncredited(
    service: SmallService, sounds: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = service.accept(audio=sounds["hum"], audio_as="melody", audio_rights="own")
    good = service.world.good
    found = Recognised((good,), "sound", 0.1)

    def inspect(self: Inspector, path: Path) -> ForeignFinding:
        return replace(self._by_bytes(path), stems=(found,))

    monkeypatch.setattr(Inspector, "inspect", inspect)
    problem = refused(service, job["id"])
    assert "recognised as" in problem["message"] and good.title in problem["message"]
    assert problem["hint"].startswith("ask again")


@pytest.mark.parametrize("stored", [None, '{"format": 0, "text": "of an older version"}'])
def test_jobs_that_earlier_versions_accepted_still_run(
    stored: str | None, service: SmallService
) -> None:
    job = service.accept(k=1)
    with writing(service.world.home.database) as db:
        db.execute(update(jobs).where(jobs.c.id == job["id"]).values(plan=stored))
    done = service.run(job["id"])
    assert done["state"] == "succeeded", done["problem"]
    assert service.plan(job["id"])["references"]


def test_a_refusal_is_one_entry_of_the_log(service: SmallService) -> None:
    ledger = service.world.home.ledger

    def refusals() -> int:
        documents = (ledger.document(n) or b"" for n in range(1, ledger.size() + 1))
        return sum(b'"refusal"' in document for document in documents)

    before = refusals()
    job = service.accept(prompt=f"warm piano like {GOOD_ARTIST}", k=1)
    service.run(job["id"])
    assert refusals() == before
    no = {**SHORT, "prompt": "in the style of Paper Moth Quartet"}
    assert service.client.post("/v1/generations", json=no).status_code == 403
    assert refusals() == before + 1


def test_takes_and_candidates_of_a_request_have_a_limit_together(
    tmp_path: Path, service: SmallService
) -> None:
    asked = {**SHORT, "variations": 16, "candidates": 16, "enforce": ["tempo"], "bpm": 100}
    for url in ("/v1/plans", "/v1/generations"):
        answer = service.client.post(url, json={**asked, "duration_s": 180})
        assert answer.status_code == 422, answer.text
        assert "256 takes of 180 s are 46080 s" in answer.json()["detail"]
    assert service.client.post("/v1/plans", json={**asked, "duration_s": 20}).status_code == 200
