"""Decoding in other processes, so that a file which crashes or hangs its decoder costs one file."""

from __future__ import annotations

import os
import pickle
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO, TypeVar

from indexer.measure import Job, Measured, Outcome, Refused, Render, Unchanged, measure
from rag_audio.errors import BackendError
from rag_audio.formats import SCORE, read_head, suffix_of

TIME_LIMIT_S = 900.0
"""A file that takes longer than this is given up."""

_AHEAD = 16
"""Files per worker that are measured ahead, so that workers do not idle while others embed."""

_AHEAD_BYTES = 64_000_000
"""... as long as these files together are no larger: what they decode to waits in memory."""

_DYING_S = 5.0
_FRAME = re.compile(r'\s+File "(?:.*/)?(?P<file>[^"/]+/[^"/]+)", line \d+ in (?P<function>\S+)')
"""The innermost line of what Python's faulthandler leaves of a crash."""

_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
_Tag = TypeVar("_Tag")


class Decoders:
    """Measures files in ``workers`` processes; 0 measures them in this one, without protection.

    A ``render`` that cannot travel to another process (a lambda, say) runs in this one.
    """

    def __init__(self, workers: int, render: Render, time_limit_s: float = TIME_LIMIT_S) -> None:
        self._render = render
        self._blob = _portable(render)
        self._time_limit_s = time_limit_s
        self._own = threading.local()
        self._processes: list[_Process] = []
        self._threads = ThreadPoolExecutor(workers, "decoder") if workers else None
        self._ahead = workers * _AHEAD

    def __enter__(self) -> Decoders:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)

    def outcomes(self, jobs: Iterable[tuple[_Tag, Job]]) -> Iterator[tuple[_Tag, Outcome]]:
        """The outcome of every job, in the order of the jobs; a few are worked on ahead."""
        waiting: deque[tuple[_Tag, int, Callable[[], Outcome]]] = deque()
        size = 0
        for tag, job in jobs:
            waiting.append((tag, job.size, self._begin(job)))
            size += job.size
            while len(waiting) > self._ahead or (len(waiting) > 1 and size > _AHEAD_BYTES):
                first, gone, result = waiting.popleft()
                size -= gone
                yield first, result()
        for tag, _, result in waiting:
            yield tag, result()

    def _begin(self, job: Job) -> Callable[[], Outcome]:
        if self._threads is None or (self._blob is None and _begins_like_midi(job)):
            return lambda: measure(job, self._render)
        future: Future[Outcome] = self._threads.submit(self._in_process, job)
        return future.result

    def _in_process(self, job: Job) -> Outcome:
        process: _Process | None = getattr(self._own, "process", None)
        if process is None or not process.alive:
            process = self._own.process = _Process(self._blob or pickle.dumps(None))
            self._processes.append(process)
        return process.measure(job, self._time_limit_s)


class _Process:
    """One worker process and the pipes to it."""

    def __init__(self, render: bytes) -> None:
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed in kill)
        environment = {
            **os.environ,
            **dict.fromkeys(_ONE_THREAD, "1"),
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-X", "faulthandler", "-m", "indexer.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
        )
        self._first = render

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def measure(self, job: Job, time_limit_s: float) -> Outcome:
        """Have the process measure one file; when it dies over it, say how."""
        late = threading.Event()

        def give_up() -> None:
            late.set()
            self._process.kill()

        timer = threading.Timer(time_limit_s, give_up)
        timer.daemon = True
        timer.start()
        try:
            return self._ask(job)
        except (BrokenPipeError, EOFError, pickle.UnpicklingError):
            code = self._end()
            if late.is_set():
                return Refused(f"decoding it took longer than {time_limit_s:g} s")
            return Refused(f"its decoder crashed ({self._cause(code)})")
        finally:
            timer.cancel()

    def _ask(self, job: Job) -> Outcome:
        requests, replies = self._process.stdin, self._process.stdout
        if requests is None or replies is None:
            raise BackendError("a decoding process has no pipes")
        requests.write(self._first + pickle.dumps(job))
        self._first = b""
        requests.flush()
        outcome = pickle.load(replies)  # noqa: S301 (our own process wrote it)
        if not isinstance(outcome, Measured | Unchanged | Refused):
            raise BackendError(f"a decoding process answered with {type(outcome).__name__}")
        return outcome

    def _end(self) -> int:
        """The exit code; a process that closed its pipe gets a moment to die its own death."""
        try:
            return self._process.wait(_DYING_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _cause(self, code: int) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        if code < 0:
            name = signal.Signals(-code).name
            place = next((found for line in lines if (found := _FRAME.match(line))), None)
            return f"{name} in {place['file']}, {place['function']}" if place else name
        return lines[-1][:200] if lines else f"exit code {code}"

    def kill(self) -> None:
        """End the process; idempotent."""
        self._process.kill()
        self._process.wait()
        self._errors.close()


def _portable(render: Render) -> bytes | None:
    """The callable pickled; None when another process could not load it."""
    try:
        blob = pickle.dumps(render)
    except (pickle.PicklingError, AttributeError, TypeError):
        return None
    return None if b"__main__" in blob else blob


def _begins_like_midi(job: Job) -> bool:
    try:
        return suffix_of(read_head(job.file)) == SCORE
    except OSError:
        return False
