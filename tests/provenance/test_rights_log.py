"""Rights change if and only if it is logged: in one transaction, or not at all."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, insert, select

from rag_audio.domain.licensing import RevocationOf
from rag_audio.domain.stems import WithheldFile
from rag_audio.provenance.ledger import rights_log, tables
from rag_audio.provenance.ledger.ledger import SqlLedger
from rag_audio.provenance.ledger.rights_log import SqlRightsLog
from rag_audio.storage.catalogue import SqlCatalogue
from rag_audio.storage.database import connect, sqlite_url, writing
from rag_audio.storage.rights_tables import metadata
from tests.provenance.rights_home import SHARED, asked, granted, make_catalogue, state

BAND = asked(RevocationOf.ARTIST, "The Band")


class Crash(RuntimeError):
    """Stands for a process that is killed before it commits."""


class CrashingLog(SqlRightsLog):
    """Logs, and is killed then."""

    def changing(self, *given: Any, **named: Any) -> None:
        super().changing(*given, **named)
        raise Crash

    def revoked(self, *given: Any, **named: Any) -> int:
        super().revoked(*given, **named)
        raise Crash

    def seal(self, *given: Any, **named: Any) -> int:
        super().seal(*given, **named)
        raise Crash


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Any) -> Engine:
    if request.param == "postgresql":
        return connect(str(request.getfixturevalue("postgres_url")))
    return connect(sqlite_url(tmp_path / "ledger.db"))


CHANGES: dict[str, Callable[[SqlCatalogue], object]] = {
    "library": lambda one: one.put_library("lab", "New", "/nowhere"),
    "licenses": lambda one: one.put_licenses("lab", []),
    "files": lambda one: one.put_files("lab", [state("lab", "b.wav", SHARED)]),
    "remove": lambda one: one.remove_files("lab", ["a.wav"]),
    "withheld": lambda one: one.put_withheld("lab", [WithheldFile("x.wav", 1, 1, SHARED, "y")]),
    "revoke": lambda one: one.revoke(asked(RevocationOf.STEM, SHARED)),
    "undo": lambda one: one.end_revocation(BAND),
}


def test_a_crash_between_a_change_and_its_event_leaves_neither(engine: Engine) -> None:
    catalogue = make_catalogue(engine)
    catalogue.revoke(BAND)
    for what in CHANGES:
        _crash(engine, catalogue, what)


def _crash(engine: Engine, catalogue: SqlCatalogue, what: str) -> None:
    """A change that is not committed, then the same one that is."""
    ledger = SqlLedger(engine)
    catalogue.put_library("lab", "Lab", "/nowhere")
    catalogue.put_licenses("lab", [granted("lab")])
    catalogue.put_files("lab", [state("lab", "a.wav", SHARED)])
    catalogue.put_withheld("lab", [])
    catalogue.seal("lab")
    before = (ledger.size(), catalogue.revocations(), catalogue.files("lab"))
    with pytest.raises(Crash):
        CHANGES[what](SqlCatalogue(engine, CrashingLog()))
    assert (ledger.size(), catalogue.revocations(), catalogue.files("lab")) == before
    assert (ledger.verify(), ledger.notes()) == ([], [])
    CHANGES[what](catalogue)
    assert ledger.size() == before[0] + 1
    assert ledger.verify() == []
    if ledger.notes():
        with pytest.raises(Crash):
            SqlCatalogue(engine, CrashingLog()).seal("lab")
        assert len(ledger.notes()) == 1
        catalogue.seal("lab")
    assert (ledger.verify(), ledger.notes()) == ([], [])


def test_what_changes_nothing_is_not_logged(engine: Engine) -> None:
    catalogue, ledger = make_catalogue(engine), SqlLedger(engine)
    for _ in range(2):
        catalogue.put_library("lab", "Lab", "/nowhere")
        catalogue.put_licenses("lab", [granted("lab"), granted("lab", "words")])
        catalogue.put_licenses("lab", [granted("lab", "words"), granted("lab")])
        catalogue.put_files("lab", [state("lab", "a.wav", SHARED)])
        catalogue.put_withheld("lab", [WithheldFile("x.wav", 1, 1, SHARED, "y")])
        catalogue.remove_files("lab", ["never there"])
        catalogue.seal("lab")
        catalogue.revoke(BAND)
        catalogue.end_revocation(asked(RevocationOf.STEM, SHARED))
        assert ledger.size() == 4, "changing, its licenses, sealed, revoked"


def test_a_change_of_rights_tells_its_entry(engine: Engine) -> None:
    catalogue, ledger = make_catalogue(engine), SqlLedger(engine)
    made = catalogue.revoke(BAND)
    assert made and not catalogue.revoke(BAND)
    assert catalogue.revoke(BAND).event is None
    ended = catalogue.end_revocation(BAND)
    assert ended and not catalogue.end_revocation(BAND)
    first, second = ledger.events("revocation")
    assert (made.event, ended.event, made.rows) == (first.seq, second.seq, ended.rows)
    for event, undo in ((first, False), (second, True)):
        told = dict(event.document)
        rows = told.pop("rows")
        assert told == {"of": "artist", "target": "The Band", "undo": undo}
        assert set(rows) == {str(id_) for id_ in made.rows}
    assert first.document["rows"] != second.document["rows"], "who took it back is bound too"


def test_one_undo_may_end_several_revocations(engine: Engine) -> None:
    """Homes of before schema 0005 may have several of one artist in force."""
    catalogue, ledger = make_catalogue(engine), SqlLedger(engine)
    catalogue.revoke(BAND)
    table = metadata.tables["revocations"]
    with writing(engine, "revocations") as db:
        (row,) = db.execute(select(table)).mappings()
        again = {**row, "id": 7, "reason": "again", "salt": secrets.token_bytes(32)}
        db.execute(insert(table), again)
        SqlRightsLog().revoked(db, BAND, [again], undo=False)
    assert ledger.verify() == []
    ended = catalogue.end_revocation(asked(RevocationOf.ARTIST, "The Band", by="desk"))
    assert ended.rows == (row["id"], 7)
    assert set(ledger.events("revocation")[-1].document["rows"]) == {str(row["id"]), "7"}
    assert (catalogue.revocations(), ledger.verify()) == ([], [])
    with writing(engine) as db:
        db.execute(table.update().where(table.c.id == 7).values(ended_at=None, ended_by=None))
    (fault,) = ledger.verify()
    assert (fault.seq, "revocation 7" in fault.what) == (ended.event, True)


def test_the_number_of_a_deleted_revocation_is_not_given_again(engine: Engine) -> None:
    """Else the new row would stand for the one that is gone."""
    catalogue, ledger = make_catalogue(engine), SqlLedger(engine)
    gone = catalogue.revoke(BAND)
    with writing(engine) as db:
        db.execute(metadata.tables["revocations"].delete())
    made = catalogue.revoke(asked(RevocationOf.STEM, SHARED))
    assert made.rows != gone.rows
    (fault,) = ledger.verify()
    assert (fault.seq, "missing" in fault.what) == (gone.event, True)


def test_the_highest_number_is_told_by_the_newest_entry_that_revoked(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "_EVENTS_AT_ONCE", 2)
    catalogue = make_catalogue(engine)
    for name in ("One", "Two", "Three", "Four", "Five"):
        (last,) = catalogue.revoke(asked(RevocationOf.ARTIST, name)).rows
    for name in ("Five", "Four", "One"):
        catalogue.end_revocation(asked(RevocationOf.ARTIST, name))
    read: list[int] = []

    def noted(row: Any) -> Any:
        read.append(row.seq)
        return tables.readable(row)

    monkeypatch.setattr(rights_log, "readable", noted)
    with writing(engine) as db:
        assert SqlRightsLog().last_revocation(db) == last
    assert len(read) == 4  # three that took one back, and the newest that revoked


def test_a_revocation_that_is_logged_twice_under_one_number_is_found(engine: Engine) -> None:
    catalogue, ledger = make_catalogue(engine), SqlLedger(engine)
    catalogue.revoke(BAND)
    with writing(engine) as db:
        (row,) = db.execute(select(metadata.tables["revocations"])).mappings()
        event = SqlRightsLog().revoked(db, BAND, [dict(row)], undo=False)
    (fault,) = ledger.verify()
    assert (fault.seq, "a second time" in fault.what) == (event, True)
