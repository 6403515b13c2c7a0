"""What both Qdrant stores share: a segment as payload, a filter in words no client library owns.

A payload holds flat fields to filter on, and the whole stem as JSON text. Text is escaped to ASCII
there, so that any file name survives, undecodable bytes included.
"""

from __future__ import annotations

import json
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from rag_audio.domain import Key, Segment, SegmentFilter, Stem, names
from rag_audio.domain.codec import decode, encode
from rag_audio.domain.ports import Hit, IndexedSegment, SparseVector
from rag_audio.errors import BackendError, InvalidInput

if TYPE_CHECKING:
    from numpy.typing import NDArray

DENSE = "clap"
"""Name of the dense vector."""

SPARSE = "bm25"
"""Name of the sparse vector."""

EXACT_BELOW = 20_000
"""Fewer points than this are searched exactly; from here on HNSW may be used."""

FORMAT = 2
"""Version of the payload; a later one means: index again."""

FORMAT_BEFORE = 1
"""It held artists in another form; it is brought up to date when the index is opened."""

KEYWORD_FIELDS = ("library", "license", "artist", "key", "kind", "tags", "stem_id")
FLOAT_FIELDS = ("bpm", "duration_s")

STEMS_KEPT = 8192
"""Stems that a process keeps as they were read, a few kB each."""

Payload = dict[str, Any]


@dataclass(frozen=True)
class AnyOf:
    """The field (or one entry of it, where it is a list) equals one of ``values``."""

    field: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class NoneOf:
    """The field equals none of ``values``."""

    field: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class InRanges:
    """The field lies in at least one of ``ranges``, both ends inclusive; None is open."""

    field: str
    ranges: tuple[tuple[float, float | None], ...]


Condition = AnyOf | NoneOf | InRanges


def conditions(where: SegmentFilter) -> tuple[Condition, ...]:
    """``where`` as conditions that must all hold.

    Tags are compared without regard to case, artists as :func:`.same` does.
    ``min_duration_s`` is about the stem.
    """
    all_of: list[Condition] = [AnyOf("license", _exact_all(where.license_keys))]
    if where.artists:
        all_of.append(AnyOf("artist", _exact_all([names.exact(one) for one in where.artists])))
    if where.bpm_ranges:
        all_of.append(InRanges("bpm", where.bpm_ranges))
    if where.keys:
        all_of.append(AnyOf("key", tuple(sorted({_key(key) for key in where.keys}))))
    if where.kind is not None:
        all_of.append(AnyOf("kind", (where.kind.value,)))
    if where.tags:
        all_of.append(AnyOf("tags", _folded_all(where.tags)))
    if where.min_duration_s is not None:
        all_of.append(InRanges("duration_s", ((where.min_duration_s, None),)))
    if where.stems:
        all_of.append(AnyOf("stem_id", _exact_all(where.stems)))
    if where.exclude:
        all_of.append(NoneOf("stem_id", _exact_all(where.exclude)))
    return tuple(all_of)


def outdated(found: tuple[Any, ...], space: str, dimension: int) -> bool:
    """Whether (format, space, dimension) are of the format before, and otherwise what is wanted."""
    return found == (FORMAT_BEFORE, space, dimension)


def write_anew(
    points: Iterable[IndexedSegment], upsert: Callable[[list[IndexedSegment]], None], size: int
) -> None:
    """Upsert points again, so many at a time: their payloads are then of the present format.

    Whatever ends it, it can be begun again.
    """
    page: list[IndexedSegment] = []
    for point in points:
        page.append(point)
        if len(page) == size:
            upsert(page)
            page = []
    upsert(page)


def in_library(library: str) -> AnyOf:
    """Points of one library."""
    return AnyOf("library", (_exact(library),))


def of_stem(stem: str) -> AnyOf:
    """Points of one stem."""
    return AnyOf("stem_id", (_exact(stem),))


def payload_of(segment: Segment) -> Payload:
    """The payload of a segment: JSON types only. The inverse is :func:`segment_of`."""
    stem = segment.stem
    payload: Payload = {
        "library": _exact(stem.library),
        "license": _exact(stem.license_key),
        "stem_id": _exact(stem.id),
        "kind": stem.kind.value,
        "duration_s": stem.duration_s,
        "segment": [segment.start_s, segment.duration_s],
        "stem": text_of(stem),
    }
    if stem.artist:
        payload["artist"] = _exact(names.exact(stem.artist))
    if stem.tags:
        payload["tags"] = list(_folded_all(stem.tags))
    if stem.bpm is not None:
        payload["bpm"] = stem.bpm
    if stem.key is not None:
        payload["key"] = _key(stem.key)
    return payload


def segment_of(payload: Mapping[str, Any] | None) -> Segment:
    """The segment a payload describes.

    Raises:
        BackendError: the point was not written by this product.
    """
    try:
        if payload is None:
            raise KeyError("payload")
        start_s, duration_s = payload["segment"]
        return Segment(stem_of(payload["stem"]), float(start_s), float(duration_s))
    except (KeyError, TypeError, ValueError, InvalidInput) as error:
        raise BackendError(
            f"a point of the index cannot be read: {error}", hint="index the library again"
        ) from error


@lru_cache(maxsize=STEMS_KEPT)
def stem_of(text: str) -> Stem:
    """The stem in a payload; the same few stand in every answer, so they are read once."""
    return decode(Stem, json.loads(text))


@lru_cache(maxsize=STEMS_KEPT)
def text_of(stem: Stem) -> str:
    """A stem as a payload holds it."""
    return json.dumps(encode(stem), ensure_ascii=True, separators=(",", ":"))


def checked_vector(vector: NDArray[np.float32], dimension: int) -> list[float]:
    """``vector`` as the clients want it.

    Raises:
        InvalidInput: it is not ``[dimension]``, or holds a value that is not finite.
    """
    array = np.asarray(vector, dtype=np.float32)
    if array.shape != (dimension,):
        raise InvalidInput(f"the vector must be [{dimension}], got shape {array.shape}")
    if not np.isfinite(array).all():
        raise InvalidInput("the vector holds a value that is not finite")
    floats: list[float] = array.tolist()
    return floats


class ScrolledIndex(ABC):
    """The parts of a :class:`.StemIndex` that list points, by pages of a client."""

    @abstractmethod
    def _page(self, where: Sequence[Condition], offset: Any) -> tuple[Sequence[Any], Any]:
        """The next records after ``offset``, with payload and vectors, and the next offset.

        Args:
            offset: None at the beginning, and at the end.
        """

    def scroll(self, library: str | None = None) -> Iterator[IndexedSegment]:
        """All points (of one library), in order of id."""
        yield from self._scroll(() if library is None else (in_library(library),))

    def find_stem(self, stem: str) -> list[IndexedSegment]:
        """All points of a stem, in order of start."""
        return sorted(self._scroll((of_stem(stem),)), key=lambda p: (p.segment.start_s, p.id))

    def _scroll(self, where: Sequence[Condition]) -> Iterator[IndexedSegment]:
        records, offset = self._page(where, None)
        while True:
            for record in records:
                yield indexed_segment(record.id, record.payload, record.vector)
            if offset is None:
                return
            records, offset = self._page(where, offset)


def indexed_segment(
    point: Any, payload: Mapping[str, Any] | None, vectors: Mapping[str, Any]
) -> IndexedSegment:
    """A stored point of either client, as the port returns it."""
    sparse = vectors.get(SPARSE)
    pairs = sorted(zip(sparse.indices, sparse.values, strict=True)) if sparse is not None else []
    return IndexedSegment(
        id=str(point),
        segment=segment_of(payload),
        dense=np.asarray(vectors[DENSE], dtype=np.float32),
        sparse=SparseVector(tuple(int(i) for i, _ in pairs), tuple(float(v) for _, v in pairs)),
    )


_Scored = TypeVar("_Scored")


def best_with_ties(
    fetch: Callable[[int], Sequence[_Scored]],
    order: Callable[[_Scored], tuple[float, str]],
    limit: int,
) -> list[_Scored]:
    """The ``limit`` best of what ``fetch(n)`` returns, ties by id, whatever order ties come in.

    A store may cut a run of equal scores anywhere; so more are fetched until the run has ended.

    Args:
        fetch: returns at most n results, best first up to ties.
        order: (score, id) of a result.
    """
    size = limit + 16
    while True:
        found = sorted(fetch(size), key=lambda item: (-order(item)[0], order(item)[1]))
        run_ended = len(found) < size or order(found[-1])[0] < order(found[limit - 1])[0]
        if run_ended:
            return found[:limit]
        size *= 4


def hit(point: Any, payload: Mapping[str, Any] | None, score: float, dense: Any) -> Hit:
    """A scored point of either client, as the port returns it."""
    return Hit(str(point), segment_of(payload), float(score), np.asarray(dense, dtype=np.float32))


def _exact(text: str) -> str:
    """Valid UTF-8 whatever ``text`` holds; equal texts stay equal, others differ."""
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "backslashreplace")


def _exact_all(texts: Sequence[str] | frozenset[str]) -> tuple[str, ...]:
    return tuple(sorted({_exact(text) for text in texts}))


def _folded(text: str) -> str:
    return _exact(unicodedata.normalize("NFKC", text).casefold().strip())


def _folded_all(texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted({_folded(text) for text in texts}))


def _key(key: Key) -> str:
    return str(key)
