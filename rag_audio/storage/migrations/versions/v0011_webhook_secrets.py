"""Which secrets of webhooks there are: what each is derived with, none of them itself."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table; an owner without a row has the first secret."""
    op.create_table(
        "webhook_secrets",
        sa.Column("owner", sa.Text, primary_key=True),
        sa.Column("nonce", sa.Text, primary_key=True),
        sa.Column("made_at", sa.Double, nullable=False),
        sa.Column("valid_until", sa.Double),
    )


def downgrade() -> None:
    """A secret that was replaced must not come back."""
    raise NotImplementedError("the database cannot be downgraded")
