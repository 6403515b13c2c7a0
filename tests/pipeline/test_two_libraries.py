"""The same score in two libraries under two licenses: what each keeps when the other's ends."""

from __future__ import annotations

import json
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from rag_audio.cli.app import run
from rag_audio.domain import Use
from rag_audio.pipeline.workspace import open_workspace
from rag_audio.resources import data_dir


def write_one(root: Path, name: str, uses: str, artist: str) -> Path:
    """A library of one score of our own and one that the other has too."""
    root.mkdir(parents=True)
    (root / "library.toml").write_text(
        f'[library]\nname = "{name}"\n[licenses.{name}]\nholder = "{name} holder"\n'
        f'spdx = "LicenseRef-1"\nuses = [{uses}]\n'
    )
    own = "tidewater.mid" if name == "north" else "slow-snow.mid"
    shutil.copy(data_dir("demo") / "tessan-oryk" / own, root / "own.mid")
    shutil.copy(data_dir("demo") / "velda-quarn" / "last-tram-keys.mid", root / "shared.mid")
    (root / "stems.csv").write_text(
        f"path,license,artist,title,bpm,key,tags\n*.mid,{name},{artist},{name},,,keys\n"
    )
    return root


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    everything = '"prompt", "init_audio", "style"'
    for name, uses, artist in (("north", everything, "Ann Orme"), ("south", '"prompt"', "Bo Lind")):
        library = write_one(tmp_path / name, name, uses, artist)
        assert run(["index", str(library), "--home", str(home), "--json"]) == 0
    return home


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert run([*words, "--json"]) == code, capsys.readouterr()
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def indexed(home: Path, library: str) -> set[str]:
    """Paths of the stems that a library has embeddings of."""
    with open_workspace(home) as workspace:
        return {point.segment.stem.path for point in workspace.home.index.scroll(library)}


def test_references_are_found_where_they_are_asked_for_and_it_is_said_when_none_fits(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = ("--home", str(home))
    for words, library in (
        (("--library", "south"), "south"),
        (("--license", "north/north"), "north"),
        (("--license", "north"), "north"),
    ):
        found = said(capsys, "search", "keys", *words, *at)
        assert {one["library"] for one in found["references"]} == {library}
        assert found["fits"] is True and found["notes"] == []
        plan = said(capsys, "generate", "keys", *words, "--dry-run", *at)["plan"]
        assert {one["stem"]["library"] for one in plan["references"]} == {library}
        assert not any("fits" in note for note in plan["notes"])
    refused = said(capsys, "generate", "keys", "--library", "east", "--dry-run", *at, code=2)
    assert refused["error"]["message"] == "no library 'east' is indexed; there is north, south"
    nothing = said(capsys, "search", "bagpipes", *at)
    assert nothing["fits"] is False and nothing["references"]
    assert nothing["notes"][0].startswith("nothing here fits: the best is ")
    plan = said(capsys, "generate", "bagpipes", "--dry-run", *at)["plan"]
    assert any(note.startswith("nothing here fits: ") for note in plan["notes"])


@pytest.mark.parametrize("words", [("--license", "north/north"), ("--artist", "Ann Orme")])
def test_what_is_revoked_in_one_library_is_kept_by_the_other(
    home: Path, tmp_path: Path, words: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, "revoke", *words, "--home", str(home))
    assert indexed(home, "north") == set()
    assert indexed(home, "south") == {"own.mid", "shared.mid"}
    report = said(capsys, "index", str(tmp_path / "south"), "--home", str(home))
    assert (report["rejected"], report["skipped"]) == ([], 2)
    assert indexed(home, "south") == {"own.mid", "shared.mid"}
    with open_workspace(home) as workspace:
        catalogue = workspace.home.catalogue
        shared = next(s for s in catalogue.stems() if s.path == "shared.mid")
        (copy,) = [s for s in catalogue.copies(shared.id) if s.library == "south"]
        # Who may use that library alone is not touched; who may use both is told no.
        own = catalogue.rights(None, datetime.now(UTC), ["south"])
        assert not own.is_revoked(copy) and own.refusal(copy, Use.PROMPT) is None
        assert workspace.pipeline.rights().is_revoked(copy)
        assert copy.id not in {one.stem.id for one in workspace.search("keys")}


def test_what_is_advised_settles_the_conflict_and_a_line_that_cannot_is_reported(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (conflict,) = said(capsys, "library", "--home", str(home))["conflicts"]
    advised = re.findall(r'library\.toml of (\w+): \[conflicts\] ("[^"]+" = "[^"]+")',
                         conflict["decide"])  # fmt: skip
    assert dict(advised) == {
        "south": '"shared.mid" = "north/north"', "north": '"shared.mid" = "south/south"',
    }  # fmt: skip
    table = tmp_path / "north" / "library.toml"
    table.write_text(table.read_text() + '[conflicts]\n"shared.mid" = "north"\n')
    (still,) = said(capsys, "index", str(tmp_path / "north"), "--home", str(home))["conflicts"]
    assert not still["decided"]
    assert "south/south" in still["faults"][0] and "own library" in still["faults"][0]
    library, line = advised[0]
    table = tmp_path / library / "library.toml"
    table.write_text(table.read_text().split("[conflicts]")[0] + f"[conflicts]\n{line}\n")
    (settled,) = said(capsys, "index", str(tmp_path / library), "--home", str(home))["conflicts"]
    assert settled["licenses"] == [line.split('"')[3]]
