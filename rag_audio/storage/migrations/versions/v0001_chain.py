"""The log of version 0.1.0: entries in a hash chain."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The tables as version 0.1.0 made them; empty."""
    op.create_table(
        "ledger_counter",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("last_output", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "ledger_head",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("entries", sa.Integer, nullable=False),
        sa.Column("head", sa.String(64), nullable=False),
    )
    op.create_table(
        "ledger_entries",
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("output", sa.BigInteger, nullable=False, unique=True),
        sa.Column("leaf_hash", sa.String(64), nullable=False),
        sa.Column("head", sa.String(64), nullable=False),
        sa.Column("document", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "ledger_sources",
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("stem", sa.String, nullable=False, index=True),
        sa.Column("artist", sa.String, nullable=False, index=True),
        sa.Column("library", sa.String, nullable=False),
        sa.Column("license", sa.String, nullable=False, index=True),
        sa.Column("holder", sa.String, nullable=False, index=True),
    )
    op.create_table(
        "ledger_hashes",
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("what", sa.String, primary_key=True),
        sa.Column("sha256", sa.String(64), nullable=False, index=True),
    )


def downgrade() -> None:
    """A log is never taken away."""
    raise NotImplementedError("the ledger cannot be downgraded")
