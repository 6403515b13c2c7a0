"""Processes of our own that do what may crash or hang, one task at a time, over pipes."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import IO, Generic, TypeVar

_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


class Child:
    """A Python process that runs a module and reads tasks from its standard input.

    Args:
        module: its name. environment: of the process, besides what Python needs.
        options: of the interpreter. errors: where its standard error goes; None: nowhere.

    Attributes:
        is_late: the last task took too long, and the process was killed for it.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(
        self,
        module: str,
        environment: Mapping[str, str],
        *,
        options: tuple[str, ...] = (),
        errors: IO[bytes] | None = None,
    ) -> None:
        self.is_late = False
        self._process = subprocess.Popen(  # noqa: S603 (our own interpreter and module)
            [sys.executable, "-P", *options, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if errors is None else errors,
            env={
                **environment,
                **dict.fromkeys(_ONE_THREAD, "1"),
                "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            },
        )

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    @contextmanager
    def pipes(self, seconds: float) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
        """Where one task is written to and its answer read from, within so many seconds.

        Raises:
            OSError: it has no pipes.
        """
        requests, replies = self._process.stdin, self._process.stdout
        if requests is None or replies is None:
            raise OSError("a worker process has no pipes")

        def give_up() -> None:
            self.is_late = True
            self.kill()

        self.is_late = False
        timer = threading.Timer(seconds, give_up)
        timer.daemon = True
        timer.start()
        try:
            yield requests, replies
        finally:
            timer.cancel()

    def kill(self) -> None:
        """End it at once; idempotent."""
        self._process.kill()

    def exit_code(self, patience_s: float) -> int:
        """Its exit code, negative for a signal; killed where it goes on for longer than that."""
        try:
            return self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.wait()

    def close(self) -> None:
        """Kill it and free its pipes; idempotent."""
        self.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()


_Kind = TypeVar("_Kind", bound=Child)


class ChildPool(Generic[_Kind]):
    """At most ``count`` processes, started when they are needed and anew when they ended.

    Args:
        start: makes a process.
    """

    def __init__(self, count: int, start: Callable[[], _Kind]) -> None:
        self._start = start
        self._free: queue.LifoQueue[_Kind | None] = queue.LifoQueue()
        self._started: list[_Kind] = []
        for _ in range(count):
            self._free.put(None)

    @contextmanager
    def lease(self, wait_s: float | None = None) -> Iterator[_Kind]:
        """A process for one task.

        Raises:
            TimeoutError: none is free for so long.
            OSError: it cannot be started.
        """
        try:
            child = self._free.get(timeout=wait_s)
        except queue.Empty:
            raise TimeoutError("no worker process is free") from None
        try:
            if child is None or not child.is_alive:
                if child is not None:
                    self._started.remove(child)
                    child.close()
                    child = None
                child = self._start()
                self._started.append(child)
            yield child
        finally:
            self._free.put(child)

    def end_idle(self) -> None:
        """End the processes without a task; the others end when this process closes their pipes."""
        while True:
            try:
                child = self._free.get_nowait()
            except queue.Empty:
                return
            if child is not None:
                child.close()

    def kill(self) -> None:
        """End all processes, whatever they do."""
        for child in self._started:
            child.kill()
