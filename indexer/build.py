"""Bring the index up to date with a library.

A run reconciles three things: the files with their declared licenses, the catalogue's rows, and the
points in the index. One process, which holds the library, scans it and makes a plan
(:mod:`indexer.plan`), which is written down in shards; this process and any others measure the
files of the shards and commit them (:mod:`indexer.shard_work`, :mod:`indexer.commit`); who holds
the library when all are done closes the run. It holds at every moment that

* a row is written only after its points are durable in the index, and together with the landmarks
  by which its stem is recognised in foreign sound;
* points are removed before the row that explains them, or are swept by the next run;
* what a stem's points say depends on the files alone: its metadata is that of the first of its
  paths, save that where their licenses differ, a decision and then the license's name come before
  the path; its vectors are those of its own bytes;
* bytes are claimed by the license of every file that has them, also of one that may not be indexed;
* rows that are not those that the log holds are forgotten, and their files measured anew;
* a refresh replaces what was measured of unchanged files and removes nothing: the vectors are those
  of the same bytes, and a file that cannot be measured now keeps what is known of it.

A process that dies leaves its shards to the others, and files that are committed twice are the same
as files that are committed once. So a run that was killed anywhere leaves nothing that the next one
does not bring to the same end.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from indexer.commit import REVOKED, UNHEARD, UNREFRESHED, Committer
from indexer.engines import Engine
from indexer.index_points import Holdings, withheld_files
from indexer.junk import by_count
from indexer.licenses import LibrarySpec, read_library
from indexer.long_sounds import waiting_room
from indexer.measure import Render
from indexer.plan import HeldLibrary, IndexPlan, JobMaker, plan
from indexer.report import FileOutcome, IndexProgress, IndexReport, Rejection
from indexer.run_state import RunState
from indexer.settling import Settlement, known_paths
from indexer.shard_work import Batching, ShardWorker
from indexer.songs import separate_songs
from indexer.survey import Limits, Survey, survey
from indexer.tally import Tally, total
from indexer.worker_processes import MakeEmbedder, MeasuringProcesses
from rag_audio.domain import Rights
from rag_audio.domain.conflict_documents import conflicts_json
from rag_audio.domain.ports import Embedder, StemIndex
from rag_audio.domain.stems import AnalysisScope, EngineName
from rag_audio.errors import BackendError, BackendUnavailable
from rag_audio.storage.catalogue import SqlCatalogue
from rag_audio.storage.index_shards import IndexRun, SqlShards
from rag_audio.storage.library_files import LibraryFiles

__all__ = [
    "REVOKED",
    "UNHEARD",
    "UNREFRESHED",
    "IndexProgress",
    "IndexReport",
    "Limits",
    "Rejection",
    "index_library",
]

BATCH_WINDOWS = 64
"""Windows that wait to be embedded or written; files are never split over two batches."""
BATCH_FILES = 64
"""Files written to the catalogue at once at most."""
POLL_S = 0.5
"""How often a process looks whether others have ended their shards."""


@dataclass(frozen=True)
class _Options:
    """What the caller asked for."""

    prune: bool
    workers: int
    limits: Limits
    spool: Path | None
    refresh: bool
    analysis: AnalysisScope
    engine: EngineName
    make_embedder: MakeEmbedder | None


def index_library(
    library: Path | LibraryFiles,
    *,
    embedder: Embedder,
    index: StemIndex,
    catalogue: SqlCatalogue,
    render: Render,
    prune: bool = False,
    workers: int = 1,
    progress: IndexProgress | None = None,
    on: date | None = None,
    limits: Limits | None = None,
    spool: Path | None = None,
    refresh: bool = False,
    analysis: AnalysisScope = AnalysisScope.FULL,
    engine: EngineName = EngineName.LOCAL,
    make_embedder: MakeEmbedder | None = None,
    join: bool = False,
) -> IndexReport:
    """Index a licensed library: new and changed files are measured and embedded, others are not.

    Args:
        library: its folder, with ``library.toml`` and ``stems.csv``, or its files.
        render: makes the sound of a MIDI file.
        prune: forget files that are gone from the library.
        workers: decoding processes; 0 decodes in this one, where a crashing decoder ends it.
        on: the day or moment at which licenses must be valid; now by default.
        spool: folder in which the sound of long files waits for the embedder, in a folder of this
            run; what runs left there that were killed is removed. None: the system's for temporary
            files, where nothing removes it.
        refresh: measure unchanged files anew that a release with other measurements indexed. Their
            vectors stay, and no sound is embedded again.
        analysis: what is estimated of sound.
        engine: where files are measured.
        make_embedder: makes ``embedder`` in the workers, which then embed what they measure; it
            must be a callable that can be pickled. None: this process embeds.
        join: where another process indexes this library, work on its shards with it. ``prune``,
            ``on``, ``limits``, ``refresh`` and ``analysis`` are then those of that process, and
            the report is on the files that this one measured.

    Raises:
        LibraryError: the library cannot be read at all, or its id is taken by another folder.
        BackendUnavailable: another indexer works on this library, and it was not to be joined; it
            is named. Or the library's place cannot be reached.
        BackendError: the embedder, the index or the database failed. What is written stays
            consistent, and the next run goes on from there.
    """
    began = time.monotonic()
    asked = _Options(
        prune, workers, limits or Limits(), spool, refresh, analysis, engine, make_embedder
    )
    indexing = _IndexingProcess(
        read_library(library), embedder, index, catalogue, progress, render, asked, began
    )
    with ExitStack() as stack:
        try:
            stack.enter_context(catalogue.claim(indexing.spec.id))
        except BackendUnavailable:
            if not join:
                raise
        else:
            return indexing.coordinate(on or datetime.now(UTC))
    return indexing.join()


class _IndexingProcess:
    """This process's part in indexing a library."""

    def __init__(
        self,
        spec: LibrarySpec,
        embedder: Embedder,
        index: StemIndex,
        catalogue: SqlCatalogue,
        progress: IndexProgress | None,
        render: Render,
        asked: _Options,
        began: float,
    ) -> None:
        self.spec = spec
        self._embedder, self._catalogue, self._progress = embedder, catalogue, progress
        self._render, self._asked, self._began = render, asked, began
        self._holdings = Holdings(index, spec.id, embedder.window_s)
        self._settlement = Settlement(spec, self._holdings, catalogue)
        self._shards: SqlShards = catalogue.index_shards

    def coordinate(self, on: date) -> IndexReport:
        """Plan the run, work on it and close it; the library is held by the caller."""
        altered = self._catalogue.begin(self.spec.id)
        self._catalogue.put_library(self.spec.id, self.spec.name, self.spec.files.place)
        self._catalogue.put_licenses(self.spec.id, self.spec.licenses.values())
        state, planned = self._plan(on, altered)
        manifests = ([one.to_json() for one in shard] for shard in planned.shards())
        run = self._shards.begin(self.spec.id, state.to_json(), manifests)
        if self._progress is not None:
            self._progress.started(state.files, state.skipped)
        self._wait(run, state, self._work(run, state, len(planned.files)))
        return self._close(run, state)

    def join(self) -> IndexReport:
        """Work on the shards of a run that another process coordinates, until it is closed.

        Where that one dies, this one closes the run.
        """
        own: list[Tally] = []
        while (run := self._others_run()) is not None:
            state = RunState.of_json(run.document)
            if state.space != self._embedder.space:
                raise BackendError(
                    f"library {self.spec.id} is being indexed with another embedder",
                    hint="join it with the same RAG_AUDIO_EMBEDDER and the same model",
                )
            if self._progress is not None:
                self._progress.started(state.files, state.skipped)
            finished = self._help(run, state)
            if isinstance(finished, IndexReport):
                return finished
            own += finished
        return self._report(total(own))

    def _help(self, run: IndexRun, state: RunState) -> list[Tally] | IndexReport:
        """Work on a run until it is closed; the report where this process closed it."""
        own = self._work(run, state, state.files - state.skipped)
        while (left := self._shards.left(self.spec.id, run.id)) is not None:
            with ExitStack() as stack:
                try:
                    stack.enter_context(self._catalogue.claim(self.spec.id))
                except BackendUnavailable:
                    if left.free:
                        own |= self._work(run, state, left.free)
                    time.sleep(POLL_S)
                    continue
                if self._shards.left(self.spec.id, run.id) is not None:
                    self._wait(run, state, own)
                    return self._close(run, state)
        return list(own.values())

    def _others_run(self) -> IndexRun | None:
        """The run that another process has planned, as soon as it has; None: it has ended."""
        while (run := self._shards.run(self.spec.id)) is None:
            try:
                with self._catalogue.claim(self.spec.id):
                    return None
            except BackendUnavailable:
                time.sleep(POLL_S)
        return run

    def _plan(self, on: date, altered: tuple[str, ...]) -> tuple[RunState, IndexPlan]:
        """Look at the library, settle what can be settled at once, and plan the rest."""
        catalogue, library, asked = self._catalogue, self.spec.id, self._asked
        self._shards.end(library)
        rows, undecided = known_paths(self.spec, catalogue)
        withheld = catalogue.withheld(library)
        known = rows.keys() | withheld.keys()
        found = survey(self.spec, on, known, asked.limits)
        separate_songs(found, self.spec.files, known)
        held_rows = catalogue.files(library, paths=found.withheld.keys())
        claims = withheld_files(self.spec, found, held_rows, withheld, prune=asked.prune)
        # What claimed bytes before goes on doing so until its file has been indexed.
        catalogue.put_withheld(library, {**withheld, **claims}.values())
        gone = found.vanished(rows.keys())
        refused = {item.path for item in found.refused} & rows.keys()
        dropped = {*refused, *(gone if asked.prune else ())}
        self._settlement.forget(dropped)
        self._settlement.decide((row for row in undecided if row.path not in dropped), BATCH_FILES)
        rights = self._own_rights(on)
        is_whole = self._settlement.reconcile(rights)
        planned = plan(
            found.accepted.values(),
            lambda paths: catalogue.files(library, paths=paths),
            HeldLibrary(
                has=(lambda stem: not rights.is_revoked(stem)) if is_whole else self._holdings.has,
                without_landmarks=catalogue.without_landmarks(library),
                rights=rights,
                space=self._embedder.space,
            ),
            refresh=asked.refresh,
        )
        state = RunState(
            on=on,
            space=self._embedder.space,
            max_duration_s=asked.limits.max_duration_s,
            analysis=asked.analysis,
            files=len(found.accepted),
            skipped=planned.skipped,
            absent=frozenset(rows.keys() - dropped - found.accepted.keys()),
            released=tuple(sorted(withheld.keys() - claims.keys())),
            found=self._found(found, planned),
            pruned=len(gone) if asked.prune else 0,
            misdeclared=found.misdeclared,
            altered=altered,
        )
        return state, planned

    def _found(self, found: Survey, planned: IndexPlan) -> Tally:
        made = Tally(junk=found.junk, other=found.other)
        made.rejected = [*found.refused, *found.faults]
        made.rejected += [Rejection(path, REVOKED) for path in planned.revoked]
        made.noticed = [*self.spec.notices, *found.notices]
        made.counts[FileOutcome.SKIPPED.value] = planned.skipped
        return made

    def _own_rights(self, on: date) -> Rights:
        """What is embedded: claims of other libraries, and what becomes of them, do not count."""
        return self._catalogue.rights(None, on, [self.spec.id])

    def _work(self, run: IndexRun, state: RunState, files: int) -> dict[int, Tally]:
        """Work on shards that are free; what those came to that this process finished.

        Args:
            files: that there may be at most.
        """
        with waiting_room(self._asked.spool) as room:
            jobs = JobMaker(
                files=self.spec.files,
                sample_rate=self._embedder.sample_rate,
                max_duration_s=state.max_duration_s,
                analysis=state.analysis,
                spool=room,
            )
            committer = Committer(
                self.spec, self._embedder, self._holdings, self._catalogue, state.on, state.absent
            )
            worker = ShardWorker(
                self._shards,
                run,
                self.spec,
                committer,
                jobs,
                window_s=self._embedder.window_s,
                batching=Batching(BATCH_WINDOWS, BATCH_FILES),
                progress=self._progress,
            )
            with self._engine(files) as engine:
                worker.work(engine)
        return worker.finished

    def _engine(self, files: int) -> Engine:
        asked, workers = self._asked, min(self._asked.workers, files)
        if asked.engine is EngineName.RAY:
            from indexer.engines.ray import RayEngine

            return RayEngine(self._render, self._asked.make_embedder)
        if asked.make_embedder is None or not workers:
            return MeasuringProcesses(workers, self._render)
        return MeasuringProcesses(workers, self._render, embedder=asked.make_embedder)

    def _wait(self, run: IndexRun, state: RunState, own: dict[int, Tally]) -> None:
        """Wait for other processes; shards of those that died are worked on here."""
        told = set(own)
        while (left := self._shards.left(self.spec.id, run.id)) is not None:
            if left.free:
                own = self._work(run, state, left.free)
                told |= own.keys()
            self._tell_others(run, told)
            if not left.free and not left.held:
                return
            time.sleep(0 if left.free else POLL_S)
        raise BackendError(
            f"another process has planned library {self.spec.id} anew",
            hint="index it again when that one has ended",
        )

    def _tell_others(self, run: IndexRun, told: set[int]) -> None:
        """Tell of the files that other processes committed."""
        if self._progress is None:
            return
        for number, document in self._shards.results(self.spec.id, run.id):
            if number not in told:
                told.add(number)
                for outcome, count in document["counts"].items():
                    for _ in range(count):
                        self._progress.advanced("", FileOutcome(outcome))

    def _close(self, run: IndexRun, state: RunState) -> IndexReport:
        """All shards are finished: settle what could not be settled before, and seal the rows."""
        results = self._shards.results(self.spec.id, run.id)
        tally = total([state.found, *(Tally.of_json(one) for _, one in results)])
        self._settlement.forget(tally.forgotten)
        withheld = self._catalogue.withheld(self.spec.id)
        kept = (one for path, one in withheld.items() if path not in set(state.released))
        self._catalogue.put_withheld(self.spec.id, kept)
        self._settlement.relabel(tally.left, state.absent, self._own_rights(state.on))
        # A copy that was just indexed may change the rights of another.
        self._settlement.reconcile(self._own_rights(state.on))
        rights = self._catalogue.rights(None, state.on)
        tally.rejected += self._settlement.idle_decisions(rights)
        report = self._report(tally, state, rights)
        self._catalogue.seal(self.spec.id)
        self._shards.end(self.spec.id)
        return report

    def _report(
        self, tally: Tally, state: RunState | None = None, rights: Rights | None = None
    ) -> IndexReport:
        """What a run came to, or this process's part in it."""
        rights = rights or self._catalogue.rights(None, datetime.now(UTC))
        absent = frozenset[str]() if state is None else state.absent
        return IndexReport(
            indexed=tally.counts[FileOutcome.INDEXED.value],
            skipped=tally.counts[FileOutcome.SKIPPED.value],
            updated=tally.counts[FileOutcome.UPDATED.value],
            pruned=0 if state is None else state.pruned,
            segments=self._holdings.segments,
            rejected=tuple(sorted(set(tally.rejected))),
            seconds=round(time.monotonic() - self._began, 3),
            misdeclared=0 if state is None else state.misdeclared,
            conflicts=tuple(conflicts_json(rights.conflicts.values(), rights, self.spec.id)),
            altered=() if state is None else state.altered,
            landmarked=tally.landmarked,
            refreshed=len(tally.refreshed),
            outdated=self._settlement.outdated(absent),
            noticed=tuple(sorted(set(tally.noticed))),
            junk=by_count(tally.junk),
            other=by_count(tally.other),
        )
