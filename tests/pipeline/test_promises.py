"""An enforced tempo or key that is not met: delivered, marked, and told by the exit code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_audio.audio.analysis import Analysis
from rag_audio.audio.dsp import resample
from rag_audio.cli import batch
from rag_audio.cli import generate as generating
from rag_audio.cli.app import run
from rag_audio.domain import Aim, Audio, Key
from rag_audio.domain.plan import plan_from_json
from rag_audio.domain.ports import DiffusionInput
from rag_audio.generation.take_selection import TEMPO_TOLERANCE, enforce, tempo_near, unmet_line
from tests.generation.test_take_selection import PLAN, take
from tests.support.rights_world import World
from tests.support.whole_home import opened_by

ASKED = ["--bpm", "100", "--key", "A major", "--duration", "8", "--references", "0",
         "--candidates", "1"]  # fmt: skip
BOTH = ["--enforce", "tempo,key"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("promises"))
    yield made
    made.workspace.close()


@pytest.fixture
def world(shared: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """Commands work on the home; the model answers as :func:`plays` says."""
    opened_by(monkeypatch, shared.workspace, generating, batch)
    shared.reset()
    return shared


def plays(world: World, monkeypatch: pytest.MonkeyPatch, *sounds: Audio) -> None:
    """The model makes these sounds in turn, for ever."""
    rate = world.generator.info.sample_rate
    ready = [resample(sound, rate) for sound in sounds]
    turn = iter(range(10_000))

    def generate(batch: DiffusionInput, *_: object) -> tuple[Audio, ...]:
        world.generator.given.append(batch)
        return tuple(ready[next(turn) % len(ready)] for _ in batch.seeds)

    monkeypatch.setattr(world.generator, "generate", generate)


def drone(seconds: float = 8.0) -> Audio:
    """Noise: no pulse, no key."""
    import numpy as np

    noise = np.random.default_rng(4).standard_normal((1, round(22_050 * seconds))) * 0.1
    return Audio(noise.astype(np.float32), 22_050)


def good() -> Audio:
    return take(100, 0, 8.0)


def generate(
    capsys: pytest.CaptureFixture[str], out: Path, *more: str, code: int
) -> dict[str, Any]:
    capsys.readouterr()
    assert run(["generate", "slow", *ASKED, "--out", str(out), "--json", *more]) == code
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_what_is_met_ends_with_0_and_carries_no_mark(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    plays(world, monkeypatch, good())
    made = generate(capsys, tmp_path / "a.wav", *BOTH, code=0)
    assert made["enforced_met"] is True and made["unmet"] == []
    assert made["enforced"]["met"] is True
    assert [one["aim"] for one in made["enforced"]["promises"]] == ["tempo", "key"]
    assert not any("not met" in note for note in made["notes"])
    assert b"not met" not in (tmp_path / "a.wav").read_bytes()


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3"])
def test_what_is_not_met_is_delivered_marked_and_ends_with_5(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch, name: str,
) -> None:  # fmt: skip
    plays(world, monkeypatch, drone())
    out = tmp_path / name
    made = generate(capsys, out, *BOTH, code=5)
    assert out.is_file() and made["files"][0] == str(out)
    assert made["enforced_met"] is False and made["enforced"]["met"] is False
    wanted = {one["aim"]: (one["wanted"], one["heard"]) for one in made["unmet"]}
    assert wanted["tempo"] == (100.0, None) and wanted["key"][0] == "A major"
    assert any("tempo not met: 100 bpm was enforced, no pulse" in note for note in made["notes"])
    record = world.home.ledger.find(made["output"])
    assert record is not None and record.record.checks["enforced"]["met"] is False
    assert b"tempo not met: 100 bpm" in out.read_bytes()


def test_the_best_effort_is_the_same_output_and_ends_with_0(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    plays(world, monkeypatch, drone())
    made = generate(capsys, tmp_path / "a.wav", *BOTH, "--best-effort", code=0)
    assert made["enforced_met"] is False and len(made["unmet"]) == 2
    assert b"tempo not met" in (tmp_path / "a.wav").read_bytes()
    capsys.readouterr()
    assert run(["generate", "slow", "--best-effort", "--out", str(tmp_path / "b.wav")]) == 2
    assert "needs --enforce" in capsys.readouterr().err


def test_what_nobody_enforced_is_no_promise(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    plays(world, monkeypatch, drone())
    asked = ["generate", "slow", "--bpm", "100", "--key", "A major", "--duration", "8",
             "--references", "0", "--out", str(tmp_path / "a.wav"), "--json"]  # fmt: skip
    capsys.readouterr()
    assert run(asked) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["enforced"] is None and made["enforced_met"] is None and made["unmet"] == []
    only = generate(capsys, tmp_path / "b.wav", "--enforce", "key", code=5)
    assert [one["aim"] for one in only["unmet"]] == ["key"]


def test_one_take_of_several_that_fails_is_named(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    plays(world, monkeypatch, good(), drone())
    made = generate(capsys, tmp_path / "a.wav", "--enforce", "tempo", "--variations", "2", code=5)
    (unmet,) = made["unmet"]
    assert unmet["file"].endswith("a-2.wav") and unmet["output"] == made["outputs"][1]
    capsys.readouterr()
    plays(world, monkeypatch, good(), drone())
    assert run(["generate", "slow", *ASKED, "--enforce", "tempo", "--variations", "2",
                "--out", str(tmp_path / "b.wav")]) == 5  # fmt: skip
    said = capsys.readouterr()
    assert "b-2.wav" in said.err and "b-1.wav" not in said.err and "--best-effort" in said.err
    assert "not met: 100 bpm" in said.out


def test_a_plan_keeps_its_promise(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    plan = tmp_path / "plan.json"
    assert run(["generate", "slow", *ASKED, *BOTH, "--dry-run", "--save-plan", str(plan)]) == 0
    assert plan_from_json(json.loads(plan.read_text())).enforcement
    plays(world, monkeypatch, drone())
    replay = ["generate", "--plan", str(plan), "--json"]
    for more, code in (([], 5), (["--best-effort"], 0)):
        capsys.readouterr()
        assert run([*replay, "--out", str(tmp_path / f"{code}.wav"), *more]) == code
        assert json.loads(capsys.readouterr().out)["enforced_met"] is False


def test_a_batch_makes_every_row_and_ends_with_5(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    plays(world, monkeypatch, good(), drone())
    rows = tmp_path / "rows.csv"
    rows.write_text("prompt,enforce,bpm\none,tempo,100\ntwo,tempo,100\n")
    asked = ["generate", "--batch", str(rows), "--out", str(tmp_path / "out"), "--duration", "8",
             "--references", "0", "--candidates", "1", "--json"]  # fmt: skip

    def batched(*more: str, code: int) -> dict[str, Any]:
        capsys.readouterr()
        assert run([*asked, *more]) == code
        document: dict[str, Any] = json.loads(capsys.readouterr().out)
        return document

    first = batched(code=5)
    assert (first["made"], first["unmet"]) == (2, [2])
    met, unmet = first["results"]
    assert met["enforced_met"] is True and unmet["enforced_met"] is False
    assert unmet["unmet"][0]["aim"] == "tempo" and len(unmet["files"]) == 1
    # What was made before is told again; whoever takes the best gets 0.
    again = batched(code=5)
    assert (again["skipped"], again["unmet"]) == (2, [2])
    assert batched("--best-effort", code=0)["unmet"] == [2]
    rows.write_text(rows.read_text() + "three,colour,100\n")
    worse = batched(code=2)
    assert (worse["failed"], worse["unmet"]) == (1, [2])


heard = st.none() | st.floats(90.0, 110.0) | st.sampled_from([50.0, 99.0, 100.0, 101.0, 200.0])
keys = st.none() | st.sampled_from(["A major", "F# minor", "D major"]).map(Key.parse)


@given(heard, keys)
@settings(max_examples=60)
def test_met_is_what_the_measurement_after_says(bpm: float | None, key: Key | None) -> None:
    """Within one percent in any octave, and the key itself; not heard is not met."""
    analysis = Analysis(
        bpm=bpm, bpm_confidence=0.0 if bpm is None else 1.0, beats_s=(), key=key,
        key_confidence=0.0 if key is None else 1.0, loudness_lufs=-20.0,
        silent=False,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rag_audio.generation.take_selection.analyse", lambda sound: analysis)
        patch.setattr("rag_audio.generation.take_selection._conform", lambda sound, *_: sound)
        made = enforce([(1, drone(1.0))], PLAN)
    near = bpm is not None and abs(tempo_near(bpm, 100.0) / 100.0 - 1) <= TEMPO_TOLERANCE
    said = {one.aim: one.met for one in made.promises}
    assert said == {Aim.TEMPO: near, Aim.KEY: key == PLAN.key}
    assert made.met == all(said.values()) == made.to_json()["met"]
    lines = [unmet_line(one.to_json()) for one in made.promises if not one.met]
    assert all(line in made.notes for line in lines)
    assert len([note for note in made.notes if "not met" in note]) == len(lines)
