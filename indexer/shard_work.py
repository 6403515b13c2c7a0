"""Work on the shards of a run: lease them, have their files measured, commit what comes back."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from sqlalchemy import Connection

from indexer.commit import Committer, MeasuredItem
from indexer.engines import Engine
from indexer.index_points import windows
from indexer.licenses import LibrarySpec
from indexer.long_sounds import discard
from indexer.measure import MeasuredFile, MeasureJob, Outcome
from indexer.plan import JobMaker, PlannedFile
from indexer.report import FileOutcome, IndexProgress
from indexer.tally import Tally
from rag_audio.errors import RagAudioError
from rag_audio.storage.index_shards import IndexRun, Shard, ShardLost, SqlShards


@dataclass(frozen=True)
class Batching:
    """When what was measured is written: at so many windows or files, whichever comes first."""

    windows: int
    files: int


@dataclass(eq=False)
class _LeasedShard:
    """A shard that this process works on.

    Attributes:
        waiting: files of it that are not committed yet.
        is_lost: another worker has it, or it was finished.
    """

    shard: Shard
    waiting: int
    tally: Tally = field(default_factory=Tally)
    is_lost: bool = False


@dataclass(frozen=True)
class _Held:
    """The leases of shards that are written together: :class:`.Lease`."""

    shards: SqlShards
    held: list[Shard]

    def check(self, db: Connection | None = None) -> None:
        """Whether all of them are still held, and keep them."""
        self.shards.renew(self.held, db)


_Tag = tuple[_LeasedShard, PlannedFile]


class ShardWorker:
    """Works on the shards of a run until none is free.

    Args:
        jobs: makes of a planned file what a worker is told to do.
        progress: told of every file that is committed.
        window_s: length of the embedder's window.
    """

    def __init__(
        self,
        shards: SqlShards,
        run: IndexRun,
        spec: LibrarySpec,
        committer: Committer,
        jobs: JobMaker,
        *,
        window_s: float,
        batching: Batching,
        progress: IndexProgress | None,
    ) -> None:
        self._shards, self._run, self._spec = shards, run, spec
        self._committer, self._jobs, self._progress = committer, jobs, progress
        self._window_s, self._batching = window_s, batching
        self._leases: list[_LeasedShard] = []
        self._guard = threading.Lock()
        self.finished: dict[int, Tally] = {}
        """What the shards that this process finished came to, by their numbers."""

    def work(self, engine: Engine) -> None:
        """Lease, measure and commit until there is no free shard."""
        batch: list[tuple[_LeasedShard, MeasuredItem]] = []
        waiting = 0
        with self._kept():
            for (lease, planned), outcome in engine.outcomes(self._planned()):
                batch.append((lease, MeasuredItem(planned, outcome, lease.tally)))
                waiting += self._windows_of(outcome)
                if waiting >= self._batching.windows or len(batch) >= self._batching.files:
                    self._commit(batch)
                    batch, waiting = [], 0
            self._commit(batch)

    def _planned(self) -> Iterator[tuple[_Tag, MeasureJob]]:
        """The files of one shard after the other, each leased when it is needed."""
        while (shard := self._shards.lease(self._spec.id, self._run.id)) is not None:
            files = [PlannedFile.of_json(one, self._spec.licenses) for one in shard.manifest]
            lease = _LeasedShard(shard, len(files))
            with self._guard:
                self._leases.append(lease)
            for planned in files:
                yield (lease, planned), self._jobs.job(planned)

    def _windows_of(self, outcome: Outcome) -> int:
        if not isinstance(outcome, MeasuredFile):
            return 0
        is_new = outcome.sound is not None or outcome.vectors is not None
        return len(windows(outcome.duration_s, self._window_s)) if is_new else 0

    def _commit(self, batch: list[tuple[_LeasedShard, MeasuredItem]]) -> None:
        leases = list({id(lease): lease for lease, _ in batch}.values())
        for lease in leases:
            self._renew(lease)
        held = [(lease, item) for lease, item in batch if not lease.is_lost]
        _discard(item for lease, item in batch if lease.is_lost)
        if not held:
            return
        shards = [lease.shard for lease in leases if not lease.is_lost]
        try:
            done = self._committer.commit([item for _, item in held], _Held(self._shards, shards))
        except ShardLost:
            self._abandon(leases)
            _discard(item for _, item in held)
            return
        for path, outcome in done:
            self._tell(path, outcome)
        for lease, _ in held:
            lease.waiting -= 1
        for lease in leases:
            if not lease.waiting:
                self._finish(lease)

    def _finish(self, lease: _LeasedShard) -> None:
        if not self._let_go(lease):
            return
        with suppress(ShardLost):  # whoever has it now commits the same
            self._shards.finish(lease.shard, lease.tally.to_json())
            self.finished[lease.shard.number] = lease.tally

    def _renew(self, lease: _LeasedShard) -> None:
        if lease.is_lost:
            return
        try:
            self._shards.renew([lease.shard])
        except ShardLost:
            self._let_go(lease)
            lease.is_lost = True

    def _abandon(self, leases: list[_LeasedShard]) -> None:
        """Leave shards to others: one of them was lost while they were written together."""
        for lease in leases:
            self._let_go(lease)
            lease.is_lost = True
        self._shards.give_back([lease.shard for lease in leases])

    def _let_go(self, lease: _LeasedShard) -> bool:
        """Keep a lease no longer; whether it was kept."""
        with self._guard:
            if lease not in self._leases:
                return False
            self._leases.remove(lease)
            return True

    @contextmanager
    def _kept(self) -> Iterator[None]:
        """Keep what is leased within the block; what is left at its end others may have at once."""
        ended = threading.Event()

        def keep() -> None:
            while not ended.wait(self._shards.lease_s / 4):
                with self._guard:
                    leases = list(self._leases)
                for lease in leases:
                    with suppress(RagAudioError):  # the next commit says what is wrong
                        self._renew(lease)

        thread = threading.Thread(target=keep, name="index-leases", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            if self._leases:
                with suppress(RagAudioError):
                    self._shards.give_back([lease.shard for lease in self._leases])

    def _tell(self, path: str, outcome: FileOutcome) -> None:
        if self._progress is not None:
            self._progress.advanced(path, outcome)


def _discard(items: Iterable[MeasuredItem]) -> None:
    """Delete what waits on disk of files that are not written here."""
    for item in items:
        if isinstance(item.outcome, MeasuredFile):
            discard(item.outcome.sound)
