"""Events about libraries and revocations, appended in the transactions that change them.

They hold digests of the rows of libraries, licenses, files and revocations.

A *row* is spelled as canonical JSON (RFC 8785): an object of all columns of its table but ``salt``,
by their names. Whole numbers past 2^53 - 1 are strings of their digits; bytes, which no column but
``salt`` holds by rights, are ``{"base64": ...}``. A *root* is the RFC 6962 Merkle root over the
spelled rows of one library, in order of path (licenses: of id) as UTF-8 bytes. A *commitment* is
``HMAC-SHA-256(salt, row)``, hex: it binds to what a row says without telling it.
"""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Table, select

from rag_audio.domain.codec import number
from rag_audio.domain.licensing import Revocation
from rag_audio.domain.record import LedgerEvent
from rag_audio.errors import LedgerError
from rag_audio.provenance.ledger.merkle import frontier_of, leaf_hash
from rag_audio.provenance.ledger.records import canonical
from rag_audio.provenance.ledger.tables import (
    append_event,
    event_of,
    events_in,
    newest_events,
    raw_bytes,
    readable,
)
from rag_audio.storage.rights_tables import files, libraries, licenses, withheld_files

LIBRARY, REVOCATION = "library", "revocation"
CHANGING, SEALED = "changing", "sealed"
PARTS = ("row", "license_rows", "files", "withheld")
"""What a ``sealed`` event holds of a library's tables."""

_ROWS_AT_ONCE = 2000
_SPELLED_ALREADY = (str, type(None), float)
_WITHOUT_FRACTIONS = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def spelled(row: Mapping[str, Any]) -> bytes:
    """A row as canonical JSON, without its salt.

    Without fractions, and under ASCII names, Python's own encoder writes the same bytes. It is ten
    times as fast, which is felt: a run spells every row of a library twice.
    """
    plain = {name: _plain(value) for name, value in row.items() if name != "salt"}
    if any(isinstance(value, float) for value in plain.values()):
        return canonical(plain)
    return _WITHOUT_FRACTIONS.encode(plain).encode()


def commitment(row: Mapping[str, Any]) -> str:
    """The commitment to a row that has a salt, hex; a salt that is no bytes counts as none."""
    salt = row.get("salt")
    key = bytes(salt) if isinstance(salt, (bytes, memoryview)) else b""
    return hmac.digest(key, spelled(row), "sha256").hex()


def digests(db: Connection, library: str) -> dict[str, Any]:
    """The digests of a library's rows, and its licenses in full.

    Returns:
        ``row`` (commitment; None where there is no such library), ``licenses`` (by id),
        ``license_rows``, ``files`` and ``withheld``: ``{"count", "root"}`` each, roots in hex.
    """
    own = db.execute(select(libraries).where(libraries.c.id == library)).mappings().first()
    return {
        "row": None if own is None else commitment(dict(own)),
        "licenses": licenses_of(db, library),
        "license_rows": _root(db, licenses, "id", library),
        "files": _root(db, files, "path", library),
        "withheld": _root(db, withheld_files, "path", library),
    }


def licenses_of(db: Connection, library: str) -> dict[str, Any]:
    """The licenses of a library by id, each as JSON; None for one that cannot be read."""
    wanted = select(licenses.c.id, licenses.c.license).where(licenses.c.library == library)
    return {str(id_): _read(text) for id_, text in db.execute(wanted)}


class SqlRightsLog:
    """The :class:`.RightsLog` in the ledger's own database."""

    def is_changing(self, db: Connection, library: str) -> bool:
        last = last_event(db, library)
        return last is not None and last.document.get("state") == CHANGING

    def changing(
        self,
        db: Connection,
        library: str,
        found: Mapping[str, Any] | None = None,
        licenses: Mapping[str, Any] | None = None,
    ) -> None:
        last = last_event(db, library)
        if last is not None and last.document.get("state") == CHANGING:
            if licenses is None:
                return
            found = last.document.get("found")
        told: dict[str, Any] = {"found": dict(found)} if found else {}
        if licenses is not None:
            told["licenses"] = dict(licenses)
        append_event(db, LIBRARY, {"library": library, "state": CHANGING, **told})

    def altered(self, db: Connection, library: str) -> Mapping[str, Any]:
        last = last_event(db, library)
        if last is not None and last.document.get("state") == CHANGING:
            return {}
        now = digests(db, library)
        if last is not None:
            sealed = last.document
            return {part: now[part] for part in PARTS if now[part] != sealed.get(part)}
        counts = sum(now[part]["count"] for part in PARTS[1:])
        return {part: now[part] for part in PARTS} if counts or now["row"] is not None else {}

    def digests(self, db: Connection, library: str) -> Mapping[str, Any]:
        return digests(db, library)

    def seal(self, db: Connection, library: str, digests: Mapping[str, Any]) -> int:
        last = last_event(db, library)
        # What was found to be changed past the log when the run began is told once more.
        found = None if last is None else last.document.get("found")
        told = {"found": found} if found else {}
        document = {"library": library, "state": SEALED, **digests, **told}
        return append_event(db, LIBRARY, document).seq

    def last_revocation(self, db: Connection) -> int:
        # Numbers grow, so the newest entry that puts any in force has the highest.
        for row in newest_events(db, LIBRARY, REVOCATION):
            rows, undo = _revocations_in(readable(row))
            numbers = [int(id_) for id_ in rows if id_.isdecimal()]
            if numbers and not undo:
                return max(numbers)
        return 0

    def revoked(
        self,
        db: Connection,
        asked: Revocation,
        rows: Sequence[Mapping[str, Any]],
        *,
        undo: bool,
        first_logged: datetime | None = None,
    ) -> int:
        """Log that a source was revoked or that this was taken back; the entry's number.

        The log is public and permanent: who and why stay in the table, under commitments.

        Args:
            first_logged: when another log said it, of which it is taken over; None: it is new.
        """
        origin = {} if first_logged is None else {"first_logged": first_logged.isoformat()}
        document = {
            "of": asked.of.value,
            "target": asked.target,
            "undo": undo,
            "rows": {str(row["id"]): commitment(row) for row in rows},
            **origin,
        }
        return append_event(db, REVOCATION, document).seq


def last_event(db: Connection, library: str) -> LedgerEvent | None:
    """The newest event about a library.

    Raises:
        LedgerError: an event cannot be read.
    """
    for row in newest_events(db, LIBRARY):
        try:
            event = event_of(row.seq, row.leaf_hash, raw_bytes(row.document))
            found = event.document.get("library") == library
        except (KeyError, TypeError, AttributeError) as error:
            raise LedgerError(
                f"entry {row.seq} of the log cannot be read", hint="rag-audio ledger verify"
            ) from error
        if found:
            return event
    return None


def logged_revocations(db: Connection) -> Iterator[tuple[int, dict[str, str], bool]]:
    """Entries that name revocations, oldest first: number of the entry, commitments by number of
    the revocation, and whether it took them back. Entries of before schema 0009 name none."""
    for event in events_in(db, LIBRARY, REVOCATION):
        rows, undo = _revocations_in(event)
        if rows:
            yield event.seq, rows, undo


def _revocations_in(event: LedgerEvent | None) -> tuple[dict[str, str], bool]:
    """Commitments by number of the revocations that an entry names, and whether it took them
    back."""
    if event is None:
        return {}, False
    is_library = event.kind == LIBRARY
    rows = event.document.get("revocations" if is_library else "rows")
    if not isinstance(rows, Mapping):
        return {}, False
    undo = not is_library and event.document.get("undo") is True
    return {str(id_): str(said) for id_, said in rows.items()}, undo


def _root(db: Connection, table: Table, by: str, library: str) -> dict[str, Any]:
    order: Any = table.c[by]
    if db.dialect.name == "postgresql":
        order = order.collate("C")
    wanted = select(table).where(table.c.library == library).order_by(order)
    rows = db.execute(wanted, execution_options={"yield_per": _ROWS_AT_ONCE})
    names = tuple(table.columns.keys())
    leaves = (leaf_hash(spelled(dict(zip(names, row, strict=True)))) for row in rows)
    tree = frontier_of(leaves)
    return {"count": tree.size, "root": tree.root().hex()}


def _plain(value: Any) -> Any:
    if isinstance(value, _SPELLED_ALREADY):
        return value
    if isinstance(value, int):
        return number(value)
    return {"base64": base64.b64encode(bytes(value)).decode("ascii")}


def _read(text: Any) -> Any:
    try:
        return json.loads(text)
    except (ValueError, TypeError):
        return None
