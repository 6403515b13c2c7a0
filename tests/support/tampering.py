"""A database as somebody changes it who can write it and knows how it guards itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path


@contextmanager
def tampering(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection without triggers and foreign keys; the triggers are put back at the end."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA foreign_keys = OFF")
        triggers = drop_triggers(db)
        yield db
        put_back(db, triggers)


def drop_triggers(db: sqlite3.Connection) -> list[tuple[str, str]]:
    """Drop all triggers; the table of each, and the statement that makes it again."""
    wanted = "SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger'"
    found = db.execute(wanted).fetchall()
    for name, _, _ in found:
        db.execute(f"DROP TRIGGER {name}")
    return [(table, sql) for _, table, sql in found]


def put_back(db: sqlite3.Connection, triggers: list[tuple[str, str]]) -> None:
    """Make triggers again, of the tables that are still there."""
    there = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    for table, statement in triggers:
        if table in there:
            db.execute(statement)
