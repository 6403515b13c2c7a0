"""From a library in a bucket to a marked output, as commands and on the embedded models."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import rag_audio
from rag_audio.cli.app import run
from rag_audio.errors import LibraryError
from rag_audio.storage.fsspec_blobs import open_store
from tests.support.s3 import s3_away, s3_bucket, s3_server
from tests.support.small_library import write_library

FAST: dict[str, Any] = {"steps": 2, "seed": 5, "duration_s": 4.0}


@dataclass
class Indexed:
    """A home, the URL of the library that was indexed into it, and the same in a folder."""

    home: Path
    url: str
    folder: Path
    document: dict[str, Any]


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Indexed]:
    base = tmp_path_factory.mktemp("bucket")
    folder = write_library(base / "library")
    with s3_server() as address, s3_bucket(address) as url:
        store = open_store(f"{url}/small", base / "copies", 1 << 20)
        for path in folder.iterdir():
            store.put(path.name, path)
        with pytest.MonkeyPatch.context() as patch:
            printed: list[Any] = []
            patch.setattr("rag_audio.cli.index.show_json", printed.append)
            home = base / "home"
            assert run(["index", f"{url}/small/", "--home", str(home), "--json"]) == 0
        yield Indexed(home, f"{url}/small", folder, printed[0])


def test_the_three_jobs(indexed: Indexed, tmp_path: Path) -> None:
    assert indexed.document["indexed"] == 4
    assert {item["path"] for item in indexed.document["rejected"]} == {"gone.wav", "unlisted.wav"}
    with rag_audio.open(indexed.home) as workspace:
        assert [one.root for one in workspace.home.catalogue.libraries()] == [indexed.url]
        found = workspace.search("warm electric piano")
        assert {one.stem.path for one in found} >= {"full_a.wav", "full_b.wav"}
        (made,) = workspace.generate(
            "warm keys", tmp_path / "take.wav", artist="Copper Lantern Trio", **FAST
        )
        sources = {source.reference.stem.path for source in made.record.sources}
        assert sources and sources <= {"full_a.wav", "full_b.wav"}
        traced = workspace.trace(tmp_path / "take.wav")
        assert traced.output == made.record.output
        assert {source.title for source in traced.sources} >= {"Amber Stairs"}


def test_a_second_run_has_nothing_to_do(
    indexed: Indexed, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["index", indexed.url, "--home", str(indexed.home), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["indexed"], report["updated"], report["skipped"]) == (0, 0, 4)


def test_what_would_be_indexed_is_told(
    indexed: Indexed, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["library", "check", indexed.url, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["root"], told["files"]) == (indexed.url, 4)


def test_tables_are_begun_in_a_folder(indexed: Indexed, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["library", "init", indexed.url]) == 2
    assert f"{indexed.url} is no folder: tables are begun in one" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["index"], ["library", "check"]])
def test_a_place_that_cannot_be_used_is_one_line(
    command: list[str], indexed: Indexed, capsys: pytest.CaptureFixture[str]
) -> None:
    home = ["--home", str(indexed.home)] if command == ["index"] else []
    away = f"{indexed.url}/{command[-1]}"
    with s3_away():
        assert run([*command, away, *home]) == 4
    said = capsys.readouterr().err
    assert f"files in {away} cannot be used" in said and "RAG_AUDIO_FILES" not in said
    assert "Traceback" not in said
    assert run([*command, "s3://me:secret@bucket/x", *home]) == 2
    said = capsys.readouterr().err
    assert "holds a user or a secret" in said and "secret@" not in said
    assert run([*command, f"{indexed.url}/nothing", *home]) == 2
    said = capsys.readouterr().err
    assert f"library.toml is missing in '{indexed.url}/nothing'" in said


def test_an_object_that_changed_makes_no_output(indexed: Indexed, tmp_path: Path) -> None:
    with rag_audio.open(indexed.home) as workspace:
        stem = next(s for s in workspace.home.catalogue.stems() if s.path == "full_a.wav")
        store = open_store(indexed.url, tmp_path / "copies", 1 << 20)
        store.put("full_a.wav", indexed.folder / "full_b.wav")
        try:
            with pytest.raises(LibraryError, match="changed since it was indexed"):
                workspace.generate(
                    "warm keys", tmp_path / "take.wav", references=(stem.id,), **FAST
                )
        finally:
            store.put("full_a.wav", indexed.folder / "full_a.wav")
    assert not (tmp_path / "take.wav").exists()
