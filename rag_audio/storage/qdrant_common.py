"""What both Qdrant clients share: segments as payloads, and filters.

A payload holds flat fields to filter on, and the whole stem as JSON text. Text is escaped to ASCII
there, so that any file name survives, undecodable bytes included.
"""

from __future__ import annotations

import json
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from rag_audio.domain import Segment, SegmentFilter, Stem, names
from rag_audio.domain.codec import decode, encode
from rag_audio.domain.ports import Hit, IndexedSegment, SparseVector
from rag_audio.errors import BackendError, IndexMismatch, InvalidInput

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

KEYWORD_FIELDS = (
    "library", "license", "artist", "key", "kind", "sample_type", "tags", "stem_id",
)  # fmt: skip
FLOAT_FIELDS = ("bpm", "duration_s")
REVOKED = "revoked"
"""The field that is true where a stem was revoked, and missing elsewhere."""

SHOWN = ["segment", "stem"]
"""What a hit needs of a payload."""

_REWRITTEN = 512
_AT_ONCE = 512
_TIES = 16
"""Hits beside those that are asked for: equal scores may stand at the limit."""
MOST_TIES = 1024
"""So many hits beside those that are asked for are fetched at most: of a longer run of equal scores
those count that the store gives first."""
STEMS_KEPT = 8192
"""Stems that a process keeps as they were read, a few kB each."""

Payload = dict[str, Any]


@dataclass(frozen=True)
class Requests:
    """A client's classes for requests, which take the same arguments by name in both clients."""

    point: Any
    sparse: Any
    filter: Any
    condition: Any
    any_of: Any
    range: Any
    revoked: Any
    """The condition that a point is marked as revoked."""

    def having(self, field: str, *values: str) -> Any:
        """The field (or one entry of it, where it is a list) equals one of the values."""
        return self.condition(key=field, match=self.any_of(any=list(values)))

    def within(self, field: str, *ranges: tuple[float, float | None]) -> Any:
        """The field lies in one of the ranges, both ends included; None is open."""
        return self.filter(
            should=[
                self.condition(key=field, range=self.range(gte=low, lte=high))
                for low, high in ranges
            ]
        )

    def matching(self, where: SegmentFilter) -> Any:
        """What :class:`.SegmentFilter` means.

        Tags are compared without regard to case, artists as :func:`.same` does.
        ``min_duration_s`` is about the stem.
        """
        must = [self.having("license", *_exact_all(where.license_keys))]
        if where.artists:
            artists = [names.exact(one) for one in where.artists]
            must.append(self.having("artist", *_exact_all(artists)))
        if where.bpm_ranges:
            must.append(self.within("bpm", *where.bpm_ranges))
        if where.keys:
            must.append(self.having("key", *sorted({str(key) for key in where.keys})))
        if where.kind is not None:
            must.append(self.having("kind", where.kind.value))
        if where.libraries:
            must.append(self.having("library", *_exact_all(where.libraries)))
        if where.sample_types:
            kinds = sorted(one.value for one in where.sample_types)
            must.append(self.having("sample_type", *kinds))
        if where.tags:
            must.append(self.having("tags", *_folded_all(where.tags)))
        if where.min_duration_s is not None:
            must.append(self.within("duration_s", (where.min_duration_s, None)))
        if where.stems:
            must.append(self.having("stem_id", *_exact_all(where.stems)))
        excluded = [self.revoked]
        if where.exclude:
            excluded.append(self.having("stem_id", *_exact_all(where.exclude)))
        return self.filter(must=must, must_not=excluded)

    def of_library(self, library: str | None) -> Any:
        """The points of one library; None: of all, without a filter."""
        if library is None:
            return None
        return self.filter(must=[self.having("library", _exact(library))])

    def of_stem(self, stem: str) -> Any:
        """The points of one stem."""
        return self.of_stems([stem])

    def of_stems(self, stems: Sequence[str], library: str | None = None) -> Any:
        """The points of any of these stems (in one library)."""
        must = [self.having("stem_id", *_exact_all(stems))]
        if library is not None:
            must.append(self.having("library", _exact(library)))
        return self.filter(must=must)


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
    if stem.sample_type is not None:
        payload["sample_type"] = stem.sample_type.value
    if stem.key is not None:
        payload["key"] = str(stem.key)
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
    """The stem in a payload; the same few are in every answer, so they are parsed once."""
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


class QdrantIndex(ABC):
    """A :class:`.StemIndex` as far as it is the same in this process and on a server.

    Args:
        requests: the client's classes. space, dimension: of the dense vectors.
    """

    def __init__(self, requests: Requests, space: str, dimension: int) -> None:
        self.space = space
        self._requests, self._dimension = requests, dimension

    def upsert(self, points: Sequence[IndexedSegment]) -> None:
        """Insert or replace by id; durable when it returns.

        Raises:
            InvalidInput: a vector has the wrong shape or holds a value that is not finite.
            BackendError: the write failed, or the server cannot be reached.
        """
        self._put(
            [
                self._requests.point(
                    id=point.id,
                    vector={
                        DENSE: checked_vector(point.dense, self._dimension),
                        SPARSE: self._sparse(point.sparse),
                    },
                    payload=payload_of(point.segment),
                )
                for point in points
            ]
        )

    def search_dense(
        self, vector: NDArray[np.float32], where: SegmentFilter, limit: int
    ) -> list[Hit]:
        """Nearest by cosine, best first, ties by id."""
        return self.search_many([vector], where, limit)[0]

    def search_sparse(self, vector: SparseVector, where: SegmentFilter, limit: int) -> list[Hit]:
        """Best by BM25, best first, ties by id; only hits that share a term."""
        return self.search_many([vector], where, limit)[0]

    def search_many(
        self,
        queries: Sequence[NDArray[np.float32] | SparseVector],
        where: SegmentFilter,
        limit: int,
    ) -> list[list[Hit]]:
        """What each query would find alone, in as few calls as can be."""
        asked = [self._asked(query) for query in queries]
        found: list[list[Any]] = [[] for _ in queries]
        if limit <= 0 or not where.license_keys:
            return [[] for _ in queries]
        matching = self._requests.matching(where)
        size = limit + _TIES
        left = {n: one for n, one in enumerate(asked) if one is not None}
        shown: dict[str, Payload | None] = {}
        while left:
            # Payloads are read once, and of a long run of equal scores only those that count.
            wanted, is_first = [(*one, size) for one in left.values()], not shown
            answers = self._query(wanted, matching, shown=is_first)
            for n, answer in zip(left, answers, strict=True):
                found[n] = sorted(answer, key=lambda point: (-point.score, str(point.id)))
                if is_first:
                    shown |= {str(point.id): point.payload for point in answer}
            if size == limit + MOST_TIES:
                break
            # A store may cut a run of equal scores anywhere: more are fetched until it has ended.
            left = {n: one for n, one in left.items() if not _run_ended(found[n], limit, size)}
            size = limit + MOST_TIES
        best = [points[:limit] for points in found]
        chosen = dict.fromkeys(str(point.id) for points in best for point in points)
        shown |= self._payloads([id_ for id_ in chosen if id_ not in shown])
        return [
            [hit(p.id, shown[str(p.id)], p.score) for p in points if str(p.id) in shown]
            for points in best
        ]

    def vectors(self, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """The dense vectors of points, by id."""
        return {
            str(record.id): np.asarray(record.vector[DENSE], dtype=np.float32)
            for start in range(0, len(ids), _AT_ONCE)
            for record in self._retrieve(list(ids[start : start + _AT_ONCE]), [DENSE])
        }

    def terms(self, ids: Sequence[str]) -> dict[str, frozenset[int]]:
        """The dimensions of the sparse vectors of points, by id."""
        return {
            str(record.id): frozenset(_terms_of(record.vector))
            for start in range(0, len(ids), _AT_ONCE)
            for record in self._retrieve(list(ids[start : start + _AT_ONCE]), [SPARSE])
        }

    def set_revoked(self, stems: Sequence[str], on: bool, library: str | None = None) -> None:
        """Mark the points of stems as revoked, or take that back; durable when it returns."""
        for start in range(0, len(stems), _AT_ONCE):
            some = stems[start : start + _AT_ONCE]
            self._mark(self._requests.of_stems(some, library), on)

    def scroll(self, library: str | None = None, after: str = "") -> Iterator[IndexedSegment]:
        """All points (of one library) whose id is greater than ``after``, in order of id."""
        found = self._scroll(self._requests.of_library(library), after or None)
        yield from (point for point in found if point.id != after)

    def find_stem(self, stem: str) -> list[IndexedSegment]:
        """All points of a stem, in order of start."""
        found = self._scroll(self._requests.of_stem(stem))
        return sorted(found, key=lambda p: (p.segment.start_s, p.id))

    def count(self, library: str | None = None, *, exact: bool = True) -> int:
        """Points in the index (of one library)."""
        return self._count(self._requests.of_library(library), exact=exact)

    def _is_outdated(self, made_for: Sequence[Any], what: str, hint: str) -> bool:
        """Whether an index has the format before; points are then written anew.

        Args:
            made_for: its format, space and dimension. what: the index, in words.

        Raises:
            IndexMismatch: it was made for another space or dimension, or by a later version.
        """
        version, space, dimension = made_for
        wanted = (self.space, self._dimension)
        if (space, dimension) == wanted and version in (FORMAT, FORMAT_BEFORE):
            return bool(version == FORMAT_BEFORE)
        whose = f"made for embedding space {space} with {dimension} dimensions (format {version})"
        if space is None:
            whose = "not made by rag-audio (it records no embedding space)"
        raise IndexMismatch(
            f"{what} was {whose}, and {self.space} with {self._dimension} (format {FORMAT}) is "
            "asked for",
            hint=hint,
        )

    def _write_anew(self) -> None:
        """Bring payloads to the present format; what ends it, it can be begun again."""
        points = self.scroll()
        while page := list(islice(points, _REWRITTEN)):
            self.upsert(page)

    @abstractmethod
    def _put(self, points: list[Any]) -> None:
        """Insert or replace points of the client."""

    def _payloads(self, ids: Sequence[str]) -> dict[str, Payload | None]:
        """What a hit needs of the payloads of points, by id; of those that are still there."""
        return {
            str(record.id): record.payload
            for start in range(0, len(ids), _AT_ONCE)
            for record in self._retrieve(list(ids[start : start + _AT_ONCE]), payload=SHOWN)
        }

    @abstractmethod
    def _query(
        self, asked: Sequence[tuple[Any, str, int]], where: Any, *, shown: bool
    ) -> list[list[Any]]:
        """The nearest points, best first up to ties.

        Args:
            asked: vectors, each with the name of the vectors it is compared with and a limit.
            shown: with what a hit needs of the payload; else without a payload.
        """

    @abstractmethod
    def _retrieve(
        self, ids: list[str], vectors: Sequence[str] = (), payload: Sequence[str] = ()
    ) -> Sequence[Any]:
        """The records of points, with these vectors by name and these fields of the payload."""

    @abstractmethod
    def _mark(self, where: Any, on: bool) -> None:
        """Set or remove the field of revoked points."""

    @abstractmethod
    def _page(self, where: Any, offset: Any) -> tuple[Sequence[Any], Any]:
        """The next records from ``offset`` on, with payload and vectors, and the next offset.

        Args:
            offset: an id; None at the beginning, and at the end.
        """

    @abstractmethod
    def _count(self, where: Any, *, exact: bool) -> int: ...

    def _sparse(self, vector: SparseVector) -> Any:
        return self._requests.sparse(indices=list(vector.indices), values=list(vector.values))

    def _asked(self, query: NDArray[np.float32] | SparseVector) -> tuple[Any, str] | None:
        """A query as the client wants it, with the vectors it is about; None: it asks nothing."""
        if not isinstance(query, SparseVector):
            return checked_vector(query, self._dimension), DENSE
        return (self._sparse(query), SPARSE) if query.indices else None

    def _scroll(self, where: Any, offset: Any = None) -> Iterator[IndexedSegment]:
        records, offset = self._page(where, offset)
        while True:
            for record in records:
                yield indexed_segment(record.id, record.payload, record.vector)
            if offset is None:
                return
            records, offset = self._page(where, offset)


def _terms_of(vectors: Mapping[str, Any] | None) -> Sequence[int]:
    """The dimensions of a stored sparse vector; one without words may not be there."""
    sparse = (vectors or {}).get(SPARSE)
    return [] if sparse is None else [int(index) for index in sparse.indices]


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


def hit(point: Any, payload: Mapping[str, Any] | None, score: float) -> Hit:
    """A scored point of either client, as the port returns it."""
    return Hit(str(point), segment_of(payload), float(score))


def _run_ended(found: Sequence[Any], limit: int, size: int) -> bool:
    """Whether what was found in order reaches beyond the scores equal to that at the limit."""
    return len(found) < size or found[-1].score < found[limit - 1].score


def _exact(text: str) -> str:
    """Valid UTF-8 whatever ``text`` holds; equal texts stay equal, others differ."""
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "backslashreplace")


def _exact_all(texts: Sequence[str] | frozenset[str]) -> tuple[str, ...]:
    return tuple(sorted({_exact(text) for text in texts}))


def _folded_all(texts: Sequence[str]) -> tuple[str, ...]:
    return _exact_all([unicodedata.normalize("NFKC", text).casefold().strip() for text in texts])
