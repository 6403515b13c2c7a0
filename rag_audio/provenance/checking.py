"""One check of the database, whose failure is a fault of what it reads and not the end of all."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from rag_audio.errors import LedgerError
from rag_audio.ports import Fault

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
