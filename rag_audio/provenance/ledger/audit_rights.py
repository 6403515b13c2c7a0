"""Checking rights: licenses in records, and the tables of rights, against what the log sealed.

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

from sqlalchemy import Connection, select

from rag_audio.domain.codec import decode, encode
from rag_audio.domain.licensing import License
from rag_audio.domain.record import Fault, LedgerEvent
from rag_audio.errors import InvalidInput, LedgerTampered
from rag_audio.provenance.ledger.audit import LoggedOutput, logged_outputs
from rag_audio.provenance.ledger.rights_log import (
    CHANGING,
    LIBRARY,
    SEALED,
    commitment,
    digests,
    logged_revocations,
)
from rag_audio.provenance.ledger.tables import events_in
from rag_audio.storage import stem_rows
from rag_audio.storage.rights_tables import (
    files,
    libraries,
    licenses,
    mismatched_conflicts,
    revocations,
    withheld_files,
)

CLEARED = "cleared"
"""Among the checks of a record: when the licenses of its plan were read, ISO 8601."""
_LONGEST = timedelta(days=1)
"""A record of before was made at most so long after its licenses were read."""
_SLACK = timedelta(seconds=10)
"""Between the clocks of two machines, and between an event's time and its commit."""


def license_faults(db: Connection) -> Iterator[Fault]:
    """Licenses in records that the log did not seal, each once per output."""
    by_library: dict[str, list[LedgerEvent]] = {}
    for event in events_in(db, LIBRARY):
        by_library.setdefault(str(event.document.get("library")), []).append(event)
    for outputs in logged_outputs(db):
        for one in outputs:
            told: list[Mapping[str, Any]] = []
            for said in _licenses(one.document):
                if said not in told:
                    told.append(said)
                    events = by_library.get(str(said.get("library")), [])
                    yield from _license_faults(one, said, events)


def _license_faults(
    one: LoggedOutput, said: Mapping[str, Any], events: Sequence[LedgerEvent]
) -> Iterator[Fault]:
    """What is wrong with a license of an output.

    Args:
        events: of its library.
    """
    id_ = str(said.get("id"))
    place = bisect_left(events, one.seq, key=lambda event: event.seq)
    known = _in_force(events, place, _cleared(one))
    if not known or any(_same(said, event.document["licenses"].get(id_)) for event in known):
        return
    newest = known[0]
    uses = said.get("uses")
    grants = ", ".join(map(str, uses)) if isinstance(uses, list) and uses else "nothing"
    yield Fault(
        one.seq,
        f"output {one.output} says that license {id_} of library {said.get('library')} grants "
        f"{grants}{_differing(said, newest.document['licenses'].get(id_))}, which is not the "
        f"license that was sealed at entry {newest.seq}",
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


def _cleared(one: LoggedOutput) -> datetime | None:
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


# Libraries, licenses, files, conflicts and revocations, compared with the log.
#
# The log is replayed: by library its last event says which rows there must be; by revocation the
# last event that names its number says which row. The spelling of rows is in
# :mod:`rag_audio.provenance.ledger.rights_log`.

_SHOWN = 3


def library_faults(db: Connection) -> Iterator[Fault]:
    """Libraries, licenses, files and withheld files."""
    known = _last_events(db)
    for library, event in sorted(known.items()):
        if event.document.get("state") != CHANGING:
            for what in _library_faults(db, library, event.document):
                yield Fault(event.seq, what)
    for library in sorted(_stored_libraries(db) - known.keys()):
        yield Fault(0, f"no event of the log tells of library {library}, which the tables hold")


def notes(db: Connection) -> Iterator[str]:
    """What is no fault and should be known: rows that are not sealed, and every time that rows were
    found changed, which later runs do not make unsaid."""
    began: dict[str, LedgerEvent] = {}
    for event in events_in(db, LIBRARY):
        library, found = event.document.get("library"), event.document.get("found")
        if not isinstance(library, str):
            continue
        if event.document.get("state") == CHANGING:
            began.setdefault(library, event)
            continue
        began.pop(library, None)
        if isinstance(found, Mapping):
            yield (
                f"library {library}: before entry {event.seq} rows were changed past the log "
                f"({', '.join(sorted(found))}); the index run that ended there made them anew"
            )
    for library, event in sorted(began.items()):
        yield (
            f"library {library}: an index run that began at entry {event.seq} is still running or "
            "was interrupted; its rows are not sealed: run rag-audio index"
        )
        if isinstance(found := event.document.get("found"), Mapping):
            yield (
                f"library {library}: before entry {event.seq} rows were changed past the log "
                f"({', '.join(sorted(found))})"
            )


def _last_events(db: Connection) -> dict[str, LedgerEvent]:
    found = {}
    for event in events_in(db, LIBRARY):
        library = event.document.get("library")
        if isinstance(library, str):
            found[library] = event
    return found


def _stored_libraries(db: Connection) -> set[str]:
    columns = (libraries.c.id, licenses.c.library, files.c.library, withheld_files.c.library)
    return {
        str(name) for column in columns for name in db.execute(select(column).distinct()).scalars()
    }


def _library_faults(db: Connection, library: str, sealed: Mapping[str, Any]) -> Iterator[str]:
    now = digests(db, library)
    if now["row"] is None and sealed.get("row") is not None:
        yield f"library {library} is missing from the table libraries"
    elif now["row"] != sealed.get("row"):
        yield f"the row of library {library} in libraries is not the one that was sealed"
    if now["license_rows"] != sealed.get("license_rows"):
        changed = _changed(now["licenses"], sealed.get("licenses"))
        yield f"the licenses of library {library} are not those that were sealed{changed}"
    for part, table in (("files", "files"), ("withheld", "withheld_files")):
        if now[part] != sealed.get(part):
            yield (
                f"the rows of library {library} in {table} ({_count(now[part])}) are not those "
                f"that were sealed ({_count(sealed.get(part))})"
            )


def _changed(now: Mapping[str, Any], sealed: Any) -> str:
    """Ids of the licenses that differ, where that can be said."""
    before = sealed if isinstance(sealed, Mapping) else {}
    ids = sorted(
        id_
        for id_ in {*now, *before}
        if id_ not in now or id_ not in before or now[id_] != before[id_]
    )
    return f": {', '.join(ids[:_SHOWN])}{'…' if len(ids) > _SHOWN else ''}" if ids else ""


def _count(part: Any) -> str:
    return str(part.get("count")) if isinstance(part, Mapping) else "none"


def conflict_faults(db: Connection) -> Iterator[Fault]:
    """The table of conflicts, which follows from the files."""
    known = _last_events(db)
    try:
        wrong = mismatched_conflicts(db)
    except LedgerTampered as error:
        yield Fault(0, error.message)
        return
    for library in sorted({str(row[0]) for row in wrong}):
        seq = known[library].seq if library in known else 0
        yield Fault(seq, f"the table of conflicts does not follow from the files: {library}")


def stem_faults(db: Connection) -> Iterator[Fault]:
    """The rows and counts of stems, which follow from the files, conflicts and revocations."""
    if stem_rows.mismatched(db):
        yield Fault(0, "the tables of stems do not follow from the files")


def revocation_faults(db: Connection) -> Iterator[Fault]:
    """Revocations."""
    logged: dict[str, tuple[str, int]] = {}
    for seq, rows, undo in logged_revocations(db):
        for id_ in sorted(rows.keys() & logged.keys()) if not undo else ():
            yield Fault(seq, f"revocation {id_} of entry {logged[id_][1]} is made a second time")
        logged.update({id_: (said, seq) for id_, said in rows.items()})
    for row in db.execute(select(revocations).order_by(revocations.c.id)).mappings():
        name = f"revocation {row['id']} of {row['kind']} {row['target']}"
        said = logged.pop(str(row["id"]), None)
        if said is None:
            yield Fault(0, f"{name} is in no event of the log, or comes twice in the table")
        elif commitment(dict(row)) != said[0]:
            yield Fault(said[1], f"{name} is not as it was logged")
    for id_, (_, seq) in sorted(logged.items(), key=lambda item: (item[1][1], item[0])):
        yield Fault(seq, f"revocation {id_} is missing from the table revocations")
