"""API keys in the log: who may do what with the service is as much a matter of record as outputs.

An event of kind ``access`` holds a key's id, whether it was made or revoked, and the SHA-256 of its
row as canonical JSON. Name, scopes and libraries stay out of the log: the row holds a hash of the
key's 256 random bits, so that nothing of it can be guessed from the event.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, column, select, table

from rag_audio.errors import LedgerError
from rag_audio.ports import Fault
from rag_audio.provenance.records import canonical, parse
from rag_audio.provenance.tables import entries, is_event, raw_bytes

ACCESS = "access"
MADE, REVOKED = "made", "revoked"
_KEYS = table(
    "api_keys",
    *map(column, ("id", "name", "hash", "scopes", "libraries")),
    *map(column, ("created_at", "expires_at", "revoked_at")),
)


def key_event(row: Mapping[str, Any]) -> dict[str, Any]:
    """What the log says of a key as its row stands: to be logged in the transaction that wrote it.

    Raises:
        LedgerError: the row holds something that JSON has no word for.
    """
    digest = sha256(canonical(dict(row))).hexdigest()
    return {"key": row["id"], "row": digest, "state": _state(row)}


def key_faults(db: Connection) -> Iterator[Fault]:
    """Rows of keys that are not as the log has them last, rows that it lacks, and missing rows."""
    logged = _last_events(db)
    for row in db.execute(select(_KEYS).order_by(_KEYS.c.id)).mappings():
        id_ = row["id"]
        seq, said = logged.pop(id_, (0, None))
        if said is None:
            yield Fault(0, f"the API key {id_!r} is not in the log")
            continue
        try:
            now = key_event(dict(row))
        except LedgerError:
            now = {}
        if now != said:
            yield Fault(seq, f"the row of the API key {id_} is not as it was logged")
    for id_, (seq, _) in logged.items():
        yield Fault(seq, f"the row of the API key {id_} is missing")


def _state(row: Mapping[str, Any]) -> str:
    return MADE if row["revoked_at"] is None else REVOKED


def _last_events(db: Connection) -> dict[Any, tuple[int, Mapping[str, Any]]]:
    """The last event of each key: its place in the log, and what it says."""
    found: dict[Any, tuple[int, Mapping[str, Any]]] = {}
    wanted = select(entries.c.seq, entries.c.document).where(is_event, entries.c.kind == ACCESS)
    for row in db.execute(wanted.order_by(entries.c.seq)):
        try:
            said = parse(raw_bytes(row.document))["event"]
            found[said["key"]] = (row.seq, said)
        except (LedgerError, KeyError, TypeError):
            continue  # Reported where the entry itself is checked.
    return found
