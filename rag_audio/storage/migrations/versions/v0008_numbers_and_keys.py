"""Output numbers come in epochs, and the database knows the keys of the homes that write to it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """What was counted so far is the first epoch, from 1; keys are noted when they are next used.

    The counter's checksum stays as it is: one that was wrong before is still found.
    """
    op.add_column(
        "ledger_counter",
        sa.Column("first_output", sa.BigInteger, nullable=False, server_default="1"),
    )
    op.create_table(
        "key_fingerprints",
        sa.Column("purpose", sa.Text, primary_key=True),
        sa.Column("fingerprint", sa.Text, primary_key=True),
        sa.Column("state", sa.Text, nullable=False),
    )


def downgrade() -> None:
    """Numbers that were given are never taken back."""
    raise NotImplementedError("the database cannot be downgraded")
