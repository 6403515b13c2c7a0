"""Revocations and erasures of a log that went on, done again in a database of before them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Text, column, select, table

from rag_audio import revocations
from rag_audio.earlier_logs import Later, LaterEvent
from rag_audio.errors import InvalidInput
from rag_audio.licensing import Revocation, RevocationOf
from rag_audio.provenance.erasing import erase_texts
from rag_audio.provenance.log import output_row
from rag_audio.provenance.records import parse
from rag_audio.provenance.rights_log import SqlRightsLog
from rag_audio.provenance.sealing import ERASURE, has_texts

REVOCATION = "revocation"
BY = "restore"
"""Who revoked, in the table of revocations, what was carried over from a later log."""


@dataclass(frozen=True)
class CarriedOver:
    """What later logs say that has to hold in the older database too, in their order.

    Attributes:
        revoked: with the event that tells of each. erased: erasures of outputs that are there.
    """

    revoked: tuple[tuple[LaterEvent, Revocation], ...]
    erased: tuple[LaterEvent, ...]

    @property
    def count(self) -> dict[str, int]:
        """How many of each kind."""
        return {"revocations": len(self.revoked), "erasures": len(self.erased)}

    def to_json(self) -> dict[str, list[dict[str, Any]]]:
        """Each by name; ``entry`` is its place in the later log."""
        return {
            "revocations": [
                {"of": one.of.value, "target": one.target, "undo": _undo(event), "entry": event.seq}
                for event, one in self.revoked
            ],
            "erasures": [{"output": event.output, "entry": event.seq} for event in self.erased],
        }


NOTHING = CarriedOver((), ())


def find_carried_over(db: Connection, events: Iterable[LaterEvent]) -> CarriedOver:
    """What of these events has to be done again.

    Raises:
        InvalidInput: a revocation among them does not say what was revoked.
    """
    known = list(events)
    return CarriedOver(
        tuple((event, _revocation(event)) for event in known if event.kind == REVOCATION),
        tuple(event for event in known if event.kind == ERASURE and _can_erase(db, event)),
    )


def carry_over(db: Connection, what: CarriedOver) -> None:
    """Revoke and erase again, and log it, in a write transaction of the caller's."""
    for event, one in what.revoked:
        _revoke_again(db, one, _undo(event))
    for event in what.erased:
        if event.output is not None:
            erase_texts(db, event.output)


def once_each(logs: Iterable[Later]) -> list[LaterEvent]:
    """The events of all logs, each once, though copies of one log share their beginnings."""
    seen: dict[bytes, LaterEvent] = {}
    for log in logs:
        for event in log.events:
            seen.setdefault(event.leaf, event)
    return list(seen.values())


def _undo(event: LaterEvent) -> bool:
    return bool(event.document.get("undo"))


def _revocation(event: LaterEvent) -> Revocation:
    """The revocation that an event of a later log tells of.

    Raises:
        InvalidInput: it does not tell of one.
    """
    said = event.document
    try:
        of, at = RevocationOf(str(said.get("of"))), datetime.fromisoformat(event.created)
    except ValueError as error:
        raise InvalidInput(f"entry {event.seq} of the later log is no revocation") from error
    reason = f"entry {event.seq} of the log that the archive is a part of"
    return Revocation(of, str(said.get("target")), reason, BY, at)


def _revoke_again(db: Connection, one: Revocation, undo: bool) -> None:
    """Put a revocation in force, or end it, and log what changed."""
    artists = select(column("artist", Text)).select_from(table("files")).distinct()
    log = SqlRightsLog()
    if undo:
        changed = revocations.end(db, one)
    else:
        known = db.execute(artists).scalars().all()
        changed = revocations.insert(db, one, known, log.last_revocation(db))
    if changed:
        log.revoked(db, one, changed, undo=undo)


def _can_erase(db: Connection, event: LaterEvent) -> bool:
    """Whether the output of an erasure is in the archive, with texts."""
    row = None if event.output is None else db.execute(output_row(event.output)).first()
    return row is not None and has_texts(parse(bytes(row.document)))
