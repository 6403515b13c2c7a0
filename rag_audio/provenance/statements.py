"""Statements of the hot path, whose SQL text is made once.

SQLAlchemy looks a statement up in its cache by walking it, and wraps what comes back, which takes
longer than SQLite takes to run it; an append runs half a dozen of them. The text that it would
have made is kept here, and runs on the driver's own cursor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Dialect
from sqlalchemy.sql import Executable
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ClauseElement

from rag_audio.database import drive

Row = Mapping[str, Any]


class Prepared:
    """A statement with named parameters, of types that both drivers take as they are."""

    def __init__(self, statement: Executable) -> None:
        if not isinstance(statement, ClauseElement):
            raise TypeError(f"{statement!r} has no SQL text")
        self._statement = statement
        self._texts: dict[str, tuple[str, Sequence[str] | None]] = {}

    def run(self, db: Connection, *rows: Row) -> list[tuple[Any, ...]]:
        """Execute it, once per row of parameters; what it returns, where it returns anything.

        Raises:
            DBAPIError: as SQLAlchemy would raise it.
        """
        text, order = self._for(db.dialect)
        if order is None:
            return drive(db, text, rows)
        return drive(db, text, [tuple([row[name] for name in order]) for row in rows])

    def _for(self, dialect: Dialect) -> tuple[str, Sequence[str] | None]:
        """The SQL text for a database; the order of its parameters where they have no names."""
        name = dialect.name + dialect.driver
        if name not in self._texts:
            compiled = self._statement.compile(dialect=dialect)
            if not isinstance(compiled, SQLCompiler):
                raise TypeError(f"{self._statement!r} has no SQL text")
            self._texts[name] = (str(compiled), compiled.positiontup)
        return self._texts[name]
