"""Databases of older versions are brought up to date; those of newer ones are left alone."""

from __future__ import annotations

import multiprocessing
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

import rag_audio.storage.migrations
from rag_audio.errors import ConfigError, LedgerError, LedgerTampered
from rag_audio.provenance.ledger.ledger import SqlLedger
from rag_audio.provenance.ledger.output_queries import OutputFilter
from rag_audio.storage.database import connect, sqlite_url
from rag_audio.storage.migrations import HEAD
from tests.provenance.builders import digest, record, source
from tests.provenance.chain import write_chain


def open_ledger(path: Path) -> SqlLedger:
    return SqlLedger(connect(sqlite_url(path)))


def version(path: Path) -> str:
    with closing(sqlite3.connect(path)) as db:
        return str(db.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def test_the_newest_revision_is_the_one_the_code_knows() -> None:
    (place,) = rag_audio.storage.migrations.__path__
    assert ScriptDirectory(place).get_heads() == [HEAD]


def test_entries_of_the_chain_keep_their_documents_and_order(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    old = [record(number, source(f"stem {number}")) for number in (3, 1, 7, 4, 9)]
    documents = write_chain(path, old)
    ledger = open_ledger(path)
    assert list(ledger.documents()) == documents
    assert [entry.record for entry in ledger.outputs()] == old
    assert [entry.seq for entry in ledger.outputs()] == [1, 2, 3, 4, 5]
    assert ledger.find_pcm(digest("file 7")) == ledger.find(7)
    assert [e.record.output for e in ledger.outputs(OutputFilter(stem=digest("stem 4")))] == [4]
    assert ledger.verify() == []
    assert version(path) == HEAD


def test_a_migrated_log_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    write_chain(path, [record(number) for number in range(1, 602)])
    ledger = open_ledger(path)
    assert ledger.next_output_id() == 602
    assert ledger.append(record(602)).seq == 602
    assert ledger.inclusion(1).size == 602
    assert open_ledger(path).verify() == []


def test_an_empty_chain_is_migrated(tmp_path: Path) -> None:
    write_chain(tmp_path / "ledger.db", [])
    ledger = open_ledger(tmp_path / "ledger.db")
    assert (ledger.size(), ledger.verify()) == (0, [])


def test_plain_texts_of_the_chain_cannot_be_erased_and_it_says_so(tmp_path: Path) -> None:
    write_chain(tmp_path / "ledger.db", [record(1)])
    with pytest.raises(LedgerError, match="no personal texts aside"):
        open_ledger(tmp_path / "ledger.db").erase(1)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger_entries SET document = CAST(replace(CAST(document AS TEXT), 'dusty', 'x') "
        "AS BLOB) WHERE seq = 2",
        "UPDATE ledger_entries SET leaf_hash = head WHERE seq = 2",
        "DELETE FROM ledger_entries WHERE seq = 2",
    ],
)
def test_a_forged_chain_is_not_migrated(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "ledger.db"
    write_chain(path, [record(1), record(2), record(3)])
    with closing(sqlite3.connect(path)) as db:
        for action in ("update", "delete"):
            db.execute(f"DROP TRIGGER ledger_entries_no_{action}")
        db.execute(statement)
        db.commit()
    before = dump(path)
    with pytest.raises(LedgerTampered, match="entry 2"):
        open_ledger(path)
    assert dump(path) == before


def test_a_shortened_chain_is_not_migrated(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    write_chain(path, [record(1), record(2)])
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP TRIGGER ledger_entries_no_delete")
        db.execute("DELETE FROM ledger_entries WHERE seq = 2")
        db.commit()
    with pytest.raises(LedgerTampered):
        open_ledger(path)


def test_a_database_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    open_ledger(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE alembic_version SET version_num = '9999'")
        db.commit()
    with pytest.raises(ConfigError, match="'9999', which this version does not know"):
        open_ledger(path)


def count(path: Path) -> int:
    return len(open_ledger(path).outputs())


def test_processes_that_migrate_at_once_do_it_once(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    write_chain(path, [record(number) for number in range(1, 40)])
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        assert pool.map(count, [path] * 3) == [39] * 3
    assert open_ledger(path).verify() == []


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as db:
        return list(db.iterdump())
