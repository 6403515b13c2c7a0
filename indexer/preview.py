"""What a run of the indexer would do with a library, told without a home and without indexing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path

from indexer.facts import facts_of
from indexer.inspection import InspectedFile, InspectJob, no_render
from indexer.junk import by_count, skipped_lines
from indexer.licenses import Declared, LibrarySpec, read_library
from indexer.measure import MeasuredFile, MeasureJob, Refused
from indexer.report import FileOutcome, IndexProgress, Notice, Rejection
from indexer.scan import FoundFile
from indexer.songs import separate_songs
from indexer.stems_csv import STEMS_CSV
from indexer.survey import Limits, Survey, kind_without_music, survey
from indexer.worker_processes import MeasuringProcesses
from rag_audio.domain.codec import Document
from rag_audio.errors import BackendError
from rag_audio.storage.library_files import LibraryFiles

_RATE = 48_000
"""Hz, to which sound is brought that nobody embeds."""


@dataclass(frozen=True)
class PreviewRow:
    """A row of ``stems.csv`` and how many files it decides about.

    Attributes:
        number: line of the file. path: its pattern.
        fault: why it cannot be used; None when it can.
    """

    number: int
    path: str
    license: str
    artist: str
    files: int
    fault: str | None


@dataclass(frozen=True)
class LibraryPreview:
    """What would be indexed.

    Attributes:
        library: its id. root: the folder or URL.
        files: that would be indexed; how many of them by license, artist (declared, else of their
            tags; empty: none) and kind.
        seconds_of_sound: of these files together, as far as their headers say.
        rows: of ``stems.csv``, in order.
        rejected, noticed, misdeclared, junk, other: as in :class:`indexer.report.IndexReport`.
        deep: whether the files were decoded, not only opened.
    """

    library: str
    name: str
    root: str
    files: int
    licenses: Mapping[str, int]
    artists: Mapping[str, int]
    kinds: Mapping[str, int]
    seconds_of_sound: float
    rows: tuple[PreviewRow, ...]
    rejected: tuple[Rejection, ...]
    noticed: tuple[Notice, ...]
    misdeclared: int
    junk: Mapping[str, int]
    other: Mapping[str, int]
    deep: bool

    @property
    def is_unlicensed(self) -> bool:
        """Whether nothing at all would be indexed, and faulty declarations have a part in it."""
        return self.misdeclared > 0 and not self.files

    @property
    def passed_over(self) -> list[str]:
        """A line on files of the system and of other programs, and one on those without music."""
        return skipped_lines(self.junk, self.other)

    def to_json(self) -> Document:
        """The document that ``rag-audio library check --json`` prints."""
        return asdict(self)


def preview_library(
    library: Path | LibraryFiles,
    *,
    deep: bool = False,
    workers: int = 1,
    progress: IndexProgress | None = None,
    on: date | None = None,
    limits: Limits | None = None,
) -> LibraryPreview:
    """Say what would be indexed. Rights that a home knows of (revocations, conflicts with other
    libraries) are not looked at.

    Args:
        library: its folder, or its files; those of a URL are all fetched.
        deep: decode and measure every file, as the indexer does, in place of opening it.
        workers: processes that open or decode files; 0: this one.
        on: the day or moment at which licenses must be valid; now by default.

    Raises:
        LibraryError: the library cannot be read at all.
        BackendUnavailable: its place cannot be reached.
    """
    spec = read_library(library)
    bounds = limits or Limits()
    found = survey(spec, on or datetime.now(UTC), (), bounds)
    separate_songs(found, spec.files, ())
    made = _Preview(spec, found, progress)
    if progress is not None:
        progress.started(len(found.accepted), 0)
    with _looks(found, spec, bounds, deep, workers) as outcomes:
        for path, outcome in outcomes:
            made.take(path, outcome)
    return made.done(deep)


_Look = MeasuredFile | InspectedFile | Refused


@contextmanager
def _looks(
    found: Survey, spec: LibrarySpec, limits: Limits, deep: bool, workers: int
) -> Iterator[Iterator[tuple[str, _Look]]]:
    from rag_audio.audio import midi

    longest, files = limits.max_duration_s, [one for one, _ in found.accepted.values()]
    render = partial(midi.render) if deep else no_render
    with MeasuringProcesses(min(workers, len(files)), render) as processes:
        if not deep:
            yield processes.inspected(
                (one.path, InspectJob(spec.files.file(one.path), one.size, longest))
                for one in files
            )
            return
        jobs = ((one.path, _measure_job(spec, one, longest)) for one in files)
        yield (_measured(path, outcome) for path, outcome in processes.outcomes(jobs))


def _measure_job(spec: LibrarySpec, file: FoundFile, longest: float) -> MeasureJob:
    return MeasureJob(spec.files.file(file.path), file.size, file.mtime_ns, _RATE, longest)


def _measured(path: str, outcome: object) -> tuple[str, _Look]:
    if not isinstance(outcome, MeasuredFile | Refused):
        raise BackendError(f"a decoding process answered with {type(outcome).__name__}")
    return path, outcome


class _Preview:
    """A preview while it is made."""

    def __init__(self, spec: LibrarySpec, found: Survey, progress: IndexProgress | None) -> None:
        self._spec, self._found, self._progress = spec, found, progress
        self._rejected = [*found.refused, *found.faults]
        self._noticed = [*spec.notices, *found.notices]
        self._licenses: Counter[str] = Counter()
        self._artists: Counter[str] = Counter()
        self._kinds: Counter[str] = Counter()
        self._seconds = 0.0

    def take(self, path: str, outcome: _Look) -> None:
        """One file was looked at."""
        if isinstance(outcome, Refused):
            self._refuse(path, outcome)
        else:
            self._accept(path, outcome, self._found.accepted[path][1])
        if self._progress is not None:
            refused = isinstance(outcome, Refused)
            self._progress.advanced(path, FileOutcome.REJECTED if refused else FileOutcome.READABLE)

    def _refuse(self, path: str, outcome: Refused) -> None:
        kind = kind_without_music(self._spec, path)
        if kind is None:
            self._rejected.append(Rejection(path, outcome.reason))
        else:
            (self._found.junk if kind[1] else self._found.other)[kind[0]] += 1
            self._found.governed[self._spec.rows_of(path)[-1].number] -= 1

    def _accept(self, path: str, file: MeasuredFile | InspectedFile, declared: Declared) -> None:
        self._licenses[declared.license.id] += 1
        self._artists[declared.artist or file.tags.artist] += 1
        self._kinds[file.kind.value] += 1
        self._seconds += file.duration_s or 0.0
        odd = file.notices
        if isinstance(file, MeasuredFile):
            odd = (*odd, *facts_of(path, declared, file).notices)
        self._noticed += [Notice(path, text) for text in odd]

    def done(self, deep: bool) -> LibraryPreview:
        """The preview, after the last file."""
        found, spec = self._found, self._spec
        idle = "row {} of {} decides about no file: more specific rows do"
        for row in spec.rows:
            if row.number in found.matched and not found.governed[row.number]:
                self._noticed.append(Notice(row.pattern, idle.format(row.number, STEMS_CSV)))
        return LibraryPreview(
            library=spec.id,
            name=spec.name,
            root=spec.files.place,
            files=self._licenses.total(),
            licenses=by_count(self._licenses),
            artists=by_count(self._artists),
            kinds=by_count(self._kinds),
            seconds_of_sound=round(self._seconds, 3),
            rows=tuple(
                PreviewRow(
                    row.number,
                    row.pattern,
                    row.license,
                    row.artist,
                    found.governed[row.number],
                    row.fault,
                )
                for row in spec.rows
            ),
            rejected=tuple(sorted(set(self._rejected))),
            noticed=tuple(sorted(set(self._noticed))),
            misdeclared=found.misdeclared,
            junk=by_count(found.junk),
            other=by_count(found.other),
            deep=deep,
        )
