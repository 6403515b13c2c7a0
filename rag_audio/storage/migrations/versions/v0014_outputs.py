"""What lists of outputs are asked by: their time, their owner, and each source in order of entry.

No entry of the log is touched: ``ledger_outputs`` follows from them, as ``ledger_sources`` does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_AT_ONCE = 500
# On SQLite a column of this type is the table's own key, and needs no index beside it.
_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def upgrade() -> None:
    """Make the table of outputs from the documents, and indexes that pages are read by."""
    db = op.get_bind()
    outputs = op.create_table(
        "ledger_outputs",
        sa.Column("seq", _BIG, primary_key=True, autoincrement=False),
        sa.Column("output", sa.BigInteger, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("owner", sa.Text),
    )
    for rows in _in_pages(db):
        if made := list(_rows(rows)):
            db.execute(sa.insert(outputs), made)
    op.create_index("ledger_outputs_by_created", "ledger_outputs", ["created", "seq"])
    op.create_index("ledger_outputs_by_owner", "ledger_outputs", ["owner", "seq"])
    _keep_unchanged(db, "ledger_outputs")
    for column in ("stem", "artist", "license", "holder"):
        op.drop_index(f"ix_ledger_sources_{column}", "ledger_sources", if_exists=True)
        op.create_index(
            f"ledger_sources_by_{column}", "ledger_sources", [column, "seq"], if_not_exists=True
        )
    events = sa.text("kind <> 'output'")
    for name, columns in (
        ("ledger_events_by_seq", ["seq"]),
        ("ledger_events_by_kind", ["kind", "seq"]),
    ):
        op.create_index(
            name,
            "ledger_entries",
            columns,
            if_not_exists=True,
            sqlite_where=events,
            postgresql_where=events,
        )


def downgrade() -> None:
    """A log is never taken away."""
    raise NotImplementedError("the database cannot be downgraded")


def _in_pages(db: sa.Connection) -> Iterator[Any]:
    """The entries of outputs with their owners, some hundred at a time."""
    wanted = sa.text(
        "SELECT e.seq, e.output, e.document, o.owner FROM ledger_entries e "
        "LEFT JOIN output_owners o ON o.output = e.output "
        "WHERE e.kind = 'output' AND e.seq > :last ORDER BY e.seq LIMIT :count"
    )
    last = 0
    while rows := db.execute(wanted, {"last": last, "count": _AT_ONCE}).all():
        yield rows
        last = rows[-1].seq


def _rows(rows: Any) -> Iterator[dict[str, Any]]:
    for row in rows:
        try:
            created = datetime.fromisoformat(json.loads(bytes(row.document))["created"])
        except (ValueError, KeyError, TypeError):
            continue  # `ledger verify` says what is wrong with it
        created = created if created.tzinfo else created.replace(tzinfo=UTC)
        micros = (created - _EPOCH) // _MICROSECOND
        yield {"seq": row.seq, "output": row.output, "created": micros, "owner": row.owner}


_MICROSECOND = datetime.resolution


def _keep_unchanged(db: sa.Connection, table: str) -> None:
    """Triggers that keep honest programs from changing what was written."""
    for action in ("UPDATE", "DELETE"):
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
