"""Which stems of the library a foreign sound holds.

Stems are recognised by their landmarks, whatever was done to the sound. Those that have none (a
version before indexed them) or too few (a single hit, a steady tone) are searched for by their
embeddings and compared as they are; that is bounded, and what was not compared is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from rag_audio.domain import Audio, Rights, Segment, SegmentFilter
from rag_audio.errors import LibraryError
from rag_audio.hearing import views
from rag_audio.ports import Catalogue, Embedder, Hit, StemIndex
from rag_audio.recognition.peaks import RATE
from rag_audio.recognition.search import SEARCHED_S, Found, recognise
from rag_audio.recognition.store import LandmarkStore
from rag_audio.shaping import resample, spread_windows
from rag_audio.similarity import Sketch, sketch

COPY_THRESHOLD = 0.35
"""A piece that is nearer to a stem than this is taken for the stem; see docs/rights.md."""

PIECE_S = 5.0
WINDOWS = 8
FEW_LANDMARKS = 60
"""A stem that has fewer is not sure to be recognised by them: one second of music has as many."""
_RATE = 16_000
_HITS_PER_WINDOW = 6
_MOST_REVOKED = 16
_SAME_TEMPO, _SAME_PITCH = 0.004, 0.15

LoadSegment = Callable[[Segment, int], Audio]


class StoredLandmarks(LandmarkStore, Protocol):
    """Landmarks, of which it is known whose they are."""

    def ids(self) -> set[str]:
        """The stems that have landmarks."""
        ...

    def scarce(self, fewest: int) -> set[str]:
        """Those among them that have fewer than so many."""
        ...


@dataclass(frozen=True)
class Neighbours:
    """Segments of the index that sound like something.

    Args:
        embedder, index: give the part, which is made only where something is searched for.
    """

    embedder: Callable[[], Embedder]
    index: Callable[[], StemIndex]

    def nearest(self, sounds: Sequence[Audio], where: SegmentFilter, limit: int) -> list[list[Hit]]:
        """For each sound its nearest segments, at most ``limit``, best first."""
        vectors = self.embedder().embed_audio(sounds)
        return [self.index().search_dense(np.asarray(one), where, limit) for one in vectors]


@dataclass(frozen=True)
class Heard:
    """A stem in a foreign sound.

    Attributes:
        stem_id: its id; no library that may be asked need hold it.
        distance: 0 is the same; 0.5 just suffices where landmarks tell, 0.35 where they do not.
        changed: how it was changed, in words; empty where it was not, or that is not known.
        part: from and to in the sound, in seconds; None where that is not known.
    """

    stem_id: str
    distance: float
    changed: str = ""
    part: tuple[float, float] | None = None


class SoundSearch:
    """Looks for stems in foreign sounds.

    Args:
        rights: as they stand now; revoked stems have no embedding.
        load: reads or renders a segment of a stem.
        all_libraries: whether the catalogue is that of all libraries.
    """

    def __init__(
        self,
        rights: Rights,
        load: LoadSegment,
        *,
        catalogue: Catalogue,
        landmarks: StoredLandmarks,
        neighbours: Neighbours,
        all_libraries: bool,
    ) -> None:
        self._rights, self._load = rights, load
        self._catalogue, self._landmarks, self._neighbours = catalogue, landmarks, neighbours
        self._all_libraries = all_libraries
        self._sketches: dict[Segment, Sketch] = {}

    def find(self, heard: Audio) -> tuple[list[Heard], list[str]]:
        """The stems that a sound holds, each once, and what it could not be compared with, and why.

        Raises:
            InvalidInput: samples are not finite.
            BackendUnavailable: the index or the database cannot be reached.
        """
        found = {one.stem_id: one for one in self._by_landmarks(heard)}
        unchecked: list[str] = []
        if heard.duration_s > SEARCHED_S:
            unchecked.append(f"stems all along: beyond {SEARCHED_S / 60:.0f} minutes with gaps")
        for piece, segment in self._pairs(heard, unchecked):
            if segment.stem.id in found:
                continue
            distance = self._distance(piece, segment, unchecked)
            if distance < COPY_THRESHOLD:
                found[segment.stem.id] = Heard(segment.stem.id, distance)
        return list(found.values()), unchecked

    def _by_landmarks(self, heard: Audio) -> list[Heard]:
        store = self._landmarks
        unseen: set[str] = set()
        if not self._all_libraries:
            unseen = store.ids() - {stem.id for stem in self._catalogue.stems()}
        return [
            Heard(one.stem_id, 1.0 - one.confidence, changes(one), (one.start_s, one.end_s))
            for one in recognise(views(resample(heard, RATE)), store, unseen)
        ]

    def _pairs(self, heard: Audio, unchecked: list[str]) -> Iterator[tuple[Sketch, Segment]]:
        """Pieces of the sound, each with the segments of other stems that it may be from."""
        lacking = self._catalogue.without_landmarks()
        wanted = lacking | self._landmarks.scarce(FEW_LANDMARKS)
        stems = [stem for stem in self._catalogue.stems() if stem.id in wanted] if wanted else []
        if not stems:
            return
        window_s = self._neighbours.embedder().window_s
        windows = spread_windows(heard, window_s, WINDOWS)
        sketches = [[sketch(piece) for piece in pieces(window)] for window in windows]
        asked = tuple(sorted({stem.id for stem in stems if not self._rights.is_revoked(stem)}))
        keys = frozenset(stem.license_key for stem in stems)
        keys |= {key for one in self._rights.conflicts.values() for key in one.keys}
        where = SegmentFilter(license_keys=keys, stems=asked)
        found = self._neighbours.nearest(windows, where, _HITS_PER_WINDOW) if asked else []
        for mine, hits in zip(sketches, found, strict=bool(asked)):
            for hit in hits:
                around = _around(hit.segment, window_s / 2)
                yield from ((piece, around) for piece in mine)
        revoked = [stem for stem in stems if self._rights.is_revoked(stem)]
        for stem in revoked[:_MOST_REVOKED]:
            whole = Segment(stem, 0.0, stem.duration_s)
            yield from ((piece, whole) for mine in sketches for piece in mine)
        if len(revoked) > _MOST_REVOKED:
            unchecked.append(
                f"{len(revoked) - _MOST_REVOKED} revoked stems without landmarks: index again"
            )

    def _distance(self, piece: Sketch, segment: Segment, unchecked: list[str]) -> float:
        if segment not in self._sketches:
            try:
                self._sketches[segment] = sketch(self._load(segment, _RATE))
            except LibraryError as error:
                unchecked.append(f"{segment.stem.path}: {error.message}")
                return 1.0
        return piece.distance(self._sketches[segment])


def changes(found: Found) -> str:
    """How a stem was changed on its way into a sound, in words; empty where it was not."""
    said = []
    if abs(found.tempo - 1.0) > _SAME_TEMPO:
        way = "faster" if found.tempo > 1.0 else "slower"
        said.append(f"{abs(found.tempo - 1.0) * 100:.1f} % {way}")
    if abs(found.semitones) > _SAME_PITCH:
        way = "higher" if found.semitones > 0 else "lower"
        said.append(f"{abs(found.semitones):.1f} semitones {way}")
    if found.reversed:
        said.append("played backwards")
    if found.view > 0:
        said.append("hidden in how the channels differ")
    return ", ".join(said)


def share_outside(parts: Sequence[tuple[float, float] | None], duration_s: float) -> float:
    """Which share of a sound none of the parts covers, 0…1; a part that is not known is all."""
    if duration_s <= 0 or any(part is None for part in parts):
        return 0.0
    covered, end_s = 0.0, 0.0
    for start, end in sorted(part for part in parts if part is not None):
        covered += max(0.0, min(end, duration_s) - max(start, end_s))
        end_s = max(end_s, end)
    return max(0.0, 1.0 - covered / duration_s)


def pieces(window: Audio) -> list[Audio]:
    """A window cut in pieces of five seconds; one that is no longer stays whole."""
    size = round(PIECE_S * window.sample_rate)
    starts = range(0, max(1, window.frames - size + 1), size)
    return [Audio(window.samples[:, at : at + size], window.sample_rate) for at in starts]


def _around(segment: Segment, more_s: float) -> Segment:
    start = max(0.0, segment.start_s - more_s)
    end = min(segment.stem.duration_s, segment.start_s + segment.duration_s + more_s)
    return Segment(segment.stem, start, end - start)
