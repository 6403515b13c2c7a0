"""Indexes by which finished jobs, their progress, idempotency keys and uploads are found by age."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make them; no row is touched."""
    for name, table, columns, where in (
        ("jobs_by_end", "jobs", ["finished_at", "seq"], "finished_at IS NOT NULL"),
        ("job_progress_by_time", "job_events", ["at"], "kind = 'progress'"),
        ("idempotency_by_time", "idempotency_keys", ["at"], None),
        ("uploads_by_time", "uploads", ["at"], None),
        ("webhook_deliveries_by_job", "webhook_deliveries", ["job"], None),
    ):
        condition = None if where is None else sa.text(where)
        op.create_index(
            name,
            table,
            columns,
            if_not_exists=True,
            sqlite_where=condition,
            postgresql_where=condition,
        )


def downgrade() -> None:
    raise NotImplementedError("restore a backup, or let this version run: it only adds indexes")
