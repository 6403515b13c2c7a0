"""A worker: claims jobs and runs them until it is told to stop."""

from __future__ import annotations

import threading

import structlog

from rag_audio.errors import BackendError
from rag_audio.jobs import SqlJobs
from rag_audio.service.runner import Runner

IDLE_S = 0.5
"""How long a worker waits before it looks for a job again."""

log = structlog.get_logger("rag_audio.worker")


class Worker:
    """Runs jobs one after the other in the thread that calls :meth:`work`.

    Args:
        stop: set it to end: a running job goes back to the queue.
    """

    def __init__(self, runner: Runner, jobs: SqlJobs, stop: threading.Event) -> None:
        self._runner, self._jobs, self._stop = runner, jobs, stop
        self._wanted = threading.Event()
        self.busy = False

    def work(self) -> None:
        """Work until told to stop; a database that is away is waited for."""
        while not self._stop.is_set():
            try:
                held = self._jobs.claim()
            except BackendError as error:
                log.warning("no job can be claimed", error=error.message)
                self._stop.wait(1.0)
                continue
            if held is None:
                self._wanted.wait(IDLE_S)
                self._wanted.clear()
                continue
            self.busy = True
            try:
                self._runner.run(held)
            finally:
                self.busy = False

    def wake(self) -> None:
        """A job was accepted in this process: do not wait for the next look."""
        self._wanted.set()
