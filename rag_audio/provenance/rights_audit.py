"""Libraries, licenses, files, conflicts and revocations, held against the log.

The log is replayed: by library its last event says which rows there must be; by revocation the
last event that names its number says which row. The spelling of rows is in
:mod:`rag_audio.provenance.rights_rows`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, select

from rag_audio import contested
from rag_audio.errors import LedgerTampered
from rag_audio.ports import Fault, LedgerEvent
from rag_audio.provenance.rights_rows import (
    CHANGING,
    commitment,
    digests,
    library_events,
    logged_revocations,
)
from rag_audio.revocations import metadata as revocations_metadata
from rag_audio.rights_tables import conflicts, files, libraries, licenses, withheld_files

_SHOWN = 3
_revocations = revocations_metadata.tables["revocations"]


def faults(db: Connection) -> Iterator[Fault]:
    """All rows of rights that are not what the log says; a fault's ``seq`` is that of the event
    that says otherwise, or 0 where no event tells of them."""
    for _, check in CHECKS:
        yield from check(db)


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
    for event in library_events(db):
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
            f"library {library}: an index run that began at entry {event.seq} goes on or did "
            "not end; its rows are not sealed: run rag-audio index"
        )
        if isinstance(found := event.document.get("found"), Mapping):
            yield (
                f"library {library}: before entry {event.seq} rows were changed past the log "
                f"({', '.join(sorted(found))})"
            )


def _last_events(db: Connection) -> dict[str, LedgerEvent]:
    found = {}
    for event in library_events(db):
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
        wrong = contested.mismatched(db, files)
    except LedgerTampered as error:
        yield Fault(0, error.message)
        return
    for library in sorted({str(row[0]) for row in wrong}):
        seq = known[library].seq if library in known else 0
        yield Fault(seq, f"the table of conflicts does not follow from the files: {library}")


def revocation_faults(db: Connection) -> Iterator[Fault]:
    """Revocations."""
    logged: dict[str, tuple[str, int]] = {}
    for seq, rows, undo in logged_revocations(db):
        for id_ in sorted(rows.keys() & logged.keys()) if not undo else ():
            yield Fault(seq, f"revocation {id_} of entry {logged[id_][1]} is made a second time")
        logged.update({id_: (said, seq) for id_, said in rows.items()})
    for row in db.execute(select(_revocations).order_by(_revocations.c.id)).mappings():
        name = f"revocation {row['id']} of {row['kind']} {row['target']}"
        said = logged.pop(str(row["id"]), None)
        if said is None:
            yield Fault(0, f"{name} is in no event of the log, or comes twice in the table")
        elif commitment(dict(row)) != said[0]:
            yield Fault(said[1], f"{name} is not as it was logged")
    for id_, (_, seq) in sorted(logged.items(), key=lambda item: (item[1][1], item[0])):
        yield Fault(seq, f"revocation {id_} is missing from the table revocations")


CHECKS: tuple[tuple[frozenset[str], Callable[[Connection], Iterator[Fault]]], ...] = (
    (
        frozenset(one.name for one in (libraries, licenses, files, withheld_files)),
        library_faults,
    ),
    (frozenset(one.name for one in (conflicts, files, withheld_files)), conflict_faults),
    (frozenset({_revocations.name}), revocation_faults),
)
"""Tables that a check reads, and the check."""
