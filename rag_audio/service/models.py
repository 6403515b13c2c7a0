"""What a job is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from rag_audio.domain import GenerationRequest
from rag_audio.domain.fields import fields_of
from rag_audio.errors import RagAudioError
from rag_audio.pipeline.edit_orders import Order


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


@dataclass(frozen=True)
class Limits:
    """How much may wait.

    Attributes:
        queued: jobs of all owners. per_owner: of one.
    """

    queued: int = 200
    per_owner: int = 50


class QueueFull(RagAudioError):
    """Too much is waiting; nothing was accepted.

    Args:
        retry_after_s: when it may be worth another try.
    """

    exit_code = 4

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message, hint=f"try again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class LeaseLost(RagAudioError):
    """Another worker has the job, or it has ended: what this one made is thrown away."""


class RowUnreadable(RagAudioError):
    """The row of a job holds what no job has; others are not concerned."""

    def __init__(self, columns: Iterable[str]) -> None:
        super().__init__(
            f"this job's row cannot be read: {', '.join(columns)}",
            hint="ask again; whoever runs this service can look into the row in the database",
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
        if name != "prompt" and asked.get(name) is not None
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
