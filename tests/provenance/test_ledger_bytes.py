"""Any single byte of a ledger, changed, is found: all columns of all tables, one after another.

The ledger is a small one with every kind of entry and of side row. Values are changed through SQL,
with the triggers dropped; integers in each byte of their eight, texts and blobs in each byte.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from rag_audio.domain import AttributionRecord
from rag_audio.provenance.ledger.audit import faults
from rag_audio.provenance.ledger.ledger import SqlLedger
from rag_audio.storage.database import connect, sqlite_url
from tests.provenance.builders import record, source

TABLES = (
    "ledger_entries",
    "ledger_nodes",
    "ledger_tree",
    "ledger_counter",
    "ledger_private",
    "ledger_checkpoints",
    "ledger_outputs",
    "ledger_sources",
    "ledger_hashes",
)


def small(output: int) -> AttributionRecord:
    """A short record: verification is run for each of its bytes."""
    return record(
        output,
        *([] if output == 2 else [source("kit")]),
        request={"prompt": "dusty", "k": 3},
        plan={"spans": [{"text": "ab", "tokens": 1}]},
        versions={},
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bytes") / "ledger.db"
    ledger = SqlLedger(connect(sqlite_url(path)), path.with_name("ledger.key"))
    for _ in range(2):
        ledger.append(small(ledger.next_output_id()))
    ledger.append_event("influence", {"output": 1, "causal": [0.5]})
    ledger.checkpoint()
    ledger.erase(2)
    assert ledger.verify() == []
    with closing(sqlite3.connect(path)) as db:
        assert {row[0] for row in db.execute("SELECT name FROM sqlite_master")} >= set(TABLES)
        for table in TABLES:
            assert db.execute(f"SELECT count(*) FROM {table}").fetchone()[0], table  # noqa: S608
    return path


def changed(value: object) -> Iterator[object]:
    """The value with one byte changed, for each of its bytes; another value where it is NULL."""
    if value is None:
        yield 1
    elif isinstance(value, int):
        raw = value.to_bytes(8, "big", signed=True)
        for place in range(8):
            yield int.from_bytes(_flipped(raw, place, 1), "big", signed=True)
    elif isinstance(value, str):
        raw = value.encode()
        for place in range(len(raw)):
            yield _flipped(raw, place, 1).decode()
    else:
        assert isinstance(value, bytes)
        for place in range(len(value)):
            yield _flipped(value, place, 1 << (place % 8))


def _flipped(raw: bytes, place: int, mask: int) -> bytes:
    return raw[:place] + bytes([raw[place] ^ mask]) + raw[place + 1 :]


@pytest.mark.slow
@pytest.mark.parametrize("table", TABLES)
def test_every_single_byte_counts(written: Path, table: str) -> None:
    key = SqlLedger(connect(sqlite_url(written)), written.with_name("ledger.key")).verifier_key()
    memory = sqlite3.connect(":memory:", isolation_level=None)
    with closing(sqlite3.connect(written)) as db:
        db.backup(memory)
    for (trigger,) in memory.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'"):
        memory.execute(f"DROP TRIGGER {trigger}")
    engine = create_engine("sqlite://", creator=lambda: memory, poolclass=StaticPool)
    missed = []
    count = 0
    with engine.connect() as connection:
        described = memory.execute(f"PRAGMA table_info({table})").fetchall()
        columns = [row[1] for row in described]
        keys = [row[1] for row in described if row[5]]
        where = " AND ".join(f"{name} = ?" for name in keys)
        for values in memory.execute(f"SELECT * FROM {table}").fetchall():  # noqa: S608
            at = [values[columns.index(name)] for name in keys]
            for column, value in zip(columns, values, strict=True):
                for other in changed(value):
                    memory.execute("SAVEPOINT before")
                    try:
                        memory.execute(
                            f"UPDATE {table} SET {column} = ? WHERE {where}",  # noqa: S608
                            (other, *at),
                        )
                    except sqlite3.IntegrityError:
                        pass  # Two rows of one key: the database itself refuses.
                    else:
                        count += 1
                        if next(faults(connection, key), None) is None:
                            missed.append((at, column, value, other))
                    memory.execute("ROLLBACK TO before")
    assert count > 8
    assert missed == []
