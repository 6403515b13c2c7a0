"""Jobs on SQLite or PostgreSQL: accepted once, run under a lease, finished once.

A worker claims the next job in one statement's transaction (``BEGIN IMMEDIATE`` on SQLite, ``FOR
UPDATE SKIP LOCKED`` on PostgreSQL) and gets a token. It keeps the job by renewing the lease, on the
database's clock. Whoever has lost the lease cannot finish the job: finishing is an ``UPDATE`` under
the token, in the transaction that writes the ledger's entries.

The order is that of start-time fair queueing (Goyal, Vin, Cheng: "Start-time fair queueing", 1997),
with every job of the same length: a job's turn is one after the owner's last one, and never before
the turn that is being served. An owner with a thousand jobs delays others by one.

A worker may take further jobs along with the one whose turn it is (:meth:`SqlJobs.claim_with`).
They keep their turns: their owner has had them, and whoever comes anew is placed by the turn of
those that wait.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    and_,
    func,
    insert,
    or_,
    select,
    update,
)

from rag_audio.errors import Cancelled
from rag_audio.service.job_rows import (
    begin,
    closed,
    held_by,
    is_waiting,
    job_of,
    lost,
    near_to,
    next_of,
    next_turn,
    state_of,
    tell,
    tell_end,
    to_json,
    with_position,
)
from rag_audio.service.models import Claimed, Event, Job, JobState, Limits, QueueFull
from rag_audio.service.tables import events, idempotency, jobs, now, own
from rag_audio.storage.database import reading, writing
from rag_audio.storage.migrations import migrate

LEASE_S = 30.0
"""A worker that is not heard of for so long has lost its job."""
ATTEMPTS = 3
"""How often a job is begun before it is given up."""

Pick = Callable[[Sequence[Job]], Sequence[Job]]
"""Chooses, of jobs that wait, those that a worker takes along."""

_LOCK = "jobs"
_FINAL = tuple(state.value for state in JobState if state.is_final)


class SqlJobs:
    """Keeps jobs.

    Args:
        engine: from :func:`rag_audio.storage.database.connect`: the ledger's own.
        limits: how much may wait.
        lease_s, attempts: see :data:`LEASE_S`, :data:`ATTEMPTS`.

    Raises:
        BackendUnavailable: the database failed; so may every method.
    """

    def __init__(
        self,
        engine: Engine,
        limits: Limits | None = None,
        lease_s: float = LEASE_S,
        attempts: int = ATTEMPTS,
    ) -> None:
        self._engine = engine
        self.limits = limits or Limits()
        self.lease_s, self.attempts = lease_s, attempts
        migrate(engine)

    def accept(
        self,
        kind: str,
        request: Mapping[str, Any],
        *,
        owner: str = "",
        libraries: Sequence[str] | None = None,
        plan: Mapping[str, Any] | None = None,
        webhook: str | None = None,
        key: str | None = None,
    ) -> Job:
        """Put a job into the queue; it is on the disk when this returns.

        Args:
            key: the owner's idempotency key, which stands for this job from the same moment on.

        Raises:
            QueueFull: too many wait, of all owners or of this one.
        """
        id_ = uuid.uuid4().hex
        with writing(self._engine, _LOCK) as db:
            self._require_room(db, owner)
            last = db.execute(select(func.max(jobs.c.seq))).scalar() or 0
            turn = next_turn(db, owner)
            row = {
                "id": id_,
                "seq": last + 1,
                "turn": turn,
                "kind": kind,
                "owner": owner,
                "libraries": to_json(None if libraries is None else list(libraries)),
                "state": JobState.QUEUED.value,
                "request": to_json(request),
                "plan": None if plan is None else to_json(plan),
                "attempts": 0,
                "cancel_asked": 0,
                "stage": "",
                "done": 0,
                "total": 0,
                "webhook": webhook,
            }
            db.execute(insert(jobs).values(created_at=now(db), **row))
            if key is not None:
                mine = (idempotency.c.owner == owner, idempotency.c.key == key)
                db.execute(update(idempotency).where(*mine).values(job=id_))
            tell(db, id_, "state", {"state": JobState.QUEUED.value})
            return self._found(db, id_)

    def find(self, id_: str) -> Job | None:
        """A job with its place in the queue."""
        with reading(self._engine) as db:
            row = db.execute(select(jobs).where(jobs.c.id == id_)).first()
            return None if row is None else with_position(db, job_of(row))

    def newest(
        self,
        owner: str | None = None,
        *,
        kind: str | None = None,
        state: JobState | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> list[Job]:
        """Jobs of an owner (None: of all), newest first, of a sequence number below ``before``."""
        wanted = select(jobs).order_by(jobs.c.seq.desc()).limit(limit)
        if owner is not None:
            wanted = wanted.where(jobs.c.owner == owner)
        if kind is not None:
            wanted = wanted.where(jobs.c.kind == kind)
        if state is not None:
            wanted = wanted.where(jobs.c.state == state.value)
        if before is not None:
            wanted = wanted.where(jobs.c.seq < before)
        with reading(self._engine) as db:
            return [with_position(db, job_of(row)) for row in db.execute(wanted)]

    def counts(self, owner: str | None = None) -> dict[JobState, int]:
        """How many jobs of an owner (None: of all) are in each state."""
        wanted = select(jobs.c.state, func.count()).group_by(jobs.c.state)
        if owner is not None:
            wanted = wanted.where(jobs.c.owner == owner)
        with reading(self._engine) as db:
            rows = db.execute(wanted).all()
        found = dict.fromkeys(JobState, 0)
        for state, count in rows:
            found[state_of(state)] += int(count)
        return found

    def finished_after(self, moment: float, limit: int = 500) -> list[Job]:
        """Jobs that ended after a moment, oldest first."""
        wanted = (
            select(jobs)
            .where(jobs.c.state.in_(_FINAL), jobs.c.finished_at > moment)
            .order_by(jobs.c.finished_at)
            .limit(limit)
        )
        with reading(self._engine) as db:
            return [job_of(row) for row in db.execute(wanted)]

    def events(self, id_: str, after: int = 0) -> list[Event]:
        """What happened to a job after event ``after``, oldest first."""
        wanted = select(events).where(events.c.job == id_, events.c.id > after)
        with reading(self._engine) as db:
            rows = db.execute(wanted.order_by(events.c.id)).all()
        return [Event(row.id, row.at, row.kind, json.loads(row.document)) for row in rows]

    def claim(self, kinds: Sequence[str] | None = None) -> Claimed | None:
        """The next job, now held by the caller until the lease ends; None: nothing waits.

        Jobs whose worker was not heard of are begun anew, and given up after so many attempts.
        """
        with reading(self._engine) as db:
            if db.execute(select(jobs.c.id).where(is_waiting(db)).limit(1)).first() is None:
                return None
        with writing(self._engine) as db:
            self._reap(db)
            next_one = next_of(db)
            if kinds is not None:
                next_one = next_one.where(jobs.c.kind.in_(kinds))
            id_ = db.execute(next_one.with_for_update(skip_locked=True)).scalar()
            if id_ is None:
                return None
            return begin(db, id_, self.lease_s)

    def claim_with(self, first: Claimed, pick: Pick, rounds: int) -> tuple[Claimed, ...]:
        """Jobs that go with one that was just claimed, each under a token and lease of its own.

        They are of its kind, were never begun, and stand less than ``rounds`` turns behind it: no
        job is overtaken by one that is further behind, and so by fewer than ``rounds`` of an
        owner. A job that lost a worker is begun alone, lest it take others with it.

        Args:
            pick: chooses among those that wait, which it gets in order.
        """
        if first.job.attempts > 1:
            return ()
        with writing(self._engine) as db:
            near = db.execute(near_to(first.job, rounds)).all()
            wanted = [job.id for job in pick([job_of(row) for row in near])]
            if not wanted:
                return ()
            free = select(jobs.c.id).where(
                jobs.c.id.in_(wanted), jobs.c.state == JobState.QUEUED.value
            )
            locked = free.order_by(jobs.c.turn, jobs.c.seq).with_for_update(skip_locked=True)
            return tuple(begin(db, id_, self.lease_s) for id_ in db.execute(locked).scalars().all())

    def renew(self, held: Claimed) -> bool:
        """Keep the lease; whether the job is to be canceled.

        Raises:
            LeaseLost: it is no longer held.
        """
        return self._update(held, {})

    def progress(
        self, held: Claimed, stage: str, done: int, total: int, eta_s: float | None = None
    ) -> bool:
        """Note how far a job is, and keep the lease; as :meth:`renew`."""
        said = {"stage": stage, "done": done, "total": total, "eta_s": eta_s}
        return self._update(held, said)

    def finish_in(self, db: Connection, held: Claimed, result: Mapping[str, Any]) -> None:
        """End a job well, in a transaction of the caller's; its outputs are its owner's from then.

        Raises:
            LeaseLost: it is no longer held. Cancelled: it is to be canceled.
        """
        ended = db.execute(
            update(jobs)
            .where(*held_by(held), jobs.c.cancel_asked == 0)
            .values(
                state=JobState.SUCCEEDED.value,
                result=to_json(result),
                lease_token=None,
                lease_until=None,
                finished_at=now(db),
            )
            .returning(jobs.c.webhook)
        ).first()
        if ended is None:
            asked = db.execute(select(jobs.c.cancel_asked).where(*held_by(held))).scalar()
            raise Cancelled("the job was canceled") if asked else lost(held)
        own(db, held.job.owner, [made["output"] for made in result.get("outputs", ())])
        met = result.get("enforced_met")
        more = {} if met is None else {"enforced_met": met}
        tell_end(db, held.job.id, JobState.SUCCEEDED, {}, ended.webhook, more)

    def fail(self, held: Claimed, problem: Mapping[str, Any]) -> None:
        """End a job badly, for ever; raises as :meth:`renew`."""
        self._close(held, JobState.FAILED, problem)

    def canceled(self, held: Claimed) -> None:
        """End a job that was to be canceled; raises as :meth:`renew`."""
        self._close(held, JobState.CANCELED, None)

    def give_back(self, held: Claimed) -> None:
        """Let another worker have the job; this attempt does not count. As :meth:`renew`."""
        with writing(self._engine) as db:
            row = db.execute(
                update(jobs)
                .where(*held_by(held))
                .values(
                    state=JobState.QUEUED.value,
                    lease_token=None,
                    lease_until=None,
                    attempts=jobs.c.attempts - 1,
                )
                .returning(jobs.c.id)
            ).first()
            if row is None:
                raise lost(held)
            tell(db, held.job.id, "state", {"state": JobState.QUEUED.value})

    def cancel(self, id_: str) -> Job | None:
        """Cancel a job: at once where it waits, soon where it runs; one that ended stays as it is.

        A job that was running when this returned will not give out anything.
        """
        with writing(self._engine) as db:
            row = db.execute(
                update(jobs)
                .where(jobs.c.id == id_, jobs.c.state == JobState.QUEUED.value)
                .values(state=JobState.CANCELED.value, cancel_asked=1, finished_at=now(db))
                .returning(jobs.c.webhook)
            ).first()
            if row is not None:
                tell_end(db, id_, JobState.CANCELED, {}, row.webhook)
            else:
                running = jobs.c.state == JobState.RUNNING.value
                db.execute(update(jobs).where(jobs.c.id == id_, running).values(cancel_asked=1))
            found = db.execute(select(jobs).where(jobs.c.id == id_)).first()
            return None if found is None else job_of(found)

    def _require_room(self, db: Connection, owner: str) -> None:
        waiting = select(func.count()).where(jobs.c.state == JobState.QUEUED.value)
        if db.execute(waiting).scalar_one() >= self.limits.queued:
            raise QueueFull(f"{self.limits.queued} jobs are waiting already", 10)
        if db.execute(waiting.where(jobs.c.owner == owner)).scalar_one() >= self.limits.per_owner:
            raise QueueFull(f"{self.limits.per_owner} jobs of yours are waiting already", 10)

    def _reap(self, db: Connection) -> None:
        """End jobs whose worker is gone and that are not to be begun again."""
        gone = and_(jobs.c.state == JobState.RUNNING.value, jobs.c.lease_until < now(db))
        over = or_(jobs.c.attempts >= self.attempts, jobs.c.cancel_asked == 1)
        rows = db.execute(
            select(jobs.c.id, jobs.c.cancel_asked, jobs.c.attempts, jobs.c.webhook)
            .where(gone, over)
            .with_for_update(skip_locked=True)
        ).all()
        for row in rows:
            state = JobState.CANCELED if row.cancel_asked else JobState.FAILED
            problem = None
            if state is JobState.FAILED:
                problem = {
                    "type": "WorkerLost",
                    "message": f"the job failed after {row.attempts} attempts (worker lost)",
                    "hint": "its worker died, or a backend was away; the workers' logs say which",
                }
            db.execute(update(jobs).where(jobs.c.id == row.id).values(**closed(db, state, problem)))
            tell_end(db, row.id, state, problem or {}, row.webhook)

    def _update(self, held: Claimed, values: Mapping[str, Any]) -> bool:
        with writing(self._engine) as db:
            row = db.execute(
                update(jobs)
                .where(*held_by(held))
                .values(lease_until=now(db) + self.lease_s, **values)
                .returning(jobs.c.cancel_asked)
            ).first()
            if row is None:
                raise lost(held)
            if values:
                tell(db, held.job.id, "progress", values)
            return bool(row.cancel_asked)

    def _close(self, held: Claimed, state: JobState, problem: Mapping[str, Any] | None) -> None:
        with writing(self._engine) as db:
            row = db.execute(
                update(jobs)
                .where(*held_by(held))
                .values(**closed(db, state, problem))
                .returning(jobs.c.webhook)
            ).first()
            if row is None:
                raise lost(held)
            tell_end(db, held.job.id, state, problem or {}, row.webhook)

    def _found(self, db: Connection, id_: str) -> Job:
        return with_position(db, job_of(db.execute(select(jobs).where(jobs.c.id == id_)).one()))
