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
from dataclasses import replace
from hashlib import sha256
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    Row,
    and_,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.sql.elements import ColumnElement

from rag_audio.errors import Cancelled, RagAudioError
from rag_audio.service.jobs import (
    Claimed,
    Event,
    Job,
    JobState,
    LeaseLost,
    QueueFull,
    job_of,
)
from rag_audio.service.tables import deliveries, events, idempotency, jobs, now, own
from rag_audio.storage.database import reading, writing
from rag_audio.storage.migrations import SqlStore, migrate

LEASE_S = 30.0
"""A worker that is not heard of for so long has lost its job."""
ATTEMPTS = 3
"""How often a job is begun before it is given up."""

Pick = Callable[[Sequence[Job]], Sequence[Job]]
"""Chooses, of jobs that wait, those that a worker takes along."""

_LOCK = "jobs"
_NEAR = 200
"""Of so many jobs at most a worker looks which go together."""
_FINAL = tuple(state.value for state in JobState if state.is_final)
_QUEUED = jobs.c.state == JobState.QUEUED.value
_RUNNING = jobs.c.state == JobState.RUNNING.value


class SqlJobs:
    """Keeps jobs.

    Args:
        engine: from :func:`rag_audio.storage.database.connect`: the ledger's own.
        queued, per_owner: jobs that may wait, of all owners and of one.
        lease_s, attempts: see :data:`LEASE_S`, :data:`ATTEMPTS`.

    Raises:
        BackendUnavailable: the database failed; so may every method.
    """

    def __init__(
        self,
        engine: Engine,
        queued: int = 200,
        per_owner: int = 50,
        lease_s: float = LEASE_S,
        attempts: int = ATTEMPTS,
    ) -> None:
        self._engine = engine
        self._queued, self._per_owner = queued, per_owner
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
            row = {
                "id": id_,
                "seq": last + 1,
                "turn": _next_turn(db, owner),
                "kind": kind,
                "owner": owner,
                "libraries": _to_json(None if libraries is None else list(libraries)),
                "state": JobState.QUEUED.value,
                "request": _to_json(request),
                "plan": None if plan is None else _to_json(plan),
                "attempts": 0,
                "cancel_asked": 0,
                "stage": "",
                "done": 0,
                "total": 0,
                "webhook": webhook,
            }
            made = insert(jobs).values(created_at=now(db), **row).returning(*jobs.c)
            job = job_of(db.execute(made).one())
            if key is not None:
                mine = (idempotency.c.owner == owner, idempotency.c.key == key)
                db.execute(update(idempotency).where(*mine).values(job=id_))
            _tell(db, id_, "state", {"state": JobState.QUEUED.value})
            return _with_position(db, job)

    def find(self, id_: str) -> Job | None:
        """A job with its place in the queue."""
        with reading(self._engine) as db:
            row = db.execute(select(jobs).where(jobs.c.id == id_)).first()
            return None if row is None else _with_position(db, job_of(row))

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
            return [_with_position(db, job_of(row)) for row in db.execute(wanted)]

    def counts(self, owner: str | None = None) -> dict[JobState, int]:
        """How many jobs of an owner (None: of all) are in each state."""
        wanted = select(jobs.c.state, func.count()).group_by(jobs.c.state)
        if owner is not None:
            wanted = wanted.where(jobs.c.owner == owner)
        with reading(self._engine) as db:
            rows = db.execute(wanted).all()
        found = dict.fromkeys(JobState, 0)
        for state, count in rows:
            found[JobState.of(state)] += int(count)
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
            if db.execute(select(jobs.c.id).where(_is_waiting(db)).limit(1)).first() is None:
                return None
        with writing(self._engine) as db:
            self._end_lost(db)
            waiting = select(jobs.c.id).where(_is_waiting(db))
            if kinds is not None:
                waiting = waiting.where(jobs.c.kind.in_(kinds))
            first = waiting.order_by(jobs.c.turn, jobs.c.seq).limit(1)
            id_ = db.execute(first.with_for_update(skip_locked=True)).scalar()
            return None if id_ is None else self._begin(db, id_)

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
        turn = select(jobs.c.turn).where(jobs.c.id == first.job.id).scalar_subquery()
        near = (
            select(jobs)
            .where(
                _QUEUED,
                jobs.c.kind == first.job.kind,
                jobs.c.attempts == 0,
                jobs.c.turn < turn + rounds,
            )
            .order_by(jobs.c.turn, jobs.c.seq)
            .limit(_NEAR)
        )
        with writing(self._engine) as db:
            wanted = [job.id for job in pick([job_of(row) for row in db.execute(near)])]
            free = select(jobs.c.id).where(jobs.c.id.in_(wanted), _QUEUED)
            locked = free.order_by(jobs.c.turn, jobs.c.seq).with_for_update(skip_locked=True)
            ids = db.execute(locked).scalars().all() if wanted else ()
            return tuple(self._begin(db, id_) for id_ in ids)

    def renew(self, held: Claimed) -> bool:
        """Keep the lease; whether the job is to be canceled.

        Raises:
            LeaseLost: it is no longer held.
        """
        return self._keep(held, {})

    def progress(
        self, held: Claimed, stage: str, done: int, total: int, eta_s: float | None = None
    ) -> bool:
        """Note how far a job is, and keep the lease; as :meth:`renew`."""
        return self._keep(held, {"stage": stage, "done": done, "total": total, "eta_s": eta_s})

    def finish_in(self, db: Connection, held: Claimed, result: Mapping[str, Any]) -> None:
        """End a job well, in a transaction of the caller's; its outputs are its owner's from then.

        Raises:
            LeaseLost: it is no longer held. Cancelled: it is to be canceled. The caller's
                transaction is to be rolled back then.
        """
        values = {**_ended(db, JobState.SUCCEEDED), "result": _to_json(result)}
        row = _change(db, held, values)
        if row.cancel_asked:
            raise Cancelled("the job was canceled")
        own(db, held.job.owner, [made["output"] for made in result.get("outputs", ())])
        met = result.get("enforced_met")
        more = {} if met is None else {"enforced_met": met}
        _tell_end(db, held.job.id, JobState.SUCCEEDED, row.webhook, more)

    def fail(self, held: Claimed, problem: Mapping[str, Any]) -> None:
        """End a job badly, forever; raises as :meth:`renew`."""
        with writing(self._engine) as db:
            ended = {**_ended(db, JobState.FAILED), "problem": _to_json(problem)}
            row = _change(db, held, ended)
            _tell_end(db, held.job.id, JobState.FAILED, row.webhook, {"problem": dict(problem)})

    def canceled(self, held: Claimed) -> None:
        """End a job that was to be canceled; raises as :meth:`renew`."""
        with writing(self._engine) as db:
            row = _change(db, held, _ended(db, JobState.CANCELED))
            _tell_end(db, held.job.id, JobState.CANCELED, row.webhook)

    def give_back(self, held: Claimed) -> None:
        """Let another worker have the job; this attempt does not count. As :meth:`renew`."""
        state = {"state": JobState.QUEUED.value}
        free = {"lease_token": None, "lease_until": None, "attempts": jobs.c.attempts - 1}
        with writing(self._engine) as db:
            _change(db, held, {**state, **free})
            _tell(db, held.job.id, "state", state)

    def cancel(self, id_: str) -> Job | None:
        """Cancel a job: at once where it waits, soon where it runs; one that ended stays as it is.

        A job that was running when this returned will not deliver anything.
        """
        with writing(self._engine) as db:
            row = db.execute(
                update(jobs)
                .where(jobs.c.id == id_, _QUEUED)
                .values(state=JobState.CANCELED.value, cancel_asked=1, finished_at=now(db))
                .returning(jobs.c.webhook)
            ).first()
            if row is not None:
                _tell_end(db, id_, JobState.CANCELED, row.webhook)
            else:
                db.execute(update(jobs).where(jobs.c.id == id_, _RUNNING).values(cancel_asked=1))
            found = db.execute(select(jobs).where(jobs.c.id == id_)).first()
            return None if found is None else job_of(found)

    def _require_room(self, db: Connection, owner: str) -> None:
        waiting = select(func.count()).where(_QUEUED)
        if db.execute(waiting).scalar_one() >= self._queued:
            raise QueueFull(f"{self._queued} jobs are waiting already")
        if db.execute(waiting.where(jobs.c.owner == owner)).scalar_one() >= self._per_owner:
            raise QueueFull(f"{self._per_owner} jobs of yours are waiting already")

    def _begin(self, db: Connection, id_: str) -> Claimed:
        """Give a job, whose row is locked, to a worker: a new token, one more attempt."""
        token, moment = uuid.uuid4().hex, now(db)
        row = db.execute(
            update(jobs)
            .where(jobs.c.id == id_)
            .values(
                state=JobState.RUNNING.value,
                lease_token=token,
                lease_until=moment + self.lease_s,
                attempts=jobs.c.attempts + 1,
                started_at=func.coalesce(jobs.c.started_at, moment),
                stage="",
                done=0,
                total=0,
                eta_s=None,
            )
            .returning(*jobs.c)
        ).one()
        _tell(db, id_, "state", {"state": JobState.RUNNING.value, "attempt": row.attempts})
        return Claimed(job_of(row), token)

    def _end_lost(self, db: Connection) -> None:
        """End jobs whose worker is gone and that are not to be begun again."""
        over = or_(jobs.c.attempts >= self.attempts, jobs.c.cancel_asked == 1)
        gone = select(jobs).where(_is_lost(db), over).with_for_update(skip_locked=True)
        for row in db.execute(gone).all():
            state = JobState.CANCELED if row.cancel_asked else JobState.FAILED
            values, more = _ended(db, state), {}
            if state is JobState.FAILED:
                problem = {
                    "type": "WorkerLost",
                    "message": f"the job failed after {row.attempts} attempts (worker lost)",
                    "hint": "its worker died, or a backend was away; the workers' logs say which",
                }
                values["problem"], more["problem"] = _to_json(problem), problem
            db.execute(update(jobs).where(jobs.c.id == row.id).values(**values))
            _tell_end(db, row.id, state, row.webhook, more)

    def _keep(self, held: Claimed, values: Mapping[str, Any]) -> bool:
        with writing(self._engine) as db:
            row = _change(db, held, {"lease_until": now(db) + self.lease_s, **values})
            if values:
                _tell(db, held.job.id, "progress", values)
            return bool(row.cancel_asked)


def _next_turn(db: Connection, owner: str) -> int:
    """The turn of a new job: one after the owner's last, and after the one that is served.

    What is served is never past what waits longest: a batch takes jobs before their turn.
    """
    begun = db.execute(select(func.max(jobs.c.turn)).where(~_QUEUED)).scalar() or 0
    oldest = db.execute(select(func.min(jobs.c.turn)).where(_QUEUED)).scalar()
    served = begun if oldest is None else min(begun, oldest)
    had = or_(_QUEUED, jobs.c.started_at.is_not(None))
    last = db.execute(select(func.max(jobs.c.turn)).where(jobs.c.owner == owner, had)).scalar()
    return max(served, last or 0) + 1


def _is_lost(db: Connection) -> ColumnElement[bool]:
    """Whether the worker of a job was not heard of for too long."""
    return and_(_RUNNING, jobs.c.lease_until < now(db))


def _is_waiting(db: Connection) -> ColumnElement[bool]:
    """Whether a job waits for a worker, or lost the one that it had."""
    return or_(_QUEUED, _is_lost(db))


def _change(db: Connection, held: Claimed, values: Mapping[str, Any]) -> Row[Any]:
    """Change the row of a job that a worker holds.

    Raises:
        LeaseLost: it is no longer held.
    """
    row = db.execute(
        update(jobs)
        .where(jobs.c.id == held.job.id, jobs.c.lease_token == held.token, _RUNNING)
        .values(**values)
        .returning(jobs.c.webhook, jobs.c.cancel_asked)
    ).first()
    if row is None:
        raise LeaseLost(f"the lease of job {held.job.id} was lost", hint="another worker has it")
    return row


def _ended(db: Connection, state: JobState) -> dict[str, Any]:
    """The values of a job that has ended."""
    released = {"lease_token": None, "lease_until": None}
    return {"state": state.value, "finished_at": now(db), **released}


def _tell_end(
    db: Connection,
    id_: str,
    state: JobState,
    webhook: str | None,
    more: Mapping[str, Any] | None = None,
) -> None:
    """Tell that a job ended, and whom to call about it. more: what else the event says."""
    _tell(db, id_, "state", {"state": state.value, **(more or {})})
    if webhook is not None:
        call = {"id": uuid.uuid4().hex, "job": id_, "url": webhook}
        due = {"state": "due", "attempts": 0, "next_at": now(db), "said": ""}
        db.execute(insert(deliveries).values(**call, **due))


def _tell(db: Connection, id_: str, kind: str, document: Mapping[str, Any]) -> None:
    """Append to a job's events; its row is locked by the caller, so the numbers have no gap."""
    last = db.execute(select(func.max(events.c.id)).where(events.c.job == id_)).scalar() or 0
    event = {"job": id_, "id": last + 1, "kind": kind, "document": _to_json(document)}
    db.execute(insert(events).values(at=now(db), **event))


def _with_position(db: Connection, job: Job) -> Job:
    """The job with its place in the queue, where it waits."""
    if job.state is not JobState.QUEUED:
        return job
    turn = select(jobs.c.turn).where(jobs.c.id == job.id).scalar_subquery()
    before = or_(jobs.c.turn < turn, and_(jobs.c.turn == turn, jobs.c.seq < job.seq))
    ahead = select(func.count()).where(_QUEUED, before)
    return replace(job, position=int(db.execute(ahead).scalar_one()))


def _to_json(value: Any) -> str:
    """Compact JSON in ASCII, which both databases hold whatever the text."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))


# Idempotency keys: a request that is sent twice is accepted once.
#
# After the IETF's draft "The Idempotency-Key HTTP Header Field": the same key with another body is
# refused, and so is the same key while the first request is being answered.

KEPT_S = 24 * 3600.0
"""After this a key may be used anew."""
ANSWERED_S = 60.0
"""A first request that is not answered after this died on the way."""


class KeyReused(RagAudioError):
    """The key belongs to a request with another body."""

    exit_code = 2


class KeyInFlight(RagAudioError):
    """The first request with the key is still being answered."""

    exit_code = 2


class SqlIdempotency(SqlStore):
    """Keeps which job a key stands for."""

    def begin(self, owner: str, key: str, body: bytes) -> str | None:
        """Take a key for a request.

        Returns:
            The job that was accepted for it before; None: the caller is the first, and gives the
            key to :meth:`SqlJobs.accept` or calls :meth:`refused`.

        Raises:
            KeyReused, KeyInFlight: see there.
        """
        digest = sha256(body).hexdigest()
        mine = (idempotency.c.owner == owner, idempotency.c.key == key)
        with writing(self._engine, "idempotency") as db:
            moment = now(db)
            db.execute(delete(idempotency).where(idempotency.c.at < moment - KEPT_S))
            died = (idempotency.c.job.is_(None), idempotency.c.at < moment - ANSWERED_S)
            db.execute(delete(idempotency).where(*mine, *died))
            row = db.execute(select(idempotency).where(*mine)).first()
            if row is None:
                values = {"owner": owner, "key": key, "body_sha256": digest, "at": moment}
                db.execute(insert(idempotency).values(**values))
                return None
        if row.body_sha256 != digest:
            raise KeyReused(
                "this Idempotency-Key was used for another request",
                hint="make a new key for every request",
            )
        if row.job is None:
            raise KeyInFlight(
                "the first request with this Idempotency-Key is still being answered",
                hint="try again in a second",
            )
        return str(row.job)

    def refused(self, owner: str, key: str) -> None:
        """The request was not accepted: the key may be used again."""
        mine = (idempotency.c.owner == owner, idempotency.c.key == key)
        with writing(self._engine) as db:
            db.execute(delete(idempotency).where(*mine, idempotency.c.job.is_(None)))
