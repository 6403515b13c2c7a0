"""Shards of a library that is being indexed by several processes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table; it is empty unless a library is being indexed."""
    op.create_table(
        "index_shards",
        sa.Column("library", sa.Text, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("files", sa.Integer, nullable=False),
        sa.Column("manifest", sa.LargeBinary, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("lease_token", sa.Text),
        sa.Column("lease_until", sa.Double),
        sa.Column("result", sa.LargeBinary),
    )
    op.create_index("index_shards_by_state", "index_shards", ["library", "state", "number"])


def downgrade() -> None:
    """A run that was begun is begun anew."""
    raise NotImplementedError("the database cannot be downgraded")
