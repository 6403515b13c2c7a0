"""Whose outputs are: the API key whose job made them, for as long as the ledger holds them."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, insert, select

from rag_audio.database import reading
from rag_audio.jobs.tables import owners
from rag_audio.migrations import SqlStore


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
