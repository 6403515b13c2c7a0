"""All tables of a database as lines of JSON, and back: of either kind of database, into either.

The first line names format and schema; then each table has a line with its name and columns, and
one line per row. Bytes are written as ``{"base64": ...}``. The schema's revision goes with the
rows: they are put into tables of that revision, and migrated then.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, MetaData, Table, inspect, select, text

from rag_audio.errors import InvalidInput
from rag_audio.storage.database import reading, writing
from rag_audio.storage.migrations import TABLES, make_schema, migrate, migrate_in, revision_of

_FORMAT = "rag-audio database 1"
_ROWS_AT_ONCE = 500


def write_dump(engine: Engine, target: Path) -> dict[str, int]:
    """Write all rows, as they stand at one moment; how many each table has.

    Raises:
        ConfigError, LedgerTampered: as :func:`rag_audio.storage.migrations.migrate`.
        BackendUnavailable: the database failed.
    """
    migrate(engine)
    counts: dict[str, int] = {}
    with reading(engine) as db, target.open("w", encoding="utf-8") as file:
        _line(file, {"format": _FORMAT, "revision": revision_of(db)})
        for table in _tables(db):
            columns = [column.name for column in table.columns]
            _line(file, {"table": table.name, "columns": columns})
            counts[table.name] = 0
            rows = db.execution_options(yield_per=_ROWS_AT_ONCE).execute(
                select(table).order_by(*table.primary_key.columns)
            )
            for row in rows:
                _line(file, [_to_json(value) for value in row])
                counts[table.name] += 1
    return counts


def read_dump(
    engine: Engine,
    source: Path,
    within: Callable[[Connection, dict[str, int]], None] | None = None,
) -> dict[str, int]:
    """Put the rows of a dump into a database that has none of our tables, in one transaction.

    Args:
        within: called in that transaction, at the newest revision, with how many rows each table
            got; what it raises undoes all of it and passes through.

    Raises:
        InvalidInput: the database has tables of ours, or the dump is not one.
        ConfigError: a newer version wrote the dump.
        BackendUnavailable: the database failed; so it does where a row does not fit its table.
    """
    with source.open("rb") as file, writing(engine, "schema") as db:
        taken = sorted(set(TABLES) & set(inspect(db).get_table_names()))
        if taken:
            raise InvalidInput(
                f"the database {_name(engine)} is not empty: it has the table {taken[0]!r}",
                hint="a restore never overwrites: name an empty database (RAG_AUDIO_DATABASE_URL)",
            )
        lines = _read(source, file)
        head = next(lines, None)
        if not isinstance(head, Mapping) or head.get("format") != _FORMAT:
            raise _broken(source, "it does not begin as one")
        make_schema(db, str(head.get("revision")))
        counts = _fill(db, lines, source)
        _continue_counting(db)
        migrate_in(db)
        if within is not None:
            within(db, counts)
    return counts


def _fill(db: Connection, lines: Iterator[Any], source: Path) -> dict[str, int]:
    tables = {table.name: table for table in _tables(db)}
    for table in reversed(tables.values()):
        db.execute(table.delete())  # the first rows that a new log begins with
    counts: dict[str, int] = {}
    into: Table | None = None
    columns: list[str] = []
    waiting: list[dict[str, Any]] = []

    def put() -> None:
        if into is not None and waiting:
            db.execute(into.insert(), waiting)
            counts[into.name] += len(waiting)
            waiting.clear()

    for line in lines:
        if isinstance(line, Mapping):
            put()
            into = tables.get(str(line.get("table")))
            columns = [column.name for column in into.columns] if into is not None else []
            if into is None or into.name in counts or line.get("columns") != columns:
                raise _broken(source, f"its table {line.get('table')!r} is unknown or comes twice")
            counts[into.name] = 0
            continue
        if into is None or not isinstance(line, list) or len(line) != len(columns):
            raise _broken(source, "a row has no table, or another length than it")
        try:
            waiting.append(dict(zip(columns, map(_from_json, line), strict=True)))
        except ValueError as error:
            raise _broken(source, f"a row of {into.name!r} holds what no column can") from error
        if len(waiting) == _ROWS_AT_ONCE:
            put()
    put()
    if set(counts) != set(tables):
        raise _broken(source, f"it lacks the table {min(set(tables) - set(counts))!r}")
    return counts


def _continue_counting(db: Connection) -> None:
    """PostgreSQL numbers new revocations after those that were put in with their numbers."""
    if db.dialect.name == "postgresql":
        db.execute(
            text(
                "SELECT setval(pg_get_serial_sequence('revocations', 'id'), "
                "coalesce(max(id), 0) + 1, false) FROM revocations"
            )
        )


def _tables(db: Connection) -> list[Table]:
    """Our tables as the database has them, whatever its revision; those referred to first."""
    there = set(inspect(db).get_table_names())
    wanted = [name for name in TABLES if name in there and name != "alembic_version"]
    found = MetaData()
    found.reflect(db, only=wanted)
    return found.sorted_tables


def _line(file: Any, value: Any) -> None:
    file.write(json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False))
    file.write("\n")


def _read(source: Path, lines: Iterable[bytes]) -> Iterator[Any]:
    for line in lines:
        try:
            yield json.loads(line)
        except (ValueError, RecursionError) as error:
            raise _broken(source, "a line is not JSON") from error


def _to_json(value: Any) -> Any:
    if isinstance(value, (bytes, memoryview)):
        return {"base64": base64.b64encode(bytes(value)).decode("ascii")}
    return value


def _from_json(value: Any) -> Any:
    """The value of a column.

    Raises:
        ValueError: it is none that :func:`_to_json` writes.
    """
    if isinstance(value, Mapping):
        if set(value) != {"base64"}:
            raise ValueError("an object that is no bytes")
        return base64.b64decode(str(value["base64"]), validate=True)
    if isinstance(value, list):
        raise ValueError("a list")
    if isinstance(value, str) and not value.isascii():
        value.encode()  # UnicodeEncodeError is a ValueError: half of a surrogate pair
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError("more than 64 bits")
    return value


def _name(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=True)


def _broken(source: Path, why: str) -> InvalidInput:
    return InvalidInput(
        f"{source.name!r} is not a copy of a database: {why}",
        hint="use an archive of `rag-audio backup`",
    )
