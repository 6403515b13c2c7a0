"""Which license holds where the same bytes lie under several: decisions, and the claims on them."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

from rag_audio.domain import names

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column and the tables where they are missing, and find the conflicts there are."""
    db = op.get_bind()
    inspector = sa.inspect(db)
    if "decision" not in {column["name"] for column in inspector.get_columns("files")}:
        op.add_column("files", sa.Column("decision", sa.Text, nullable=False, server_default=""))
    known = set(inspector.get_table_names())
    if "withheld_files" not in known:
        op.create_table(
            "withheld_files",
            *_place(),
            sa.Column("size", sa.BigInteger, nullable=False),
            sa.Column("mtime_ns", sa.BigInteger, nullable=False),
            *_claim(),
        )
        op.create_index("withheld_files_by_stem", "withheld_files", ["stem_id"])
    if "conflicts" not in known:
        op.create_table("conflicts", *_place(), *_claim())
        op.create_index("conflicts_by_stem", "conflicts", ["stem_id"])
    _find(db)


def downgrade() -> None:
    """A log is never taken away, and neither are decisions."""
    raise NotImplementedError("the database cannot be downgraded")


def _place() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("library", sa.Text, sa.ForeignKey("libraries.id"), primary_key=True),
        sa.Column("path", sa.Text, primary_key=True),
    )


def _claim() -> tuple[sa.Column[Any], ...]:
    return tuple(
        sa.Column(name, sa.Text, nullable=False)
        for name in ("stem_id", "license", "artist", "decision")
    )


def _find(db: sa.Connection) -> None:
    """Stems whose files differ in license or declared artist; nobody has decided yet."""
    twice = (
        "SELECT stem_id, library, path, stem FROM files WHERE stem_id IN "
        "(SELECT stem_id FROM files GROUP BY stem_id HAVING count(*) > 1)"
    )
    found: dict[str, list[dict[str, str]]] = {}
    for stem_id, library, path, text in db.execute(sa.text(twice)):
        stem = json.loads(text)
        claim = {
            "stem_id": stem_id,
            "library": library,
            "path": path,
            "license": stem["license"],
            "artist": stem["artist"] if stem["artist_declared"] else "",
            "decision": "",
        }
        found.setdefault(stem_id, []).append(claim)
    rows = [
        row
        for own in found.values()
        if len({(one["library"], one["license"], names.exact(one["artist"])) for one in own}) > 1
        for row in own
    ]
    if rows:
        db.execute(sa.text("DELETE FROM conflicts"))
        columns = ("library", "path", "stem_id", "license", "artist", "decision")
        marks = ", ".join(f":{name}" for name in columns)
        db.execute(sa.text(f"INSERT INTO conflicts ({', '.join(columns)}) VALUES ({marks})"), rows)  # noqa: S608
