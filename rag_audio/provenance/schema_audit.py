"""Whether the database still has its tables, columns, primary keys and triggers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlalchemy import Connection, text

from rag_audio.migrations import HEAD, TABLES
from rag_audio.migrations.expected import (
    Schema,
    columns_in,
    expected_schema,
    primary_keys_in,
    sqlite_triggers,
)
from rag_audio.ports import Fault

_GUARDS = "it keeps programs from changing what was written"
_IN_POSTGRESQL = text(
    "SELECT t.tgname AS name, c.relname AS place, t.tgenabled::text AS enabled, p.prosrc AS body, "
    "t.tgtype::integer AS type FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid "
    "JOIN pg_proc p ON p.oid = t.tgfoid "
    "WHERE NOT t.tgisinternal AND c.relnamespace = current_schema()::regnamespace"
)
_ROW, _BEFORE, _DELETE, _UPDATE = 1, 2, 8, 16
"""Bits of ``pg_trigger.tgtype``."""


@dataclass
class Damage:
    """What the database lacks.

    Attributes:
        tables: those that are not whole: reading them would fail.
    """

    tables: set[str] = field(default_factory=set)
    faults: list[Fault] = field(default_factory=list)

    @property
    def of_log(self) -> bool:
        """Whether the log itself cannot be read."""
        return any(table.startswith("ledger_") for table in self.tables)

    def add(self, what: str, table: str | None = None) -> None:
        """Note a fault, and the table that cannot be read for it."""
        self.faults.append(Fault(0, what))
        if table is not None:
            self.tables.add(table)


def find_damage(db: Connection) -> Damage:
    """Tables, columns, primary keys and triggers that are missing or were changed.

    They are held against those of this version. Without its primary key a table can have a row
    twice, and which of the two a program reads is chance.

    On SQLite a trigger is held against the words that made it; on PostgreSQL it must be enabled,
    fire before the right action, and call a function that raises an exception.
    """
    wanted, damage = expected_schema(HEAD), Damage()
    columns = columns_in(db)
    for table in TABLES:
        if table not in columns:
            damage.add(f"the table {table} is missing", table)
            continue
        for column in sorted(wanted.columns[table] - columns[table]):
            damage.add(f"the table {table} lacks its column {column}", table)
    keys = primary_keys_in(db)
    for table, key in sorted(wanted.keys.items()):
        if columns.get(table, frozenset()).issuperset(key) and set(keys[table]) != set(key):
            damage.add(f"the table {table} has lost its primary key ({', '.join(key)})")
    gone = {table for table in TABLES if table not in columns}
    for what in _trigger_faults(db, wanted, gone):
        damage.add(what)
    if damage.of_log:
        damage.add("the log was not checked, since a table of it cannot be read")
    return damage


def _trigger_faults(db: Connection, wanted: Schema, gone: set[str]) -> Iterator[str]:
    """Triggers that are missing or do nothing.

    Args:
        gone: tables that are missing, and their triggers with them.
    """
    works = _working(db, wanted)
    for name, (table, _) in sorted(wanted.triggers.items()):
        if table in gone or works.get(name, False):
            continue
        if name in works:
            yield f"the trigger {name} of {table} was changed or switched off: {_GUARDS}"
        else:
            yield f"the trigger {name} of {table} is missing: {_GUARDS}"


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
