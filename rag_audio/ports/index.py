"""What stores segments and finds the nearest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from rag_audio.codec import json_form
from rag_audio.domain import Segment, SegmentFilter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@json_form(as_list=True)
@dataclass(frozen=True)
class SparseVector:
    """BM25 term weights: ``values[i]`` at dimension ``indices[i]``; indices ascend."""

    indices: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class IndexedSegment:
    """A segment with its vectors, as the index holds it.

    Attributes:
        id: UUID, derived from library, stem and start, so that re-indexing is idempotent.
        dense: ``[D]`` unit vector.
    """

    id: str
    segment: Segment
    dense: NDArray[np.float32]
    sparse: SparseVector


@dataclass(frozen=True, eq=False)
class Hit:
    """A found segment: its score under the query, and its dense vector (for variety)."""

    id: str
    segment: Segment
    score: float
    dense: NDArray[np.float32]


class StemIndex(Protocol):
    """Stores segments, finds the nearest. Ties are broken by id, so same query, same answer.

    Attributes:
        name: for people, and for the ledger.
        space: embedding space of the vectors it holds.
    """

    name: str
    space: str

    def upsert(self, points: Sequence[IndexedSegment]) -> None:
        """Insert or replace by id; durable when it returns."""
        ...

    def delete(self, ids: Sequence[str]) -> None:
        """Remove points; unknown ids are ignored."""
        ...

    def search_dense(
        self, vector: NDArray[np.float32], where: SegmentFilter, limit: int
    ) -> list[Hit]:
        """Nearest by cosine, best first."""
        ...

    def search_sparse(self, vector: SparseVector, where: SegmentFilter, limit: int) -> list[Hit]:
        """Best by BM25 (the index applies IDF), best first; only hits that share a term."""
        ...

    def scroll(self, library: str | None = None) -> Iterator[IndexedSegment]:
        """All points (of one library), in order of id."""
        ...

    def find_stem(self, stem: str) -> list[IndexedSegment]:
        """All points of a stem, in order of start."""
        ...

    def count(self, library: str | None = None) -> int:
        """Points in the index (of one library)."""
        ...

    def close(self) -> None: ...
