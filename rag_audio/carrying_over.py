"""Revocations and erasures of logs that went on, done again in a database of before them.

Several logs may have gone on from one archive, each with revocations of its own. They are merged by
the time at which each thing was said, whichever log it stands in, and followed from what is in
force in the older database: what the last word of all is holds, and only what changes something is
done and told.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Text, column, select, table

from rag_audio import revocations
from rag_audio.earlier_logs import Later, LaterEvent
from rag_audio.licensing import Revocation
from rag_audio.provenance.erasing import erase_texts, is_erased
from rag_audio.provenance.log import output_row
from rag_audio.provenance.records import parse
from rag_audio.provenance.rights_log import SqlRightsLog
from rag_audio.provenance.sealing import ERASURE, has_texts
from rag_audio.provenance.tables import raw_bytes

_TICK = timedelta(microseconds=1)


@dataclass(frozen=True)
class CarriedOver:
    """What later logs say that changes the older database, in the order of time.

    Attributes:
        revoked: what is revoked or taken back, with the event that tells of each.
        erased: erasures of outputs that are there with their texts.
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
                {"of": one.of.value, "target": one.target, "undo": event.undo, "entry": event.seq}
                for event, one in self.revoked
            ],
            "erasures": [{"output": event.output, "entry": event.seq} for event in self.erased],
        }


NOTHING = CarriedOver((), ())


def find_carried_over(db: Connection, events: Iterable[LaterEvent]) -> CarriedOver:
    """What of these events, in the order of time, changes the database."""
    erased: dict[int, LaterEvent] = {}
    following = _Following(revocations.in_force(db), _artists(db))
    for event in events:
        if event.revocation is not None:
            following.follow(event, event.revocation)
        elif event.kind == ERASURE and event.output is not None and _can_erase(db, event.output):
            erased.setdefault(event.output, event)
    return CarriedOver(tuple(following.changes), tuple(erased.values()))


def carry_over(db: Connection, what: CarriedOver) -> None:
    """Revoke and erase again, and log it, in a write transaction of the caller's."""
    for event, one in what.revoked:
        _revoke_again(db, event, one)
    for event in what.erased:
        if event.output is not None:
            erase_texts(db, event.output)


def in_order(logs: Iterable[Later]) -> list[LaterEvent]:
    """The events of all logs by their time, each once, though copies of one log share beginnings.

    A log's own order stands, whatever its clock said. At one moment, what is taken back in one log
    goes before what is revoked in another, so that this stays revoked.
    """
    found: list[tuple[tuple[datetime, bool, bool, bytes], LaterEvent]] = []
    for log in logs:
        last: datetime | None = None
        for event in log.events:
            at = event.said_at
            if event.revocation is not None:  # What a restore took over is older than its entry.
                at = last = at if last is None else max(at, last + _TICK)
            found.append(((at, not event.undo, event.is_copy, event.leaf), event))
    once: dict[bytes, LaterEvent] = {}
    for _, event in sorted(found, key=itemgetter(0)):
        once.setdefault(event.leaf, event)
    return list(once.values())


class _Following:
    """Follows revocations from those in force, by the rules of :mod:`rag_audio.revocations`.

    Attributes:
        changes: what took effect, in order.

    Args:
        in_force: at first. artists: of the catalogue.
    """

    def __init__(self, in_force: list[Revocation], artists: frozenset[str]) -> None:
        self.changes: list[tuple[LaterEvent, Revocation]] = []
        self._in_force = in_force
        self._artists = artists
        # Revoked in one log while a wider revocation of another was in force: nobody took these
        # back when that one ends.
        self._covered: list[tuple[LaterEvent, Revocation]] = []

    def follow(self, event: LaterEvent, one: Revocation) -> None:
        """Take the next event."""
        if not event.undo:
            self._revoke(event, one)
            return
        left = [other for other in self._in_force if not revocations.same_source(other, one)]
        covered = [old for old in self._covered if not revocations.same_source(old[1], one)]
        is_change = len(left) < len(self._in_force)
        self._in_force, self._covered = left, []
        if is_change:
            self.changes.append((event, one))
        for old in covered:
            self._revoke(*old)

    def _revoke(self, event: LaterEvent, one: Revocation) -> None:
        if any(revocations.holds_for(other, one) for other in self._in_force):
            self._covered.append((event, one))
            return
        self.changes.append((event, one))
        self._in_force.append(replace(one, key=revocations.key_of(one, self._artists)))


def _artists(db: Connection) -> frozenset[str]:
    wanted = select(column("artist", Text)).select_from(table("files")).distinct()
    return frozenset(db.execute(wanted).scalars())


def _revoke_again(db: Connection, event: LaterEvent, one: Revocation) -> None:
    """Put a revocation in force, or end it, and log what changed."""
    log = SqlRightsLog()
    if event.undo:
        changed = revocations.end(db, one)
    else:
        changed = revocations.insert(db, one, _artists(db), log.last_revocation(db))
    if changed:
        log.revoked(db, one, changed, undo=event.undo, first_logged=event.said_at)


def _can_erase(db: Connection, output: int) -> bool:
    """Whether the output of an erasure is in the archive, with texts that are not erased yet."""
    row = db.execute(output_row(output)).first()
    has = row is not None and has_texts(parse(raw_bytes(row.document)))
    return has and not is_erased(db, output)
