"""Bring the index up to date with a library.

A run reconciles three things: the files with their declared licenses, the catalogue's rows, and the
points in the index. It holds at every moment that

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

So a run that was killed anywhere leaves nothing that the next one does not bring to the same end.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from indexer.batches import Batch, embedded
from indexer.derived_tags import TagListener
from indexer.facts import basis_of, facts_of
from indexer.index_points import (
    Holdings,
    claims_of,
    local_conflict,
    make_stem,
    points,
    windows,
    withheld_files,
)
from indexer.junk import by_count
from indexer.library_toml import decision_on, idle_decisions
from indexer.licenses import Declared, LibrarySpec, read_library
from indexer.long_sounds import SpooledSound, discard, waiting_room
from indexer.measure import (
    MEASURED_BY,
    MeasuredFile,
    MeasureJob,
    Refused,
    Render,
    Unchanged,
)
from indexer.report import FileOutcome, IndexProgress, IndexReport, Notice, Rejection
from indexer.scan import FoundFile
from indexer.songs import separate_songs
from indexer.survey import Limits, Survey, kind_without_music, survey
from indexer.worker_processes import MeasuringProcesses
from rag_audio.domain import Audio, Rights, Stem
from rag_audio.domain.clearance import standing
from rag_audio.domain.conflict_documents import conflicts_json
from rag_audio.domain.ports import Embedder, StemIndex
from rag_audio.domain.stems import FileState, WithheldFile
from rag_audio.errors import BackendError
from rag_audio.storage.catalogue import SqlCatalogue

__all__ = ["IndexProgress", "IndexReport", "Limits", "Rejection", "index_library"]

BATCH_WINDOWS = 64
"""Windows that wait to be embedded; files are never split over two batches."""

REVOKED = "it was revoked; rag-audio revoke --undo takes that back"
"""Why a file has no embedding though its license would allow one."""

UNHEARD = "it stays indexed, but would not be recognised in foreign sound: {}"
"""What is said of a file that a version before indexed, and that cannot be heard now."""
UNREFRESHED = "it stays indexed as it was measured before: {}"
"""What is said of a file that a refresh cannot measure."""

BATCH_FILES = 64
"""Files written to the catalogue at once at most."""


def index_library(
    root: Path,
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
) -> IndexReport:
    """Index a licensed library: new and changed files are measured and embedded, others are not.

    Args:
        root: folder with ``library.toml`` and ``stems.csv``.
        render: makes the sound of a MIDI file.
        prune: forget files that are gone from the library.
        workers: decoding processes; 0 decodes in this one, where a crashing decoder ends it.
        on: the day or moment at which licenses must be valid; now by default.
        spool: folder in which the sound of long files waits for the embedder, in a folder of this
            run; what runs left there that were killed is removed. None: the system's for temporary
            files, where nothing removes it.
        refresh: measure unchanged files anew that a release with other measurements indexed. Their
            vectors stay, and no sound is embedded again.

    Raises:
        LibraryError: the library cannot be read at all, or its id is taken by another folder.
        BackendUnavailable: another indexer works on this library; it is named.
        BackendError: the embedder, the index or the database failed. What is written stays
            consistent, and the next run goes on from there.
    """
    began = time.monotonic()
    spec = read_library(root)
    with catalogue.claim(spec.id):
        altered = catalogue.begin(spec.id)
        catalogue.put_library(spec.id, spec.name, str(spec.root))
        catalogue.put_licenses(spec.id, spec.licenses.values())
        moment = on or datetime.now(UTC)
        run = _IndexRun(spec, embedder, index, catalogue, progress, moment, refresh=refresh)
        with waiting_room(spool) as room:
            run.go(limits or Limits(), render, prune=prune, workers=workers, spool=room)
        catalogue.seal(spec.id)
    return IndexReport(
        indexed=run.counts[FileOutcome.INDEXED],
        skipped=run.counts[FileOutcome.SKIPPED],
        updated=run.counts[FileOutcome.UPDATED],
        pruned=run.pruned,
        segments=run.holdings.segments,
        rejected=tuple(sorted(set(run.rejected))),
        seconds=round(time.monotonic() - began, 3),
        misdeclared=run.misdeclared,
        conflicts=tuple(conflicts_json(run.rights.conflicts.values(), run.rights, spec.id)),
        altered=altered,
        landmarked=run.landmarked,
        refreshed=len(run.refreshed),
        outdated=run.outdated,
        noticed=tuple(sorted(set(run.noticed))),
        junk=by_count(run.junk),
        other=by_count(run.other),
    )


class _IndexRun:
    """One run over one library."""

    def __init__(
        self,
        spec: LibrarySpec,
        embedder: Embedder,
        index: StemIndex,
        catalogue: SqlCatalogue,
        progress: IndexProgress | None,
        on: date,
        *,
        refresh: bool,
    ) -> None:
        self._on, self._refresh = on, refresh
        self.rights: Rights = catalogue.rights(None, on)
        # What is embedded: a claim of another library, and what becomes of it, is not this one's.
        self._own: Rights = catalogue.rights(None, on, [spec.id])
        self._spec = spec
        self._embedder, self._index = embedder, index
        self._catalogue = catalogue
        self._progress = progress
        self._rows = dict(catalogue.files(spec.id))
        self._paths_of: dict[str, set[str]] = {}
        for path, row in self._rows.items():
            self._paths_of.setdefault(row.stem.id, set()).add(path)
        self.holdings = Holdings(index, spec.id, embedder.window_s)
        self._listener = TagListener(embedder)
        self._batch = Batch()
        self._present: set[str] = set()
        self._untouched: set[str] = set()
        self.refreshed: set[str] = set()
        self.rejected: list[Rejection] = []
        self.noticed: list[Notice] = list(spec.notices)
        self.junk: Counter[str] = Counter()
        self.other: Counter[str] = Counter()
        self.counts = dict.fromkeys(FileOutcome, 0)
        self._without_landmarks = catalogue.without_landmarks(spec.id)
        self.pruned = self.misdeclared = self.landmarked = 0

    def go(self, limits: Limits, render: Render, *, prune: bool, workers: int, spool: Path) -> None:
        """Do all of it; the attributes then say what was done."""
        known = self._catalogue.withheld(self._spec.id)
        found = survey(self._spec, self._on, self._rows.keys() | known.keys(), limits)
        separate_songs(found, self._spec.root, self._rows.keys() | known.keys())
        self.rejected += [*found.refused, *found.faults]
        self.noticed += found.notices
        self.junk, self.other = found.junk, found.other
        self.misdeclared = found.misdeclared
        self._present = set(found.accepted)
        claims = withheld_files(self._spec, found, self._rows, known, prune=prune)
        # What claimed bytes before goes on doing so until its file has been indexed.
        self._catalogue.put_withheld(self._spec.id, {**known, **claims}.values())
        self._drop_what_left(found, prune=prune)
        self._decide()
        self.holdings.sweep({stem for stem in self._paths_of if not self._is_revoked(stem)})
        jobs = list(self._jobs(found, limits))
        self.counts[FileOutcome.SKIPPED] = len(found.accepted) - len(jobs)
        if self._progress is not None:
            self._progress.started(len(found.accepted), self.counts[FileOutcome.SKIPPED])
        with MeasuringProcesses(min(workers, len(jobs)), render) as decoders:
            spooled = ((path, replace(job, spool=spool)) for path, job in jobs)
            for path, outcome in decoders.outcomes(spooled):
                self._take(*found.accepted[path], outcome)
            self._write_batch()
        self._catalogue.put_withheld(self._spec.id, claims.values())
        for stem in list(self._paths_of):
            self.holdings.relabel(self._stem(stem))
        self._settle(claims)

    @property
    def outdated(self) -> int:
        """Stems of files that are there, measured by a release before this one."""
        rows = (row for path, row in self._rows.items() if path in self._present)
        return len({row.stem.id for row in rows if row.measured_by < MEASURED_BY})

    def _decide(self) -> None:
        """Write what the library says now about files that are indexed already."""
        said = {path: decision_on(self._spec.decisions, path) for path in self._rows}
        changed = [
            replace(row, decision=said[path])
            for path, row in self._rows.items()
            if row.decision != said[path]
        ]
        for start in range(0, len(changed), BATCH_FILES):
            self._catalogue.put_files(self._spec.id, changed[start : start + BATCH_FILES])
        self._rows.update((row.path, row) for row in changed)
        self._read_rights()

    def _read_rights(self) -> None:
        self.rights = self._catalogue.rights(None, self._on)
        self._own = self._catalogue.rights(None, self._on, [self._spec.id])

    def _settle(self, withheld: Mapping[str, WithheldFile]) -> None:
        """Look at the rights again: a copy that was just indexed may change those of another."""
        self._read_rights()
        revoked = {stem for stem in self._paths_of if self._is_revoked(stem)}
        self._index.set_revoked(sorted(revoked), True, self._spec.id)
        self.holdings.sweep(self._paths_of.keys() - revoked)
        claims = claims_of(self._spec.id, self._rows, withheld)
        self.rejected += idle_decisions(self._spec.decisions, claims, self.rights.conflicts)

    def _drop_what_left(self, found: Survey, *, prune: bool) -> None:
        vanished = found.vanished(self._rows.keys())
        refused = {item.path for item in found.refused} & self._rows.keys()
        self._forget([*refused, *(vanished if prune else ())])
        self.pruned = len(vanished) if prune else 0

    def _jobs(self, found: Survey, limits: Limits) -> Iterator[tuple[str, MeasureJob]]:
        for path, (candidate, declared) in found.accepted.items():
            row = self._rows.get(path)
            same = refresh = False
            held = row is not None and self.holdings.has(row.stem)
            if row is not None:
                revoked = self._own.is_revoked(row.stem)
                same = (row.declared, row.space) == (basis_of(path, declared), self._embedder.space)
                same = same and (held or revoked)
                refresh = same and self._refresh and row.measured_by < MEASURED_BY
                if refresh:
                    self.refreshed.add(path)
                if same and (row.size, row.mtime_ns) == (candidate.size, candidate.mtime_ns):
                    self._untouched.add(path)
                if (
                    path in self._untouched
                    and not refresh
                    and row.stem.id not in self._without_landmarks
                ):
                    if revoked:
                        self.rejected.append(Rejection(path, REVOKED))
                    continue
            yield (
                path,
                MeasureJob(
                    file=self._spec.root / path,
                    size=candidate.size,
                    mtime_ns=candidate.mtime_ns,
                    sample_rate=self._embedder.sample_rate,
                    max_duration_s=limits.max_duration_s,
                    known=None if row is None else row.stem.id,
                    unchanged=same,
                    embedded=held,
                    landmarked=row is not None
                    and row.stem.id not in self._without_landmarks
                    and not refresh,
                    refresh=refresh,
                ),
            )

    def _take(
        self, candidate: FoundFile, declared: Declared, outcome: MeasuredFile | Unchanged | Refused
    ) -> None:
        path, row = candidate.path, self._rows.get(candidate.path)
        if isinstance(outcome, Refused) and path in self._untouched:
            outcome = Unchanged(unheard=outcome.reason)
        if isinstance(outcome, Refused):
            if row is not None:
                # A file of the batch may be about to share this path's stem.
                self._write_batch()
                self._forget([path])
                self.rejected.append(Rejection(path, outcome.reason))
            elif (kind := kind_without_music(self._spec, path)) is not None:
                (self.junk if kind[1] else self.other)[kind[0]] += 1
            else:
                self.rejected.append(Rejection(path, outcome.reason))
            self._done(path, FileOutcome.REJECTED)
            return
        if isinstance(outcome, Unchanged):
            known = self._rows[path]
            stem, measured_by, result = known.stem, known.measured_by, FileOutcome.SKIPPED
            self.landmarked += outcome.landmarks is not None
            if outcome.unheard:
                why = UNREFRESHED if path in self.refreshed else UNHEARD
                self.refreshed.discard(path)
                self.rejected.append(Rejection(path, why.format(outcome.unheard)))
        else:
            if row is not None and outcome.sound is None:
                # The windows that were embedded stay those of the stem, however long it is now.
                outcome = replace(outcome, duration_s=row.stem.duration_s)
            if row is not None and outcome.stem != row.stem.id:
                self.refreshed.discard(path)
            stem = make_stem(self._spec.id, path, declared, outcome)
            measured_by, result = MEASURED_BY, FileOutcome.UPDATED
            odd = facts_of(path, declared, outcome).notices
            self.noticed += [Notice(path, text) for text in (*outcome.notices, *odd)]
        decision = decision_on(self._spec.decisions, path)
        if decision in ("", stem.license_key) and self._own.is_revoked_as_told(stem):
            # The row stays, so that the stem is still known by name; it gets no embedding.
            self.holdings.remove([stem.id])
            self.rejected.append(Rejection(path, REVOKED))
            result = FileOutcome.REJECTED
            if isinstance(outcome, MeasuredFile):
                discard(outcome.sound)
        elif isinstance(outcome, MeasuredFile) and not (
            self.holdings.has(stem) or stem.id in self._batch.sounds
        ):
            result = FileOutcome.INDEXED
            self._queue(stem, outcome.sound)
        elif isinstance(outcome, MeasuredFile):
            discard(outcome.sound)
        state = FileState(
            path,
            candidate.size,
            candidate.mtime_ns,
            basis_of(path, declared),
            self._embedder.space,
            stem,
            decision,
            measured_by,
        )
        self._batch.states.append((state, result))
        if outcome.landmarks is not None:
            self._batch.landmarks[stem.id] = outcome.landmarks
        if self._batch.windows >= BATCH_WINDOWS or len(self._batch.states) >= BATCH_FILES:
            self._write_batch()

    def _queue(self, stem: Stem, sound: Audio | SpooledSound | None) -> None:
        if sound is None:
            raise BackendError(f"the index lost the segments of stem {stem.id[:12]} during the run")
        self._batch.sounds[stem.id] = (stem, sound)
        self._batch.windows += len(windows(stem.duration_s, self._embedder.window_s))

    def _write_batch(self) -> None:
        batch, self._batch = self._batch, Batch()
        vectors = embedded(self._embedder, batch.sounds)
        states = [self._tagged(state, outcome, vectors) for state, outcome in batch.states]
        superseded = set()
        for state in states:
            superseded |= self._unlink([state.path])
            self._rows[state.path] = state
            self._paths_of.setdefault(state.stem.id, set()).add(state.path)
        self._put(batch, vectors)
        for state in states:
            if state.stem.id not in batch.sounds:
                anew = state.path in self.refreshed
                self.holdings.relabel(self._stem(state.stem.id), anew=anew)
        self._catalogue.put_files(self._spec.id, states, batch.landmarks)
        self.holdings.remove(sorted(superseded - self._paths_of.keys()))
        for state, outcome in batch.states:
            self._done(state.path, outcome)

    def _tagged(
        self, state: FileState, outcome: FileOutcome, made: Mapping[str, NDArray[np.float32]]
    ) -> FileState:
        """A file that was measured, with what the embedder hears where nobody wrote what it is."""
        stem = state.stem
        if outcome not in (FileOutcome.INDEXED, FileOutcome.UPDATED):
            return state
        if stem.tags or stem.instruments:
            return state
        vectors = made[stem.id] if stem.id in made else self.holdings.vectors(stem.id)
        return replace(state, stem=replace(stem, derived_tags=self._listener.tags(vectors)))

    def _put(self, batch: Batch, vectors: Mapping[str, NDArray[np.float32]]) -> None:
        new = []
        for measured, sound in batch.sounds.values():
            where = windows(measured.duration_s, self._embedder.window_s)
            new += points(self._stem(measured.id), where, list(vectors[measured.id]))
            discard(sound)
        if new:
            self.holdings.put(new)

    def _is_revoked(self, stem: str) -> bool:
        return any(self._own.is_revoked(self._rows[path].stem) for path in self._paths_of[stem])

    def _stem(self, stem: str) -> Stem:
        """The stem as its first path tells it; paths that are gone count only if all are gone.

        Where licenses differ, the paths have no say in which copy is the first.
        """
        paths = self._paths_of[stem]
        conflict = local_conflict(stem, [self._rows[path] for path in paths])
        copies = (self._rows[path].stem for path in paths & self._present or paths)
        return min(copies, key=lambda copy: standing(copy, conflict))

    def _forget(self, paths: Iterable[str]) -> None:
        gone = [path for path in paths if path in self._rows]
        self.holdings.remove(sorted(self._unlink(gone)))
        self._catalogue.remove_files(self._spec.id, gone)
        for path in gone:
            del self._rows[path]

    def _unlink(self, paths: Iterable[str]) -> set[str]:
        """Takes paths from their stems; the ids of stems that are then left without a path."""
        left = set()
        for path in paths:
            row = self._rows.get(path)
            if row is None:
                continue
            others = self._paths_of[row.stem.id]
            others.discard(path)
            if not others:
                del self._paths_of[row.stem.id]
                left.add(row.stem.id)
        return left

    def _done(self, path: str, outcome: FileOutcome) -> None:
        self.counts[outcome] += 1
        if self._progress is not None:
            self._progress.advanced(path, outcome)
