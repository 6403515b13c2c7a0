"""Measuring and embedding in other processes: a file that crashes or hangs one costs one file.

Run as a program it is such a process: it reads jobs from its standard input and writes outcomes to
its standard output. It is on purpose allowed to die: whatever a decoder does with a hostile file,
the parent sees a closed pipe, reports the file and starts another.
"""

from __future__ import annotations

import os
import pickle
import re
import signal
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import IO, TypeVar

from indexer.batches import prepare
from indexer.file_jobs import Failed
from indexer.inspection import InspectedFile, InspectJob, inspect_file
from indexer.measure import MeasuredFile, MeasureJob, Outcome, Refused, Render, Unchanged, measure
from indexer.stem_sounds import HeardSound, HearJob, hear_stem
from rag_audio.audio import ffmpeg
from rag_audio.audio.child_process import Child, ChildPool
from rag_audio.audio.headers import SCORE, read_head, suffix_of
from rag_audio.domain.ports import Embedder
from rag_audio.domain.songs import song_file
from rag_audio.errors import BackendError, BackendUnavailable, RagAudioError

TIME_LIMIT_S = 900.0
"""A file that takes longer than this is given up; a large one has up to four times as long."""
_LARGE_BYTES = 50_000_000
"""So many bytes have as long again."""

_AHEAD = 16
"""Files per worker that are measured ahead, so that workers do not idle while others embed."""

_AHEAD_BYTES = 64_000_000
"""... as long as these files together are no larger: what they decode to waits in memory."""

_DYING_S = 5.0
_FRAME = re.compile(r'\s+File "(?:.*/)?(?P<file>[^"/]+/[^"/]+)", line \d+ in (?P<function>\S+)')
"""The innermost line of what Python's faulthandler leaves of a crash."""

_Tag = TypeVar("_Tag")
_Job = MeasureJob | InspectJob | HearJob
MakeEmbedder = Callable[[], Embedder]
"""Makes the embedder in another process."""


_Done = Outcome | InspectedFile | HeardSound
_Answer = _Done | Failed


class MeasuringProcesses:
    """Measures files in ``workers`` processes; 0 measures them in this one, without protection.

    A ``render`` that cannot travel to another process (a lambda, say) runs in this one.

    Args:
        embedder: makes what embeds the windows in each process, beside measuring them; it must be
            one that can travel. None: sounds are given back, and embedded here.
    """

    def __init__(
        self,
        workers: int,
        render: Render,
        time_limit_s: float = TIME_LIMIT_S,
        embedder: MakeEmbedder | None = None,
    ) -> None:
        self._render = render
        self._blob = _portable(render)
        self._time_limit_s = time_limit_s
        first = pickle.dumps(embedder) + (self._blob or pickle.dumps(None))
        self._processes = ChildPool(workers, lambda: _Measurer(first, workers))
        self._threads = ThreadPoolExecutor(workers, "decoder") if workers else None
        self._ahead = workers * _AHEAD

    def __enter__(self) -> MeasuringProcesses:
        return self

    def __exit__(self, *_: object) -> None:
        self._processes.kill()
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
        self._processes.end_idle()

    def outcomes(self, jobs: Iterable[tuple[_Tag, MeasureJob]]) -> Iterator[tuple[_Tag, Outcome]]:
        """The outcome of every job, in the order of the jobs; a few are worked on ahead."""
        for tag, answer in self._answers(jobs):
            if isinstance(answer, InspectedFile | HeardSound):
                raise BackendError("a decoding process did what it was not asked to do")
            yield tag, answer

    def inspected(
        self, jobs: Iterable[tuple[_Tag, InspectJob]]
    ) -> Iterator[tuple[_Tag, InspectedFile | Refused]]:
        """As :meth:`outcomes`, of files that are looked at and not decoded."""
        for tag, answer in self._answers(jobs):
            if not isinstance(answer, InspectedFile | Refused):
                raise BackendError("a decoding process did what it was not asked to do")
            yield tag, answer

    def heard(
        self, jobs: Iterable[tuple[_Tag, HearJob]]
    ) -> Iterator[tuple[_Tag, HeardSound | Refused]]:
        """As :meth:`outcomes`, of files whose sound alone is wanted."""
        for tag, answer in self._answers(jobs):
            if not isinstance(answer, HeardSound | Refused):
                raise BackendError("a decoding process did what it was not asked to do")
            yield tag, answer

    def _answers(self, jobs: Iterable[tuple[_Tag, _Job]]) -> Iterator[tuple[_Tag, _Done]]:
        for tag, answer in self._ahead_of(jobs):
            if isinstance(answer, Failed):
                raise answer.error()
            yield tag, answer

    def _ahead_of(self, jobs: Iterable[tuple[_Tag, _Job]]) -> Iterator[tuple[_Tag, _Answer]]:
        waiting: deque[tuple[_Tag, int, Callable[[], _Answer]]] = deque()
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

    def _begin(self, job: _Job) -> Callable[[], _Answer]:
        if self._threads is None or (self._blob is None and _begins_like_midi(job)):
            return lambda: _work(job, self._render)
        future: Future[_Answer] = self._threads.submit(self._in_process, job)
        return future.result

    def _in_process(self, job: _Job) -> _Answer:
        with self._processes.lease() as process:
            more = min(4, 1 + job.size // _LARGE_BYTES)
            return process.measure(job, more * self._time_limit_s)


class _Measurer(Child):
    """A worker process that measures files, and what it leaves of a crash."""

    def __init__(self, render: bytes, workers: int) -> None:
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed in close)
        super().__init__(
            "indexer.worker_processes",
            {**_threads_each(workers), **os.environ, **ffmpeg.environment()},
            options=("-X", "faulthandler"),
            errors=self._errors,
        )
        self._first = render

    def measure(self, job: _Job, time_limit_s: float) -> _Answer:
        """Have the process measure or inspect one file; when it dies over it, say how."""
        try:
            with self.pipes(time_limit_s) as (requests, replies):
                requests.write(self._first + pickle.dumps(job))
                self._first = b""
                requests.flush()
                outcome = pickle.load(replies)  # noqa: S301 (our own process wrote it)
        except (BrokenPipeError, EOFError, pickle.UnpicklingError):
            code = self.exit_code(_DYING_S)
            if self.is_late:
                return Refused(f"decoding it took longer than {time_limit_s:g} s")
            return Refused(f"its decoder crashed ({self._cause(code)})")
        known = MeasuredFile | Unchanged | Refused | InspectedFile | HeardSound | Failed
        if not isinstance(outcome, known):
            raise BackendError(f"a decoding process answered with {type(outcome).__name__}")
        return outcome

    def _cause(self, code: int) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        if code < 0:
            name = signal.Signals(-code).name
            place = next((found for line in lines if (found := _FRAME.match(line))), None)
            return f"{name} in {place['file']}, {place['function']}" if place else name
        return lines[-1][:200] if lines else f"exit code {code}"

    def close(self) -> None:
        super().close()
        self._errors.close()


def _threads_each(workers: int) -> dict[str, str]:
    """How many threads each of so many processes computes with: together one for each core."""
    return {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // workers))}


def _portable(render: Render) -> bytes | None:
    """The callable pickled; None when another process could not load it."""
    try:
        blob = pickle.dumps(render)
    except (pickle.PicklingError, AttributeError, TypeError):
        return None
    return None if b"__main__" in blob else blob


def _work(job: _Job, render: Render, make_embedder: MakeEmbedder | None = None) -> _Answer:
    try:
        if isinstance(job, InspectJob):
            return inspect_file(job)
        if isinstance(job, HearJob):
            return hear_stem(job, render)
        if make_embedder is None:
            return measure(job, render)
        return prepare(job, render, _embedder(make_embedder))
    except RagAudioError as fault:  # what is wrong with a file is told by its outcome
        return Failed(fault.message, fault.hint, isinstance(fault, BackendUnavailable))


@lru_cache(maxsize=1)
def _embedder(make: MakeEmbedder) -> Embedder:
    return make()


def _begins_like_midi(job: _Job) -> bool:
    if not isinstance(job.file, Path):
        return True  # how an object begins is not known before it is fetched
    try:
        return suffix_of(read_head(song_file(job.file)[0])) == SCORE
    except OSError:
        return False


def main() -> None:
    """Work until the parent closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests = sys.stdin.buffer
    # What libraries print must not land between the outcomes.
    with os.fdopen(os.dup(1), "wb") as replies:
        os.dup2(2, 1)
        make_embedder = pickle.load(requests)  # noqa: S301 (our parent wrote it)
        render = pickle.load(requests)  # noqa: S301 (our parent wrote it)
        while True:
            try:
                job = pickle.load(requests)  # noqa: S301 (our parent wrote it)
            except EOFError:
                return
            pickle.dump(_work(job, render, make_embedder), replies, protocol=5)
            replies.flush()


if __name__ == "__main__":
    main()
