"""API keys are in the log: one event for each key there is, as for those that are made from now on.

An event holds the hash of the key's row, so that ``ledger verify`` finds a row that was changed,
removed or put beside the others.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import rfc8785
import sqlalchemy as sa
from alembic import op

from rag_audio.errors import LedgerTampered
from rag_audio.storage.database import hold

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_HASH = 32


def upgrade() -> None:
    """Log the keys that the log does not know, oldest first.

    Raises:
        LedgerTampered: the state of the log cannot be read; nothing is changed then.
    """
    db = op.get_bind()
    hold(db, "ledger")
    known = _known(db)
    rows = db.execute(sa.text("SELECT * FROM api_keys ORDER BY created_at, id")).mappings().all()
    new = [dict(row) for row in rows if row["id"] not in known]
    if new:
        _append(db, [_document(row) for row in new])


def downgrade() -> None:
    """A log is never taken away."""
    raise NotImplementedError("the ledger cannot be downgraded")


def _known(db: sa.Connection) -> set[str]:
    """Keys that the log has an event of: none, unless the migration is run a second time."""
    found = db.execute(sa.text("SELECT document FROM ledger_entries WHERE kind = 'access'"))
    return {str(json.loads(bytes(document))["event"]["key"]) for document in found.scalars()}


def _document(row: dict[str, Any]) -> bytes:
    try:
        digest = sha256(rfc8785.dumps(row)).hexdigest()
    except rfc8785.CanonicalizationError as error:
        raise LedgerTampered(
            f"the row of the API key {row['id']!r} cannot be read: {error}",
            hint="restore the database from a backup",
        ) from error
    said = {
        "key": row["id"],
        "row": digest,
        "state": "made" if row["revoked_at"] is None else "revoked",
    }
    event: dict[str, Any] = {
        "format": 2,
        "kind": "access",
        "created": datetime.now(UTC).isoformat(),
        "output": None,
        "event": said,
    }
    return rfc8785.dumps(event)


def _append(db: sa.Connection, documents: list[bytes]) -> None:
    """As the ledger does it: entries, the nodes of the tree that they complete, and its state."""
    size, peaks = _state(db)
    entries, nodes = [], list[dict[str, object]]()
    for document in documents:
        leaf = sha256(b"\x00" + document).digest()
        size += 1
        entries.append({"seq": size, "leaf": leaf.hex(), "doc": document})
        level, merged = 0, leaf
        while not (size >> level) & 1:
            merged = sha256(b"\x01" + peaks.pop() + merged).digest()
            level += 1
            nodes.append({"level": level, "place": (size >> level) - 1, "hash": merged})
        peaks.append(merged)
    db.execute(
        sa.text("INSERT INTO ledger_entries VALUES (:seq, 'access', NULL, :leaf, :doc)"), entries
    )
    if nodes:
        db.execute(sa.text("INSERT INTO ledger_nodes VALUES (:level, :place, :hash)"), nodes)
    db.execute(
        sa.text("UPDATE ledger_tree SET size = :size, root = :root, peaks = :peaks"),
        {"size": size, "root": _root(peaks).hex(), "peaks": b"".join(peaks)},
    )


def _state(db: sa.Connection) -> tuple[int, list[bytes]]:
    rows = db.execute(sa.text("SELECT size, peaks FROM ledger_tree")).all()
    size, packed = (rows[0].size, bytes(rows[0].peaks)) if len(rows) == 1 else (-1, b"")
    if size < 0 or len(packed) != _HASH * size.bit_count():
        raise LedgerTampered(
            "the state of the log is missing or damaged, so the database was not migrated",
            hint="restore the database from a backup",
        )
    return size, [packed[i : i + _HASH] for i in range(0, len(packed), _HASH)]


def _root(peaks: list[bytes]) -> bytes:
    merged = peaks[-1]
    for peak in reversed(peaks[:-1]):
        merged = sha256(b"\x01" + peak + merged).digest()
    return merged
