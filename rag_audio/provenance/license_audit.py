"""Licenses in the records of outputs, held against those that the log sealed.

A license that was changed past the log, used, and put back leaves the tables as they were sealed;
what was made with it names the license that it was made with. Each license of a record must
therefore be one that the log knows to have been in force when the output was made.

An output is made with the licenses of the moment at which its plan was cleared, which an index run
may replace before the output is logged. The record names that moment (``checks.cleared``); of a
record of before, which does not, it is taken to be at most a day before the record was made.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from rag_audio.codec import decode, encode
from rag_audio.errors import InvalidInput
from rag_audio.licensing import License
from rag_audio.ports import Fault, LedgerEvent
from rag_audio.provenance.logged import Logged
from rag_audio.provenance.rights_rows import CHANGING, SEALED, library_events

CLEARED = "cleared"
"""Among the checks of a record: when the licenses of its plan were read, ISO 8601."""
_LONGEST = timedelta(days=1)
"""A record of before was made at most so long after its licenses were read."""
_SLACK = timedelta(seconds=10)
"""Between the clocks of two machines, and between an event's time and its commit."""


class LicenseAudit:
    """A :class:`rag_audio.provenance.logged.SideAudit` of the licenses that records name."""

    def __init__(self, db: Connection) -> None:
        self._events: dict[str, list[LedgerEvent]] = {}
        for event in library_events(db):
            library = event.document.get("library")
            if isinstance(library, str):
                self._events.setdefault(library, []).append(event)

    def of(self, outputs: Sequence[Logged]) -> Iterator[Fault]:
        """Licenses of these outputs that the log did not seal, each once per output."""
        for one in outputs:
            told: list[Mapping[str, Any]] = []
            for said in _licenses(one.document):
                if said in told:
                    continue
                told.append(said)
                yield from self._license_faults(one, said)

    def rest(self) -> Iterator[Fault]:
        """Nothing: no row stands beside the log here."""
        return iter(())

    def _license_faults(self, one: Logged, said: Mapping[str, Any]) -> Iterator[Fault]:
        library, id_ = str(said.get("library")), str(said.get("id"))
        events = self._events.get(library, [])
        place = bisect_left(events, one.seq, key=lambda event: event.seq)
        known = _in_force(events, place, _cleared(one))
        if not known:
            return
        if any(_same(said, event.document["licenses"].get(id_)) for event in known):
            return
        newest = known[0]
        uses = said.get("uses")
        grants = ", ".join(map(str, uses)) if isinstance(uses, list) and uses else "nothing"
        yield Fault(
            one.seq,
            f"output {one.output} says that license {id_} of library {library} grants {grants}"
            f"{_differing(said, newest.document['licenses'].get(id_))}, which is not the license "
            f"that was sealed at entry {newest.seq}",
        )


def _licenses(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The licenses of a record: of each source, and of all who claim its bytes."""
    sources = document.get("sources")
    for source in sources if isinstance(sources, list) else ():
        if not isinstance(source, Mapping):
            continue
        also = source.get("also", ())
        for claim in (source, *(also if isinstance(also, list) else ())):
            granted = claim.get("license") if isinstance(claim, Mapping) else None
            if isinstance(granted, Mapping):
                yield granted


def _cleared(one: Logged) -> datetime | None:
    """The earliest moment at which the licenses of an output may have been read, if it is known."""
    said, slack = one.part("checks").get(CLEARED), _SLACK
    if said is None:
        said, slack = one.document.get("created"), _LONGEST
    read = _moment(said)
    return None if read is None else read - slack


def _in_force(
    events: Sequence[LedgerEvent], place: int, since: datetime | None
) -> list[LedgerEvent]:
    """The events that hold the licenses an output may have been made with, newest first.

    Args:
        events: of one library. place: how many of them come before the output.
        since: the earliest moment at which its licenses may have been read.

    Returns:
        Empty where no event says which licenses there were.
    """
    before, after = events[:place], events[place:]
    if not before:
        return []
    found = []
    for event in reversed(before):
        if not isinstance(event.document.get("licenses"), Mapping):
            continue
        found.append(event)
        began = _moment(event.created)
        if since is not None and began is not None and began <= since:
            break  # What came before was replaced by then.
    if before[-1].document.get("state") == CHANGING:
        sealed = (one for one in after if one.document.get("state") == SEALED)
        following = next(sealed, None)
        if following is not None and isinstance(following.document.get("licenses"), Mapping):
            found.append(following)
        elif before[-1] not in found:
            return []  # The run that changed them goes on: what it sealed will tell.
    return found


def _moment(said: Any) -> datetime | None:
    try:
        read = datetime.fromisoformat(said)
    except (TypeError, ValueError):
        return None
    return None if read.tzinfo is None else read


def _same(said: Mapping[str, Any], sealed: Any) -> bool:
    """Whether two documents are of one license, whichever version wrote each."""
    return isinstance(sealed, Mapping) and (said == sealed or _spelled(said) == _spelled(sealed))


def _spelled(document: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        return encode(decode(License, document))
    except InvalidInput:
        return document


def _differing(said: Mapping[str, Any], sealed: Any) -> str:
    """What else than the uses differs."""
    if not isinstance(sealed, Mapping) or said.get("uses") != sealed.get("uses"):
        return ""
    names = sorted(one for one in {*said, *sealed} if said.get(one) != sealed.get(one))
    return f" with another {', '.join(names)}"
