"""Revocations in the SQL database; rows are never deleted, so that who revoked what stays known."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Column, Connection, Index, Integer, MetaData, Select, Table, Text, select
from sqlalchemy import insert as sql_insert

from rag_audio import names
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
            row.folded,
        )
        for row in rows
    ]


def insert(connection: Connection, revocation: Revocation, known: Iterable[str] = ()) -> bool:
    """Put a revocation in force; False when it was already, and the first one then stays.

    Args:
        known: artists of the catalogue, which a revoked artist's name must not be taken for.
    """
    if any(_holds_for(one, revocation) for one in in_force(connection)):
        return False
    is_artist = revocation.of is RevocationOf.ARTIST
    target = revocation.target
    connection.execute(
        sql_insert(_revocations),
        {
            "kind": revocation.of.value,
            "folded": names.revocation_key(target, known) if is_artist else target,
            "target": target,
            "reason": revocation.reason,
            "revoked_by": revocation.by,
            "revoked_at": revocation.at.astimezone(UTC).isoformat(),
        },
    )
    return True


def end(connection: Connection, revocation: Revocation) -> bool:
    """Take a revocation back; ``by`` and ``at`` say who does and when. False: there was none."""
    ending = {"ended_by": revocation.by, "ended_at": revocation.at.astimezone(UTC).isoformat()}
    targets = [one.target for one in in_force(connection) if _is(one, revocation)]
    ended = connection.execute(
        _revocations.update()
        .where(
            _revocations.c.kind == revocation.of.value,
            _revocations.c.target.in_(targets),
            _revocations.c.ended_at.is_(None),
        )
        .values(**ending)
    )
    return ended.rowcount > 0


def _in_force() -> Select[Any]:
    return select(_revocations).where(_revocations.c.ended_at.is_(None))


def _is(one: Revocation, other: Revocation) -> bool:
    """Whether both are of the very same source."""
    if one.of is not other.of:
        return False
    if one.of is RevocationOf.ARTIST:
        return names.same(one.target, other.target)
    return one.target == other.target


def _holds_for(one: Revocation, other: Revocation) -> bool:
    """Whether the source of ``other`` is revoked by ``one``."""
    if one.of is other.of is RevocationOf.ARTIST:
        return names.is_revoked(other.target, frozenset({one.key}))
    return _is(one, other)
