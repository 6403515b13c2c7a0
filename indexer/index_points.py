"""The stems of a library: their metadata, their points in the index, and what they claim."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from uuid import UUID, uuid5

import numpy as np
from numpy.typing import NDArray

from indexer.facts import facts_of
from indexer.library_toml import decision_on
from indexer.licenses import Declared, LibrarySpec
from indexer.long_sounds import SpooledSound
from indexer.measure import MeasuredFile
from indexer.scan import FoundFile
from indexer.survey import Survey
from rag_audio.domain import Audio, SampleType, Segment, Stem, StemKind
from rag_audio.domain.conflicts import Claim, Conflict, are_contested
from rag_audio.domain.file_names import words_of_name
from rag_audio.domain.ports import IndexedSegment, StemIndex
from rag_audio.domain.songs import song_file, song_id
from rag_audio.domain.stems import FileState, WithheldFile
from rag_audio.storage.bm25 import encode_document
from rag_audio.storage.database import in_parts
from rag_audio.storage.files import file_sha256


def make_stem(library: str, path: str, declared: Declared, measured: MeasuredFile) -> Stem:
    """The stem of one file: what is declared comes first, then its tags, then what was measured.

    Tempo, key and sample type may come from its name as well (:mod:`indexer.facts`). A title that
    nobody gave is the words of the file's name.
    """
    tags = measured.tags
    facts = facts_of(path, declared, measured)
    return Stem(
        id=measured.stem,
        library=library,
        path=path,
        kind=measured.kind,
        license=declared.license.id,
        duration_s=measured.duration_s,
        artist=declared.artist or tags.artist,
        artist_declared=bool(declared.artist),
        title=declared.title or tags.title or words_of_name(path),
        tags=declared.tags,
        bpm=facts.bpm,
        bpm_confidence=facts.bpm_confidence,
        key=facts.key,
        key_confidence=facts.key_confidence,
        downbeat_s=_downbeat(declared, measured, facts.sample_type),
        isrc=declared.isrc or tags.isrc,
        iswc=declared.iswc,
        loudness_lufs=measured.loudness_lufs,
        instruments=measured.instruments,
        time_signature=measured.time_signature,
        sample_type=facts.sample_type,
    )


def _downbeat(
    declared: Declared, measured: MeasuredFile, sample_type: SampleType | None
) -> float | None:
    """The first bar line; a recording that is a loop begins with it."""
    if declared.downbeat_s is not None:
        return declared.downbeat_s
    if measured.kind is StemKind.AUDIO and sample_type is SampleType.LOOP:
        return 0.0
    return measured.downbeat_s


# A stem's windows and the points that the index holds for them.

MIN_PARTIAL_S = 2.0
MIN_NEW_S = 0.25
"""A last, shorter window is kept when it is this long and brings this much new sound."""

_NAMESPACE = UUID("5d8f2a8e-3c1b-5f0e-9a57-6a1d3f0c7b42")

Window = tuple[float, float]
"""(start_s, duration_s)."""


def windows(duration_s: float, window_s: float) -> list[Window]:
    """Windows of ``window_s`` seconds, each half a window after the one before, and the rest.

    A sound no longer than one window is one window.
    """
    if duration_s <= window_s:
        return [(0.0, duration_s)]
    hop_s = window_s / 2
    found: list[Window] = []
    while (start_s := len(found) * hop_s) + window_s <= duration_s:
        found.append((start_s, window_s))
    rest_s = round(duration_s - start_s, 6)
    if rest_s >= MIN_PARTIAL_S and rest_s - hop_s >= MIN_NEW_S:
        found.append((start_s, rest_s))
    return found


def point_id(library: str, stem: str, start_s: float) -> str:
    """The UUID of a segment's point: the same for the same library, bytes and start."""
    return str(uuid5(_NAMESPACE, f"{library}\n{stem}\n{round(start_s * 1000)}"))


def point_ids(stem: Stem, window_s: float) -> frozenset[str]:
    """The points that a stem must have."""
    starts = (start for start, _ in windows(stem.duration_s, window_s))
    return frozenset(point_id(stem.library, stem.id, start) for start in starts)


def clips(duration_s: float, sound: Audio | SpooledSound, window_s: float) -> Iterator[Audio]:
    """The sound of each window of a stem; views where it is in memory, not copies."""
    rate = sound.sample_rate
    for start, length in windows(duration_s, window_s):
        first, last = round(start * rate), round((start + length) * rate)
        if isinstance(sound, SpooledSound):
            yield sound.part(first, last)
        else:
            yield Audio(sound.samples[:, first:last], rate)


def points(
    stem: Stem, where: Sequence[Window], vectors: Sequence[NDArray[np.float32]]
) -> list[IndexedSegment]:
    """A stem's points, one per window and vector."""
    sparse = encode_document(stem.caption)
    return [
        IndexedSegment(
            point_id(stem.library, stem.id, start),
            Segment(stem, start, length),
            vector,
            sparse,
        )
        for (start, length), vector in zip(where, vectors, strict=True)
    ]


# What the index holds of a library's stems.


class Holdings:
    """The points of a library in the index; they are asked for by stem, when they are needed.

    Args:
        index: asked and written to.
        library: id of the library.
        window_s: length of the embedder's window.
    """

    def __init__(self, index: StemIndex, library: str, window_s: float) -> None:
        self._index = index
        self._library = library
        self._window_s = window_s

    @property
    def segments(self) -> int:
        """How many points there are."""
        return self._index.count(self._library)

    def expected(self, stem: Stem) -> int:
        """How many points a stem must have."""
        return len(windows(stem.duration_s, self._window_s))

    def has(self, stem: Stem) -> bool:
        """Whether every window of a stem is there, under whatever metadata."""
        found = {point.id for point in self._points_of(stem.id)}
        return found == point_ids(stem, self._window_s)

    def put(self, new: Sequence[IndexedSegment], replaced: Iterable[str] = ()) -> None:
        """Write points; durable when it returns.

        Args:
            replaced: stems among them that may have points already: those that are left over go.
        """
        surplus = {point.id for stem in replaced for point in self._points_of(stem)}
        self._index.upsert(new)
        surplus -= {point.id for point in new}
        if surplus:
            self._index.delete(sorted(surplus))

    def vectors(self, stem: str) -> NDArray[np.float32]:
        """The vectors of a stem's windows, ``[W, D]`` in order of start; W is 0 for no stem."""
        mine = self._points_of(stem)
        return np.stack([point.dense for point in mine]) if mine else np.zeros((0, 0), np.float32)

    def relabel(self, stem: Stem, *, anew: bool = False) -> bool:
        """Give the points of a stem this metadata and license, with the vectors they have.

        Args:
            anew: also where they say so already, for the words by which keywords find them.

        Returns:
            Whether anything had to be written.
        """
        mine = self._points_of(stem.id)
        if not mine or ({point.segment.stem for point in mine} == {stem} and not anew):
            return False
        where = [(point.segment.start_s, point.segment.duration_s) for point in mine]
        self._index.upsert(points(stem, where, [point.dense for point in mine]))
        return True

    def remove(self, stems: Iterable[str]) -> None:
        """Remove all points of stems."""
        ids = sorted(point.id for stem in stems for point in self._points_of(stem))
        if ids:
            self._index.delete(ids)

    def mark_revoked(self, stems: Collection[str]) -> None:
        """Let no search find the points that there are of stems."""
        if stems:
            self._index.set_revoked(sorted(stems), True, self._library)

    def sweep(self, explained: Callable[[set[str]], set[str]]) -> None:
        """Remove what no file explains: leavings of a run that was killed.

        Args:
            explained: of some ids of stems, those whose points may stay.
        """
        gone: list[str] = []
        scrolled = self._index.scroll(self._library)
        while some := list(islice(scrolled, _SCROLLED_AT_ONCE)):
            kept = explained({point.segment.stem.id for point in some})
            gone += [point.id for point in some if point.segment.stem.id not in kept]
        for part in in_parts(gone):
            self._index.delete(part)

    def _points_of(self, stem: str) -> list[IndexedSegment]:
        found = self._index.find_stem(stem)
        return [point for point in found if point.segment.stem.library == self._library]


_SCROLLED_AT_ONCE = 2000
"""Points that are in memory at once while all of a library are looked at."""


# What a library claims: by the files it has indexed, and by those it may not index.


def claim_of(row: FileState) -> Claim:
    """The claim of an indexed file."""
    stem = row.stem
    artist = stem.artist if stem.artist_declared else ""
    return Claim(stem.library, row.path, stem.license, artist, row.decision)


def claims_of(
    library: str, rows: Mapping[str, FileState], withheld: Mapping[str, WithheldFile]
) -> dict[str, tuple[str, Claim]]:
    """The claims of a library by path, each with the id of the stem."""
    found = {
        path: (one.stem, Claim(library, path, one.license, one.artist, one.decision))
        for path, one in withheld.items()
    }
    return found | {path: (row.stem.id, claim_of(row)) for path, row in rows.items()}


def local_conflict(stem: str, rows: Iterable[FileState]) -> Conflict | None:
    """The conflict over a stem among files of one library, or None."""
    claims = tuple(map(claim_of, rows))
    return Conflict(stem, claims) if are_contested(claims) else None


def withheld_files(
    spec: LibrarySpec,
    found: Survey,
    rows: Mapping[str, FileState],
    known: Mapping[str, WithheldFile],
    *,
    prune: bool,
) -> dict[str, WithheldFile]:
    """The files that are not indexed for their license's sake, by path, with their hashes.

    A file is read where nothing is known of it, or its size or time changed. One that is gone
    counts until it is pruned; one that cannot be read counts as it was known.

    Args:
        rows: files that were indexed before. known: files that were withheld before.
    """
    gone = () if prune else found.vanished(known.keys())
    result = {path: known[path] for path in gone}
    for path, (candidate, license, artist) in found.withheld.items():
        stem = _hash(spec, candidate, rows.get(path), known.get(path))
        if stem is None:
            continue
        result[path] = WithheldFile(
            path,
            candidate.size,
            candidate.mtime_ns,
            stem,
            license,
            artist,
            decision_on(spec.decisions, path),
        )
    return result


def _hash(
    spec: LibrarySpec, candidate: FoundFile, row: FileState | None, before: WithheldFile | None
) -> str | None:
    """The sha256 of a file's bytes, hex; None where it cannot be read and never was."""
    state = (candidate.size, candidate.mtime_ns)
    if before is not None and (before.size, before.mtime_ns) == state:
        return before.stem
    if row is not None and (row.size, row.mtime_ns) == state:
        return row.stem.id
    try:
        with spec.files.local(candidate.path) as path:
            file, song = song_file(path)
            return song_id(file_sha256(file), song)
    except OSError:
        return None if before is None else before.stem
