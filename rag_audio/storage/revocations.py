"""Revocations in the SQL database; rows are never deleted, so that who revoked what stays known."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Select,
    Table,
    Text,
    func,
    select,
)
from sqlalchemy import insert as sql_insert

from rag_audio.domain import names
from rag_audio.domain.licensing import Revocation, RevocationOf
from rag_audio.storage import conflicts as contested

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
    Column("salt", LargeBinary),
    Index("revocations_by_target", "kind", "folded"),
)
"""``salt``: 32 random bytes, so that the log can commit to the row without telling who and why."""

SALT_BYTES = 32


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


def keys_in_force() -> Select[Any]:
    """Asks for kind and key (:attr:`Revocation.key`) of all that nobody took back."""
    return _in_force().with_only_columns(_revocations.c.kind, _revocations.c.folded)


def insert(
    connection: Connection, revocation: Revocation, known: Iterable[str] = (), last: int = 0
) -> list[dict[str, Any]]:
    """Put a revocation in force; no row when it was already, and the first one then stays.

    Args:
        known: artists of the catalogue, which a revoked artist's name must not be taken for.
        last: the highest number that a revocation ever had, where that may not be in the table:
            a number that somebody deleted is not given again.

    Returns:
        The row that was made.
    """
    if any(holds_for(one, revocation) for one in in_force(connection)):
        return []
    target = revocation.target
    highest = connection.execute(select(func.max(_revocations.c.id))).scalar() or 0
    row: dict[str, Any] = {
        "id": max(last, highest) + 1,
        "kind": revocation.of.value,
        "folded": key_of(revocation, known),
        "target": target,
        "reason": revocation.reason,
        "revoked_by": revocation.by,
        "revoked_at": revocation.at.astimezone(UTC).isoformat(),
        "salt": secrets.token_bytes(SALT_BYTES),
    }
    connection.execute(sql_insert(_revocations), row)
    return _rows(connection, [row["id"]])


def end(connection: Connection, revocation: Revocation) -> list[dict[str, Any]]:
    """Take a revocation back; ``by`` and ``at`` say who does and when.

    Returns:
        The rows that were ended, as they are now; none where there was no such revocation.
    """
    ending = {"ended_by": revocation.by, "ended_at": revocation.at.astimezone(UTC).isoformat()}
    targets = [one.target for one in in_force(connection) if same_source(one, revocation)]
    these = (_revocations.c.kind == revocation.of.value, _revocations.c.target.in_(targets))
    ids = list(connection.execute(_in_force().where(*these)).scalars())
    change = _revocations.update().where(_revocations.c.id.in_(ids)).values(**ending)
    connection.execute(change)
    return _rows(connection, ids)


def key_of(revocation: Revocation, known: Iterable[str]) -> str:
    """How the target is compared once it is revoked (:attr:`Revocation.key`).

    Args:
        known: artists of the catalogue, which a revoked artist's name must not be taken for.
    """
    if revocation.of is RevocationOf.ARTIST:
        return names.revocation_key(revocation.target, known)
    return revocation.target


def _rows(connection: Connection, ids: list[int]) -> list[dict[str, Any]]:
    wanted = select(_revocations).where(_revocations.c.id.in_(ids)).order_by(_revocations.c.id)
    return [dict(row) for row in connection.execute(wanted).mappings()]


def _in_force() -> Select[Any]:
    return select(_revocations).where(_revocations.c.ended_at.is_(None))


def same_source(one: Revocation, other: Revocation) -> bool:
    """Whether both are of the very same source."""
    if one.of is not other.of:
        return False
    if one.of is RevocationOf.ARTIST:
        return names.same(one.target, other.target)
    return one.target == other.target


def holds_for(one: Revocation, other: Revocation) -> bool:
    """Whether the source of ``other`` is revoked by ``one``, which has its ``key``."""
    if one.of is other.of is RevocationOf.ARTIST:
        return names.is_revoked(other.target, frozenset({one.key}))
    return same_source(one, other)


# The tables of libraries, licenses and files, as the code sees them.
#
# The migrations in :mod:`.migrations` make them; :mod:`.catalogue` writes them, and
# :mod:`rag_audio.provenance.ledger.audit_rights` holds them against the log.

libraries = Table(
    "libraries",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("root", Text, nullable=False),
    Column("salt", LargeBinary),
)
"""``salt``: 32 random bytes, so that the log can commit to the row without telling its root."""

licenses = Table(
    "licenses",
    metadata,
    Column("library", Text, ForeignKey("libraries.id"), primary_key=True),
    Column("id", Text, primary_key=True),
    Column("license", Text, nullable=False),
)

files = Table(
    "files",
    metadata,
    Column("library", Text, ForeignKey("libraries.id"), primary_key=True),
    Column("path", Text, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    Column("declared", Text, nullable=False),
    Column("space", Text, nullable=False),
    Column("stem_id", Text, nullable=False),
    Column("artist", Text, nullable=False),
    Column("stem", Text, nullable=False),
    Column("decision", Text, nullable=False, server_default=""),
    Index("files_by_stem", "stem_id"),
    Index("files_by_artist", "artist"),
)

contested.define(metadata)
withheld_files = metadata.tables["withheld_files"]
conflicts = metadata.tables["conflicts"]
