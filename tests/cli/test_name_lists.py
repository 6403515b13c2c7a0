"""``names`` and ``names refresh``: from a file to a refusal, in one command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rag_audio.cli.app import run
from rag_audio.guardrails import ImportedNames
from tests.guardrails import dumps


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAG_AUDIO_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def document(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    capsys.readouterr()
    assert run([*words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_names_of_a_dump_are_refused_after_one_command(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts = ["piano, zanther quill", "the Purple Tin of summer rain"]
    decided = document(capsys, "guard", *prompts)["decisions"]
    assert [one["decision"] for one in decided] == ["allow", "allow"]
    assert document(capsys, "names")["imported"] is None
    dump = dumps.archive(
        tmp_path / "mbdump.tar.bz2", artist=dumps.ARTISTS, artist_alias=dumps.ALIASES
    )
    made = document(capsys, "names", "refresh", str(dump))
    assert (made["artists"], made["spellings"]) == (4, 5)
    assert made["file"] == str(home / "names.db")
    decided = document(capsys, "guard", *prompts)["decisions"]
    assert [one["decision"] for one in decided] == ["refuse", "allow"]
    listed = document(capsys, "names")
    assert listed["imported"]["sources"] == made["sources"]
    assert listed["shipped"]["artists"] > 2000 and listed["policy"] is None


def test_lists_are_shown_with_their_files(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home.mkdir()
    (home / "policy.csv").write_text("name\nHarbor Vexling\n")
    (tmp_path / "list.csv").write_text("name\nZanther Quill\n")
    assert run(["names", "refresh", str(tmp_path / "list.csv")]) == 0
    assert "1 artist(s) in 1 spelling(s)" in capsys.readouterr().out
    assert run(["names"]) == 0
    said = capsys.readouterr().out
    assert "policy.csv" in said and "list.csv" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--kinds", "singer"], "--kinds: 'singer' is not a kind of artist"),
        (["--kinds", ","], "--kinds names nobody"),
        (["--min-tags", "2"], "at least 2 tags are wanted, and these files have no tags"),
    ],
)
def test_wrong_options_leave_the_list(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    (tmp_path / "list.csv").write_text("name\nZanther Quill\n")
    document(capsys, "names", "refresh", str(tmp_path / "list.csv"))
    before = (home / "names.db").read_bytes()
    failed = document(capsys, "names", "refresh", str(tmp_path / "list.csv"), *words, code=2)
    assert message in failed["error"]["message"]
    assert (home / "names.db").read_bytes() == before


def test_a_backup_brings_the_list_back(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "list.csv").write_text("name\nZanther Quill\n")
    document(capsys, "names", "refresh", str(tmp_path / "list.csv"))
    document(capsys, "guard", "warm piano")  # makes the rest of the home
    archive = tmp_path / "home.tar"
    document(capsys, "backup", str(archive))
    document(capsys, "restore", str(archive), "--home", str(tmp_path / "again"))
    assert ImportedNames(tmp_path / "again" / "names.db").find("Zanther Quill") is not None
