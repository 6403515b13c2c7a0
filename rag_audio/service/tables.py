"""The tables of the service as the code sees them; the migrations make them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    insert,
    literal_column,
    select,
    text,
)
from sqlalchemy.sql.elements import ColumnElement

from rag_audio.storage.database import reading
from rag_audio.storage.migrations import SqlStore


def _where(condition: str) -> dict[str, Any]:
    """Of an index: only the rows that meet a condition, on both databases."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


metadata = MetaData()
jobs = Table(
    "jobs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("seq", BigInteger, nullable=False, unique=True),
    Column("turn", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("libraries", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("request", Text, nullable=False),
    Column("plan", Text),
    Column("result", Text),
    Column("problem", Text),
    Column("attempts", Integer, nullable=False),
    Column("lease_token", Text),
    Column("lease_until", Double),
    Column("cancel_asked", Integer, nullable=False),
    Column("stage", Text, nullable=False),
    Column("done", Integer, nullable=False),
    Column("total", Integer, nullable=False),
    Column("eta_s", Double),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("finished_at", Double),
    Column("webhook", Text),
    Index("jobs_by_state", "state", "turn", "seq"),
    Index("jobs_by_owner", "owner", "seq"),
    Index("jobs_by_end", "finished_at", "seq", **_where("finished_at IS NOT NULL")),
)
"""``seq`` is the order of arrival, ``turn`` that of service (see :mod:`.queue`)."""
events = Table(
    "job_events",
    metadata,
    Column("job", Text, ForeignKey("jobs.id"), primary_key=True),
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("at", Double, nullable=False),
    Column("kind", Text, nullable=False),
    Column("document", Text, nullable=False),
    Index("job_progress_by_time", "at", **_where("kind = 'progress'")),
)
idempotency = Table(
    "idempotency_keys",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("body_sha256", String(64), nullable=False),
    Column("job", Text),
    Column("at", Double, nullable=False),
    Index("idempotency_by_time", "at"),
)
"""``job`` is empty while the first request with the key is still being answered."""
uploads = Table(
    "uploads",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("suffix", Text, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("duration_s", Double, nullable=False),
    Column("at", Double, nullable=False),
    Index("uploads_by_time", "at"),
)
api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("hash", String(64), nullable=False),
    Column("scopes", Text, nullable=False),
    Column("libraries", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double),
    Column("revoked_at", Double),
)
api_sessions = Table(
    "api_sessions",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column("key", Text, ForeignKey("api_keys.id"), nullable=False),
    Column("expires_at", Double, nullable=False),
)
owners = Table(
    "output_owners",
    metadata,
    Column("output", BigInteger, primary_key=True, autoincrement=False),
    Column("owner", Text, nullable=False),
    Index("output_owners_by_owner", "owner", "output"),
)
"""Whose each output of a job is; what the command line made has no row."""
deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("id", Text, primary_key=True),
    Column("job", Text, ForeignKey("jobs.id"), nullable=False),
    Column("url", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_at", Double, nullable=False),
    Column("said", Text, nullable=False),
    Index("webhook_deliveries_due", "state", "next_at"),
    Index("webhook_deliveries_by_job", "job"),
)
webhook_secrets = Table(
    "webhook_secrets",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("nonce", Text, primary_key=True),
    Column("made_at", Double, nullable=False),
    Column("valid_until", Double),
)
"""What each secret is derived with (:mod:`.webhook_secrets`), not the secret; the
current one has no ``valid_until``. An owner without a current row has the first secret."""

_NOW = {
    "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
    "postgresql": "extract(epoch from clock_timestamp())::double precision",
}


def now(db: Connection) -> ColumnElement[float]:
    """The database's clock, seconds since 1970: workers' own clocks may disagree."""
    return literal_column(_NOW[db.dialect.name], Double)


# Whose outputs are: the API key whose job made them, for as long as the ledger holds them.


class SqlOwners(SqlStore):
    """Answers whose an output is, from one indexed table."""

    def of(self, output: int) -> str | None:
        """Id of the key whose job made it; empty: no key was needed; None: no job made it."""
        wanted = select(owners.c.owner).where(owners.c.output == output)
        with reading(self._engine) as db:
            return db.execute(wanted).scalar()

    def outputs_of(self, owner: str) -> list[int]:
        """Numbers of an owner's outputs, rising."""
        wanted = select(owners.c.output).where(owners.c.owner == owner)
        with reading(self._engine) as db:
            return list(db.execute(wanted.order_by(owners.c.output)).scalars())


def own(db: Connection, owner: str, outputs: Iterable[int]) -> None:
    """Note whose outputs are, in the transaction that logs them."""
    rows = [{"output": output, "owner": owner} for output in outputs]
    if rows:
        db.execute(insert(owners), rows)
