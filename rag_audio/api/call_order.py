"""Whose webhook is called next, where some endpoints hang: turns of owners, in one process.

The owner whose last call began longest ago comes first, and whoever was not called yet before all
others: an owner with a thousand deliveries delays the others by one call of theirs. Owners whose
last call was slow have half of the callers at most, so that the other half is left to the rest,
however many endpoints hang.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from sqlalchemy import Connection, Select, exists, select
from sqlalchemy.sql.elements import ColumnElement

from rag_audio.jobs.tables import deliveries, jobs

MOST_OWNERS = 1000
"""Owners that are remembered; of more, those whose last call began longest ago are forgotten."""


class CallOrder:
    """Remembers who was called, and how; whoever uses it holds a lock.

    Processes that share a database each have turns of their own.

    Args:
        callers: calls that are made at once.
        most: see :data:`MOST_OWNERS`.
    """

    def __init__(self, callers: int, most: int = MOST_OWNERS) -> None:
        self._slow_at_once, self._most = max(1, callers // 2), most
        self._was_slow: OrderedDict[str, bool] = OrderedDict()  # by when the last call began
        self._called: set[str] = set()

    def begin(self, owner: str) -> None:
        """An owner is being called from now on: no second call begins before :meth:`end`."""
        self._was_slow[owner] = self._was_slow.pop(owner, False)
        self._called.add(owner)
        while len(self._was_slow) > self._most:
            self._was_slow.popitem(last=False)

    def end(self, owner: str, *, is_slow: bool) -> None:
        """An owner's call ended; ``is_slow``: it took a caller for long, whatever came of it."""
        self._called.discard(owner)
        if owner in self._was_slow:
            self._was_slow[owner] = is_slow

    def in_order(self, db: Connection, due: Select[Any]) -> list[str | None]:
        """Owners that may be called now and have something due; None: all that were not called yet.

        Args:
            due: selects from deliveries those that are due.
        """
        waiting = self._waiting()
        known = [owner for owner in self._was_slow if owner not in waiting]
        asked = due.with_only_columns(jobs.c.owner).select_from(deliveries)
        of_known = asked.join(jobs, jobs.c.id == deliveries.c.job).where(jobs.c.owner.in_(known))
        found = set(db.execute(of_known.distinct()).scalars()) if known else set()
        has_new = db.execute(due.where(self.is_of(None)).limit(1)).first() is not None
        return [*((None,) if has_new else ()), *(owner for owner in known if owner in found)]

    def is_of(self, turn: str | None) -> ColumnElement[bool]:
        """Whether a delivery is of one that :meth:`in_order` named."""
        if turn is not None:
            return _of({turn})
        return ~_of({*self._was_slow, *self._called})

    def _waiting(self) -> set[str]:
        """Owners that are being called, or are slow while as many of these are called as may be."""
        slow = {owner for owner, was_slow in self._was_slow.items() if was_slow}
        return self._called | (slow if len(slow & self._called) >= self._slow_at_once else set())


def _of(owners: set[str]) -> ColumnElement[bool]:
    """Whether a delivery is of one of these owners; one whose job is missing is of nobody."""
    its_job = (jobs.c.id == deliveries.c.job, jobs.c.owner.in_(owners))
    return exists(select(jobs.c.id).where(*its_job).correlate(deliveries))
