"""Revocations in the SQL database; rows are never deleted, so that who revoked what stays known."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Column, Connection, Index, Integer, MetaData, Select, Table, Text, select
from sqlalchemy import insert as sql_insert

from rag_audio.licensing import Revocation, RevocationOf

metadata = MetaData()

_revocations = Table(
    "revocations",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("folded", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("revoked_by", Text, nullable=False),
    Column("revoked_at", Text, nullable=False),
    Column("ended_by", Text),
    Column("ended_at", Text),
    Index("revocations_by_target", "kind", "folded"),
)


def in_force(connection: Connection) -> list[Revocation]:
    """All that nobody took back, oldest first."""
    rows = connection.execute(_in_force().order_by(_revocations.c.id)).all()
    return [
        Revocation(
            RevocationOf(row.kind),
            row.target,
            row.reason,
            row.revoked_by,
            datetime.fromisoformat(row.revoked_at),
        )
        for row in rows
    ]


def insert(connection: Connection, revocation: Revocation) -> bool:
    """Put a revocation in force; False when it was already, and the first one then stays."""
    same = _in_force().where(*_is(revocation))
    if connection.execute(same).first() is not None:
        return False
    connection.execute(
        sql_insert(_revocations),
        {
            "kind": revocation.of.value,
            "folded": revocation.folded,
            "target": revocation.target,
            "reason": revocation.reason,
            "revoked_by": revocation.by,
            "revoked_at": revocation.at.astimezone(UTC).isoformat(),
        },
    )
    return True


def end(connection: Connection, revocation: Revocation) -> bool:
    """Take a revocation back; ``by`` and ``at`` say who does and when. False: there was none."""
    ended = connection.execute(
        _revocations.update()
        .where(*_is(revocation), _revocations.c.ended_at.is_(None))
        .values(ended_by=revocation.by, ended_at=revocation.at.astimezone(UTC).isoformat())
    )
    return ended.rowcount > 0


def _in_force() -> Select[Any]:
    return select(_revocations).where(_revocations.c.ended_at.is_(None))


def _is(revocation: Revocation) -> tuple[Any, ...]:
    return (
        _revocations.c.kind == revocation.of.value,
        _revocations.c.folded == revocation.folded,
    )
