"""Events about libraries and revocations, appended in the transactions that change them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from rag_audio.domain.licensing import Revocation
from rag_audio.provenance.ledger.key_register import ACCESS, key_event
from rag_audio.provenance.ledger.ledger import append_event_in
from rag_audio.provenance.ledger.rights_rows import (
    CHANGING,
    LIBRARY,
    PARTS,
    REVOCATION,
    SEALED,
    commitment,
    digests,
    last_event,
    logged_revocations,
)


class SqlRightsLog:
    """The :class:`.RightsLog` in the ledger's own database."""

    def is_changing(self, db: Connection, library: str) -> bool:
        """Whether rows changed after they were sealed last, as the log says."""
        last = last_event(db, library)
        return last is not None and last.document.get("state") == CHANGING

    def changing(
        self,
        db: Connection,
        library: str,
        found: Mapping[str, Any] | None = None,
        licenses: Mapping[str, Any] | None = None,
    ) -> None:
        """Log that rows of a library change, unless the log says so already.

        New licenses are always logged, since outputs may be made with them before they are sealed.
        """
        last = last_event(db, library)
        if last is not None and last.document.get("state") == CHANGING:
            if licenses is None:
                return
            found = last.document.get("found")
        told: dict[str, Any] = {"found": dict(found)} if found else {}
        if licenses is not None:
            told["licenses"] = dict(licenses)
        append_event_in(db, LIBRARY, {"library": library, "state": CHANGING, **told})

    def altered(self, db: Connection, library: str) -> Mapping[str, Any]:
        """The digests of rows that are not those that were sealed, by part."""
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
        """What :meth:`seal` logs of a library's rows as they stand."""
        return digests(db, library)

    def seal(self, db: Connection, library: str, digests: Mapping[str, Any]) -> int:
        """Log digests of a library's rows; the entry's number.

        What was found to be changed past the log when the run began is told once more.
        """
        last = last_event(db, library)
        found = None if last is None else last.document.get("found")
        told = {"found": found} if found else {}
        document = {"library": library, "state": SEALED, **digests, **told}
        return append_event_in(db, LIBRARY, document).seq

    def last_revocation(self, db: Connection) -> int:
        """The highest number of a revocation that the log names; 0 where there is none."""
        named = {id_ for _, rows, _ in logged_revocations(db) for id_ in rows}
        return max((int(id_) for id_ in named if id_.isdecimal()), default=0)

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
        return append_event_in(db, REVOCATION, document).seq


# Writes the making and the end of an API key into the log.


def log_key(db: Connection, row: Mapping[str, Any]) -> None:
    """Log a key's row as it stands now, in the transaction that wrote it.

    Raises:
        LedgerError: the row holds something that JSON has no word for.
    """
    append_event_in(db, ACCESS, key_event(row))
