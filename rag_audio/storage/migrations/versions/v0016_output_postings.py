"""An index of outputs by landmarks that no change of tempo or pitch moves, in place of pairs.

It is made from the fingerprints, of which none is touched, when it is first asked or added to: what
is not in it yet is in ``fingerprints_to_index``.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

# On SQLite a column of this type is the table's own key, and needs no index beside it.
_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the new index, empty, and name all outputs that are to be put into it."""
    op.create_table(
        "output_postings",
        sa.Column("hash", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("output", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("place", sa.BigInteger, primary_key=True, autoincrement=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "output_hash_counts",
        sa.Column("hash", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("count", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "fingerprints_to_index", sa.Column("output", _BIG, primary_key=True, autoincrement=False)
    )
    op.execute("INSERT INTO fingerprints_to_index (output) SELECT output FROM fingerprints")
    op.drop_table("fingerprint_postings", if_exists=True)


def downgrade() -> None:
    """A log is never taken away."""
    raise NotImplementedError("the database cannot be downgraded")
