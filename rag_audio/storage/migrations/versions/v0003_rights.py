"""The tables of rights and of fingerprints, which homes of before made without alembic.

Where they are already, they have these columns and stay as they are.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make what is missing."""
    known = set(sa.inspect(op.get_bind()).get_table_names())
    for name, make in (
        ("libraries", _libraries),
        ("licenses", _licenses),
        ("files", _files),
        ("revocations", _revocations),
        ("fingerprints", _fingerprints),
        ("fingerprint_postings", _postings),
    ):
        if name not in known:
            make()


def downgrade() -> None:
    """A log is never taken away, and neither is who revoked what."""
    raise NotImplementedError("the database cannot be downgraded")


def _libraries() -> None:
    op.create_table(
        "libraries",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("root", sa.Text, nullable=False),
    )


def _licenses() -> None:
    op.create_table(
        "licenses",
        sa.Column("library", sa.Text, sa.ForeignKey("libraries.id"), primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("license", sa.Text, nullable=False),
    )


def _files() -> None:
    op.create_table(
        "files",
        sa.Column("library", sa.Text, sa.ForeignKey("libraries.id"), primary_key=True),
        sa.Column("path", sa.Text, primary_key=True),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("mtime_ns", sa.BigInteger, nullable=False),
        sa.Column("declared", sa.Text, nullable=False),
        sa.Column("space", sa.Text, nullable=False),
        sa.Column("stem_id", sa.Text, nullable=False),
        sa.Column("artist", sa.Text, nullable=False),
        sa.Column("stem", sa.Text, nullable=False),
    )
    op.create_index("files_by_stem", "files", ["stem_id"])
    op.create_index("files_by_artist", "files", ["artist"])


def _revocations() -> None:
    op.create_table(
        "revocations",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("folded", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("revoked_by", sa.Text, nullable=False),
        sa.Column("revoked_at", sa.Text, nullable=False),
        sa.Column("ended_by", sa.Text),
        sa.Column("ended_at", sa.Text),
    )
    op.create_index("revocations_by_target", "revocations", ["kind", "folded"])


def _fingerprints() -> None:
    op.create_table(
        "fingerprints",
        sa.Column("output", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("duration_s", sa.Float, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("landmarks", sa.LargeBinary, nullable=False),
    )


def _postings() -> None:
    op.create_table(
        "fingerprint_postings",
        sa.Column("hash", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("output", sa.BigInteger, primary_key=True, autoincrement=False),
        sqlite_with_rowid=False,
    )
