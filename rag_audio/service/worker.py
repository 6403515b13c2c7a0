"""A worker: claims jobs and runs them until it is told to stop."""

from __future__ import annotations

import threading
from functools import partial

import structlog

from rag_audio.errors import BackendError
from rag_audio.service.batching import companions
from rag_audio.service.models import Claimed
from rag_audio.service.queue import SqlJobs
from rag_audio.service.runner import Runner

IDLE_S = 0.5
"""How long a worker waits before it looks for a job again."""

log = structlog.get_logger("rag_audio.worker")


class Worker:
    """Runs jobs one after the other, those that share a pass of the model at once.

    Args:
        stop: set it to end: running jobs go back to the queue.
        takes: that share a pass at most; 1 runs every job alone.
    """

    def __init__(
        self, runner: Runner, jobs: SqlJobs, stop: threading.Event, takes: int = 1
    ) -> None:
        self._runner, self._jobs, self._stop, self._takes = runner, jobs, stop, takes
        self._wanted = threading.Event()
        self.busy = False

    def work(self) -> None:
        """Work until told to stop; a database that is away is waited for."""
        while not self._stop.is_set():
            try:
                held = self.claim()
            except BackendError as error:
                log.warning("no job can be claimed", error=error.message)
                self._stop.wait(1.0)
                continue
            if not held:
                self._wanted.wait(IDLE_S)
                self._wanted.clear()
                continue
            self.busy = True
            try:
                self._runner.run_together(held)
            finally:
                self.busy = False

    def claim(self) -> tuple[Claimed, ...]:
        """The next job, and those that go with it; empty: nothing waits.

        Raises:
            BackendError: the database is away.
        """
        shares = self._takes > 1 and self._runner.can_share()
        first = self._jobs.claim()
        if first is None:
            return ()
        if not shares:
            return (first,)
        pick = partial(companions, first.job, takes=self._takes)
        try:
            return (first, *self._jobs.claim_with(first, pick, rounds=self._takes))
        except BackendError as error:
            log.warning("no job can be taken along", error=error.message)
            return (first,)

    def wake(self) -> None:
        """A job was accepted in this process: do not wait for the next look."""
        self._wanted.set()
