"""Statements of the hot path, whose SQL text is made once.

SQLAlchemy looks a statement up in its cache by walking it, which takes longer than SQLite takes to
run it; an append runs half a dozen of them. The text that it would have made is kept here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, CursorResult
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import Executable
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ClauseElement

Row = Mapping[str, Any]


class Prepared:
    """A statement with named parameters, of types that both drivers take as they are."""

    def __init__(self, statement: Executable) -> None:
        if not isinstance(statement, ClauseElement):
            raise TypeError(f"{statement!r} has no SQL text")
        self._statement = statement
        self._texts: dict[str, tuple[str, Sequence[str] | None]] = {}

    def run(self, db: Connection, *rows: Row) -> CursorResult[Any]:
        """Execute it, once per row of parameters."""
        text, given = self._for(db, rows)
        if not given or given == [()]:
            return db.exec_driver_sql(text)
        return db.exec_driver_sql(text, given[0] if len(given) == 1 else given)

    def write(self, db: Connection, *rows: Row) -> None:
        """As :meth:`run`, for what returns nothing: by the driver's own cursor.

        Raises:
            DBAPIError: as SQLAlchemy would raise it.
        """
        text, given = self._for(db, rows)
        driver = db.dialect.loaded_dbapi
        cursor = db.connection.cursor()
        try:
            if len(given) == 1:
                cursor.execute(text, given[0])
            else:
                cursor.executemany(text, given)
        except driver.Error as error:
            raise DBAPIError.instance(text, given, error, driver.Error) from error
        finally:
            cursor.close()

    def _for(self, db: Connection, rows: Sequence[Row]) -> tuple[str, list[Any]]:
        """The SQL text for the database, and the rows as its driver takes them."""
        name = f"{db.dialect.name}+{db.dialect.driver}"
        if name not in self._texts:
            compiled = self._statement.compile(dialect=db.dialect)
            if not isinstance(compiled, SQLCompiler):
                raise TypeError(f"{self._statement!r} has no SQL text")
            self._texts[name] = (str(compiled), compiled.positiontup)
        text, order = self._texts[name]
        if order is None:
            return text, [dict(row) for row in rows]
        return text, [tuple(row[name] for name in order) for row in rows]
