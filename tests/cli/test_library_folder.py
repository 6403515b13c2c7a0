"""``rag-audio library init`` and ``library check``, as they are typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rag_audio.cli.app import run
from tests.indexer.library import tone, write_tables


def document(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert run([*arguments, "--json"]) == code
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def test_a_folder_becomes_a_library_in_three_steps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "my label"
    tone(root / "Velda Quarn" / "a.wav")
    (root / ".DS_Store").touch()
    assert run(["library", "init", str(root)]) == 0
    said = capsys.readouterr().out
    assert "1 files of music" in said and "Velda Quarn/**" in said
    assert "1 file of the system and of other programs skipped: .DS_Store 1" in said
    assert f"rag-audio library check '{root}'" in said
    assert run(["library", "check", str(root)]) == 2
    said = capsys.readouterr()
    assert "fill in its holder, spdx, uses" in said.out
    assert "nothing would be indexed: the licenses of 1 files are faulty" in said.err
    text = (root / "library.toml").read_text("utf-8")
    text = text.replace('uses = ["FILL IN"]', 'uses = ["prompt"]')
    text = text.replace('spdx = "FILL IN"', 'spdx = "CC-BY-4.0"')
    (root / "library.toml").write_text(text.replace("FILL IN", "My Label"), "utf-8")
    assert run(["library", "check", str(root)]) == 0
    assert "my label: 1 files would be indexed (1 audio" in capsys.readouterr().out


def test_both_speak_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tone(tmp_path / "Velda Quarn" / "a.wav")
    made = document(capsys, "library", "init", str(tmp_path))
    assert (made["files"], made["written"]) == (1, ["library.toml", "stems.csv"])
    assert made["rows"][0]["artist"] == "Velda Quarn"
    again = document(capsys, "library", "init", str(tmp_path), code=2)
    assert "library.toml is there already" in again["error"]["message"]
    write_tables(tmp_path, "**,full,Velda Quarn")
    seen = document(capsys, "library", "check", str(tmp_path))
    assert (seen["files"], seen["artists"]) == (1, {"Velda Quarn": 1})
    assert seen["rows"] == [
        {
            "number": 2,
            "path": "**",
            "license": "full",
            "artist": "Velda Quarn",
            "files": 1,
            "fault": None,
        }
    ]


def test_library_alone_lists_as_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = str(tmp_path / "home")
    assert document(capsys, "library", "--home", home)["libraries"] == []
    assert run(["library", "--home", home]) == 0
    assert "no library is indexed yet" in capsys.readouterr().err


def test_a_folder_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("init", "check"):
        assert run(["library", command, str(tmp_path / "none")]) == 2
        assert "is not a folder" in capsys.readouterr().err


def test_no_artist_is_said_to_be_guessed_where_none_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tone(tmp_path / "none" / "loop_1.wav")
    tone(tmp_path / "one" / "Velda Quarn" / "a.wav")
    for folder, guessed in (("none", False), ("one", True)):
        assert run(["library", "init", str(tmp_path / folder)]) == 0
        told = "correct the artists in stems.csv: those above were guessed"
        assert (told in capsys.readouterr().out) == guessed
        assert ("guessed" in (tmp_path / folder / "stems.csv").read_text("utf-8")) == guessed
