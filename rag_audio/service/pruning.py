"""Removing what is old: finished jobs, the progress of jobs, idempotency keys.

In short transactions of some hundred rows each, so that nobody waits for them, by any number of
processes at once. Nothing goes that the ledger needs: its entries say by themselves what each
output was made of, and whose it is; the job of an output whose record does not say whose it is (an
earlier version wrote it) stays for ever.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy import Connection, Engine, Row, and_, delete, exists, func, or_, select, tuple_

from rag_audio.provenance.ledger.audit_pages import find_logged
from rag_audio.service.jobs import JobState
from rag_audio.service.queue import KEPT_S
from rag_audio.service.tables import deliveries, events, idempotency, jobs, now
from rag_audio.storage.database import reading, writing
from rag_audio.storage.migrations import SqlStore

AT_ONCE = 200
"""Rows of one transaction."""
DAY_S = 86_400.0
_FINAL = tuple(state.value for state in JobState if state.is_final)
log = structlog.get_logger("rag_audio.service")


@dataclass(frozen=True)
class Ages:
    """After how long things go.

    Attributes:
        jobs_s: finished jobs, with their events and delivered files; None: never.
        progress_s: events that say how far a job was.
    """

    jobs_s: float | None = None
    progress_s: float = 7 * DAY_S


class Pruning(SqlStore):
    """Removes what is old.

    Args:
        engine: the ledger's own.
        remove_files: removes the delivered files of a job, by its id, also where none are left.
    """

    def __init__(self, engine: Engine, ages: Ages, remove_files: Callable[[str], None]) -> None:
        super().__init__(engine)
        self._ages, self._remove_files = ages, remove_files

    def prune(self, is_stopping: Callable[[], bool]) -> dict[str, int]:
        """Remove all that is too old; how many rows of each kind went.

        Raises:
            BackendUnavailable: the database or the store of the files is away; the next time goes
                on.
        """
        gone = {
            "progress": self._in_parts(is_stopping, self._drop_progress),
            "idempotency_keys": self._in_parts(is_stopping, self._drop_keys),
            "jobs": self._prune_jobs(is_stopping),
        }
        if any(gone.values()):
            log.info("pruned", **gone)
        return gone

    def _in_parts(self, is_stopping: Callable[[], bool], drop: Callable[[Connection], int]) -> int:
        total = 0
        while not is_stopping():
            with writing(self._engine) as db:
                some = drop(db)
            total += some
            if some < AT_ONCE:
                break
        return total

    def _drop_progress(self, db: Connection) -> int:
        key = tuple_(events.c.job, events.c.id)
        old = select(events.c.job, events.c.id).where(
            events.c.kind == "progress", events.c.at < now(db) - self._ages.progress_s
        )
        some = db.execute(old.order_by(events.c.at).limit(AT_ONCE)).all()
        if some:
            db.execute(delete(events).where(key.in_([(row.job, row.id) for row in some])))
        return len(some)

    def _drop_keys(self, db: Connection) -> int:
        key = tuple_(idempotency.c.owner, idempotency.c.key)
        old = select(idempotency.c.owner, idempotency.c.key).where(
            idempotency.c.at < now(db) - KEPT_S
        )
        some = db.execute(old.order_by(idempotency.c.at).limit(AT_ONCE)).all()
        if some:
            db.execute(delete(idempotency).where(key.in_([(row.owner, row.key) for row in some])))
        return len(some)

    def _prune_jobs(self, is_stopping: Callable[[], bool]) -> int:
        total, after = 0, (0.0, 0)
        while self._ages.jobs_s is not None and not is_stopping():
            with reading(self._engine) as db:
                rows = _old_jobs(db, self._ages.jobs_s, after)
                needed = _needed(db, rows)
            ids = [row.id for row in rows if row.id not in needed]
            # Before the rows: where the store of the files is away, the next time finds them.
            for id_ in ids:
                self._remove_files(id_)
            with writing(self._engine) as db:
                total += _drop_jobs(db, ids)
            if len(rows) < AT_ONCE:
                break
            after = (rows[-1].finished_at, rows[-1].seq)
        return total


def _drop_jobs(db: Connection, ids: Sequence[str]) -> int:
    """Delete jobs that nobody else is deleting; how many."""
    wanted = select(jobs.c.id).where(jobs.c.id.in_(ids))
    found = db.execute(wanted.with_for_update(skip_locked=True)).scalars().all()
    for column in (events.c.job, deliveries.c.job, jobs.c.id):
        db.execute(delete(column.table).where(column.in_(found)))
    return len(found)


def _old_jobs(
    db: Connection, age_s: float, after: tuple[float, int]
) -> Sequence[Row[str, int, float, str]]:
    """Jobs that ended so long ago, after a place in the order of their ends.

    Whom to call about them was called, and no edit waits that begins with what they made; and the
    newest job, and the last turn, stay: new ones are counted on from them.
    """
    calls = exists().where(deliveries.c.job == jobs.c.id, deliveries.c.state == "due")
    edit = jobs.alias()
    begun = exists().where(
        edit.c.kind == "edit", edit.c.state.not_in(_FINAL), edit.c.request.contains(jobs.c.id)
    )
    last = select(func.max(jobs.c.seq)).scalar_subquery()
    turn = select(func.max(jobs.c.turn)).scalar_subquery()
    newest = or_(jobs.c.seq == last, jobs.c.turn == turn)
    old = and_(jobs.c.state.in_(_FINAL), jobs.c.finished_at < now(db) - age_s)
    place = tuple_(jobs.c.finished_at, jobs.c.seq)
    wanted = select(jobs.c.id, jobs.c.seq, jobs.c.finished_at, jobs.c.result)
    wanted = wanted.where(old, ~calls, ~begun, ~newest, place > after)
    return db.execute(wanted.order_by(jobs.c.finished_at, jobs.c.seq).limit(AT_ONCE)).all()


def _needed(db: Connection, rows: Sequence[Row[str, int, float, str]]) -> set[str]:
    """The jobs that alone say whose an output is, and those whose result cannot be read."""
    made: dict[int, str] = {}
    needed = set()
    for row in rows:
        try:
            result = json.loads(row.result or "{}")
            made |= dict.fromkeys((one["output"] for one in result.get("outputs", ())), row.id)
        except (ValueError, TypeError, KeyError, AttributeError):
            needed.add(row.id)
    for output, one in find_logged(db, list(made)).items():
        if "owner" not in one.document:
            needed.add(made[output])
    return needed
