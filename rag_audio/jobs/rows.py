"""Rows of jobs: conditions on them, what is told of them, and what they are in words of ours."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, func, insert, or_, select
from sqlalchemy.sql.elements import ColumnElement

from rag_audio.jobs.nouns import Claimed, Job, JobState, LeaseLost
from rag_audio.jobs.tables import deliveries, events, jobs, now


def next_of(db: Connection) -> Select[Any]:
    """The job whose turn it is."""
    return select(jobs.c.id).where(is_waiting(db)).order_by(jobs.c.turn, jobs.c.seq).limit(1)


def is_waiting(db: Connection) -> ColumnElement[bool]:
    """Whether a job waits for a worker, or lost the one that it had."""
    gone = and_(jobs.c.state == JobState.RUNNING.value, jobs.c.lease_until < now(db))
    return or_(jobs.c.state == JobState.QUEUED.value, gone)


def held_by(held: Claimed) -> tuple[ColumnElement[bool], ...]:
    """Conditions that hold as long as a worker has its job."""
    return (
        jobs.c.id == held.job.id,
        jobs.c.lease_token == held.token,
        jobs.c.state == JobState.RUNNING.value,
    )


def lost(held: Claimed) -> LeaseLost:
    """The error of a worker that no longer has its job."""
    return LeaseLost(f"the lease of job {held.job.id} was lost", hint="another worker has it")


def closed(db: Connection, state: JobState, problem: Mapping[str, Any] | None) -> dict[str, Any]:
    """The values of a job that ended without a result."""
    return {
        "state": state.value,
        "problem": None if problem is None else to_json(problem),
        "lease_token": None,
        "lease_until": None,
        "finished_at": now(db),
    }


def tell_end(
    db: Connection, id_: str, state: JobState, said: Mapping[str, Any], webhook: str | None
) -> None:
    """Tell that a job ended, and whom to call about it."""
    tell(db, id_, "state", {"state": state.value, **({"problem": dict(said)} if said else {})})
    if webhook is not None:
        db.execute(
            insert(deliveries).values(
                id=uuid.uuid4().hex,
                job=id_,
                url=webhook,
                state="due",
                attempts=0,
                next_at=now(db),
                said="",
            )
        )


def tell(db: Connection, id_: str, kind: str, document: Mapping[str, Any]) -> None:
    """Append to a job's events; its row is locked by the caller, so the numbers have no gap."""
    last = db.execute(select(func.max(events.c.id)).where(events.c.job == id_)).scalar() or 0
    db.execute(
        insert(events).values(
            job=id_, id=last + 1, at=now(db), kind=kind, document=to_json(document)
        )
    )


def with_position(db: Connection, job: Job) -> Job:
    """The job with its place in the queue, where it waits."""
    if job.state is not JobState.QUEUED:
        return job
    turn = select(jobs.c.turn).where(jobs.c.id == job.id).scalar_subquery()
    before = or_(jobs.c.turn < turn, and_(jobs.c.turn == turn, jobs.c.seq < job.seq))
    ahead = select(func.count()).where(jobs.c.state == JobState.QUEUED.value, before)
    return replace(job, position=int(db.execute(ahead).scalar_one()))


def job_of(row: Row[Any]) -> Job:
    """A row as a job."""
    libraries = json.loads(row.libraries)
    return Job(
        id=row.id,
        seq=row.seq,
        kind=row.kind,
        owner=row.owner,
        libraries=None if libraries is None else tuple(libraries),
        state=JobState(row.state),
        request=json.loads(row.request),
        plan=_maybe(row.plan),
        result=_maybe(row.result),
        problem=_maybe(row.problem),
        attempts=row.attempts,
        cancel_asked=bool(row.cancel_asked),
        stage=row.stage,
        done=row.done,
        total=row.total,
        eta_s=row.eta_s,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )


def _maybe(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def to_json(value: Any) -> str:
    """Compact JSON in ASCII, which both databases hold whatever the text."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
