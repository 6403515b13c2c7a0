"""Threads that work until the service stops; one that fails is started again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

WAITS_S = (1.0, 5.0, 15.0, 60.0)
"""Before a thread that failed is started again; the last one from then on."""
STEADY_S = 300.0
"""A thread that worked for so long begins with the first wait again."""

log = structlog.get_logger("rag_audio.threads")


@dataclass
class _Supervised:
    """A thread and how it fares."""

    thread: threading.Thread
    restarts: int = 0
    is_working: bool = True
    is_waited_for: bool = True


class Threads:
    """Starts threads, keeps them going, and says which of them do not work.

    Args:
        stop: set it to end; what is started must heed it.
        waits_s, steady_s: see :data:`WAITS_S`, :data:`STEADY_S`.
        clock: seconds, of any beginning.
    """

    def __init__(
        self,
        stop: threading.Event,
        waits_s: Sequence[float] = WAITS_S,
        steady_s: float = STEADY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._stop, self._waits_s, self._steady_s = stop, tuple(waits_s), steady_s
        self._kept: dict[str, _Supervised] = {}
        self._passing: list[threading.Thread] = []
        self._lock = threading.Lock()

    def keep(self, work: Callable[[], None], name: str, *, is_waited_for: bool = True) -> None:
        """Work until the service stops: when it fails, or returns before, it is started again.

        Args:
            name: operators read it; a number is added where another thread has it.
            is_waited_for: :meth:`join` waits for it.
        """
        with self._lock:
            names = (name, *(f"{name}-{n}" for n in range(2, len(self._kept) + 3)))
            free = next(one for one in names if one not in self._kept)
            thread = threading.Thread(target=self._work, args=(work, free), name=free, daemon=True)
            self._kept[free] = _Supervised(thread, is_waited_for=is_waited_for)
        thread.start()

    def run(self, work: Callable[[], None], name: str) -> None:
        """Work once, in a thread that is waited for when the service ends."""
        thread = threading.Thread(target=work, name=name, daemon=True)
        with self._lock:
            self._passing = [one for one in self._passing if one.is_alive()]
            self._passing.append(thread)
            thread.start()

    def dead(self) -> tuple[str, ...]:
        """Names of the kept threads that do not work at this moment; none while it stops."""
        if self._stop.is_set():
            return ()
        with self._lock:
            return tuple(
                name
                for name, one in self._kept.items()
                if not (one.is_working and one.thread.is_alive())
            )

    def restarts(self) -> dict[str, int]:
        """How often each kept thread was started again."""
        with self._lock:
            return {name: one.restarts for name, one in self._kept.items()}

    def join(self, seconds: float) -> None:
        """Wait for each thread, so long at most."""
        with self._lock:
            kept = [one.thread for one in self._kept.values() if one.is_waited_for]
            threads = [*kept, *self._passing]
        for thread in threads:
            thread.join(seconds)

    def _work(self, work: Callable[[], None], name: str) -> None:
        state, failures = self._kept[name], 0
        while True:
            began = self._clock()
            try:
                work()
                if not self._stop.is_set():
                    log.error("a thread ended before its time", thread=name)
            except BaseException:
                # What nobody foresaw must not end a part of the service for good. Nor does a
                # SystemExit: in a thread it ends no process, and nobody would hear of it.
                log.exception("a thread failed", thread=name)
            state.is_working = False
            failures = 1 if self._clock() - began >= self._steady_s else failures + 1
            wait_s = self._waits_s[min(failures, len(self._waits_s)) - 1]
            if self._stop.wait(wait_s):
                return
            with self._lock:
                state.restarts += 1
            state.is_working = True
            log.warning("a thread is started again", thread=name, restarts=state.restarts)
