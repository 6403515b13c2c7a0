"""The epoch of the catalogue, and stems in rows and counts that can be asked without listing them.

The new tables follow from those of files, conflicts and revocations, and are filled here a part at
a time in the one transaction of the migration: it is done whole or not at all.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from rag_audio.storage import epoch, stem_rows

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables, and the rows of the stems that there are."""
    op.create_table(
        "catalogue_epoch",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("rights", sa.BigInteger, nullable=False),
        sa.Column("token", sa.Text, nullable=False),
    )
    op.create_table(
        "stems",
        *_keys("library", "stem_id"),
        *_texts("path", "license", "artist"),
        *_numbers("declared", "contested", "revoked"),
        *_texts("kind", "sample_type", "key"),
        sa.Column("bpm", sa.Float(53)),
        *_texts("tags", "caption"),
    )
    op.create_index("stems_by_id", "stems", ["stem_id", "library"])
    op.create_index("stems_by_artist", "stems", ["artist", "stem_id"])
    op.create_index("stems_by_license", "stems", ["library", "license", "stem_id"])
    op.create_index("stems_by_state", "stems", ["contested", "revoked", "stem_id"])
    op.create_table("stem_tags", *_keys("library", "stem_id", "tag"), *_texts("folded"))
    op.create_index("stem_tags_by_tag", "stem_tags", ["folded", "stem_id", "library"])
    op.create_table(
        "stem_groups",
        *_keys("id"),
        *_texts("library", "license", "artist"),
        *_numbers("declared", "revoked", "stems"),
        *_texts("counts"),
        sa.Column("changed", sa.BigInteger, nullable=False),
    )
    op.create_index("stem_groups_by_change", "stem_groups", ["changed"])
    op.create_index("stem_groups_by_artist", "stem_groups", ["artist"])
    epoch.begin_epochs(op.get_bind())
    stem_rows.fill(op.get_bind(), 1)


def downgrade() -> None:
    """Nothing is lost with the tables, but no earlier version keeps them up to date."""
    raise NotImplementedError("the database cannot be downgraded")


def _keys(*columns: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.Text, primary_key=True) for name in columns]


def _texts(*columns: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.Text, nullable=False) for name in columns]


def _numbers(*columns: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.Integer, nullable=False) for name in columns]
