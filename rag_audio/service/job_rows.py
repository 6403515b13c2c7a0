"""Rows of jobs: conditions on them, what is told of them, and what they are in words of ours."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, func, insert, or_, select, update
from sqlalchemy.sql.elements import ColumnElement

from rag_audio.service.models import Claimed, Job, JobState, LeaseLost, RowUnreadable
from rag_audio.service.tables import deliveries, events, jobs, now

_NEAR = 200
"""Of so many jobs at most a worker looks which go together."""


def next_of(db: Connection) -> Select[Any]:
    """The job whose turn it is."""
    return select(jobs.c.id).where(is_waiting(db)).order_by(jobs.c.turn, jobs.c.seq).limit(1)


def near_to(first: Job, rounds: int) -> Select[Any]:
    """Jobs of its kind that were never begun and stand less than ``rounds`` turns behind it."""
    turn = select(jobs.c.turn).where(jobs.c.id == first.id).scalar_subquery()
    return (
        select(jobs)
        .where(
            jobs.c.state == JobState.QUEUED.value,
            jobs.c.kind == first.kind,
            jobs.c.attempts == 0,
            jobs.c.turn < turn + rounds,
        )
        .order_by(jobs.c.turn, jobs.c.seq)
        .limit(_NEAR)
    )


def next_turn(db: Connection, owner: str) -> int:
    """The turn of a new job: one after the owner's last, and after the one that is served.

    What is served is never past what waits longest: a batch takes jobs before their turn.
    """
    waits = jobs.c.state == JobState.QUEUED.value
    begun = db.execute(select(func.max(jobs.c.turn)).where(~waits)).scalar() or 0
    oldest = db.execute(select(func.min(jobs.c.turn)).where(waits)).scalar()
    served = begun if oldest is None else min(begun, oldest)
    had = or_(waits, jobs.c.started_at.is_not(None))
    own = db.execute(select(func.max(jobs.c.turn)).where(jobs.c.owner == owner, had)).scalar()
    return max(served, own or 0) + 1


def begin(db: Connection, id_: str, lease_s: float) -> Claimed:
    """Give a job, whose row the caller has locked, to a worker: a new token, one more attempt."""
    token, moment = uuid.uuid4().hex, now(db)
    row = db.execute(
        update(jobs)
        .where(jobs.c.id == id_)
        .values(
            state=JobState.RUNNING.value,
            lease_token=token,
            lease_until=moment + lease_s,
            attempts=jobs.c.attempts + 1,
            started_at=func.coalesce(jobs.c.started_at, moment),
            stage="",
            done=0,
            total=0,
            eta_s=None,
        )
        .returning(*jobs.c)
    ).one()
    tell(db, row.id, "state", {"state": JobState.RUNNING.value, "attempt": row.attempts})
    return Claimed(job_of(row), token)


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
    db: Connection,
    id_: str,
    state: JobState,
    said: Mapping[str, Any],
    webhook: str | None,
    more: Mapping[str, Any] | None = None,
) -> None:
    """Tell that a job ended, and whom to call about it.

    Args:
        said: the problem, if there was one. more: what else the event says.
    """
    problem = {"problem": dict(said)} if said else {}
    tell(db, id_, "state", {"state": state.value, **problem, **(more or {})})
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
    """A row as a job; what of it cannot be read is empty, and named in ``unreadable``."""
    found, unreadable = _documents(row)
    problem = found["problem"]
    if problem is None and set(unreadable) - {"plan"}:
        error = RowUnreadable(unreadable)
        problem = {"type": type(error).__name__, "message": error.message, "hint": error.hint}
    return Job(
        id=row.id,
        seq=row.seq,
        kind=row.kind,
        owner=row.owner,
        libraries=() if "libraries" in unreadable else _maybe_tuple(found["libraries"]),
        state=state_of(row.state),
        request=found["request"] or {},
        plan=found["plan"],
        result=found["result"],
        problem=problem,
        attempts=row.attempts,
        cancel_asked=bool(row.cancel_asked),
        stage=row.stage,
        done=row.done,
        total=row.total,
        eta_s=row.eta_s,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        unreadable=unreadable,
    )


def state_of(text: str) -> JobState:
    """A state; one that there is not is that of a job that will never run."""
    return JobState(text) if text in _STATES else JobState.FAILED


def _documents(row: Row[Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The documents of a row by their columns, and the columns that hold something else."""
    found: dict[str, Any] = {}
    unreadable = []
    for name, fits in _COLUMNS.items():
        found[name] = None
        try:
            text = getattr(row, name)
            document = None if text is None else json.loads(text)
            if not fits(document):
                raise ValueError(f"{name} has another form")
            found[name] = document
        except (ValueError, TypeError, RecursionError):
            unreadable.append(name)
    if row.state not in _STATES:
        unreadable.append("state")
    return found, tuple(unreadable)


def _is_object(document: Any) -> bool:
    return isinstance(document, dict)


def _is_object_or_none(document: Any) -> bool:
    return document is None or isinstance(document, dict)


def _is_result(document: Any) -> bool:
    """Whether a document is that of a job that succeeded: what is given out can be found by it."""
    if document is None:
        return True
    if not isinstance(document, dict) or not isinstance(document.get("attempt"), str):
        return False
    outputs = document.get("outputs")
    return (
        isinstance(document.get("plan", {}), dict)
        and isinstance(document.get("stages_s", {}), dict)
        and isinstance(outputs, list)
        and all(isinstance(one, dict) and isinstance(one.get("output"), int) for one in outputs)
    )


def _is_list_or_none(document: Any) -> bool:
    return document is None or (
        isinstance(document, list) and all(isinstance(one, str) for one in document)
    )


_COLUMNS: Mapping[str, Callable[[Any], bool]] = {
    "request": _is_object,
    "plan": _is_object_or_none,
    "result": _is_result,
    "problem": _is_object_or_none,
    "libraries": _is_list_or_none,
}
_STATES = frozenset(state.value for state in JobState)


def _maybe_tuple(values: list[str] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(values)


def to_json(value: Any) -> str:
    """Compact JSON in ASCII, which both databases hold whatever the text."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
