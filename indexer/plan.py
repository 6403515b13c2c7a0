"""What a run has to do: which files are measured, and what is known of each before it is read.

A plan is made of the tables, the walk through the library and the rows of the catalogue. Making it
reads no file of the library and writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from indexer.facts import basis_of
from indexer.licenses import Declared, LibrarySpec
from indexer.measure import MEASURED_BY, MeasureJob
from indexer.name_hints import hints_of
from indexer.scan import FoundFile
from indexer.stems_csv import Metadata
from rag_audio.domain import Key, License, Rights, SampleType, Stem
from rag_audio.domain.stems import AnalysisScope, FileState
from rag_audio.errors import LibraryError
from rag_audio.storage.library_files import LibraryFiles

MOST_FILES, FEWEST_FILES, SHARDS = 256, 8, 16
"""Files of one shard at most and at least; a small library is cut into some 16."""


@dataclass(frozen=True)
class PlannedFile:
    """A file that is to be measured.

    Attributes:
        known, unchanged, embedded, landmarked, refresh: as in :class:`.MeasureJob`.
        untouched: its size and time are those of its row, whose metadata still holds.
    """

    candidate: FoundFile
    declared: Declared
    known: str | None = None
    unchanged: bool = False
    embedded: bool = False
    landmarked: bool = False
    refresh: bool = False
    untouched: bool = False

    @property
    def path(self) -> str:
        """POSIX path below the library's root."""
        return self.candidate.path

    def to_json(self) -> dict[str, Any]:
        """All of it; :meth:`of_json` reads it."""
        said = {one.name: getattr(self.declared, one.name) for one in fields(Metadata)}
        said |= {"key": None if self.declared.key is None else str(self.declared.key)}
        return {
            "file": [self.candidate.path, self.candidate.size, self.candidate.mtime_ns],
            "license": self.declared.license.id,
            "declared": {
                name: value for name, value in said.items() if value not in (None, "", ())
            },
            "known": self.known,
            "flags": [name for name in _FLAGS if getattr(self, name)],
        }

    @classmethod
    def of_json(cls, document: Mapping[str, Any], licenses: Mapping[str, License]) -> PlannedFile:
        """What :meth:`to_json` gave.

        Args:
            licenses: of the library, by id.

        Raises:
            LibraryError: the file's license is not among them.
        """
        license = licenses.get(document["license"])
        if license is None:
            raise LibraryError(
                f"license {document['license']!r}, which the run was planned with, is not in the "
                "library's table any more",
                hint="let the run end, then index the library again",
            )
        said = dict(document["declared"])
        if "key" in said:
            said["key"] = Key.parse(said["key"])
        if "tags" in said:
            said["tags"] = tuple(said["tags"])
        return cls(
            FoundFile(*document["file"]),
            Declared(license=license, **said),
            document["known"],
            **dict.fromkeys(document["flags"], True),
        )


_FLAGS = ("unchanged", "embedded", "landmarked", "refresh", "untouched")


@dataclass(frozen=True)
class IndexPlan:
    """What a run has to do with the files that a library accepts.

    Attributes:
        files: to be measured, in order of path.
        skipped: how many are as their rows say.
        revoked: paths among those whose stem was revoked.
    """

    files: tuple[PlannedFile, ...]
    skipped: int
    revoked: tuple[str, ...]

    def shards(self) -> Iterator[tuple[PlannedFile, ...]]:
        """The files in parts for as many workers."""
        size = min(MOST_FILES, max(FEWEST_FILES, -(-len(self.files) // SHARDS)))
        for start in range(0, len(self.files), size):
            yield self.files[start : start + size]


@dataclass(frozen=True)
class HeldLibrary:
    """What a home holds of a library.

    Attributes:
        has: whether the index has all segments of a stem.
        without_landmarks: ids of stems.
        rights: as they stand, with the claims of this library alone.
        space: of the vectors.
    """

    has: Callable[[Stem], bool]
    without_landmarks: Collection[str]
    rights: Rights
    space: str


def plan(
    accepted: Iterable[tuple[FoundFile, Declared]],
    rows: Callable[[Collection[str]], Mapping[str, FileState]],
    held: HeldLibrary,
    *,
    refresh: bool = False,
    page: int = 500,
) -> IndexPlan:
    """Decide which files are to be measured.

    Args:
        accepted: the files that may be indexed, in order of path.
        rows: gives the rows of some paths; it is asked for ``page`` of them at a time.
        refresh: measure unchanged files anew that a release with other measurements measured.
    """
    files, revoked, skipped = [], [], 0
    for some in _pages(accepted, page):
        known = rows([candidate.path for candidate, _ in some])
        for candidate, declared in some:
            planned = _planned(candidate, declared, known.get(candidate.path), held, refresh)
            if planned is not None:
                files.append(planned)
                continue
            skipped += 1
            if held.rights.is_revoked(known[candidate.path].stem):
                revoked.append(candidate.path)
    return IndexPlan(tuple(files), skipped, tuple(revoked))


def _pages(
    accepted: Iterable[tuple[FoundFile, Declared]], page: int
) -> Iterator[list[tuple[FoundFile, Declared]]]:
    some: list[tuple[FoundFile, Declared]] = []
    for one in accepted:
        some.append(one)
        if len(some) == page:
            yield some
            some = []
    if some:
        yield some


def _planned(
    candidate: FoundFile,
    declared: Declared,
    row: FileState | None,
    held: HeldLibrary,
    refresh: bool,
) -> PlannedFile | None:
    """What is to be done with a file; None: it is as its row says."""
    if row is None:
        return PlannedFile(candidate, declared)
    is_held = held.has(row.stem)
    same = (row.declared, row.space) == (basis_of(candidate.path, declared), held.space)
    same = same and (is_held or held.rights.is_revoked(row.stem))
    anew = same and refresh and row.measured_by < MEASURED_BY
    untouched = same and (row.size, row.mtime_ns) == (candidate.size, candidate.mtime_ns)
    has_landmarks = row.stem.id not in held.without_landmarks
    if untouched and not anew and has_landmarks:
        return None
    return PlannedFile(
        candidate,
        declared,
        known=row.stem.id,
        unchanged=same,
        embedded=is_held,
        landmarked=has_landmarks and not anew,
        refresh=anew,
        untouched=untouched,
    )


@dataclass(frozen=True)
class JobMaker:
    """Makes of a planned file what a worker is told to do.

    Attributes:
        files: of the library, where this process sees it.
        sample_rate: Hz that the embedder wants.
        spool: folder for the sound of long files.
    """

    files: LibraryFiles
    sample_rate: int
    max_duration_s: float
    analysis: AnalysisScope
    spool: Path | None

    @classmethod
    def of(cls, spec: LibrarySpec, **options: Any) -> JobMaker:
        """For a library."""
        return cls(files=spec.files, **options)

    def job(self, planned: PlannedFile) -> MeasureJob:
        """What is to be measured of a file: tempo, key and sample type where nobody says them."""
        full = self.analysis is AnalysisScope.FULL
        is_loop = hints_of(planned.path).sample_type is SampleType.LOOP
        return MeasureJob(
            file=self.files.file(planned.path),
            size=planned.candidate.size,
            mtime_ns=planned.candidate.mtime_ns,
            sample_rate=self.sample_rate,
            max_duration_s=self.max_duration_s,
            known=planned.known,
            unchanged=planned.unchanged,
            embedded=planned.embedded,
            landmarked=planned.landmarked,
            refresh=planned.refresh,
            spool=self.spool,
            tempo=full and planned.declared.bpm is None,
            key=full and planned.declared.key is None,
            sample_type=full,
            is_named_loop=is_loop and planned.declared.bpm is not None,
        )
