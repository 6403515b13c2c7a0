"""Several searches of one request: what they all ask of the index is asked once.

A plan searches for what may speak and for what may sound, mostly in the same segments.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, TypeVar

from rag_audio.domain import SegmentFilter
from rag_audio.domain.ports import Hit, IndexedSegment, SearchableIndex, SparseVector, TellsTerms

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_T = TypeVar("_T")


class RequestIndex:
    """An index as one request asks it; what it answered stays as it was for that request.

    The first hits of a longer answer are a shorter one: the longest is best asked for first.

    Args:
        index: the index that is asked.
    """

    def __init__(self, index: SearchableIndex) -> None:
        self._index = index
        self._answers: dict[Hashable, tuple[int, list[list[Hit]]]] = {}
        self._vectors: dict[str, NDArray[np.float32]] = {}
        self._terms: dict[str, frozenset[int]] = {}
        self._count: int | None = None

    def search_dense(
        self, vector: NDArray[np.float32], where: SegmentFilter, limit: int
    ) -> list[Hit]:
        return self.search_many([vector], where, limit)[0]

    def search_many(
        self,
        queries: Sequence[NDArray[np.float32] | SparseVector],
        where: SegmentFilter,
        limit: int,
    ) -> list[list[Hit]]:
        asked = tuple(q if isinstance(q, SparseVector) else q.tobytes() for q in queries)
        key = asked, where
        known, hits = self._answers.get(key, (-1, []))
        if known < limit:
            hits = self._index.search_many(queries, where, limit)
            self._answers[key] = limit, hits
        return [some[:limit] for some in hits]

    def vectors(self, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        return _known(self._vectors, ids, self._index.vectors)

    def terms(self, ids: Sequence[str]) -> dict[str, frozenset[int]]:
        """Of an index that does not tell them, none."""
        index = self._index
        return _known(self._terms, ids, index.terms) if isinstance(index, TellsTerms) else {}

    def find_stem(self, stem: str) -> list[IndexedSegment]:
        return self._index.find_stem(stem)

    def count(self, library: str | None = None, *, exact: bool = True) -> int:
        if library is not None or exact:
            return self._index.count(library, exact=exact)
        if self._count is None:
            self._count = self._index.count(exact=False)
        return self._count


def _known(
    known: dict[str, _T], ids: Sequence[str], ask: Callable[[Sequence[str]], dict[str, _T]]
) -> dict[str, _T]:
    """What is known of points; what is not is asked for."""
    if unknown := [id_ for id_ in dict.fromkeys(ids) if id_ not in known]:
        known |= ask(unknown)
    return {id_: known[id_] for id_ in ids if id_ in known}
