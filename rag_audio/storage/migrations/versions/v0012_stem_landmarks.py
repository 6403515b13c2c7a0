"""What stems are recognised by in foreign sound: their landmarks, and an index of these."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables; the next run of the indexer fills them."""
    op.create_table(
        "stem_landmarks",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("stem", sa.String(64), nullable=False, unique=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("landmarks", sa.LargeBinary, nullable=False),
    )
    op.create_index("stem_landmarks_by_size", "stem_landmarks", ["version", "size"])
    op.create_table(
        "stem_postings",
        sa.Column("hash", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("place", sa.BigInteger, primary_key=True, autoincrement=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """What is lost is made again by the indexer, which no earlier version does."""
    raise NotImplementedError("the database cannot be downgraded")
