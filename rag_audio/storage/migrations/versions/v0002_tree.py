"""From the hash chain to a Merkle tree: the documents stay, byte for byte and in their order.

Who noted a head of the chain can still check it against the documents: it began with
``SHA-256("")``, and ``head(n) = SHA-256(0x01 ‖ head(n-1) ‖ SHA-256(0x00 ‖ document(n)))``.
"""

from __future__ import annotations

from hashlib import sha256

import sqlalchemy as sa
from alembic import op

from rag_audio.errors import LedgerTampered

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_AT_ONCE = 500
# On SQLite a column of this type is the table's own key, and needs no index beside it.
_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_UNCHANGING = ("entries", "nodes", "checkpoints", "sources", "hashes")


def upgrade() -> None:
    """Check the chain, build the tree over the same documents, and drop the chain.

    Raises:
        LedgerTampered: the chain does not match its hashes; nothing is changed then.
    """
    db = op.get_bind()
    last_output = db.execute(sa.text("SELECT max(last_output) FROM ledger_counter")).scalar() or 0
    _drop_triggers(db)
    _create_tables()
    size, peaks = _move_entries(db)
    for name in ("sources", "hashes"):
        db.execute(sa.text(f"INSERT INTO ledger_{name}_2 SELECT * FROM ledger_{name}"))  # noqa: S608
    for name in ("entries", "counter", "sources", "hashes"):
        op.drop_table(f"ledger_{name}")
        op.rename_table(f"ledger_{name}_2", f"ledger_{name}")
    op.drop_table("ledger_head")
    _create_indexes()
    db.execute(
        sa.text("INSERT INTO ledger_counter VALUES (1, :last, :checksum)"),
        {"last": last_output, "checksum": _checksum(last_output)},
    )
    db.execute(
        sa.text("INSERT INTO ledger_tree VALUES (1, :size, :root, :peaks)"),
        {"size": size, "root": _root(peaks).hex(), "peaks": b"".join(peaks)},
    )
    for name in _UNCHANGING:
        _refuse(db, f"ledger_{name}", ("UPDATE", "DELETE"))
    _refuse(db, "ledger_private", ("UPDATE",))


def downgrade() -> None:
    """A log is never taken away."""
    raise NotImplementedError("the ledger cannot be downgraded")


def _create_tables() -> None:
    op.create_table(
        "ledger_entries_2",
        sa.Column("seq", _BIG, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("output", sa.BigInteger),
        sa.Column("leaf_hash", sa.String(64), nullable=False),
        sa.Column("document", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "ledger_nodes",
        sa.Column("level", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("place", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "ledger_tree",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("root", sa.String(64), nullable=False),
        sa.Column("peaks", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "ledger_counter_2",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("last_output", sa.BigInteger, nullable=False),
        sa.Column("checksum", sa.String(64), nullable=False),
    )
    op.create_table(
        "ledger_private",
        sa.Column("seq", _BIG, primary_key=True, autoincrement=False),
        sa.Column("salt", sa.LargeBinary, nullable=False),
        sa.Column("texts", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "ledger_checkpoints",
        sa.Column("size", _BIG, primary_key=True, autoincrement=False),
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("note", sa.String, nullable=False),
    )

    op.create_table(
        "ledger_sources_2",
        sa.Column("seq", _BIG, primary_key=True, autoincrement=False),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("stem", sa.String, nullable=False),
        sa.Column("artist", sa.String, nullable=False),
        sa.Column("library", sa.String, nullable=False),
        sa.Column("license", sa.String, nullable=False),
        sa.Column("holder", sa.String, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "ledger_hashes_2",
        sa.Column("seq", _BIG, primary_key=True, autoincrement=False),
        sa.Column("what", sa.String, primary_key=True),
        sa.Column("sha256", sa.String(64), nullable=False),
        sqlite_with_rowid=False,
    )


def _create_indexes() -> None:
    """As few as will do: each is a page or more to write per append."""
    for column in ("stem", "artist", "license", "holder"):
        op.create_index(f"ix_ledger_sources_{column}", "ledger_sources", [column])
    op.create_index("ix_ledger_hashes_sha256", "ledger_hashes", ["sha256"])
    for name, unique, only in (
        ("ledger_one_entry_per_output", True, sa.text("kind = 'output'")),
        ("ledger_events", False, sa.text("kind <> 'output'")),
    ):
        op.create_index(
            name, "ledger_entries", ["output"], unique=unique,
            sqlite_where=only, postgresql_where=only,
        )  # fmt: skip


def _move_entries(db: sa.Connection) -> tuple[int, list[bytes]]:
    """Copy the chain's entries and store the tree's nodes; its size and peaks."""
    seq, peaks, head = 0, list[bytes](), sha256(b"").digest()
    wanted = sa.text(
        "SELECT seq, output, leaf_hash, head, document FROM ledger_entries "
        "WHERE seq > :seq ORDER BY seq LIMIT :count"
    )
    while rows := db.execute(wanted, {"seq": seq, "count": _AT_ONCE}).all():
        made = []
        for row in rows:
            seq += 1
            document = row.document if isinstance(row.document, bytes) else b""
            leaf = sha256(b"\x00" + document).digest()
            head = sha256(b"\x01" + head + leaf).digest()
            if (row.seq, row.leaf_hash, row.head) != (seq, leaf.hex(), head.hex()):
                raise _tampered(seq)
            made.extend(_grow(peaks, seq, leaf))
        db.execute(
            sa.text("INSERT INTO ledger_entries_2 VALUES (:seq, 'output', :output, :leaf, :doc)"),
            [
                {"seq": r.seq, "output": r.output, "leaf": r.leaf_hash, "doc": r.document}
                for r in rows
            ],
        )
        if made:
            db.execute(sa.text("INSERT INTO ledger_nodes VALUES (:level, :place, :hash)"), made)
    state = db.execute(sa.text("SELECT entries, head FROM ledger_head")).first()
    if state is not None and tuple(state) != (seq, head.hex()):
        raise _tampered(seq)
    return seq, peaks


def _grow(peaks: list[bytes], size: int, leaf: bytes) -> list[dict[str, object]]:
    """RFC 6962, section 2.1: the nodes that the leaf completes."""
    made: list[dict[str, object]] = []
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


def _checksum(last_output: int) -> str:
    return sha256(b"rag-audio ledger counter %d" % last_output).hexdigest()


def _tampered(seq: int) -> LedgerTampered:
    return LedgerTampered(
        f"entry {seq} of the ledger does not match its hash chain, so it was not migrated",
        hint="restore the database from a backup",
    )


def _drop_triggers(db: sa.Connection) -> None:
    if db.dialect.name == "sqlite":
        for table in ("entries", "sources", "hashes"):
            for action in ("update", "delete"):
                op.execute(f"DROP TRIGGER IF EXISTS ledger_{table}_no_{action}")


def _refuse(db: sa.Connection, table: str, actions: tuple[str, ...]) -> None:
    """A trigger that keeps honest programs from changing what was written."""
    if db.dialect.name == "postgresql":
        op.execute(
            "CREATE OR REPLACE FUNCTION ledger_append_only() RETURNS trigger LANGUAGE plpgsql "
            "AS $$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$"
        )
    for action in actions:
        name = f"{table}_no_{action.lower()}"
        if db.dialect.name == "postgresql":
            op.execute(
                f"CREATE TRIGGER {name} BEFORE {action} ON {table} "
                "FOR EACH ROW EXECUTE FUNCTION ledger_append_only()"
            )
        else:
            op.execute(
                f"CREATE TRIGGER {name} BEFORE {action} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )
