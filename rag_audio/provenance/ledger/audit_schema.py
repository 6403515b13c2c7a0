"""Whether the database still has its tables, columns, primary keys and triggers."""

from __future__ import annotations

from sqlalchemy import Connection, text

from rag_audio.domain.record import Fault
from rag_audio.storage.migrations import HEAD, TABLES
from rag_audio.storage.migrations.expected import (
    Schema,
    columns_in,
    expected_schema,
    primary_keys_in,
    sqlite_triggers,
)

_GUARDS = "it keeps programs from changing what was written"
_IN_POSTGRESQL = text(
    "SELECT t.tgname AS name, c.relname AS place, t.tgenabled::text AS enabled, p.prosrc AS body, "
    "t.tgtype::integer AS type FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid "
    "JOIN pg_proc p ON p.oid = t.tgfoid "
    "WHERE NOT t.tgisinternal AND c.relnamespace = current_schema()::regnamespace"
)
_ROW, _BEFORE, _DELETE, _UPDATE = 1, 2, 8, 16
"""Bits of ``pg_trigger.tgtype``."""


def schema_faults(db: Connection) -> tuple[list[Fault], set[str]]:
    """Tables, columns, primary keys and triggers that are missing or were changed, and the tables
    that cannot be read for it.

    They are compared with those of this version. Without its primary key a table can have a row
    twice, and which of the two a program reads is chance.

    On SQLite a trigger is compared with the words that made it; on PostgreSQL it must be enabled,
    fire before the right action, and call a function that raises an exception.
    """
    wanted, columns, keys = expected_schema(HEAD), columns_in(db), primary_keys_in(db)
    missing = {table for table in TABLES if table not in columns}
    found = [f"the table {table} is missing" for table in sorted(missing)]
    unreadable = set(missing)
    for table, there in columns.items():
        for column in sorted(wanted.columns[table] - there):
            found.append(f"the table {table} lacks its column {column}")
            unreadable.add(table)
    for table, key in sorted(wanted.keys.items()):
        if columns.get(table, frozenset()).issuperset(key) and set(keys[table]) != set(key):
            found.append(f"the table {table} has lost its primary key ({', '.join(key)})")
    works = _working(db, wanted)
    for name, (table, _) in sorted(wanted.triggers.items()):
        if table not in missing and not works.get(name, False):
            what = "was changed or switched off" if name in works else "is missing"
            found.append(f"the trigger {name} of {table} {what}: {_GUARDS}")
    return [Fault(0, what) for what in found], unreadable


def _working(db: Connection, wanted: Schema) -> dict[str, bool]:
    """The triggers that are there, and whether each does what it should."""
    if db.dialect.name == "sqlite":
        there = sqlite_triggers(db)
        return {
            name: there[name] == wanted.triggers[name] for name in wanted.triggers.keys() & there
        }
    works = {}
    for row in db.execute(_IN_POSTGRESQL):
        if row.name in wanted.triggers:
            table, _ = wanted.triggers[row.name]
            action = _DELETE if row.name.endswith("_no_delete") else _UPDATE
            works[row.name] = (
                row.place == table
                and row.enabled in ("O", "A")
                and row.type == _ROW | _BEFORE | action
                and row.body.strip().startswith("BEGIN RAISE EXCEPTION")
            )
    return works
