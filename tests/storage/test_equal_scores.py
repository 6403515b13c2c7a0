"""Runs of equal scores: how far a search reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rag_audio.domain.ports import SparseVector
from rag_audio.storage import qdrant_common
from rag_audio.storage.qdrant_edge import EdgeIndex
from rag_audio.testing.index import ANY, DIMENSION, SPACE, point, stem


def test_a_search_does_not_read_the_whole_of_a_long_run_of_equal_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qdrant_common, "MOST_TIES", 100)
    index = EdgeIndex(tmp_path / "index", space=SPACE, dimension=DIMENSION)
    index.upsert([point(stem(f"{n}"), terms={1: 1.0}) for n in range(600)])
    index.upsert([point(stem("rare"), terms={1: 1.0, 2: 1.0})])
    sizes: list[int] = []
    query = index._query

    def counted(asked: Any, where: Any, *, shown: bool) -> list[list[Any]]:
        found = query(asked, where, shown=shown)
        sizes.extend(len(some) for some in found)
        return found

    monkeypatch.setattr(index, "_query", counted)
    hits = index.search_sparse(SparseVector((1, 2), (1.0, 1.0)), ANY, 5)
    index.close()
    assert hits[0].segment.stem.title == "rare"
    assert [hit.id for hit in hits[1:]] == sorted(hit.id for hit in hits[1:])
    assert len(hits) == 5
    assert max(sizes) == 105
