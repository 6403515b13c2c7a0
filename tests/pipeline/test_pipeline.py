"""The whole road on a small library with the embedded models: real index, ledger, mark."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import rag_audio
from rag_audio.audio import writing
from rag_audio.audio.reading import load
from rag_audio.domain import Aim, Audio, Channel, Key
from rag_audio.domain.ports import Detection, Mark
from rag_audio.errors import InvalidInput, LibraryError, RequestRefused
from rag_audio.pipeline.workspace import Workspace
from rag_audio.provenance.ledger.output_queries import OutputFilter
from tests.support.small_library import write_library

FAST = {"steps": 2, "duration_s": 10.0, "seed": 11}


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(home, library), indexed once."""
    base = tmp_path_factory.mktemp("small")
    library = write_library(base / "library")
    with rag_audio.open(base / "home") as workspace:
        report = workspace.index(library)
    assert report.indexed == 4
    assert {rejection.path for rejection in report.rejected} == {"gone.wav", "unlisted.wav"}
    return base / "home", library


@pytest.fixture
def workspace(indexed: tuple[Path, Path]) -> Iterator[Workspace]:
    with rag_audio.open(indexed[0]) as opened:
        yield opened


def _titles(workspace: Workspace, text: str, **filters: object) -> list[str]:
    return [found.stem.title for found in workspace.search(text, **filters)]


def test_sound_that_a_killed_run_left_in_the_home_is_removed_by_the_next(
    indexed: tuple[Path, Path], workspace: Workspace
) -> None:
    home, library = indexed
    left = home / "spool" / ".index.0123456789abcdef"
    left.mkdir(parents=True, exist_ok=True)
    (left / "sound-x.f32").write_bytes(bytes(100))
    workspace.index(library)
    assert list((home / "spool").iterdir()) == []


def test_search_finds_only_what_a_license_covers(workspace: Workspace) -> None:
    found = {reference.stem.artist for reference in workspace.search("warm ferry organ brass")}
    assert "Late Ferry" not in found
    assert "Nebel Kapelle" not in found
    assert "Copper Lantern Trio" in found
    abroad = {r.stem.artist for r in workspace.search("brass choir", territory="DE")}
    assert "Nebel Kapelle" in abroad


def test_a_generation_names_its_sources_and_an_mp3_of_it_is_traced(
    workspace: Workspace, tmp_path: Path
) -> None:
    (result,) = workspace.generate(
        "warm electric piano",
        tmp_path / "take.wav",
        artist="copper lantern trio",
        key=Key.parse("A major"),
        **FAST,
    )
    written = load(tmp_path / "take.wav")
    assert written.frames == result.audio.frames == round(10.0 * written.sample_rate)
    assert {source.reference.stem.artist for source in result.record.sources} == {
        "Copper Lantern Trio"
    }
    for channel in Channel:
        total = sum(source.influence.used[channel] for source in result.record.sources)
        assert total + result.record.model_share[channel] == pytest.approx(1.0)
    assert result.record.model_share[Channel.INIT] < 1.0
    assert list(tmp_path.iterdir()) == [tmp_path / "take.wav"]

    writing.save(written, tmp_path / "take.mp3", bitrate_kbps=128)
    found = workspace.trace(tmp_path / "take.mp3").to_json()
    assert found["found"] and found["by"] == "watermark"
    assert found["output"] == result.record.output
    assert {source["holder"] for source in found["sources"]} == {"Invented Holder"}
    listed = workspace.home.ledger.outputs(OutputFilter(artist="Copper Lantern Trio"))
    assert result.record.output in [entry.record.output for entry in listed]


def test_the_same_request_gives_the_same_samples(workspace: Workspace, tmp_path: Path) -> None:
    hashes = [
        workspace.generate("warm piano", tmp_path / name, **FAST)[0].record.pcm_sha256
        for name in ("a.wav", "b.wav")
    ]
    assert hashes[0] == hashes[1]
    other = workspace.generate("warm piano", tmp_path / "c.wav", **{**FAST, "seed": 12})
    assert other[0].record.pcm_sha256 != hashes[0]


def test_at_strength_one_references_give_words_and_no_sound(
    workspace: Workspace, tmp_path: Path
) -> None:
    with_references = workspace.generate("warm piano", tmp_path / "a.wav", strength=1.0, **FAST)
    plan = with_references[0].plan
    assert plan.references
    plain = workspace.generate(
        plan.enriched_prompt, tmp_path / "b.wav", k=0, bpm=plan.bpm, strength=1.0, **FAST
    )
    assert plain[0].plan.enriched_prompt == plan.enriched_prompt
    assert plain[0].record.pcm_sha256 == with_references[0].record.pcm_sha256
    assert with_references[0].record.model_share[Channel.INIT] == 1.0


def test_a_prompt_only_stem_never_reaches_the_latents(workspace: Workspace) -> None:
    (stem,) = [s for s in workspace.home.catalogue.stems() if s.license == "words"]
    plan = workspace.plan("plucked quartet", references=(stem.id[:12],))
    assert [reference.stem.id for reference in plan.references] == [stem.id]
    assert plan.seed_parts == ()
    assert plan.strength == 1.0
    assert any(span.stem == stem.id for span in plan.spans)
    with pytest.raises(RequestRefused):
        workspace.plan("plucked", references=(stem.id,), channels=frozenset({Channel.INIT}))


def test_a_stem_that_gives_words_only_does_not_take_the_seed_away(workspace: Workspace) -> None:
    plan = workspace.plan("plucked quartet", k=1)
    by_stem = {reference.stem.id: reference.stem.license for reference in plan.references}
    assert {by_stem[span.stem] for span in plan.spans if span.stem in by_stem} == {"words"}
    assert [plan.references[part.reference].stem.license for part in plan.seed_parts] == ["full"]
    assert [reference.rank for reference in plan.references] == [1, 2]


def test_an_expired_license_ends_what_was_indexed_before(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datetime import date, timedelta

    from rag_audio.pipeline import pipeline

    stems = [s for s in workspace.home.catalogue.stems() if s.license == "full"]
    rights = workspace.pipeline.rights()
    from dataclasses import replace

    ended = [
        replace(license, valid_until=date(2025, 1, 1)) if license.id == "full" else license
        for license in rights.licenses.values()
    ]
    workspace.home.catalogue.put_licenses("small", ended)
    try:
        assert "Copper Lantern Trio" not in {r.stem.artist for r in workspace.search("warm piano")}
        with pytest.raises(RequestRefused, match="expired"):
            workspace.plan("warm", references=(stems[0].id,))
        with pytest.raises(RequestRefused, match="may not be asked for: license full expired"):
            workspace.plan("warm", artist="Copper Lantern Trio")
    finally:
        workspace.home.catalogue.put_licenses("small", rights.licenses.values())
    later = rights.on + timedelta(days=1)
    monkeypatch.setattr(pipeline, "_today", lambda: later)
    assert workspace.search("warm piano")


def test_an_unlicensed_artist_is_refused_in_prompt_and_negative_prompt(
    workspace: Workspace, tmp_path: Path
) -> None:
    for fields in (
        {"prompt": "in the style of Paper Moth Quartet"},
        {"prompt": "warm", "negative_prompt": "anything like Zorblat Quux"},
        {"prompt": "warm", "artist": "Late Ferry"},
    ):
        prompt = fields.pop("prompt")
        with pytest.raises(RequestRefused):
            workspace.generate(prompt, tmp_path / "no.wav", **fields, **FAST)
    assert not list(tmp_path.iterdir())


def test_a_title_cannot_smuggle_a_name_into_the_prompt(workspace: Workspace) -> None:
    plan = workspace.plan("warm electric piano", artist="Copper Lantern Trio")
    assert plan.enriched_prompt.startswith("warm electric piano")
    assert "Miles Davis" not in plan.enriched_prompt


def test_variations_differ_and_each_has_its_own_number(
    workspace: Workspace, tmp_path: Path
) -> None:
    results = workspace.generate("warm", tmp_path / "take.flac", variations=2, **FAST)
    assert [Path(result.files[0]).name for result in results] == ["take-1.flac", "take-2.flac"]
    assert results[0].record.output != results[1].record.output
    assert results[0].record.pcm_sha256 != results[1].record.pcm_sha256
    for result in results:
        assert workspace.trace(result.files[0]).to_json()["output"] == result.record.output


def test_nothing_is_given_out_when_the_ledger_fails(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(workspace.home.ledger.outputs())
    masters = sorted(workspace.home.folder.glob("masters/*"))

    def fail(*given: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(workspace.home.ledger, "append_many", fail)
    with pytest.raises(OSError, match="disk full"):
        workspace.generate("warm", tmp_path / "take.wav", **FAST)
    assert not list(tmp_path.iterdir())
    assert len(workspace.home.ledger.outputs()) == before
    after = sorted(workspace.home.folder.glob("masters/*"))
    assert after == masters


def test_too_little_to_mark_is_recorded_and_the_sound_left_alone(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refuses:
        name = "refuses"

        def embed(self, audio: Audio, mark: Mark) -> Audio | None:
            return None

        def detect(self, audio: Audio) -> Detection:
            return Detection(None, 0.0)

    monkeypatch.setattr(workspace.home, "watermarker", Refuses())
    (result,) = workspace.generate("warm", tmp_path / "take.wav", **FAST)
    assert "none" in result.record.watermark
    assert result.record.pcm_sha256 == result.record.marked_pcm_sha256


def test_a_library_file_that_changed_since_indexing_is_not_used(
    indexed: tuple[Path, Path], tmp_path: Path
) -> None:
    home, library = tmp_path / "home", tmp_path / "library"
    shutil.copytree(indexed[1], library)
    with rag_audio.open(home) as workspace:
        workspace.index(library)
        with (library / "full_a.wav").open("ab") as file:
            file.write(b"\0\0")
        (stem,) = [s for s in workspace.home.catalogue.stems() if s.path == "full_a.wav"]
        with pytest.raises(LibraryError, match="changed since it was indexed"):
            workspace.generate("warm", tmp_path / "t.wav", references=(stem.id,), **FAST)


def test_without_a_library_it_is_plain_text_to_audio_and_says_so(tmp_path: Path) -> None:
    with rag_audio.open(tmp_path / "home") as workspace:
        (result,) = workspace.generate("soft rain and a bell", tmp_path / "t.wav", **FAST)
    assert result.record.sources == ()
    assert result.plan.strength == 1.0
    assert any("no licensed reference" in note for note in result.plan.notes)


def test_a_plan_says_which_words_the_embedded_models_cannot_read(workspace: Workspace) -> None:
    plans = [workspace.plan(prompt, seed=1) for prompt in ("クマの絵", "ゾルブの絵", "warm piano")]
    for plan in plans[:2]:
        (made, found) = (note for note in plan.notes if plan.prompt in note)
        assert made == (
            f"the model stable-audio-mini cannot read {plan.prompt}: prompts that it cannot read "
            "sound alike; describe it in English"
        )
        assert found.startswith(f"the search by meaning (clap-mini) cannot read {plan.prompt}: ")
    assert not any("cannot read" in note for note in plans[2].notes)
    named = workspace.plan("クマ", references=[plans[2].references[0].stem.id], k=0)
    assert sum("cannot read" in note for note in named.notes) == 1  # nothing was searched


def test_prompts_in_another_language_are_understood_and_not_the_same(workspace: Workspace) -> None:
    quiet, wild = (workspace.plan(one, seed=1) for one in ("静かなピアノの曲", "激しいドラムの曲"))
    assert 'understood: "静かなピアノの曲" as "calm piano music"' in quiet.notes
    assert quiet.enriched_prompt.startswith("静かなピアノの曲, calm piano music")
    assert wild.enriched_prompt.startswith("激しいドラムの曲, intense drum music")
    assert not any("cannot read" in note for note in (*quiet.notes, *wild.notes))


def test_an_unknown_format_is_refused_before_anything_is_made(
    workspace: Workspace, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput, match=r"\.xyz"):
        workspace.generate("warm", tmp_path / "take.xyz", **FAST)


def test_enforced_tempo_and_key_are_measured_chosen_and_written_down(
    workspace: Workspace, tmp_path: Path
) -> None:
    fields = {**FAST, "bpm": 96.0, "key": Key.parse("A major"), "enforce": frozenset(Aim)}
    made = [
        workspace.generate("warm piano", tmp_path / name, candidates=2, **fields)[0]
        for name in ("a.wav", "b.wav")
    ]
    assert made[0].record.pcm_sha256 == made[1].record.pcm_sha256
    enforced = made[0].record.checks["enforced"]
    assert [one["seed"] for one in enforced["candidates"]] == ["11", "12"]
    assert str(made[0].record.seed) == enforced["chosen"]
    best = min(one["distance"] for one in enforced["candidates"])
    assert enforced["after"]["distance"] <= best
    assert made[0].audio.duration_s == pytest.approx(10.0)
    assert any("best of 2 candidates" in note for note in made[0].plan.notes)
    replayed = workspace.replay(made[0].plan, tmp_path / "c.wav")
    assert replayed[0].record.pcm_sha256 == made[0].record.pcm_sha256


def test_what_nobody_named_cannot_be_enforced(workspace: Workspace) -> None:
    with pytest.raises(InvalidInput, match="no tempo to enforce"):
        workspace.plan("warm", k=0, enforce=frozenset({Aim.TEMPO}))
