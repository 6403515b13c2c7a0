"""What a job is, in its row and in the code."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rag_audio.domain import GenerationRequest
from rag_audio.domain.fields import On, fields_of
from rag_audio.errors import RagAudioError
from rag_audio.pipeline.edit_orders import Order

if TYPE_CHECKING:
    from sqlalchemy import Row


class JobState(StrEnum):
    """Where a job is; the last three are final."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def is_final(self) -> bool:
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELED)

    @classmethod
    def of(cls, text: str) -> JobState:
        """The state of a row; one with an unknown state will never run."""
        return cls(text) if text in set(cls) else cls.FAILED


@dataclass(frozen=True)
class Job:
    """One job as the database has it; times are seconds since 1970, UTC, by the database's clock.

    Attributes:
        kind: ``generation`` or ``edit``.
        owner: id of the API key that asked; empty: nobody needed one.
        libraries: what the owner may use; None: all of them.
        plan: what will be, or was, given to the model; None: not made yet.
        result: of a job that succeeded. problem: of one that failed.
        stage, done, total: how far it is. eta_s: seconds left in this stage, as far as is known.
        position: jobs that will be begun before it; None where it does not wait.
        unreadable: columns of its row that hold no such document; here they are empty.
    """

    id: str
    seq: int
    kind: str
    owner: str
    libraries: tuple[str, ...] | None
    state: JobState
    request: Mapping[str, Any]
    plan: Mapping[str, Any] | None
    result: Mapping[str, Any] | None
    problem: Mapping[str, Any] | None
    attempts: int
    cancel_asked: bool
    stage: str
    done: int
    total: int
    eta_s: float | None
    created_at: float
    started_at: float | None
    finished_at: float | None
    position: int | None = None
    unreadable: tuple[str, ...] = ()

    @property
    def can_be_run(self) -> bool:
        """Whether its row can be read; a plan that cannot is made anew."""
        return not set(self.unreadable) - {"plan"}


@dataclass(frozen=True)
class Claimed:
    """A job that a worker holds, and the token that proves it."""

    job: Job
    token: str


@dataclass(frozen=True)
class Event:
    """Something that happened to a job; ``id`` counts from 1 within the job."""

    id: int
    at: float
    kind: str
    document: Mapping[str, Any]


class QueueFull(RagAudioError):
    """Too much is waiting; nothing was accepted."""

    exit_code = 4

    def __init__(self, message: str) -> None:
        super().__init__(message, hint="try again in 10 s")


class LeaseLost(RagAudioError):
    """Another worker has the job, or it has ended: what this one made is thrown away."""


class RowUnreadable(RagAudioError):
    """The row of a job holds what no job has; others are not concerned."""

    def __init__(self, columns: Iterable[str]) -> None:
        super().__init__(
            f"this job's row cannot be read: {', '.join(columns)}",
            hint="ask again; whoever runs this service can look into the row in the database",
        )


# A row as a job. Another program, or a bug, may have written anything into it.

_PLAIN = (
    *("id", "seq", "kind", "owner", "attempts", "stage", "done", "total", "eta_s"),
    *("created_at", "started_at", "finished_at"),
)


def job_of(row: Row[Any]) -> Job:
    """A row as a job; what of it cannot be read is empty, and named in ``unreadable``."""
    found: dict[str, Any] = {}
    unreadable = []
    for name in ("request", "plan", "result", "problem", "libraries"):
        found[name] = None
        try:
            text = getattr(row, name)
            document = None if text is None else json.loads(text)
            if not _fits(name, document):
                raise ValueError(f"{name} has another form")
            found[name] = document
        except (ValueError, TypeError, RecursionError):
            unreadable.append(name)
    if row.state not in set(JobState):
        unreadable.append("state")
    if found["problem"] is None and set(unreadable) - {"plan"}:
        error = RowUnreadable(unreadable)
        problem = {"type": type(error).__name__, "message": error.message, "hint": error.hint}
        found["problem"] = problem
    libraries = () if "libraries" in unreadable else found["libraries"]
    found["libraries"] = None if libraries is None else tuple(libraries)
    return Job(
        **{name: getattr(row, name) for name in _PLAIN},
        **{**found, "request": found["request"] or {}},
        state=JobState.of(row.state),
        cancel_asked=bool(row.cancel_asked),
        unreadable=tuple(unreadable),
    )


def _fits(name: str, document: Any) -> bool:
    """Whether a document has the form that its column has in every version."""
    if document is None:
        return name != "request"
    if name == "libraries":
        return isinstance(document, list) and all(isinstance(one, str) for one in document)
    if not isinstance(document, dict) or name != "result":
        return isinstance(document, dict)
    outputs = document.get("outputs")
    return (
        isinstance(document.get("attempt"), str)
        and isinstance(document.get("plan", {}), dict)
        and isinstance(document.get("stages_s", {}), dict)
        and isinstance(outputs, list)
        and all(isinstance(one, dict) and isinstance(one.get("output"), int) for one in outputs)
    )


# What a job asks for, as its row holds it, and as the main path takes it.

FileOf = Callable[[str], Path]
"""The file of an upload, by its id."""


def generation_request(asked: Mapping[str, Any], file_of: FileOf) -> GenerationRequest:
    """The request of a generation.

    Raises:
        InvalidInput: a value cannot be used.
    """
    return GenerationRequest(prompt=asked["prompt"], **request_fields(asked, file_of))


def request_fields(asked: Mapping[str, Any], file_of: FileOf) -> dict[str, Any]:
    """All fields of a :class:`GenerationRequest` but the prompt; what is not asked for is absent.

    Raises:
        InvalidInput: a value cannot be used.
    """
    return {
        name: _read(field.kind.form, asked[name], file_of)
        for name, field in fields_of(GenerationRequest).items()
        if name != "prompt" and field.on & On.API and asked.get(name) is not None
    }


def _read(form: str, value: Any, file_of: FileOf) -> Any:
    """A value as the request takes it: JSON has objects in the place of tuples."""
    if form == "file":
        return str(file_of(value))
    if form == "references":
        return [_reference(one) for one in value]
    if form == "layers":
        return [(one["layer"], one["stem"]) for one in value]
    if form == "sections":
        return [(one["stem"], one["first_bar"], one["last_bar"]) for one in value]
    return value


def _reference(asked: str | Mapping[str, Any]) -> str:
    """A stem, or a part of it, as :func:`rag_audio.domain.controls.named_window` reads it."""
    if isinstance(asked, str):
        return asked
    start_s, duration_s = asked["start_s"], asked.get("duration_s")
    end = "" if duration_s is None else f"{start_s + duration_s:f}"
    return f"{asked['stem']}@{start_s:f}-{end}"


def edit_order(asked: Mapping[str, Any]) -> Order:
    """What is to be done in an edit.

    Raises:
        InvalidInput: the regions or lengths cannot be used.
    """
    return Order(
        asked["kind"],
        regions=tuple((start, end) for start, end in asked.get("regions") or ()),
        left_s=asked.get("left_s") or 0.0,
        right_s=asked.get("right_s") or 0.0,
    )
