"""Libraries and revocations of before are logged as they stand, so that later changes are found.

Each library gets one event with digests of its rows, and all revocations together get one; salts
stand beside the rows. What was in the log is not touched: its root at the old size is the same. The
spelling is that of :mod:`rag_audio.provenance.ledger.rights_log` when this was written.
"""

from __future__ import annotations

import base64
import hmac
import json
import secrets
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import rfc8785
import sqlalchemy as sa
from alembic import op

from rag_audio.errors import LedgerTampered

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_SALT_BYTES = 32
_SAFE_INTEGER = 2**53 - 1
_ROWS_AT_ONCE = 2000
_REVOCATIONS = "revocations that were logged with their rows"


def upgrade() -> None:
    """Add the salts, and seal what the log does not know; a database without rights gets no event.

    Where the log knows a library or the revocations already, the migration is run a second time.
    """
    db = op.get_bind()
    inspector = sa.inspect(db)
    for table in ("libraries", "revocations"):
        if "salt" not in {column["name"] for column in inspector.get_columns(table)}:
            op.add_column(table, sa.Column("salt", sa.LargeBinary))
    known = _known(db)
    for library in _add_salts(db, "libraries"):
        if library["id"] not in known:
            _append(db, {"library": library["id"], "state": "sealed", **_digests(db, library)})
    rows = _add_salts(db, "revocations")
    if rows and None not in known and _REVOCATIONS not in known:
        told = {str(row["id"]): _commitment(row) for row in rows}
        _append(db, {"library": None, "state": "sealed", "revocations": told})


def downgrade() -> None:
    """A log is never taken away."""
    raise NotImplementedError("the database cannot be downgraded")


def _known(db: sa.Connection) -> set[str | None]:
    """Libraries that the log has an event of; None: one of the revocations that there were."""
    wanted = sa.text("SELECT kind, document FROM ledger_entries WHERE kind IN ('library', :kind)")
    found: set[str | None] = set()
    for kind, document in db.execute(wanted, {"kind": "revocation"}):
        event = json.loads(bytes(document))["event"]
        if kind == "library":
            found.add(event["library"])
        elif "rows" in event:
            found.add(_REVOCATIONS)
    return found


def _add_salts(db: sa.Connection, name: str) -> list[dict[str, Any]]:
    """All rows of a table in order of id, each with a salt."""
    table = _table(db, name)
    rows = [dict(row) for row in db.execute(sa.select(table).order_by(table.c.id)).mappings()]
    for row in rows:
        if row["salt"] is None:
            row["salt"] = secrets.token_bytes(_SALT_BYTES)
            db.execute(table.update().where(table.c.id == row["id"]).values(salt=row["salt"]))
    return rows


def _table(db: sa.Connection, name: str) -> sa.Table:
    return sa.Table(name, sa.MetaData(), autoload_with=db, resolve_fks=False)


def _digests(db: sa.Connection, library: Mapping[str, Any]) -> dict[str, Any]:
    licenses = _table(db, "licenses")
    wanted = sa.select(licenses.c.id, licenses.c.license).where(licenses.c.library == library["id"])
    return {
        "row": _commitment(library),
        "licenses": {id_: _read(text) for id_, text in db.execute(wanted)},
        "license_rows": _root_of(db, licenses, "id", library["id"]),
        "files": _root_of(db, _table(db, "files"), "path", library["id"]),
        "withheld": _root_of(db, _table(db, "withheld_files"), "path", library["id"]),
    }


def _root_of(db: sa.Connection, table: sa.Table, by: str, library: str) -> dict[str, Any]:
    order: Any = table.c[by]
    if db.dialect.name == "postgresql":
        order = order.collate("C")
    wanted = sa.select(table).where(table.c.library == library).order_by(order)
    rows = db.execute(wanted, execution_options={"yield_per": _ROWS_AT_ONCE}).mappings()
    size, peaks = 0, list[bytes]()
    for row in rows:
        size += 1
        _grow(peaks, size, _leaf(_spelled(dict(row))))
    return {"count": size, "root": _root(peaks).hex()}


def _spelled(row: Mapping[str, Any]) -> bytes:
    return rfc8785.dumps({name: _plain(value) for name, value in row.items() if name != "salt"})


def _plain(value: Any) -> Any:
    if isinstance(value, int):
        return value if -_SAFE_INTEGER <= value <= _SAFE_INTEGER else str(value)
    if isinstance(value, (bytes, memoryview)):
        return {"base64": base64.b64encode(bytes(value)).decode("ascii")}
    return value


def _commitment(row: Mapping[str, Any]) -> str:
    return hmac.digest(bytes(row["salt"]), _spelled(row), "sha256").hex()


def _read(text: Any) -> Any:
    try:
        return json.loads(text)
    except (ValueError, TypeError):
        return None


def _append(db: sa.Connection, event: Mapping[str, Any]) -> None:
    """One entry at the end of the log: its document, the nodes of the tree, and the tree's state.

    Raises:
        LedgerTampered: the state of the log is missing or damaged.
    """
    document = rfc8785.dumps(
        {
            "format": 2,
            "kind": "library",
            "created": datetime.now(UTC).isoformat(),
            "output": None,
            "event": dict(event),
        }
    )
    state = db.execute(sa.text("SELECT size, peaks FROM ledger_tree")).first()
    packed = b"" if state is None else bytes(state.peaks)
    if state is None or len(packed) != 32 * int(state.size).bit_count():
        raise LedgerTampered(
            "the state of the log is damaged, so the database was not migrated",
            hint="restore the database from a backup",
        )
    seq = int(state.size) + 1
    peaks = [packed[at : at + 32] for at in range(0, len(packed), 32)]
    leaf = _leaf(document)
    made = _grow(peaks, seq, leaf)
    _insert(db, "ledger_nodes", made)
    entry = {"seq": seq, "kind": "library", "output": None, "leaf_hash": leaf.hex()}
    _insert(db, "ledger_entries", [{**entry, "document": document}])
    db.execute(
        sa.text("UPDATE ledger_tree SET size = :size, root = :root, peaks = :peaks"),
        {"size": seq, "root": _root(peaks).hex(), "peaks": b"".join(peaks)},
    )


def _insert(db: sa.Connection, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
    for row in rows:
        columns = ", ".join(row)
        marks = ", ".join(f":{column}" for column in row)
        db.execute(sa.text(f"INSERT INTO {name} ({columns}) VALUES ({marks})"), dict(row))  # noqa: S608


def _leaf(document: bytes) -> bytes:
    return sha256(b"\x00" + document).digest()


def _grow(peaks: list[bytes], size: int, leaf: bytes) -> list[dict[str, Any]]:
    """RFC 6962, section 2.1: the nodes that the leaf completes."""
    made: list[dict[str, Any]] = []
    level, merged = 0, leaf
    while not (size >> level) & 1:
        merged = sha256(b"\x01" + peaks.pop() + merged).digest()
        level += 1
        made.append({"level": level, "place": (size >> level) - 1, "hash": merged})
    peaks.append(merged)
    return made


def _root(peaks: list[bytes]) -> bytes:
    if not peaks:
        return sha256(b"").digest()
    merged = peaks[-1]
    for peak in reversed(peaks[:-1]):
        merged = sha256(b"\x01" + peak + merged).digest()
    return merged
