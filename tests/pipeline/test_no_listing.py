"""What a request reads of the database does not grow with the library."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

import rag_audio
from rag_audio.domain.holdings import StemQuery
from rag_audio.domain.licensing import Revocation, RevocationOf
from rag_audio.domain.stems import FileState
from rag_audio.pipeline.workspace import Workspace
from rag_audio.retrieval import recognition
from rag_audio.retrieval.references import ReferenceQuery
from rag_audio.service import revoking
from tests.support.small_library import write_library

FEW, MANY = 50, 500
NOW = datetime(2026, 6, 1, tzinfo=UTC)


@dataclass
class Read:
    """SQL statements, and the rows that they gave."""

    statements: int = 0
    rows: int = 0


@contextmanager
def counted(engine: Engine) -> Iterator[Read]:
    """Counts what is read through an engine. Rows are counted as the driver hands them out."""
    read = Read()

    def executed(_c: Any, cursor: Any, statement: str, *_: Any) -> None:
        read.statements += not statement.startswith("BEGIN")
        if statement.lstrip().startswith("SELECT"):
            again = cursor.connection.execute(*_seen.pop())
            read.rows += len(again.fetchall())

    _seen: list[tuple[str, Any]] = []

    def before(_c: Any, _cursor: Any, statement: str, given: Any, *_: Any) -> None:
        if statement.lstrip().startswith("SELECT"):
            _seen.append((statement, given))

    event.listen(engine, "before_cursor_execute", before)
    event.listen(engine, "after_cursor_execute", executed)
    try:
        yield read
    finally:
        event.remove(engine, "before_cursor_execute", before)
        event.remove(engine, "after_cursor_execute", executed)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    folder = tmp_path_factory.mktemp("no-listing")
    library = write_library(folder / "library")
    with rag_audio.open(folder / "home", territory="DE") as opened:
        opened.index(library)
        yield opened


def put_more(workspace: Workspace, number: int) -> None:
    """So many further stems of one license and artist, which the index does not hold."""
    catalogue = workspace.home.catalogue
    like = next(s for s in catalogue.stems() if s.license == "german")
    catalogue.put_files(
        like.library,
        [
            FileState(one.path, 1, 1, "", "", one)
            for i in range(number)
            if (one := replace(like, id=f"{i:064x}", path=f"more/{i}.wav"))
        ],
    )


def ask(workspace: Workspace, folder: Path) -> dict[str, Read]:
    """Each request twice: what the second one reads, of an unchanged catalogue."""
    home, pipeline = workspace.home, workspace.pipeline
    named = next(s.id for s in home.catalogue.stems_by("Copper Lantern Trio"))
    artist = "Copper Lantern Trio"
    sound = str(folder / "library" / "unlisted.wav")
    asked: dict[str, Any] = {
        "plan": lambda: workspace.plan("piano", seed=1),
        "plan of an artist": lambda: workspace.plan("piano", artist=artist, seed=1),
        "plan with a reference": lambda: workspace.plan("piano", references=(named,), seed=1),
        "search": lambda: pipeline.search(ReferenceQuery(text="piano")),
        "search by artist": lambda: pipeline.search(
            ReferenceQuery(text="piano", artist=pipeline.artist_named(artist))
        ),
        "search for nothing": lambda: pipeline.search_notes((), artist),
        "artists": lambda: pipeline.policy().licensed,
        "profile": lambda: pipeline.artist_profile(artist),
        "libraries": lambda: home.catalogue.libraries(),
        "page": lambda: (
            home.catalogue.page(StemQuery(), limit=5), home.catalogue.counts(StemQuery())
        ),
        "filtered page": lambda: (
            home.catalogue.page(StemQuery(tag="warm"), limit=5),
            home.catalogue.counts(StemQuery(tag="warm")),
        ),
        "recognition": lambda: pipeline.gate.inspector(pipeline.rights()).inspect(Path(sound)),
        "revocation of a stem": lambda: revoking.stems_of(
            home, Revocation(RevocationOf.STEM, named, "", "", NOW)
        ),
        "revocation of an artist": lambda: revoking.stems_of(
            home, Revocation(RevocationOf.ARTIST, artist, "", "", NOW)
        ),
    }  # fmt: skip
    found = {}
    for name, request in asked.items():
        request()
        with counted(home.database) as found[name]:
            request()
    return found


def test_statements_and_rows_do_not_grow_with_the_library(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recognition, "_MOST_NAMED", 20)  # of stems without landmarks
    folder = Path(next(iter(workspace.home.catalogue.libraries())).root).parent
    put_more(workspace, FEW)
    few = ask(workspace, folder)
    put_more(workspace, MANY)
    many = ask(workspace, folder)
    assert many == few
    assert workspace.home.catalogue.libraries()[0].stems >= MANY


def test_an_unchanged_catalogue_costs_a_clearance_one_small_question(workspace: Workspace) -> None:
    put_more(workspace, FEW)
    workspace.pipeline.clearance()
    with counted(workspace.home.database) as read:
        clearance = workspace.pipeline.clearance()
        assert workspace.pipeline.gate.policy(clearance).licensed
    assert read == Read(1, 1)
    put_more(workspace, MANY + 1)
    with counted(workspace.home.database) as read:
        workspace.pipeline.clearance()
    assert read == Read(2, 2), "the epoch, and the one group that changed"
