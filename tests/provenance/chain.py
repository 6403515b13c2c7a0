"""A database as version 0.1.0 left it: the log as a hash chain, plain texts in the documents."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from hashlib import sha256
from pathlib import Path

from rag_audio.domain import AttributionRecord
from rag_audio.provenance.ledger.tables import hash_rows, source_rows
from tests.provenance.builders import encode_record

SCHEMA = """
CREATE TABLE ledger_counter (id INTEGER NOT NULL, last_output BIGINT NOT NULL, PRIMARY KEY (id));
CREATE TABLE ledger_head (
    id INTEGER NOT NULL, entries INTEGER NOT NULL, head VARCHAR(64) NOT NULL, PRIMARY KEY (id));
CREATE TABLE ledger_entries (
    seq INTEGER NOT NULL, output BIGINT NOT NULL, leaf_hash VARCHAR(64) NOT NULL,
    head VARCHAR(64) NOT NULL, document BLOB NOT NULL, PRIMARY KEY (seq), UNIQUE (output));
CREATE TABLE ledger_sources (
    seq INTEGER NOT NULL, position INTEGER NOT NULL, stem VARCHAR NOT NULL,
    artist VARCHAR NOT NULL, library VARCHAR NOT NULL, license VARCHAR NOT NULL,
    holder VARCHAR NOT NULL, PRIMARY KEY (seq, position));
CREATE INDEX ix_ledger_sources_stem ON ledger_sources (stem);
CREATE INDEX ix_ledger_sources_artist ON ledger_sources (artist);
CREATE INDEX ix_ledger_sources_license ON ledger_sources (license);
CREATE INDEX ix_ledger_sources_holder ON ledger_sources (holder);
CREATE TABLE ledger_hashes (
    seq INTEGER NOT NULL, what VARCHAR NOT NULL, sha256 VARCHAR(64) NOT NULL,
    PRIMARY KEY (seq, what));
CREATE INDEX ix_ledger_hashes_sha256 ON ledger_hashes (sha256);
"""


def write_chain(path: Path, records: list[AttributionRecord]) -> list[bytes]:
    """Make the database; the documents, in order."""
    documents = [encode_record(record) for record in records]
    head = sha256(b"").digest()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(SCHEMA)
        for seq, (record, document) in enumerate(zip(records, documents, strict=True), start=1):
            leaf = sha256(b"\x00" + document).digest()
            head = sha256(b"\x01" + head + leaf).digest()
            row = (seq, record.output, leaf.hex(), head.hex(), document)
            db.execute("INSERT INTO ledger_entries VALUES (?, ?, ?, ?, ?)", row)
            for used in source_rows(seq, record):
                marks = ", ".join("?" * len(used))
                db.execute(f"INSERT INTO ledger_sources VALUES ({marks})", tuple(used.values()))  # noqa: S608
            for known in hash_rows(seq, record):
                db.execute("INSERT INTO ledger_hashes VALUES (?, ?, ?)", tuple(known.values()))
        last = max((record.output for record in records), default=0)
        db.execute("INSERT INTO ledger_counter VALUES (1, ?)", (last,))
        db.execute("INSERT INTO ledger_head VALUES (1, ?, ?)", (len(records), head.hex()))
        for table in ("ledger_entries", "ledger_sources", "ledger_hashes"):
            for action in ("UPDATE", "DELETE"):
                db.execute(
                    f"CREATE TRIGGER {table}_no_{action.lower()} BEFORE {action} ON {table} "
                    f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
                )
        db.commit()
    return documents
