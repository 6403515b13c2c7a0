"""Jobs that share passes of the model: which of them can, and how their threads wait for it.

Each job runs in a thread of its own, as it would alone: its own plan, guardrails, mark, ledger
entry and end. Only the generator it is given is a :class:`Seat` at a :class:`SharedPass`: there
the first waits for the others, and one of them runs the model for all.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from rag_audio.domain import Audio
from rag_audio.domain.ports import (
    DiffusionInput,
    Generator,
    Member,
    Progress,
    ReadsText,
    StopAsked,
)
from rag_audio.errors import BackendError, Cancelled, RagAudioError
from rag_audio.service.jobs import Job

PATIENCE_S = 2.0
"""Who waits at the model goes on without the others when none came for so long."""
GPU_TAKES, CPU_TAKES = 8, 1
"""Takes in a pass where nobody says: see ``benchmarks/bench_batching.py``."""
_POLL_S = 0.1
_SHAPING = ("duration_s", "steps", "bars", "bpm", "time_signature")
"""What of a request decides on length and steps. All else may differ within a pass."""

log = structlog.get_logger("rag_audio.worker")


def takes_of_device(wanted: int | None, device: str) -> int:
    """How many takes share a pass, by the setting or else by the device."""
    if wanted is not None:
        return wanted
    return CPU_TAKES if device == "cpu" else GPU_TAKES


def companions(first: Job, waiting: Sequence[Job], takes: int) -> list[Job]:
    """Jobs that go with one, in order, as many as make ``takes`` takes with it."""
    if not _may_share(first):
        return []
    left, found = takes - _takes(first), []
    for job in waiting:
        if _may_share(job) and _shape(job) == _shape(first) and _takes(job) <= left:
            found.append(job)
            left -= _takes(job)
    return found


def _may_share(job: Job) -> bool:
    """Edits make their own windows, and enforcement goes to the model again and again."""
    return job.kind == "generation" and job.can_be_run and not job.request.get("enforce")


def _shape(job: Job) -> tuple[Any, ...]:
    return tuple(repr(job.request.get(name)) for name in _SHAPING)


def _takes(job: Job) -> int:
    variations = job.request.get("variations")
    return variations if isinstance(variations, int) else 1


@dataclass(eq=False)
class _Ticket:
    """One call of the model that waits; size: calls that were answered with it, and itself."""

    member: Member
    outcome: tuple[Audio, ...] | Exception | None = None
    size: int = 1


class SharedPass:
    """Where jobs meet: the model is run once all that are expected are there.

    Args:
        model: runs the batches.
        patience_s: see :data:`PATIENCE_S`.
    """

    def __init__(self, model: Generator, patience_s: float = PATIENCE_S) -> None:
        self.model, self._patience_s = model, patience_s
        self._expected: set[Seat] = set()
        self._waiting: list[_Ticket] = []
        self._running = False
        self._last = time.monotonic()
        self._changed = threading.Condition()

    def seat(self) -> Seat:
        """A generator for one more job, which is waited for."""
        seat = Seat(self)
        with self._changed:
            self._expected.add(seat)
        return seat

    def leave(self, seat: Seat) -> None:
        """Do not wait for a job any longer."""
        with self._changed:
            self._expected.discard(seat)
            self._changed.notify_all()

    def run(self, seat: Seat, member: Member) -> tuple[Audio, ...]:
        """Have a batch made together with those of the others.

        Raises:
            Exception: what making it alone would raise.
        """
        ticket, stop = _Ticket(member), member.stop_asked or (lambda: False)
        with self._changed:
            self._expected.discard(seat)
            self._waiting.append(ticket)
            self._last = time.monotonic()
            self._changed.notify_all()
            while ticket.outcome is None:
                if ticket in self._waiting and stop():
                    self._waiting.remove(ticket)
                    raise Cancelled("stopped; nothing was generated")
                if self._is_due():
                    self._run_all()
                else:
                    self._changed.wait(_POLL_S)
        seat.pass_of = max(seat.pass_of, ticket.size)
        if isinstance(ticket.outcome, Exception):
            raise ticket.outcome
        return ticket.outcome

    def _is_due(self) -> bool:
        late = time.monotonic() - self._last > self._patience_s
        return bool(self._waiting) and not self._running and (late or not self._expected)

    def _run_all(self) -> None:
        """Answer all that wait; the lock is held, but not while the model works."""
        tickets, self._waiting, self._running = self._waiting, [], True
        self._changed.release()
        try:
            _answer(self.model, tickets)
        finally:
            self._changed.acquire()
            self._running = False
            for ticket in tickets:
                if ticket.outcome is None:
                    ticket.outcome = BackendError("the pass of the model was broken off")
            self._changed.notify_all()


class Seat:
    """A :class:`rag_audio.domain.ports.Generator` for one of the jobs that share a pass.

    Attributes:
        pass_of: jobs in the largest pass that this one took part in.
    """

    def __init__(self, shared: SharedPass) -> None:
        self._shared = shared
        self.info = shared.model.info
        self.pass_of = 1

    def count_tokens(self, text: str) -> int:
        return self._shared.model.count_tokens(text)

    def can_read(self, text: str) -> bool:
        """See :class:`.ReadsText`; True where the model cannot tell."""
        model = self._shared.model
        return model.can_read(text) if isinstance(model, ReadsText) else True

    def generate(
        self,
        batch: DiffusionInput,
        progress: Progress | None = None,
        stop_asked: StopAsked | None = None,
    ) -> tuple[Audio, ...]:
        """See :class:`.Generator`; waits for the other seats' first batches."""
        return self._shared.run(self, Member(batch, progress, stop_asked))

    def generate_together(
        self, members: Sequence[Member]
    ) -> list[tuple[Audio, ...] | RagAudioError]:
        """See :class:`.Generator`; who has a batch already waits for nobody."""
        return self._shared.model.generate_together(members)

    def forget(self) -> None:
        self._shared.model.forget()

    def leave(self) -> None:
        """The job has ended: the others need not wait for it."""
        self._shared.leave(self)


def _answer(model: Generator, tickets: Sequence[_Ticket]) -> None:
    """Run the model for all, or for each alone where that fails: one must not fail the others."""
    members = [ticket.member for ticket in tickets]
    if len(members) > 1:
        try:
            outcomes = model.generate_together(members)
        except Exception as error:  # noqa: BLE001 - whose fault it is shows when each runs alone
            log.warning("a shared pass failed; each job runs alone", error=str(error))
        else:
            for ticket, outcome in zip(tickets, outcomes, strict=True):
                ticket.outcome, ticket.size = outcome, len(tickets)
            return
    for ticket, one in zip(tickets, members, strict=True):
        try:
            ticket.outcome = model.generate(one.batch, one.progress, one.stop_asked)
        except Exception as error:  # noqa: BLE001 - raised again in the thread that asked
            ticket.outcome = error
