"""What a database of a revision must have: tables, columns, primary keys, and triggers.

It is read from a database of that revision, which the migrations make in memory: nothing has to be
written down a second time, and nothing can be forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from sqlalchemy import Connection, inspect, text

from rag_audio.storage.database import connect, reading, writing
from rag_audio.storage.migrations import TABLES, make_schema


@dataclass(frozen=True)
class Schema:
    """Tables of ours, and the triggers on them.

    Attributes:
        columns: table → its columns.
        keys: table → the columns of its primary key, in their order.
        triggers: name → (table, what SQLite was told to do, in one spelling of white space).
    """

    columns: Mapping[str, frozenset[str]]
    keys: Mapping[str, tuple[str, ...]]
    triggers: Mapping[str, tuple[str, str]]


@lru_cache(maxsize=16)
def expected_schema(revision: str) -> Schema:
    """What a database of a revision must have.

    Raises:
        ConfigError: this version does not know the revision.
    """
    engine = connect("sqlite://")
    try:
        with writing(engine) as db:
            make_schema(db, revision)
        with reading(engine) as db:
            return Schema(columns_in(db), primary_keys_in(db), sqlite_triggers(db))
    finally:
        engine.dispose()


def columns_in(db: Connection) -> dict[str, frozenset[str]]:
    """The columns of each table of ours that the database has."""
    inspector = inspect(db)
    there = sorted(set(TABLES) & set(inspector.get_table_names()))
    found = inspector.get_multi_columns(filter_names=there) if there else {}
    return {
        name: frozenset(str(column["name"]) for column in columns)
        for (_, name), columns in found.items()
    }


def primary_keys_in(db: Connection) -> dict[str, tuple[str, ...]]:
    """The columns of the primary key of each table of ours that the database has; none: empty."""
    inspector = inspect(db)
    there = sorted(set(TABLES) & set(inspector.get_table_names()))
    found = inspector.get_multi_pk_constraint(filter_names=there) if there else {}
    return {name: tuple(key["constrained_columns"]) for (_, name), key in found.items()}


def sqlite_triggers(db: Connection) -> dict[str, tuple[str, str]]:
    """The triggers of a SQLite database, as in :class:`Schema`."""
    rows = db.execute(text("SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger'"))
    return {row.name: (row.tbl_name, " ".join(str(row.sql).split())) for row in rows}
