"""Every path of every command, given as users get them wrong: one line, the documented code."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile

from rag_audio.cli.app import run
from tests.support.command_tree import Parameter, changed, parameters, typed, usual
from tests.support.rights_world import World
from tests.support.small_library import RATE, chords
from tests.support.whole_home import command_home

PATHS = [one for one in parameters() if one.is_a(Path)]
WRITTEN = {"out_file", "target", "plot", "report", "picture", "save_plan", "out_dir", "folder"}
"""What these name may be missing: it is written."""
READ = [one for one in PATHS if one.name not in WRITTEN | {"home"} and str(one) != "backup_file"]
CODES = (0, 1, 2, 3)
ALONE = {"generate_--batch": ("prompt", "dry_run"), "guard_--evaluate": ("prompts",)}
"""What cannot stand beside such a path."""
AFTER_ANOTHER = {"restore_--later", "keys_import-chain_key"}
"""Paths that are looked at after another one of the command, which is missing here."""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    soundfile.write(folder / "sound.wav", chords(92, 220.0, 0.5), RATE)
    (folder / "text.txt").write_text("warm\n")
    (folder / "empty").touch()
    (folder / "a-folder").mkdir()
    (folder / "broken").symlink_to(folder / "nowhere")
    whole = (folder / "sound.wav").read_bytes()
    (folder / "being-written.wav").write_bytes(whole[: len(whole) // 3])
    with open(os.fsencode(folder) + b"/\xff.wav", "wb") as odd:
        odd.write(whole)
    return folder


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("paths-home"))
    yield made
    made.workspace.close()


def _odd(files: Path) -> list[str]:
    names = ["nowhere", "a-folder", "broken", "empty", "being-written.wav",
             os.fsdecode(b"\xff.wav"), "sound.wav/below", "x" * 300]  # fmt: skip
    return [str(files / name) for name in names]


def _called(
    one: Parameter, value: str, files: Path, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str]:
    capsys.readouterr()
    given = usual(one.command, files)
    if str(one) in ALONE:
        given = [(name, text) for name, text in given if name not in ALONE[str(one)]]
        given += [("out_file", str(files / "rows"))] if one.command == "generate" else []
    code = run(typed(one.command, changed(given, one.name, value)))
    said = capsys.readouterr()
    assert "Traceback" not in said.err + said.out
    assert said.err.count("rag-audio: ") <= 1
    return code, said.err


@pytest.mark.parametrize("one", [p for p in PATHS if p.name != "home"], ids=str)
def test_a_path_that_cannot_be_used_is_one_line(
    one: Parameter, files: Path, world: World, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], tmp_path: Path,
) -> None:  # fmt: skip
    command_home(world, monkeypatch)
    empty = tmp_path / "cwd"
    empty.mkdir()
    monkeypatch.chdir(empty)
    for value in ("", "-"):
        code, said = _called(one, value, files, capsys)
        assert code == 2 and "file" in said, (value, said)
    assert not list(empty.iterdir())
    # What is written may go to most of them; the demo makes all that it is about anywhere.
    last = {"demo": 2}.get(one.command, 3)
    for value in _odd(files) if one in READ else _odd(files)[-last:]:
        code, said = _called(one, value, files, capsys)
        assert code in CODES, (value, code, said)
        if one in READ and value in _odd(files)[:3]:
            assert code == 2 and "rag-audio: " in said, (value, code, said)
            assert Path(value).name in said or "folder" in said or str(one) in AFTER_ANOTHER


@pytest.mark.parametrize("one", [p for p in PATHS if p.name == "home"], ids=str)
def test_a_home_that_cannot_be_one_is_one_line(
    one: Parameter, files: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Where nothing is opened or made before: the home is looked at first, or the other fault."""
    for value in ("", "-", str(files / "sound.wav"), str(files / "sound.wav" / "below")):
        if one.command in ("serve", "worker"):
            continue
        code, said = _called(one, value, files, capsys)
        assert code in (1, 2), (value, code, said)
        assert "rag-audio: " in said or code == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("one", READ, ids=str)
def test_a_file_that_may_not_be_read_is_one_line(
    one: Parameter, world: World, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], files: Path, tmp_path: Path,
) -> None:  # fmt: skip
    command_home(world, monkeypatch)
    secret = tmp_path / "secret.wav"
    secret.write_bytes((files / "sound.wav").read_bytes())
    secret.chmod(0)
    code, said = _called(one, str(secret), files, capsys)
    assert code == 2 and "rag-audio: " in said
