"""Stand-ins that keep every promise of their ports, without weights and without a vector store."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rag_audio.domain import Segment, SegmentFilter, Stem
from rag_audio.domain.codec import decode, encode
from rag_audio.domain.ports import Hit, IndexedSegment, SparseVector
from rag_audio.errors import IndexMismatch
from tests.support.fake_embedder import FakeEmbedder

__all__ = ["FakeEmbedder", "FakeIndex", "dump"]


class FakeIndex:
    """A ``ports.StemIndex`` in a dictionary; with a folder, every change is written at once.

    Args:
        folder: where to keep it; None forgets it with the process.
    """

    def __init__(
        self, folder: Path | None = None, *, space: str = "fake-1", dimension: int = 16
    ) -> None:
        self.name = "fake"
        self.space = space
        self.upserted = 0
        self.revoked: set[str] = set()
        self._dimension = dimension
        self._points: dict[str, IndexedSegment] = {}
        self._file = None if folder is None else folder / "points.json"
        if self._file is not None and self._file.is_file():
            self._read(self._file)

    def upsert(self, points: Sequence[IndexedSegment]) -> None:
        assert all(point.dense.shape == (self._dimension,) for point in points)
        self._points |= {point.id: point for point in points}
        self.revoked -= {point.id for point in points}
        self.upserted += len(points)
        self._write()

    def delete(self, ids: Sequence[str]) -> None:
        for id_ in ids:
            self._points.pop(id_, None)
        self._write()

    def search_dense(
        self, vector: NDArray[np.float32], where: SegmentFilter, limit: int
    ) -> list[Hit]:
        return self._best(lambda point: float(point.dense @ vector), where, limit)

    def search_sparse(self, vector: SparseVector, where: SegmentFilter, limit: int) -> list[Hit]:
        wanted = dict(zip(vector.indices, vector.values, strict=True))

        def score(point: IndexedSegment) -> float:
            pairs = zip(point.sparse.indices, point.sparse.values, strict=True)
            return sum(wanted.get(index, 0.0) * value for index, value in pairs)

        return [hit for hit in self._best(score, where, limit) if hit.score > 0]

    def search_many(
        self,
        queries: Sequence[NDArray[np.float32] | SparseVector],
        where: SegmentFilter,
        limit: int,
    ) -> list[list[Hit]]:
        return [
            self.search_sparse(query, where, limit)
            if isinstance(query, SparseVector)
            else self.search_dense(query, where, limit)
            for query in queries
        ]

    def vectors(self, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        return {id_: self._points[id_].dense for id_ in ids if id_ in self._points}

    def set_revoked(self, stems: Sequence[str], on: bool, library: str | None = None) -> None:
        about = {
            point.id
            for point in self._points.values()
            if point.segment.stem.id in stems and library in (None, point.segment.stem.library)
        }
        self.revoked = self.revoked | about if on else self.revoked - about

    def scroll(self, library: str | None = None, after: str = "") -> Iterator[IndexedSegment]:
        for id_ in sorted(self._points):
            point = self._points[id_]
            if id_ > after and library in (None, point.segment.stem.library):
                yield point

    def find_stem(self, stem: str) -> list[IndexedSegment]:
        found = [p for p in self._points.values() if p.segment.stem.id == stem]
        return sorted(found, key=lambda point: point.segment.start_s)

    def count(self, library: str | None = None, *, exact: bool = True) -> int:
        return sum(1 for _ in self.scroll(library))

    def close(self) -> None:
        self._write()

    def _best(
        self, score: Callable[[IndexedSegment], float], where: SegmentFilter, limit: int
    ) -> list[Hit]:
        hits = [
            Hit(point.id, point.segment, score(point))
            for point in self._points.values()
            if point.id not in self.revoked and _passes(point.segment.stem, where)
        ]
        return sorted(hits, key=lambda hit: (-hit.score, hit.id))[:limit]

    def _read(self, file: Path) -> None:
        document = json.loads(file.read_text())
        if document["space"] != self.space:
            raise IndexMismatch(f"the index is of space {document['space']!r}, not {self.space!r}")
        for id_, stem, start, length, dense, indices, values in document["points"]:
            self._points[id_] = IndexedSegment(
                id_,
                Segment(decode(Stem, stem), start, length),
                np.array(dense, dtype=np.float32),
                SparseVector(tuple(indices), tuple(values)),
            )

    def _write(self) -> None:
        if self._file is None:
            return
        rows = [
            (
                point.id,
                encode(point.segment.stem),
                point.segment.start_s,
                point.segment.duration_s,
                point.dense.tolist(),
                point.sparse.indices,
                point.sparse.values,
            )
            for point in self._points.values()
        ]
        self._file.parent.mkdir(parents=True, exist_ok=True)
        draft = self._file.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps({"space": self.space, "points": rows}))
        draft.replace(self._file)


def _passes(stem: Stem, where: SegmentFilter) -> bool:
    artists = {artist.casefold() for artist in where.artists}
    tags = {tag.casefold() for tag in where.tags}
    in_range = any(stem.bpm and low <= stem.bpm <= high for low, high in where.bpm_ranges)
    return (
        stem.license_key in where.license_keys
        and (not artists or stem.artist.casefold() in artists)
        and (not where.bpm_ranges or in_range)
        and (not where.keys or stem.key in where.keys)
        and (where.kind is None or stem.kind == where.kind)
        and (not where.libraries or stem.library in where.libraries)
        and (not where.sample_types or stem.sample_type in where.sample_types)
        and (not tags or bool(tags & {tag.casefold() for tag in stem.tags}))
        and (where.min_duration_s is None or stem.duration_s >= where.min_duration_s)
        and (not where.stems or stem.id in where.stems)
        and stem.id not in where.exclude
    )


Row = tuple[str, str, float, float]


def dump(index: FakeIndex, library: str | None = None) -> tuple[list[Row], NDArray[np.float32]]:
    """All that an index holds, comparable: sorted ids with payloads, and the vectors ``[N, D]``.

    Takes any ``StemIndex``.
    """
    points = list(index.scroll(library))
    rows = [
        (
            point.id,
            json.dumps([encode(point.segment.stem), point.sparse.indices]),
            point.segment.start_s,
            point.segment.duration_s,
        )
        for point in points
    ]
    vectors = [point.dense for point in points]
    return rows, np.array(vectors, dtype=np.float32)
