"""Mixes, encodings, pictures, batches and profiles, on the embedded models and a small library."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from tinytag import TinyTag

import rag_audio
from rag_audio.audio.headers import format_of, rate_for
from rag_audio.audio.reading import load
from rag_audio.cli.app import run
from rag_audio.cli.batch import REPORT, read_rows
from rag_audio.domain import GenerationRequest, Key, Layer, Mix
from rag_audio.domain.plan import plan_from_json, plan_to_json
from rag_audio.domain.signing import sidecar_of
from rag_audio.errors import InvalidInput, RequestRefused
from rag_audio.pipeline.workspace import Workspace
from rag_audio.retrieval.profiles import profile_png, typical_words, wanted_tempo_and_key
from tests.generation.test_planning import INFO, RIGHTS, make_plan, reference, words
from tests.support.small_library import write_library

FAST: dict[str, Any] = {"steps": 2, "seed": 5}
ARTIST = "Copper Lantern Trio"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("making")
    with rag_audio.open(base / "home") as workspace:
        workspace.index(write_library(base / "library"))
    return base / "home"


@pytest.fixture
def workspace(home: Path) -> Iterator[Workspace]:
    with rag_audio.open(home) as opened:
        yield opened


def ids(workspace: Workspace) -> tuple[str, str]:
    """The two stems under the full license."""
    stems = {stem.path: stem.id for stem in workspace.home.catalogue.stems()}
    return stems["full_a.wav"], stems["full_b.wav"]


def mixes(workspace: Workspace) -> dict[str, dict[str, Any]]:
    a, b = ids(workspace)
    return {
        "arranged": {"arrange": ((a[:10], 1, 2), (b[:10], 3, 4)), "bpm": 110.0, "strength": 0.3},
        "layered": {"layers": ((Layer.DRUMS, a), (Layer.HARMONY, b)), "duration_s": 4.0},
        "latent": {"references": (a, b), "mix": Mix.LATENT, "weights": (2, 1), "duration_s": 4.0},
        "auto": {"auto_strength": True, "duration_s": 4.0},
    }


@pytest.mark.parametrize("kind", ["arranged", "layered", "latent", "auto"])
def test_the_same_request_and_its_plan_from_a_file_give_the_same_samples(
    workspace: Workspace, tmp_path: Path, kind: str
) -> None:
    fields = {**mixes(workspace)[kind], **FAST}
    (first,) = workspace.generate("warm keys", tmp_path / "1.wav", **fields)
    (second,) = workspace.generate("warm keys", tmp_path / "2.wav", **fields)
    assert first.record.pcm_sha256 == second.record.pcm_sha256
    assert np.abs(first.audio.samples[:, [0, -1]]).max() < 0.01  # it begins and ends at silence
    file = json.dumps(plan_to_json(first.plan))
    if kind == "arranged":
        broken = json.loads(file)
        broken["seed_parts"][1]["start_s"] += 1.0
        with pytest.raises(InvalidInput, match="seed sounds at"):
            workspace.renew(plan_from_json(broken))
    (replayed,) = workspace.replay(plan_from_json(json.loads(file)), tmp_path / "3.wav")
    assert replayed.record.pcm_sha256 == first.record.pcm_sha256
    kept = workspace.home.ledger.find(first.record.output)
    assert kept is not None
    for source in kept.record.sources:
        assert bool(source.played) == (kind in ("arranged", "layered"))
        assert sum(p.weight for p in source.played) <= 1
    traced = workspace.trace(tmp_path / "1.wav").to_json()["sources"]
    assert all(("played" in source) == (kind in ("arranged", "layered")) for source in traced)


def test_latents_and_sound_mix_to_different_music(workspace: Workspace, tmp_path: Path) -> None:
    fields = {**mixes(workspace)["latent"], **FAST, "strength": 0.2}
    (latent,) = workspace.generate("warm", tmp_path / "1.wav", **fields)
    (sound,) = workspace.generate("warm", tmp_path / "2.wav", **{**fields, "mix": Mix.WAVEFORM})
    assert latent.record.pcm_sha256 != sound.record.pcm_sha256
    assert latent.plan.seed_parts == sound.plan.seed_parts
    with pytest.raises(InvalidInput, match="one window"):
        workspace.generate("warm", tmp_path / "3.wav", **{**fields, "duration_s": 20.0})


@pytest.mark.parametrize(
    ("name", "subtype", "said", "rate"),
    [
        ("a.wav", None, "PCM_24", 24_000), ("a.wav", "16", "PCM_16", 24_000),
        ("a.wav", "32f", "FLOAT", 24_000), ("a.flac", "16", "PCM_16", 24_000),
        ("a.mp3", None, "MPEG_LAYER_III", 24_000), ("a.ogg", None, "VORBIS", 24_000),
        ("a.ogg", "opus", "OPUS", 24_000), ("a.opus", None, "OPUS", 24_000),
    ],
)  # fmt: skip
def test_every_encoding_is_marked_tagged_signed_and_traced(
    workspace: Workspace, tmp_path: Path, name: str, subtype: str | None, said: str, rate: int
) -> None:
    target = tmp_path / name
    (made,) = workspace.generate(
        "warm keys", target, artist=ARTIST, duration_s=10.0, subtype=subtype, **FAST
    )
    written = soundfile.info(target)
    assert (written.subtype, written.samplerate) == (said, rate)
    tags = TinyTag.get(str(target))
    assert "Made with AI" in str(tags.comment or tags.other.get("comment"))
    assert sidecar_of(target).exists() == (target.suffix in (".ogg", ".opus"))
    assert workspace.trace(target).to_json()["by"] in ("hash", "manifest")
    sidecar_of(target).unlink(missing_ok=True)
    again = tmp_path / "again.wav"
    samples, hz = soundfile.read(target)
    soundfile.write(again, samples, hz)  # neither bytes nor manifest are left: the sound is
    found = workspace.trace(again).to_json()
    assert (found["found"], found["output"]) == (True, made.record.output)
    assert workspace.home.watermarker.detect(load(again)).mark is not None


def test_encodings_are_known_before_any_work(workspace: Workspace, tmp_path: Path) -> None:
    for name, subtype in (("a.mp3", "16"), ("a.flac", "32f"), ("a.wav", "8"), ("a.aac", None)):
        with pytest.raises(InvalidInput, match="cannot write"):
            workspace.generate("warm", tmp_path / name, subtype=subtype)
    assert format_of("x.OGG", "opus") == ("OGG", "OPUS")
    assert rate_for("OPUS", 44_100) == 48_000 and rate_for("OPUS", 24_000) == 24_000
    assert rate_for("PCM_24", 44_100) == 44_100


def batch(home: Path, file: Path, out: Path, *more: str) -> int:
    return run(["generate", "--batch", str(file), "--out", str(out), "--home", str(home), "--json",
                "--steps", "2", "--duration", "3", *more])  # fmt: skip


def test_a_batch_makes_what_it_can_reports_the_rest_and_goes_on_where_it_was(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "rows.csv", tmp_path / "out"
    file.write_text(
        "prompt,bpm,seed,out,layer\n"
        "warm keys,92,1,one.wav,\n"
        "warm keys,fast,1,,\n"
        "in the style of Zorblat Quux,,1,,\n"
        "soft piano,,2,,\n"
        "soft piano,,2,../up.wav,\n"
    )
    assert batch(home, file, out) == 2
    document = json.loads(capsys.readouterr().out)
    assert (document["rows"], document["made"], document["failed"]) == (5, 2, 3)
    assert [line["status"] for line in document["results"]] == [
        "made", "failed", "failed", "made", "failed",
    ]  # fmt: skip
    assert (out / "one.wav").is_file() and (out / "0004.wav").is_file()
    assert not (tmp_path / "up.wav").exists()
    assert "fast" in document["results"][1]["error"]["message"]
    assert document["results"][2]["exit_code"] == 3
    (out / "0004.wav").unlink()
    with (out / REPORT).open("a") as report:
        report.write('{"row": 9, "asked')  # killed while it wrote
    assert batch(home, file, out) == 2
    again = json.loads(capsys.readouterr().out)
    assert (again["made"], again["skipped"], again["failed"]) == (1, 1, 3)
    same = [r["pcm_sha256"] for d in (document, again) for r in d["results"] if r["row"] == 4]
    assert same[0] == same[1]
    file.write_text("prompt,seed,out\nwarm keys,9,one.wav\n")
    assert batch(home, file, out) == 0  # another request: made anew
    assert json.loads(capsys.readouterr().out)["made"] == 1


def test_rows_of_json_may_have_lists_and_each_may_be_wrong(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(
        '{"prompt": "a", "mood": ["calm", "dusty"], "seed": 3}\n\n[1]\n{"prompt": \n{"bmp": 3}\n'
    )
    rows = list(read_rows(file))
    assert [row.number for row in rows] == [1, 2, 3, 4]
    assert rows[0].fault == "" and rows[0].fields["mood"] == ["calm", "dusty"]
    assert "object" in rows[1].fault and "JSON" in rows[2].fault and "'bmp'" in rows[3].fault
    csv = tmp_path / "rows.csv"
    csv.write_text("prompt,bmp\na,3\n")
    with pytest.raises(InvalidInput, match="bmp"):
        list(read_rows(csv))


def test_a_row_with_a_value_of_another_type_fails_and_names_the_column(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = {
        '"prompt": 5': "prompt: 5 is not text",
        '"prompt": "a", "seed": true': "seed: true is not a whole number",
        '"prompt": "a", "seed": 1.5': "seed: 1.5 is not a whole number",
        '"prompt": "a", "bpm": [92]': "bpm: [92] is not a number",
        '"prompt": "a", "strength": false': "strength: false is not text",
        '"prompt": "a", "layer": {"drums": 1}': 'layer: {"drums": 1} is not text',
        '"prompt": "a", "exclude": [7]': "exclude: 7 is not text",
        '"prompt": "a", "mood": ["calm", null]': "mood: null is not text",
        '"prompt": "a", "key": ["A minor"]': 'key: ["A minor"] is not text',
        '"prompt": "a", "out": 5': "out: 5 is not text",
    }
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(f"{{{row}}}\n" for row in wrong))
    assert batch(home, file, tmp_path / "out") == 2
    results = json.loads(capsys.readouterr().out)["results"]
    assert [(one["row"], one["error"]["message"]) for one in results] == list(
        enumerate(wrong.values(), start=1)
    )
    file.write_text('{"prompt": "a", "strength": 0.4, "weights": [2, 1.5], "mood": ["calm"]}\n')
    assert batch(home, file, tmp_path / "out", "--references", "2") == 0


def test_a_batch_is_told_what_it_cannot_have(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("prompt\nwarm\n")
    assert batch(home, file, tmp_path / "out", "--picture", "a.png") == 2
    assert batch(home, tmp_path / "none.csv", tmp_path / "out") == 2
    assert run(["generate", "--batch", str(file), "--home", str(home)]) == 2


def test_the_command_line_arranges_and_draws(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with rag_audio.open(home) as workspace:
        a, b = ids(workspace)
    picture = tmp_path / "take.png"
    assert run([
        "generate", "warm", "--arrange", f"{a[:12]}:1,{b[:12]}:2-3", "--layer", f"harmony={b[:12]}",
        "--bpm", "110", "--steps", "2", "--strength", "auto", "--seed", "4", "--json",
        "--out", str(tmp_path / "take.wav"), "--picture", str(picture), "--home", str(home),
    ]) == 0  # fmt: skip
    made = json.loads(capsys.readouterr().out)
    assert made["duration_s"] == pytest.approx(3 * 4 * 60 / 110)
    shares = {r["stem"]: r["used"]["init"] for r in made["references"]}
    assert shares[b] == pytest.approx(2 * shares[a])
    assert any("chosen" in note for note in made["notes"])
    assert picture.read_bytes().startswith(b"\x89PNG")
    for wrong in (["--arrange", "x:2-1"], ["--layer", "voice=x"], ["--mix", "no"],
                  ["--strength", "x"], ["--arrange", "x"]):  # fmt: skip
        assert run(["generate", "warm", *wrong, "--dry-run", "--home", str(home)]) == 2


def test_a_profile_counts_what_is_licensed_for_style_now(
    workspace: Workspace, tmp_path: Path
) -> None:
    profile = workspace.artist("copper lantern trio")
    assert [stem.path for stem in profile.stems] == ["full_a.wav", "full_b.wav"]
    assert profile.keys["A major"] == 1 and 92.0 in profile.tempos
    assert typical_words(profile.stems)["electric piano"] == 1.0
    assert profile.centroid is not None and 0 <= profile.spread < 1
    assert profile.centroid @ profile.centroid == pytest.approx(1, abs=1e-5)
    assert min(profile.typicality()) > 0
    profile_png(profile, tmp_path / "a.png")
    assert (tmp_path / "a.png").is_file()
    for name in ("Paper Moth Quartet", "Late Ferry", "Nebel Kapelle", "Nobody"):
        with pytest.raises(RequestRefused):
            workspace.artist(name)
    assert workspace.artist("Nebel Kapelle", territory="DE").stems
    gone = ids(workspace)[1]
    run(["revoke", "--stem", gone, "--home", str(workspace.home.folder)])
    try:
        assert [stem.path for stem in workspace.artist(ARTIST).stems] == ["full_a.wav"]
    finally:
        run(["revoke", "--stem", gone, "--undo", "--home", str(workspace.home.folder)])
        workspace.index(workspace.home.folder.parent / "library")  # embeds it again


def test_what_a_request_leaves_open_is_wanted_as_is_usual_of_the_artist() -> None:
    own = [
        reference(name, bpm=bpm, key=key).stem
        for name, bpm, key in (
            ("a", 80.0, Key(9, True)), ("b", 90.0, Key(9, True)), ("c", 120.0, Key(0, False)),
            ("d", None, None),
        )
    ]  # fmt: skip
    assert wanted_tempo_and_key(GenerationRequest("x"), own) == (90.0, Key(9, True))
    asked = GenerationRequest("x", bpm=100.0, key=Key(2, False))
    assert wanted_tempo_and_key(asked, own) == (100.0, Key(2, False))
    assert wanted_tempo_and_key(GenerationRequest("x"), own[3:]) == (None, None)
    assert wanted_tempo_and_key(GenerationRequest("x"), ()) == (None, None)


def test_what_is_typical_of_an_artist_is_said_first() -> None:
    found = reference("a", tags=("rare", "odd", "strange", "typical"))
    request = GenerationRequest("slow")
    said = {}
    for typical in ({}, {"typical": 1.0, "odd": 0.2}):
        plan = make_plan(
            request, (found,), rights=RIGHTS, info=INFO, count_tokens=words, seed=1,
            typical=typical,
        )  # fmt: skip
        said[len(typical)] = plan.enriched_prompt
    assert "typical" not in said[0]
    assert "typical, odd, rare" in said[2]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--out", "{}/a.wav", "--picture", "{}/a.wav"], "must end in .png"),
        (["--out", "{}/a.wav", "--picture", "{}/none/a.png"], "there is no folder"),
        (["--out", "{}/a.wav", "--save-plan", "{}/a.wav"], "must end in .json"),
        (["--out", "{}/a.wav", "--save-plan", "{}/none/p.json"], "there is no folder"),
        (["--out", "{}/file/a.wav"], "is not a folder"),
        (["--out", "."], "cannot write .:"),
        (["--out", "{}/a.wav", "--artist", " "], "artist's name is empty"),
        (["--dry-run", "--picture", "{}/a.png"], "a dry run makes nothing"),
        (["--out", "{}/a.wav", "--reference", "{stem}@1-3", "--reference", "{stem}@4-6"],
         "two parts of"),
    ],
)  # fmt: skip
def test_what_could_not_be_written_afterwards_is_refused_before_any_work(
    workspace: Workspace,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    said: str,
) -> None:
    (tmp_path / "file").touch()
    stem, home = ids(workspace)[0][:12], workspace.settings.home
    _ = workspace.home.watermarker  # the first use of a key is logged
    before = workspace.home.ledger.size()
    workspace.close()
    given = [option.replace("{}", str(tmp_path)).replace("{stem}", stem) for option in options]
    assert run(["generate", "warm keys", "--home", str(home), "--json", *given]) == 2
    assert said in json.loads(capsys.readouterr().out)["error"]["message"]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    with rag_audio.open(home) as again:
        assert again.home.ledger.size() == before


def test_a_dry_run_writes_its_plan_and_the_plan_is_made(home: Path, tmp_path: Path) -> None:
    plan, out = tmp_path / "plan.json", tmp_path / "a.wav"
    common = ["generate", "--home", str(home)]
    asked = ["warm keys", "--duration", "1", "--steps", "2", "--seed", "5"]
    assert run([*common, *asked, "--dry-run", "--save-plan", str(plan)]) == 0
    assert run([*common, "--plan", str(plan), "--out", str(out)]) == 0
    assert plan_from_json(json.loads(plan.read_text())).seed == 5
    assert soundfile.info(out).duration == 1.0
