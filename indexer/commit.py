"""Write files that were measured: points first, then rows with their landmarks.

Several processes may commit files of one library at once, and the same files twice: what is written
depends on the files, the rows and the rights, which are read anew for every batch. What can only be
known when all files are written (whose metadata the points of a stem carry that lies at several
paths, which points nothing explains any more) is settled at the end of a run, by one process.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from indexer.batches import embedded
from indexer.derived_tags import TagListener
from indexer.facts import basis_of, facts_of
from indexer.index_points import Holdings, local_conflict, make_stem, points, windows
from indexer.library_toml import decision_on
from indexer.licenses import LibrarySpec
from indexer.long_sounds import SpooledSound, discard
from indexer.measure import MEASURED_BY, MeasuredFile, Outcome, Refused, Unchanged
from indexer.plan import PlannedFile
from indexer.report import FileOutcome, Notice, Rejection
from indexer.survey import kind_without_music
from indexer.tally import Tally
from rag_audio.domain import Audio, Rights, Stem
from rag_audio.domain.clearance import standing
from rag_audio.domain.landmarks import Landmarks
from rag_audio.domain.ports import Embedder, IndexedSegment
from rag_audio.domain.stems import FileState
from rag_audio.errors import BackendError
from rag_audio.storage.catalogue import SqlCatalogue

REVOKED = "it was revoked; rag-audio revoke --undo takes that back"
"""Why a file has no embedding though its license would allow one."""
UNHEARD = "it stays indexed, but would not be recognised in foreign sound: {}"
"""What is said of a file that a version before indexed, and that cannot be heard now."""
UNREFRESHED = "it stays indexed as it was measured before: {}"
"""What is said of a file that a refresh cannot measure."""


@dataclass(frozen=True)
class MeasuredItem:
    """A file that was measured, and the tally that counts it."""

    planned: PlannedFile
    outcome: Outcome
    tally: Tally


@dataclass
class _Batch:
    """What is written together.

    Attributes:
        states: rows, each with the outcome of its file and its tally.
        vectors, sounds: of the stems that get points; sounds are those to be embedded yet.
        replaced: stems among these that may have points already.
        without_points: stems whose points go, since they were revoked.
    """

    states: list[tuple[FileState, FileOutcome, Tally]] = field(default_factory=list)
    vectors: dict[str, tuple[float, NDArray[np.float32]]] = field(default_factory=dict)
    sounds: dict[str, tuple[float, Audio | SpooledSound]] = field(default_factory=dict)
    landmarks: dict[str, Landmarks] = field(default_factory=dict)
    replaced: set[str] = field(default_factory=set)
    without_points: set[str] = field(default_factory=set)

    def has_new(self, stem: str) -> bool:
        """Whether a stem gets points."""
        return stem in self.vectors or stem in self.sounds

    def waits_for(self, stem: str, sound: Audio | SpooledSound | None) -> bool:
        """Whether this very sound is to be embedded."""
        return stem in self.sounds and self.sounds[stem][1] is sound


class Copies:
    """The rows of some stems of a library, by stem: which paths have their bytes.

    Args:
        absent: paths whose files are gone, and that are still known.
    """

    def __init__(self, rows: Iterable[FileState], absent: frozenset[str]) -> None:
        self._absent = absent
        self._rows: dict[str, dict[str, FileState]] = {}
        for row in rows:
            self._rows.setdefault(row.stem.id, {})[row.path] = row

    def has(self, stem: str) -> bool:
        """Whether any path has these bytes."""
        return bool(self._rows.get(stem))

    def first(self, stem: str) -> str | None:
        """The first of the paths that have these bytes."""
        return min(self._rows.get(stem, ()), default=None)

    def put(self, state: FileState, before: FileState | None) -> None:
        """A path has these bytes from now on, in place of others that it had."""
        if before is not None:
            self._rows.get(before.stem.id, {}).pop(before.path, None)
        self._rows.setdefault(state.stem.id, {})[state.path] = state

    def is_revoked(self, stem: str, rights: Rights) -> bool:
        """Whether one of the copies is."""
        return any(rights.is_revoked(row.stem) for row in self._rows.get(stem, {}).values())

    def stem(self, stem: str) -> Stem:
        """The stem as its first path tells it; paths that are gone count only if all are gone.

        Where licenses differ, the paths have no say in which copy is the first.
        """
        rows = self._rows[stem]
        conflict = local_conflict(stem, rows.values())
        copies = [rows[path].stem for path in rows.keys() - self._absent or rows]
        return min(copies, key=lambda copy: standing(copy, conflict))


class Lease(Protocol):
    """Whether this process may still write what it measured."""

    def check(self, db: Connection | None = None) -> None:
        """Whether it may, until the transaction ends that is given.

        Raises:
            BackendUnavailable: another process does the work now.
        """
        ...


class Committer:
    """Writes measured files of one library.

    Args:
        spec: the library's tables, as this process reads them.
        embedder: embeds what comes with its sound, and the words of derived tags.
        on: the day or moment at which licenses must be valid.
        absent: paths whose files are gone, and that are still known.
    """

    def __init__(
        self,
        spec: LibrarySpec,
        embedder: Embedder,
        holdings: Holdings,
        catalogue: SqlCatalogue,
        on: date,
        absent: frozenset[str],
    ) -> None:
        self._spec, self._embedder, self._holdings = spec, embedder, holdings
        self._catalogue, self._on, self._absent = catalogue, on, absent
        self._listener = TagListener(embedder)

    def commit(
        self, items: Sequence[MeasuredItem], lease: Lease | None = None
    ) -> list[tuple[str, FileOutcome]]:
        """Write some files; what comes before is durable before what comes after.

        Committing the same again changes nothing.

        Args:
            lease: looked at before points are written, and together with the rows.

        Returns:
            What became of each file, in the order of the items.
        """
        rows = self._catalogue.files(self._spec.id, paths=[one.planned.path for one in items])
        self._own = self._catalogue.rights(None, self._on, [self._spec.id])
        ids = {row.stem.id for row in rows.values()}
        ids |= {one.outcome.stem for one in items if isinstance(one.outcome, MeasuredFile)}
        known = self._catalogue.files(self._spec.id, stem_ids=ids)
        copies, batch = Copies(known.values(), self._absent), _Batch()
        done = [
            (one.planned.path, self._take(one, rows.get(one.planned.path), copies, batch))
            for one in items
        ]
        self._write(batch, copies, lease)
        for (_, outcome), item in zip(done, items, strict=True):
            item.tally.count(outcome)
        return done

    def _take(
        self, item: MeasuredItem, row: FileState | None, copies: Copies, batch: _Batch
    ) -> FileOutcome:
        """Add a file to the batch; what becomes of it."""
        planned, outcome = item.planned, item.outcome
        if isinstance(outcome, Refused) and planned.untouched and row is not None:
            outcome = Unchanged(unheard=outcome.reason)
        if isinstance(outcome, Refused):
            self._refuse(planned.path, outcome, row, item.tally)
            return FileOutcome.REJECTED
        if isinstance(outcome, Unchanged):
            if row is None:
                raise BackendError(f"the row of {planned.path!r} was removed during the run")
            state, result = self._unchanged(planned, outcome, row, item.tally)
        else:
            if row is not None and outcome.sound is None and outcome.vectors is None:
                # The windows that were embedded stay those of the stem, however long it is now.
                outcome = replace(outcome, duration_s=row.stem.duration_s)
            state, result = self._measured(planned, outcome, row, item.tally)
        stem = state.stem
        if state.decision in ("", stem.license_key) and self._own.is_revoked_as_told(stem):
            # The row stays, so that the stem is still known by name; it gets no embedding.
            batch.without_points.add(stem.id)
            item.tally.rejected.append(Rejection(planned.path, REVOKED))
            result = FileOutcome.REJECTED
        elif isinstance(outcome, MeasuredFile) and not (
            batch.has_new(stem.id) or (copies.has(stem.id) and self._holdings.has(stem))
        ):
            result = FileOutcome.INDEXED
            self._queue(stem, outcome, batch, is_known=copies.has(stem.id))
        elif planned.known is None and row is not None and copies.first(stem.id) == planned.path:
            # A worker that lost its lease wrote it in this run.
            result = FileOutcome.INDEXED
        if isinstance(outcome, MeasuredFile) and not batch.waits_for(stem.id, outcome.sound):
            discard(outcome.sound)
        batch.states.append((state, result, item.tally))
        copies.put(state, row)
        if row is not None and row.stem.id != stem.id:
            item.tally.left.add(row.stem.id)
        if outcome.landmarks is not None:
            batch.landmarks[stem.id] = outcome.landmarks
        return result

    def _refuse(self, path: str, outcome: Refused, row: FileState | None, tally: Tally) -> None:
        kind = kind_without_music(self._spec, path) if row is None else None
        if row is not None:
            tally.forgotten.append(path)
            tally.left.add(row.stem.id)
        if kind is None:
            tally.rejected.append(Rejection(path, outcome.reason))
        else:
            (tally.junk if kind[1] else tally.other)[kind[0]] += 1

    def _unchanged(
        self, planned: PlannedFile, outcome: Unchanged, row: FileState, tally: Tally
    ) -> tuple[FileState, FileOutcome]:
        tally.landmarked += outcome.landmarks is not None
        if outcome.unheard:
            why = UNREFRESHED if planned.refresh else UNHEARD
            tally.rejected.append(Rejection(planned.path, why.format(outcome.unheard)))
        return self._state(planned, row.stem, row.measured_by), FileOutcome.SKIPPED

    def _measured(
        self, planned: PlannedFile, outcome: MeasuredFile, row: FileState | None, tally: Tally
    ) -> tuple[FileState, FileOutcome]:
        path, declared = planned.path, planned.declared
        if planned.refresh and row is not None and outcome.stem == row.stem.id:
            tally.refreshed.add(path)
        odd = facts_of(path, declared, outcome).notices
        tally.noticed += [Notice(path, text) for text in (*outcome.notices, *odd)]
        stem = make_stem(self._spec.id, path, declared, outcome)
        by = 0 if outcome.is_partial else MEASURED_BY
        return self._state(planned, stem, by), FileOutcome.UPDATED

    def _state(self, planned: PlannedFile, stem: Stem, measured_by: int) -> FileState:
        return FileState(
            planned.path,
            planned.candidate.size,
            planned.candidate.mtime_ns,
            basis_of(planned.path, planned.declared),
            self._embedder.space,
            stem,
            decision_on(self._spec.decisions, planned.path),
            measured_by,
        )

    def _queue(self, stem: Stem, outcome: MeasuredFile, batch: _Batch, *, is_known: bool) -> None:
        if outcome.vectors is not None:
            batch.vectors[stem.id] = (stem.duration_s, outcome.vectors)
        elif outcome.sound is not None:
            batch.sounds[stem.id] = (stem.duration_s, outcome.sound)
        else:
            raise BackendError(f"the index lost the segments of stem {stem.id[:12]} during the run")
        if is_known:
            batch.replaced.add(stem.id)

    def _write(self, batch: _Batch, copies: Copies, lease: Lease | None) -> None:
        made = embedded(self._embedder, batch.sounds)
        for id_, vectors in made.items():
            batch.vectors[id_] = (batch.sounds[id_][0], vectors)
        states = []
        for state, result, _ in batch.states:
            states.append(self._tagged(state, result, batch))
            copies.put(states[-1], state)
        if lease is not None:
            lease.check()
        self._put(batch, copies)
        self._holdings.remove(sorted(batch.without_points))
        for state, (_, _, tally) in zip(states, batch.states, strict=True):
            if state.stem.id not in batch.vectors:
                anew = state.path in tally.refreshed
                self._holdings.relabel(copies.stem(state.stem.id), anew=anew)
        unless = None if lease is None else lease.check
        self._catalogue.put_files(self._spec.id, states, batch.landmarks, unless)

    def _tagged(self, state: FileState, outcome: FileOutcome, batch: _Batch) -> FileState:
        """A file that was measured, with what the embedder hears where nobody wrote what it is."""
        stem = state.stem
        if outcome not in (FileOutcome.INDEXED, FileOutcome.UPDATED):
            return state
        if stem.tags or stem.instruments:
            return state
        made = batch.vectors.get(stem.id)
        vectors = self._holdings.vectors(stem.id) if made is None else made[1]
        return replace(state, stem=replace(stem, derived_tags=self._listener.tags(vectors)))

    def _put(self, batch: _Batch, copies: Copies) -> None:
        new: list[IndexedSegment] = []
        for id_, (length, vectors) in batch.vectors.items():
            where = windows(length, self._embedder.window_s)
            new += points(copies.stem(id_), where, list(vectors))
        if new:
            self._holdings.put(new, batch.replaced)
        for _, sound in batch.sounds.values():
            discard(sound)
