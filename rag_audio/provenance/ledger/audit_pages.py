"""Checks that read the log, or a table beside it, page by page: each page in any transaction."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnClause, Connection, Row, Select
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from rag_audio.domain.record import Fault
from rag_audio.errors import LedgerError
from rag_audio.provenance.ledger.records import parse
from rag_audio.provenance.ledger.tables import entries, output_entries, raw_bytes

AT_ONCE = 500
"""Rows of a page."""
_BEGINNING = -(2**63)
OF_CELLS = (SQLAlchemyError, LedgerError, ValueError, TypeError, OverflowError, RecursionError)
"""What reading a cell raises that holds no text, no number or no JSON."""
_SQLITE_AWAY = {5, 6, 7, 9, 10, 14}
"""Primary result codes of SQLite that say nothing of what is stored: SQLITE_BUSY, LOCKED, NOMEM,
INTERRUPT, IOERR, CANTOPEN (https://sqlite.org/rescode.html)."""


class PagedCheck(ABC):
    """A check that reads some hundred rows, can stop, and goes on in another transaction.

    Attributes:
        after: the last place that was checked. done: there is nothing more to check, or it ended
            at a cell that cannot be read.
    """

    def __init__(self, after: int = 0) -> None:
        # Somebody may have numbered rows below 1.
        self.after, self.done = after or _BEGINNING, False

    def step(self, db: Connection) -> Iterator[Fault]:
        """The faults of the next page; take all of them in one transaction."""
        self.done = True
        after = yield from self._page(db)
        if after is not None:
            self.after, self.done = after, False

    @abstractmethod
    def _page(self, db: Connection) -> Generator[Fault, None, int | None]:
        """The faults of the page after :attr:`after`; returns its last place, or None after the
        last page."""

    def all_of(self, db: Connection) -> Iterator[Fault]:
        """All faults, found in one transaction."""
        while not self.done:
            yield from self.step(db)


# Running one check: a cell that cannot be read is a fault, and not the end of all checks.


def checked(db: Connection, tables: Collection[str], faults: Iterable[Fault]) -> list[Fault]:
    """What a check finds; a cell that cannot be read ends it with one fault more.

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
    except OF_CELLS as error:
        if isinstance(error, DBAPIError) and _is_away(db, error):
            raise
        what = f"the tables {', '.join(sorted(tables))}" if tables else "the log"
        said = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
        reason = (str(said).strip().splitlines() or [type(said).__name__])[0]
        found.append(Fault(0, f"{what} cannot be read: {reason}"))
    return found


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


# What the log says of each output, for checks of tables beside the log.


@dataclass(frozen=True)
class LoggedOutput:
    """An output's entry.

    Attributes:
        document: of the entry, parsed. texts: the personal texts by pointer, empty where they are
            erased or damaged, which is reported where the entry itself is checked.
    """

    seq: int
    output: int
    document: Mapping[str, Any]
    texts: Mapping[str, Any]

    def part(self, name: str) -> Mapping[str, Any]:
        """An object of the document; empty where it has none of that name."""
        found = self.document.get(name)
        return found if isinstance(found, Mapping) else {}


class OutputsCheck(PagedCheck):
    """A check of each output's entry with what stands beside it."""

    def _page(self, db: Connection) -> Generator[Fault, None, int | None]:
        rows = page_after(db, output_entries(), entries.c.seq, self.after)
        yield from self._faults(db, [one for one in map(_logged, rows) if one is not None])
        return rows[-1].seq if rows else None

    @abstractmethod
    def _faults(self, db: Connection, outputs: list[LoggedOutput]) -> Iterator[Fault]:
        """What is wrong with these."""


def logged_outputs(db: Connection, after: int = 0) -> Iterator[list[LoggedOutput]]:
    """All outputs of the log after an entry, some hundred at a time, in order."""
    after = after or _BEGINNING
    while rows := page_after(db, output_entries(), entries.c.seq, after):
        yield [one for one in map(_logged, rows) if one is not None]
        after = rows[-1].seq


def find_logged(db: Connection, outputs: Sequence[int]) -> dict[int, LoggedOutput]:
    """The entries of some outputs."""
    rows = db.execute(output_entries().where(entries.c.output.in_(outputs)))
    return {one.output: one for one in map(_logged, rows) if one is not None}


def page_after(
    db: Connection, wanted: Select[Any], by: ColumnClause[Any], after: int
) -> Sequence[Row[Any]]:
    """The next rows of a statement in the order of a column, in which no two are alike."""
    return db.execute(wanted.where(by > after).order_by(by).limit(AT_ONCE)).all()


def _logged(row: Row[Any]) -> LoggedOutput | None:
    """None: the entry is damaged, which is reported where it is checked."""
    document = _parsed(row.document)
    output = document.get("output")
    if isinstance(output, bool) or not isinstance(output, int) or output != row.output:
        return None
    return LoggedOutput(row.seq, output, document, {} if row.texts is None else _parsed(row.texts))


def _parsed(column: object) -> Mapping[str, Any]:
    try:
        return parse(raw_bytes(column))
    except LedgerError:
        return {}
