"""Whose each output is: a row of its own, which outlives the job that made it."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_AT_ONCE = 500


def upgrade() -> None:
    """Make the table, and fill it from the jobs that are still there.

    An output without a row was made by nobody who has a key: on the command line, or by a job that
    is gone.
    """
    owners = op.create_table(
        "output_owners",
        sa.Column("output", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("owner", sa.Text, nullable=False),
    )
    op.create_index("output_owners_by_owner", "output_owners", ["owner", "output"])
    jobs = sa.table("jobs", sa.column("owner"), sa.column("result"), sa.column("seq"))
    finished = sa.select(jobs.c.owner, jobs.c.result).where(jobs.c.result.is_not(None))
    db = op.get_bind()
    whose: dict[int, str] = {}
    for owner, result in db.execute(finished.order_by(jobs.c.seq)):
        for made in json.loads(result).get("outputs", ()):
            whose.setdefault(int(made["output"]), owner)
    rows = [{"output": output, "owner": owner} for output, owner in sorted(whose.items())]
    for start in range(0, len(rows), _AT_ONCE):
        db.execute(sa.insert(owners), rows[start : start + _AT_ONCE])


def downgrade() -> None:
    """A log is never taken away, and this says whose its entries are."""
    raise NotImplementedError("the database cannot be downgraded")
