"""What the log says of each output, for checks of tables that stand beside the log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import Connection, Row, Select, select

from rag_audio.errors import LedgerError
from rag_audio.ports import Fault
from rag_audio.provenance.records import parse
from rag_audio.provenance.tables import entries, is_output, private, raw_bytes

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
