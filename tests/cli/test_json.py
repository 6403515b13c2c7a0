"""``--json``: one document on stdout, whatever happens; several outputs each by themselves."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile

from rag_audio.audio.reading import load
from rag_audio.cli.app import run
from rag_audio.cli.output import out
from tests.support.command_tree import changed, commands, parameters, typed, usual
from tests.support.rights_world import World
from tests.support.small_library import RATE, chords
from tests.support.whole_home import command_home

WITH_JSON = sorted({one.command for one in parameters() if one.name == "as_json"})
LONG = {"demo", "restore"}
"""They make a home of their own."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("json"))
    soundfile.write(made.library.parent / "sound.wav", chords(92, 220.0, 0.6), RATE)
    yield made
    made.workspace.close()


@pytest.fixture
def world(shared: World, monkeypatch: pytest.MonkeyPatch) -> World:
    command_home(shared, monkeypatch)
    return shared


def document(capfd: pytest.CaptureFixture[str], *words: str, code: int | None = 0) -> Any:
    capfd.readouterr()
    ended = run([*words, "--json"])
    said = capfd.readouterr().out
    assert code is None or ended == code, said
    return json.loads(said)


def test_every_command_but_those_that_serve_has_it() -> None:
    assert set(commands()) - set(WITH_JSON) == {"serve", "worker"}


@pytest.mark.parametrize("command", [name for name in WITH_JSON if name not in LONG])
def test_stdout_is_one_document(
    world: World, command: str, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    given = usual(command, world.library.parent)
    given = [
        (name, str(tmp_path / Path(text).name) if text and name in ("out_file", "target", "folder",
         "file") and not Path(text).exists() else text)
        for name, text in given
    ]  # fmt: skip
    assert isinstance(document(capfd, *typed(command, given), code=None), dict)
    wrong = document(capfd, *typed(command, given), "--no-such-option", code=2)
    assert set(wrong["error"]) >= {"type", "message", "hint"}


def _tells(text: str, results: list[dict[str, Any]]) -> None:
    flat = " ".join(text.split())
    for one in results:
        for fact in (f"output {one['output']}", one["file"], f"seed {one['seed']}",
                     one["pcm_sha256"][:12], f"{one['duration_s']:.2f} s"):  # fmt: skip
            assert str(fact) in flat, fact


@pytest.mark.parametrize("command", ["generate", "extend"])
def test_every_variation_is_told_by_itself(
    world: World, command: str, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    given = usual(command, world.library.parent)
    given = [pair for pair in given if pair[0] != "dry_run"]
    given = changed(given, "variations", "3")
    given = changed(given, "seed", "7")
    given = changed(given, "out_file", str(tmp_path / "take.wav"))
    made = document(capfd, *typed(command, given))
    assert [one["seed"] for one in made["results"]] == [7, 8, 9]
    assert [one["output"] for one in made["results"]] == made["outputs"]
    for number, one in enumerate(made["results"], start=1):
        assert one["file"] == str(tmp_path / f"take-{number}.wav")
        assert one["files"][0] in made["files"] and one["checks"]
        assert Path(one["file"]).name in one["sha256"]
        assert one["duration_s"] == pytest.approx(load(one["file"]).duration_s)
        assert {"references", "notes", "watermark", "model_share"} <= set(one)
    # What there was for one output stays what it was: the first one's.
    first = made["results"][0]
    assert (made["seed"], made["output"]) == (first["seed"], first["output"])
    assert made["pcm_sha256"] == first["pcm_sha256"]
    again = changed(given, "out_file", str(tmp_path / "again.wav"))
    assert run(typed(command, again)) == 0
    said = capfd.readouterr().out
    last = world.home.ledger.find(max(made["outputs"]) + 3)
    assert last is not None
    facts = [
        {**one, "output": one["output"] + 3, "file": f"again-{number}.wav"}
        for number, one in enumerate(made["results"], start=1)
    ]
    _tells(said.replace(f"{tmp_path}/", ""), facts)


def test_a_batch_tells_every_variation_of_every_row(
    world: World, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("prompt,variations,seed\none,2,3\ntwo,1,9\n")
    out = tmp_path / "out"
    made = document(capfd, "generate", "--batch", str(rows), "--out", str(out), "--duration", "2")
    told = [one for row in made["results"] for one in row["results"]]
    assert [one["seed"] for one in told] == [3, 4, 9]
    assert len({one["pcm_sha256"] for one in told}) == 3
    assert all((out / one["file"]).is_file() for one in told)
    lines = (out / "report.jsonl").read_text().splitlines()
    assert [len(json.loads(line)["results"]) for line in lines] == [2, 1]


def test_a_name_that_is_no_text_is_escaped(
    world: World, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    name = str(tmp_path / b"\xff.wav".decode(errors="surrogateescape"))
    soundfile.write(name.encode(errors="surrogateescape"), chords(75, 330.0, 1.0, seed=9), RATE)
    assert document(capfd, "trace", name)["found"] is False
    assert run(["trace", name]) == 0
    assert ".wav: No watermark" in capfd.readouterr().out


@pytest.mark.parametrize("words", [["--help"], ["library"], ["library", "--json"]])
def test_a_reader_that_goes_away_ends_a_command_quietly(
    world: World, words: list[str], monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", buffering=1) as gone, monkeypatch.context() as patched:
        patched.setattr("sys.stdout", gone)
        patched.setattr(out, "quiet", False)  # The console is silent from then on.
        assert run(words) == 0
    assert capfd.readouterr().err == ""
