"""Edits as a user makes them: what stays, what is named, what is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from rag_audio.audio import writing
from rag_audio.audio.carried_metadata import CarriedMetadata
from rag_audio.audio.dsp import loudness_lufs, stretch
from rag_audio.audio.metadata_reading import read_metadata
from rag_audio.audio.reading import load
from rag_audio.cli.app import run
from rag_audio.domain import Audio, Channel
from rag_audio.domain.licensing import Revocation, RevocationOf
from rag_audio.domain.plan import plan_from_json, plan_to_json
from rag_audio.domain.signing import CredentialState
from rag_audio.errors import InvalidInput, RequestRefused
from rag_audio.generation.inpainting import Canvas, Grid, paint
from rag_audio.generation.splicing import CROSSFADE_S
from rag_audio.pipeline.workspace import Workspace
from rag_audio.provenance.ledger.output_queries import OutputFilter
from tests.audio.test_carried_metadata import COVER, FRAMES_OF_ID3, INFO, bext, cue
from tests.pipeline.editing.conftest import Made
from tests.pipeline.editing.sounds import pad_sound

FAST = {"steps": 2, "seed": 5}
REGION = (3.0, 5.5)


def master(workspace: Workspace, output: int) -> Audio:
    found = workspace.home.master(output)
    assert found is not None
    return found


def null_dbfs(a: Audio, b: Audio, regions: list[tuple[float, float]]) -> float:
    """Largest difference outside of the regions and their crossfades."""
    keep = np.ones(a.frames, dtype=bool)
    for start, end in regions:
        edge = CROSSFADE_S
        keep[round((start - edge) * a.sample_rate) : round((end + edge) * a.sample_rate)] = False
    gap = np.abs(a.samples[:, keep] - b.samples[:, keep]).max(initial=0.0)
    return -np.inf if gap == 0 else float(20 * np.log10(gap))


def test_inpainting_an_output_leaves_its_master_as_it_is_outside_the_regions(
    made: Made, workspace: Workspace, tmp_path: Path
) -> None:
    regions = [REGION, (7.0, 8.0)]
    (result,) = workspace.inpaint(
        made.file, "bright bells", tmp_path / "x.wav", regions=regions, **FAST
    )
    before = master(workspace, made.result.record.output)
    after = master(workspace, result.record.output)
    assert (after.frames, after.channels, after.sample_rate) == (
        before.frames, before.channels, before.sample_rate,
    )  # fmt: skip
    assert null_dbfs(before, after, regions) <= -90
    for start, end in regions:
        where = slice(round(start * after.sample_rate), round(end * after.sample_rate))
        change = np.abs(after.samples[:, where] - before.samples[:, where])
        assert change.max() > 0.01
    # What is delivered differs by the mark alone: it is the watermarker's own doing.
    from rag_audio.domain.ports import Mark

    marked = workspace.home.watermarker.embed(after, Mark(result.record.output))
    assert marked is not None
    delivered = load(tmp_path / "x.wav")
    np.testing.assert_allclose(delivered.samples, marked.samples, atol=2**-23)


def test_the_same_edit_gives_the_same_samples_and_another_seed_others(
    made: Made, workspace: Workspace, tmp_path: Path
) -> None:
    hashes = [
        workspace.inpaint(
            made.file, "bells", tmp_path / "x.wav", regions=[REGION], steps=2, seed=seed
        )[0].record.pcm_sha256
        for seed in (5, 5, 6)
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_after_three_edits_the_newest_output_is_traced_with_its_ancestors_and_sources(
    made: Made, workspace: Workspace, tmp_path: Path
) -> None:
    (one,) = workspace.inpaint(made.file, "bells", tmp_path / "1.wav", regions=[REGION], **FAST)
    (two,) = workspace.extend(tmp_path / "1.wav", "", tmp_path / "2.wav", right_s=4.0, **FAST)
    (three,) = workspace.vary(tmp_path / "2.wav", tmp_path / "3.wav", strength=0.3, **FAST)
    chain = [r.record.output for r in (two, one, made.result)]
    assert two.plan.prompt == "bells"
    writing.save(load(tmp_path / "3.wav"), tmp_path / "3.mp3", bitrate_kbps=128)
    for name, by in (("3.wav", "hash"), ("3.mp3", "watermark")):
        found = workspace.trace(tmp_path / name).to_json()
        assert (found["by"], found["output"]) == (by, three.record.output)
        assert found["ancestors"] == chain
        assert not found["transplanted"]
        assert {source["stem"] for source in found["sources"]} == {
            source.reference.stem.id for source in made.result.record.sources
        }
        assert any(source["used"]["init"] > 0 for source in found["sources"])
    for record in (one.record, two.record, three.record):
        for channel in Channel:
            total = sum(source.influence.used[channel] for source in record.sources)
            assert total + record.model_share[channel] == pytest.approx(1.0)
    assert workspace.home.ledger.verify() == []
    stem = made.result.record.sources[0].reference.stem.id
    listed = {
        entry.record.output for entry in workspace.home.ledger.outputs(OutputFilter(stem=stem))
    }
    assert {one.record.output, two.record.output, three.record.output} <= listed


def test_shares_of_what_is_kept_are_those_that_its_sources_had(
    made: Made, workspace: Workspace, tmp_path: Path
) -> None:
    (result,) = workspace.inpaint(
        made.file, "bells", tmp_path / "x.wav", regions=[(0.0, 5.0)], strength=1.0, **FAST
    )
    before = {s.reference.stem.id: s.influence.used for s in made.result.record.sources}
    assert result.plan.edit is not None and result.plan.edit.kept == pytest.approx(0.5)
    for source in result.record.sources:
        then = before[source.reference.stem.id]
        assert source.influence.used[Channel.INIT] == pytest.approx(then[Channel.INIT] / 2)
    assert plan_from_json(plan_to_json(result.plan)) == result.plan


def test_a_foreign_file_needs_a_statement_and_keeps_rate_channels_and_length(
    workspace: Workspace, tmp_path: Path
) -> None:
    for rate, channels in ((22_050, 1), (48_000, 2)):
        sound = pad_sound(6.0, rate, channels)
        writing.save(sound, tmp_path / "own.wav", subtype="FLOAT")
        with pytest.raises(InvalidInput, match="state your rights"):
            workspace.inpaint(
                tmp_path / "own.wav", "bells", tmp_path / "x.wav", regions=[(2.0, 3.0)], **FAST
            )
        assert not (tmp_path / "x.wav").exists()
        (result,) = workspace.inpaint(
            tmp_path / "own.wav", "bells", tmp_path / "x.wav",
            regions=[(2.0, 3.0)], audio_rights="own", **FAST,
        )  # fmt: skip
        after = master(workspace, result.record.output)
        assert null_dbfs(sound, after, [(2.0, 3.0)]) <= -90
        assert (after.sample_rate, after.channels, after.frames) == (rate, channels, sound.frames)
        edit = result.plan.edit
        assert edit is not None and (edit.parent, edit.source_rights) == (None, "own")
        traced = workspace.trace(tmp_path / "x.wav").to_json()["edited"]
        assert (traced["kind"], traced["source_rights"]) == ("inpaint", "own")
        assert traced["source_sha256"] == edit.source_sha256
        (tmp_path / "x.wav").unlink()


def test_a_part_of_an_output_as_mp3_is_edited_from_its_master(
    made: Made, workspace: Workspace, tmp_path: Path
) -> None:
    whole = load(made.file)
    start, frames = 44_100, 6 * whole.sample_rate
    part = Audio(np.ascontiguousarray(whole.samples[:, start : start + frames]), whole.sample_rate)
    writing.save(part, tmp_path / "part.mp3", bitrate_kbps=160)
    (result,) = workspace.inpaint(
        tmp_path / "part.mp3", "bells", tmp_path / "x.wav", regions=[(1.0, 2.0)], **FAST
    )
    before = master(workspace, made.result.record.output)
    after = master(workspace, result.record.output)
    assert result.plan.edit is not None
    assert result.plan.edit.parent == made.result.record.output
    end = 4 * whole.sample_rate
    window = after.samples[:, round(2.1 * whole.sample_rate) : end]
    # The MP3 may begin a few milliseconds early; past that it is the master, to the bit.
    shifts = [
        np.abs(before.samples[:, start + s + round(2.1 * whole.sample_rate) : start + s + end]
               - window).max()
        for s in range(-60, 60)
    ]  # fmt: skip
    assert min(shifts) < 1e-4


def test_an_output_whose_master_is_gone_or_that_was_stretched_is_not_edited(
    made: Made, workspace: Workspace, tmp_path: Path
) -> None:
    stretched = stretch(load(made.file), 1.04, 0)
    slower = Audio(0.8 * stretched.samples, stretched.sample_rate)  # stretching raises peaks
    writing.save(slower, tmp_path / "slow.wav")
    if workspace.home.watermarker.detect(slower).mark is not None:
        with pytest.raises(InvalidInput, match="cannot be found in its master"):
            workspace.vary(tmp_path / "slow.wav", tmp_path / "x.wav", **FAST)
    path = workspace.home.folder / "masters" / f"{made.result.record.output}.wav"
    path.rename(path.with_suffix(".away"))
    try:
        with pytest.raises(InvalidInput, match="unmarked master is not in this home"):
            workspace.vary(made.file, tmp_path / "x.wav", **FAST)
        path.touch()  # What the rule of retention leaves.
        with pytest.raises(InvalidInput, match="removed after its time"):
            workspace.vary(made.file, tmp_path / "x.wav", **FAST)
    finally:
        path.with_suffix(".away").rename(path)


def test_a_stem_without_init_audio_is_not_edited_and_a_licensed_one_is_a_source(
    made: Made, workspace: Workspace, tmp_path: Path
) -> None:
    with pytest.raises(RequestRefused, match="does not grant init_audio"):
        workspace.vary(
            made.library / "words.wav", tmp_path / "x.wav", prompt="bells",
            audio_rights="own", **FAST,
        )  # fmt: skip
    (result,) = workspace.inpaint(
        made.library / "full_a.wav", "bells", tmp_path / "x.wav",
        regions=[(3.0, 6.0)], strength=1.0, **FAST,
    )  # fmt: skip
    (source,) = result.record.sources
    assert source.reference.stem.title == "Amber Stairs"
    assert source.influence.used[Channel.INIT] == pytest.approx(0.75)
    assert not list(tmp_path.glob(".*"))


def test_an_output_of_a_revoked_source_is_not_edited(
    made: Made, workspace: Workspace, tmp_path: Path
) -> None:
    stem = made.result.record.sources[0].reference.stem
    revocation = Revocation(RevocationOf.STEM, stem.id, "asked", "test", datetime.now(UTC))
    workspace.home.catalogue.revoke(revocation)
    try:
        with pytest.raises(RequestRefused, match="revoked"):
            workspace.inpaint(made.file, "bells", tmp_path / "x.wav", regions=[REGION], **FAST)
    finally:
        workspace.home.catalogue.end_revocation(revocation)
    assert not (tmp_path / "x.wav").exists()


def test_the_prompt_of_an_edit_is_guarded(made: Made, workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(RequestRefused):
        workspace.inpaint(
            made.file, "in the style of Taylor Swift", tmp_path / "x.wav", regions=[REGION]
        )


def test_references_of_an_edit_give_words_and_seed_the_region(
    made: Made, workspace: Workspace, tmp_path: Path
) -> None:
    (result,) = workspace.inpaint(
        made.file, "warm piano", tmp_path / "x.wav", regions=[REGION], k=1, strength=0.5, **FAST
    )
    assert result.plan.seed_parts and result.plan.strength == 0.5
    before, after = (master(workspace, r.record.output) for r in (made.result, result))
    assert null_dbfs(before, after, [REGION]) <= -90


def test_an_extension_keeps_the_sound_and_adds_to_the_wanted_side(
    made: Made, workspace: Workspace, tmp_path: Path
) -> None:
    before = master(workspace, made.result.record.output)
    (result,) = workspace.extend(made.file, "", tmp_path / "x.wav", left_s=2.0, right_s=9.0, **FAST)
    after = master(workspace, result.record.output)
    assert after.duration_s == pytest.approx(21.0, abs=1e-3)
    left = round(2.0 * after.sample_rate)
    edge = round(CROSSFADE_S * after.sample_rate)
    kept = after.samples[:, left + edge : left + before.frames - edge]
    np.testing.assert_array_equal(kept, before.samples[:, edge:-edge])
    assert result.plan.duration_s == pytest.approx(21.0)


@pytest.mark.parametrize(
    ("regions", "words"),
    [
        (["8-12"], "is not within the sound"),
        (["5-4"], "is reversed"),
        (["5-5"], "is empty"),
        (["2-4,3-5"], "overlap"),
        (["a-b"], "is not a region"),
        (["-1-3"], "is not within the sound"),
        (["4-4.05"], "shorter than 0.1 s"),
    ],
)
def test_wrong_regions_are_one_line_and_exit_2(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str], regions: list[str], words: str
) -> None:
    given = [option for region in regions for option in ("--region", region)]
    code = run(
        ["inpaint", str(made.file), "bells", *given, "--out", str(tmp_path / "x.wav"),
         "--home", str(made.home), "--json"]
    )  # fmt: skip
    document = json.loads(capsys.readouterr().out)
    assert (code, document["error"]["type"]) == (2, "InvalidInput")
    assert words in document["error"]["message"]
    assert not (tmp_path / "x.wav").exists()


def test_the_commands_print_the_document_of_generate(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, out = str(made.home), str(tmp_path / "x.flac")
    common = ["--out", out, "--home", home, "--steps", "2", "--seed", "3", "--json"]
    for arguments in (
        ["inpaint", str(made.file), "bells", "--region", "2-3"],
        ["extend", str(made.file), "--by", "1.5", "--side", "left"],
        ["vary", str(made.file), "soft bells", "--strength", "0.5"],
    ):
        assert run([*arguments, *common]) == 0
        document = json.loads(capsys.readouterr().out)
        assert document["files"] == [out]
        assert document["parent"] == made.result.record.output
        assert document["edit"] == arguments[0]
        for key in ("output", "pcm_sha256", "references", "seed", "model", "duration_s"):
            assert document[key] is not None
    assert run(["extend", str(made.file), "--by", "-1", *common]) == 2
    assert run(["extend", str(made.file), "--by", "1", "--side", "up", *common]) == 2


def test_a_piece_longer_than_the_window_is_out_painted(
    workspace: Workspace, tmp_path: Path
) -> None:
    results = [
        workspace.generate("warm piano", tmp_path / "x.wav", duration_s=30.0, k=1, **FAST)[0]
        for _ in range(2)
    ]
    assert results[0].record.pcm_sha256 == results[1].record.pcm_sha256
    assert results[0].audio.duration_s == pytest.approx(30.0)
    level = [
        loudness_lufs(Audio(results[0].audio.samples[:, a * 24_000 : (a + 10) * 24_000], 24_000))
        for a in (0, 20)
    ]
    assert level[1] == pytest.approx(level[0], abs=1.5)
    with pytest.raises(InvalidInput, match="influence is measured up to"):
        workspace.influence(results[0].record.output)


def test_an_edit_counts_in_the_metre_it_is_given_and_the_next_edit_in_the_same(
    made: Made,
    workspace: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    grids: list[Grid] = []

    def watched(canvas: Canvas, *given: Any) -> Any:
        grids.append(canvas.grid)
        return paint(canvas, *given)

    monkeypatch.setattr("rag_audio.pipeline.editing.paint", watched)
    waltz = {"bpm": 90.0, "time_signature": (3, 4), **FAST}
    (longer,) = workspace.extend(made.file, "", tmp_path / "x.wav", left_s=0.5, **waltz)
    (bells,) = workspace.inpaint(tmp_path / "x.wav", "bells", tmp_path / "y.wav",
                                 regions=[(2.0, 3.0)], **FAST)  # fmt: skip
    # The second file begins half a second before a bar line, a part of it elsewhere again.
    assert grids == [Grid(2.0, 0.5), Grid(2.0, 0.5)]
    assert plan_from_json(plan_to_json(bells.plan)) == bells.plan
    whole = load(tmp_path / "y.wav")
    part = np.ascontiguousarray(whole.samples[:, round(1.2 * whole.sample_rate) :])
    writing.save(Audio(part, whole.sample_rate), tmp_path / "part.wav", subtype="PCM_24")
    workspace.extend(tmp_path / "part.wav", "", tmp_path / "z.wav", left_s=1.0, **FAST)
    assert grids[-1].offset_s == pytest.approx(0.3, abs=1e-3)
    for result in (longer, bells):
        assert result.plan.controls.time_signature == (3, 4)
        assert result.plan.enriched_prompt.endswith("3/4")
    # A file that nothing is known of is in the metre that its user says.
    capsys.readouterr()
    writing.save(pad_sound(5.0, 24_000, 1), tmp_path / "own.wav")
    command = ["extend", str(tmp_path / "own.wav"), "bells", "--by", "2", "--bpm", "90",
               "--audio-rights", "own", "--steps", "2", "--seed", "3", "--json",
               "--out", str(tmp_path / "z.wav"), "--home", str(made.home)]  # fmt: skip
    assert run([*command, "--time-signature", "6/8"]) == 0
    assert json.loads(capsys.readouterr().out)["controls"]["time_signature"] == [6, 8]
    assert grids[-1] == Grid(2.0)
    assert run([*command, "--time-signature", "3/5"]) == 2


def test_what_cannot_be_edited_or_written_is_said_before_anything_is_made(
    made: Made, workspace: Workspace, tmp_path: Path
) -> None:
    own = {"audio_rights": "own", **FAST}
    (tmp_path / "tune.mid").write_bytes(b"MThd")
    with pytest.raises(InvalidInput, match="is a score"):
        workspace.vary(tmp_path / "tune.mid", tmp_path / "x.wav", prompt="bells", **own)
    writing.save(pad_sound(2.0, 44_100, 8), tmp_path / "eight.wav")
    with pytest.raises(InvalidInput, match="cannot hold 8 channels"):
        workspace.extend(tmp_path / "eight.wav", "bells", tmp_path / "x.mp3", right_s=1.0, **own)
    assert not list(tmp_path.glob("*x.*"))


def test_silence_around_a_region_does_not_make_it_silent(
    workspace: Workspace, tmp_path: Path
) -> None:
    writing.save(Audio(np.zeros((1, 96_000), np.float32), 24_000), tmp_path / "silent.wav")
    (result,) = workspace.inpaint(
        tmp_path / "silent.wav", "bells", tmp_path / "x.wav",
        regions=[(1.0, 3.0)], audio_rights="own", **FAST,
    )  # fmt: skip
    region = result.audio.samples[:, 30_000:66_000]
    assert np.abs(region).max() > 1e-3


def test_a_sound_above_full_scale_is_kept_as_floats_or_lowered_and_noted(
    made: Made, workspace: Workspace, tmp_path: Path
) -> None:
    source = tmp_path / "loud.wav"
    sound = pad_sound(4.0, 24_000)
    loud = sound.samples / np.abs(sound.samples).max() * 2
    writing.save(Audio(loud.astype(np.float32), sound.sample_rate), source, subtype="FLOAT")
    asked: dict[str, Any] = {"right_s": 2.0, "steps": 1, "audio_rights": "own"}
    (kept,) = workspace.extend(source, "x", tmp_path / "a.wav", subtype="32f", **asked)
    assert np.abs(load(tmp_path / "a.wav").samples).max() > 1.8
    assert not any("lowered" in note for note in kept.plan.notes)
    (lowered,) = workspace.extend(source, "x", tmp_path / "b.flac", **asked)
    samples = load(tmp_path / "b.flac").samples
    assert np.count_nonzero(np.abs(samples) > 0.9999) < 50
    assert any("lowered by 6.0" in note for note in lowered.plan.notes)
    assert any("lowered by 6.0" in note for note in lowered.record.plan["notes"])


def test_an_edit_has_what_its_file_had_and_says_what_it_has_not(
    made: Made, workspace: Workspace, tmp_path: Path
) -> None:
    source, out = tmp_path / "in.wav", tmp_path / "out.wav"
    chunks = ((b"bext", bext(24_000 * 60)), (b"cue ", cue(0, 100)), (b"zzzz", b"a vendor's"))
    data = CarriedMetadata(chunks=chunks, info=INFO, frames=FRAMES_OF_ID3)
    writing.save(pad_sound(4.0, 24_000), source, subtype="FLOAT", metadata=data)
    (result,) = workspace.extend(source, "x", out, left_s=2.0, steps=1, audio_rights="own")
    note = "not carried over from the edited file: ISRC, bext loudness values, bext UMID, zzzz"
    assert note in result.plan.notes and note in result.record.plan["notes"]
    read = read_metadata(out)
    assert dict(read.chunks)[b"cue "] == cue(48_000, 48_100)
    assert int.from_bytes(dict(read.chunks)[b"bext"][338:346], "little") == 24_000 * 58
    texts = read.all_texts()
    assert (texts["title"], texts["artist"]) == (("Ämber",), ("Björk",))
    assert texts["comment"][0].startswith(
        f"Made with AI by rag-audio, output {result.record.output}"
    )
    assert [one.data for one in read.all_pictures()] == [COVER.data]
    assert soundfile.info(out).subtype == "FLOAT"
    told = workspace.home.credentials_of(out)
    assert told is not None and told.state is CredentialState.TRUSTED
