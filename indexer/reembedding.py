"""Embed what an index holds into another embedding space, while searches go on in the old one.

Every stem that the catalogue lists and the old index holds is heard again and embedded; its
metadata is carried over as it is. What the new space holds already is passed over, so that a run
which was killed anywhere goes on where it was. Files may be indexed into the old space, and sources
revoked, meanwhile: the switch holds all libraries, brings over what is new, and takes out what is
gone.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from indexer.batches import embedded
from indexer.index_points import point_ids, points, windows
from indexer.long_sounds import SpooledSound, discard, waiting_room
from indexer.measure import Refused, Render
from indexer.report import FileOutcome, IndexProgress, Rejection
from indexer.stem_sounds import HearJob
from indexer.worker_processes import MeasuringProcesses
from rag_audio.domain import Audio, Stem
from rag_audio.domain.codec import Document
from rag_audio.domain.holdings import PageEnd, StemQuery
from rag_audio.domain.ports import (
    Embedder,
    IndexedSegment,
    IndexSpaces,
    Progress,
    StemIndex,
    TakesBulk,
)
from rag_audio.domain.songs import song_file
from rag_audio.errors import LibraryError
from rag_audio.storage.catalogue import SqlCatalogue
from rag_audio.storage.library_files import StoredFile

BATCH_WINDOWS = 64
"""Windows that wait to be embedded; stems are never split over two batches."""
_PAGE = 200
_DELETED_AT_ONCE = 512
_BYTES_PER_S = 4 * 44_100


@dataclass(frozen=True)
class ReembeddingReport:
    """What was done.

    Attributes:
        space: id of the new embedding space.
        embedded: stems that were embedded. skipped: stems that were there already, of a run that
            fills and switches: when it began.
        updated: stems that were there under other metadata. removed: segments of stems that are
            gone from the libraries.
        segments: in the new space.
        rejected: what could not be embedded, by library and path; searches would not find it.
        switched: whether searches use the new space from now on.
        notices: lines for people.
        seconds: wall time.
    """

    space: str
    embedded: int
    skipped: int
    updated: int
    removed: int
    segments: int
    rejected: tuple[Rejection, ...]
    switched: bool
    notices: tuple[str, ...]
    seconds: float

    def then(self, later: ReembeddingReport) -> ReembeddingReport:
        """Both runs as one."""
        return replace(
            later,
            embedded=self.embedded + later.embedded,
            skipped=self.skipped,
            updated=self.updated + later.updated,
            seconds=round(self.seconds + later.seconds, 3),
        )

    def to_json(self) -> Document:
        """The document that ``rag-audio index --space --json`` prints."""
        return asdict(self)


@dataclass(frozen=True)
class Reembedding:
    """From one embedding space of an index into another.

    Attributes:
        old: the index in use. new: the one that is filled.
        embedder: of the new space.
        render: makes the sound of a MIDI file.
        workers: decoding processes; 0 decodes in this one, where a crashing decoder ends it.
        spool: folder in which the sound of long files waits; see :func:`.index_library`.
        progress: is told of every stem.
        building: is told how many segments are built in at the end of :meth:`fill`.

    Its methods raise BackendError where the embedder, an index or the database failed; the next run
    goes on from there.
    """

    old: StemIndex
    new: StemIndex
    embedder: Embedder
    catalogue: SqlCatalogue
    render: Render
    workers: int = 1
    spool: Path | None = None
    progress: IndexProgress | None = None
    building: Progress | None = None

    def fill(self) -> ReembeddingReport:
        """Embed what the new space lacks, while others search, index and revoke."""
        began, run = time.monotonic(), _Run(self)
        bulk = self.new.bulk(self.building) if isinstance(self.new, TakesBulk) else nullcontext()
        with bulk:
            run.bring_over([one.id for one in self.catalogue.libraries()])
        return run.report(began)

    def switch(
        self,
        spaces: IndexSpaces,
        source: str | None = None,
        before: str | None = None,
        *,
        incomplete: bool = False,
    ) -> ReembeddingReport:
        """Bring over what came since, and let searches use the new space.

        All libraries are held meanwhile, so that nobody indexes; searches go on.

        Args:
            source: names the embedder; it is kept with the space. before: that of the old space.
            incomplete: switch although stems could not be embedded.

        Raises:
            BackendUnavailable: a library is being indexed; it is named.
            LibraryError: stems could not be embedded.
        """
        began, run = time.monotonic(), _Run(self)
        with ExitStack() as claimed:
            libraries = _claim_all(self.catalogue, claimed)
            run.bring_over(libraries)
            if run.rejected and not incomplete:
                first = run.rejected[0]
                raise LibraryError(
                    f"{len(run.rejected)} stems could not be embedded into the new space, such as "
                    f"{first.path}: {first.reason}",
                    hint="searches stay in the old space; bring the files back and run it again, "
                    "or let --incomplete leave them out",
                )
            run.sweep()
            spaces.switch(self.new.space, source, before)
            run.notices += move_rows(self.catalogue, libraries, self.old.space, self.new.space)
        return run.report(began, switched=True)


def switch_back(catalogue: SqlCatalogue, spaces: IndexSpaces, old: str, new: str) -> list[str]:
    """Let searches use a space that is filled, such as the one before; lines for people.

    Args:
        old: id of the space in use. new: id of the other one.

    Raises:
        BackendUnavailable: a library is being indexed; it is named.
        InvalidInput: there is no such space.
    """
    with ExitStack() as claimed:
        libraries = _claim_all(catalogue, claimed)
        spaces.switch(new)
        return move_rows(catalogue, libraries, old, new)


def move_rows(catalogue: SqlCatalogue, libraries: Iterable[str], old: str, new: str) -> list[str]:
    """Note in the files' rows that they are embedded in another space; lines on those that cannot
    be trusted, and are embedded anew by the next run over their library."""
    notices = []
    for library in libraries:
        try:
            catalogue.move_space(library, old, new)
        except LibraryError as error:
            notices.append(f"{error.message}; {error.hint}")
    return notices


def _claim_all(catalogue: SqlCatalogue, claimed: ExitStack) -> list[str]:
    """Hold every library, those among them that were begun meanwhile."""
    held: list[str] = []
    while new := [one.id for one in catalogue.libraries() if one.id not in held]:
        for library in new:
            claimed.enter_context(catalogue.claim(library))
            held.append(library)
    return sorted(held)


@dataclass
class _Run:
    """One pass over libraries, and what it did."""

    task: Reembedding
    counts: Counter[FileOutcome] = field(default_factory=Counter)
    rejected: list[Rejection] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    removed: int = 0
    _batch: dict[str, tuple[Stem, Audio | SpooledSound]] = field(default_factory=dict)
    _windows: int = 0

    def bring_over(self, libraries: Iterable[str]) -> None:
        """Embed what is missing, and describe what is there as the old index does."""
        task, wanted = self.task, set(libraries)
        total = sum(one.stems for one in task.catalogue.libraries() if one.id in wanted)
        if task.progress is not None:
            task.progress.started(total, 0)
        with (
            waiting_room(task.spool) as room,
            MeasuringProcesses(task.workers, task.render) as decoders,
        ):
            for library in sorted(wanted):
                for stem, outcome in decoders.heard(self._jobs(library, room)):
                    if isinstance(outcome, Refused):
                        self.rejected.append(Rejection(_place(stem), outcome.reason))
                        self._done(stem, FileOutcome.REJECTED)
                        continue
                    self._batch[_key(stem)] = (stem, outcome.sound)
                    self._windows += len(windows(stem.duration_s, task.embedder.window_s))
                    if self._windows >= BATCH_WINDOWS:
                        self._write_batch(library)
                self._write_batch(library)

    def sweep(self) -> None:
        """Remove from the new space what no library has any more."""
        gone: list[str] = []
        found = self.task.new.scroll()
        while page := list(islice(found, _PAGE)):
            stems = {point.segment.stem.id for point in page}
            held = self.task.catalogue.held(stems)
            gone += [
                point.id
                for point in page
                if (point.segment.stem.library, point.segment.stem.id) not in held
            ]
        for start in range(0, len(gone), _DELETED_AT_ONCE):
            self.task.new.delete(gone[start : start + _DELETED_AT_ONCE])
        self.removed += len(gone)

    def report(self, began: float, *, switched: bool = False) -> ReembeddingReport:
        """What was done since ``began``."""
        return ReembeddingReport(
            space=self.task.new.space,
            embedded=self.counts[FileOutcome.INDEXED],
            skipped=self.counts[FileOutcome.SKIPPED],
            updated=self.counts[FileOutcome.UPDATED],
            removed=self.removed,
            segments=self.task.new.count(),
            rejected=tuple(sorted(set(self.rejected))),
            switched=switched,
            notices=tuple(self.notices),
            seconds=round(time.monotonic() - began, 3),
        )

    def _jobs(self, library: str, room: Path) -> Iterator[tuple[Stem, HearJob]]:
        """The stems of a library that are to be heard; the others are dealt with on the way."""
        after: PageEnd | None = None
        catalogue, rate = self.task.catalogue, self.task.embedder.sample_rate
        while True:
            page = catalogue.page(StemQuery(), after, _PAGE, [library])
            revoked = self._mark_revoked(library, page.stems)
            for listed in page.stems:
                if listed.id in revoked:
                    self._done(listed, FileOutcome.SKIPPED)
                elif (stem := self._lacking(listed)) is not None:
                    file = catalogue.stored_file(stem)
                    yield stem, HearJob(file, _size(file, stem), stem.id, rate, room)
            after = page.following
            if after is None:
                return

    def _lacking(self, listed: Stem) -> Stem | None:
        """The stem as the old index describes it, where the new space lacks a window of it."""
        mine = _of_library(self.task.old.find_stem(listed.id), listed.library)
        if not mine:
            self._done(listed, FileOutcome.SKIPPED)
            return None
        stem = mine[0].segment.stem
        there = _of_library(self.task.new.find_stem(stem.id), stem.library)
        ids, wanted = {one.id for one in there}, point_ids(stem, self.task.embedder.window_s)
        if not wanted <= ids:
            return stem
        self.task.new.delete(sorted(ids - wanted))
        outcome = FileOutcome.SKIPPED
        if any(one.segment.stem != stem for one in there):
            kept = [one for one in there if one.id in wanted]
            where = [(one.segment.start_s, one.segment.duration_s) for one in kept]
            self.task.new.upsert(points(stem, where, [one.dense for one in kept]))
            outcome = FileOutcome.UPDATED
        self._done(stem, outcome)
        return None

    def _write_batch(self, library: str) -> None:
        batch, self._batch, self._windows = self._batch, {}, 0
        if not batch:
            return
        lengths = {key: (stem.duration_s, sound) for key, (stem, sound) in batch.items()}
        made = embedded(self.task.embedder, lengths)
        new: list[IndexedSegment] = []
        for key, (stem, sound) in batch.items():
            where = windows(stem.duration_s, self.task.embedder.window_s)
            new += points(stem, where, list(made[key]))
            discard(sound)
        self.task.new.upsert(new)
        # What was revoked while it was embedded had no points yet that could have been marked.
        self._mark_revoked(library, [stem for stem, _ in batch.values()])
        for stem, _ in batch.values():
            self._done(stem, FileOutcome.INDEXED)

    def _mark_revoked(self, library: str, stems: Iterable[Stem]) -> set[str]:
        """Mark those that are revoked now, which get no embedding; their ids."""
        rights = self.task.catalogue.rights(None, datetime.now(UTC), [library])
        revoked = {stem.id for stem in stems if rights.is_revoked(stem)}
        if revoked:
            self.task.new.set_revoked(sorted(revoked), True, library)
        return revoked

    def _done(self, stem: Stem, outcome: FileOutcome) -> None:
        self.counts[outcome] += 1
        if self.task.progress is not None:
            self.task.progress.advanced(_place(stem), outcome)


def _place(stem: Stem) -> str:
    return f"{stem.library}/{stem.path}"


def _key(stem: Stem) -> str:
    return f"{stem.library}/{stem.id}"


def _of_library(found: Iterable[IndexedSegment], library: str) -> list[IndexedSegment]:
    return [one for one in found if one.segment.stem.library == library]


def _size(file: StoredFile, stem: Stem) -> int:
    """Bytes of a file, or about those of an object."""
    if not isinstance(file, Path):
        return round(stem.duration_s * _BYTES_PER_S)
    try:
        return song_file(file)[0].stat().st_size
    except OSError:
        return 0
