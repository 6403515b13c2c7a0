"""One check of the database, whose failure is a fault of what it reads and not the end of all."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from sqlalchemy import Connection, Row, Select, select, text
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from rag_audio.domain.record import Fault
from rag_audio.errors import LedgerError
from rag_audio.provenance.ledger.records import parse
from rag_audio.provenance.ledger.tables import entries, is_output, private, raw_bytes
from rag_audio.storage.migrations import HEAD, TABLES
from rag_audio.storage.migrations.expected import (
    Schema,
    columns_in,
    expected_schema,
    primary_keys_in,
    sqlite_triggers,
)

_OF_CELLS = (SQLAlchemyError, LedgerError, ValueError, TypeError, OverflowError, RecursionError)
"""What reading a cell raises that holds no text, no number or no JSON."""
_SQLITE_AWAY = {5, 6, 7, 9, 10, 14}
"""Primary result codes of SQLite that say nothing of what is stored: SQLITE_BUSY, LOCKED, NOMEM,
INTERRUPT, IOERR, CANTOPEN (https://sqlite.org/rescode.html)."""


@dataclass(frozen=True)
class Checked:
    """What a check found.

    Attributes:
        ended: whether it came to its end; else the last fault says why it did not.
    """

    faults: tuple[Fault, ...]
    ended: bool


def checked(db: Connection, tables: Collection[str], faults: Iterable[Fault]) -> Checked:
    """Run a check; a cell that cannot be read ends it with one fault more.

    The transaction is then as it was before the check, so that others can go on: PostgreSQL would
    refuse every further statement.

    Args:
        tables: those that it reads, for the fault; none: the log's.
        faults: of the check, which reads as they are taken from it.

    Raises:
        DBAPIError: the database itself cannot be reached any more.
    """
    found: list[Fault] = []
    try:
        with db.begin_nested():
            found.extend(faults)
    except _OF_CELLS as error:
        if isinstance(error, DBAPIError) and _is_away(db, error):
            raise
        what = f"the tables {', '.join(sorted(tables))}" if tables else "the log"
        found.append(Fault(0, f"{what} cannot be read: {_reason(error)}"))
        return Checked(tuple(found), ended=False)
    return Checked(tuple(found), ended=True)


def _is_away(db: Connection, error: DBAPIError) -> bool:
    """Whether the database failed, whatever the cells hold."""
    if error.connection_invalidated:
        return True
    if not isinstance(error, OperationalError):
        return False
    if db.dialect.name == "sqlite":
        # A text that is not UTF-8 is found by the driver and has no code of SQLite's.
        return getattr(error.orig, "sqlite_errorcode", 0) & 0xFF in _SQLITE_AWAY
    return True


def _reason(error: BaseException) -> str:
    """The first line of what the driver, or Python, says."""
    said = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return (str(said).strip().splitlines() or [type(said).__name__])[0]


# What the log says of each output, for checks of tables that stand beside the log.

_AT_ONCE = 500


@dataclass(frozen=True)
class Logged:
    """An output's entry.

    Attributes:
        document: of the entry, parsed. texts: the personal texts by pointer, empty where they are
            erased or damaged, which is told where the entry itself is checked.
    """

    seq: int
    output: int
    document: Mapping[str, Any]
    texts: Mapping[str, Any]

    def part(self, name: str) -> Mapping[str, Any]:
        """An object of the document; empty where it has none of that name."""
        found = self.document.get(name)
        return found if isinstance(found, Mapping) else {}


class SideAudit(Protocol):
    """Holds rows beside the log against the outputs of the log."""

    def of(self, outputs: Sequence[Logged]) -> Iterator[Fault]:
        """What is wrong with the rows of these outputs; each output of the log comes once."""
        ...

    def rest(self) -> Iterator[Fault]:
        """What else is wrong, after all outputs have come."""
        ...


def logged_outputs(db: Connection) -> Iterator[list[Logged]]:
    """All outputs of the log, some hundred at a time, in the order of their entries."""
    last = 0
    wanted = _wanted().order_by(entries.c.seq).limit(_AT_ONCE)
    while rows := db.execute(wanted.where(entries.c.seq > last)).all():
        last = rows[-1].seq
        yield [one for one in map(_logged, rows) if one is not None]


def find_logged(db: Connection, outputs: Sequence[int]) -> dict[int, Logged]:
    """The entries of some outputs."""
    rows = db.execute(_wanted().where(entries.c.output.in_(outputs))).all()
    return {one.output: one for one in map(_logged, rows) if one is not None}


def _wanted() -> Select[Any]:
    return (
        select(entries.c.seq, entries.c.output, entries.c.document, private.c.texts)
        .outerjoin(private, private.c.seq == entries.c.seq)
        .where(is_output)
    )


def _logged(row: Row[Any]) -> Logged | None:
    """None: the entry is damaged, which is told where it is checked."""
    document = _parsed(row.document)
    output = document.get("output")
    if isinstance(output, bool) or not isinstance(output, int) or output != row.output:
        return None
    return Logged(row.seq, output, document, {} if row.texts is None else _parsed(row.texts))


def _parsed(column: object) -> Mapping[str, Any]:
    try:
        return parse(raw_bytes(column))
    except LedgerError:
        return {}


# Whether the database still has its tables, columns, primary keys and triggers.

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
