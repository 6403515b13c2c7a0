"""Embedding spaces of the embedded index."""

from __future__ import annotations

from pathlib import Path

import pytest

from rag_audio.domain.ports import SpaceState
from rag_audio.errors import BackendUnavailable, IndexMismatch, InvalidInput
from rag_audio.storage.edge_spaces import EdgeSpaces
from rag_audio.storage.shared_index import SharedIndex
from rag_audio.testing.index import ANY, DIMENSION, QUERY, SPACE, point, stem


def test_a_space_is_filled_beside_the_other_and_switched_to_and_back(tmp_path: Path) -> None:
    spaces = EdgeSpaces(tmp_path / "index")
    old = SharedIndex(tmp_path / "index", space=SPACE, dimension=DIMENSION)
    old.upsert([point(stem("a"))])
    new = spaces.open_space("space-b", DIMENSION)
    new.upsert([point(stem("a")), point(stem("b"))])
    assert [h.segment.stem.title for h in old.search_dense(QUERY, ANY, 9)] == ["a"]
    new.close()
    old.release()
    spaces.switch("space-b")
    assert [h.segment.stem.title for h in old.search_dense(QUERY, ANY, 9)] == ["a"]
    with pytest.raises(IndexMismatch, match="space-b"):
        old.upsert([point(stem("late"))])
    after = SharedIndex(tmp_path / "index", space="space-b", dimension=DIMENSION)
    assert after.count() == 2
    after.close()
    old.release()
    states = {one.space: (one.points, one.state) for one in spaces.spaces()}
    assert states == {SPACE: (1, SpaceState.PREVIOUS), "space-b": (2, SpaceState.CURRENT)}
    spaces.switch(SPACE)
    old.upsert([point(stem("late"))])
    old.close()
    spaces.remove("space-b")
    with pytest.raises(InvalidInput, match="nothing of embedding space"):
        spaces.switch("space-b")


def test_a_space_that_cannot_be_read_is_not_passed_over(tmp_path: Path) -> None:
    spaces = EdgeSpaces(tmp_path / "index")
    beside = spaces.open_space("space-b", DIMENSION)
    beside.upsert([point(stem("a"))])
    beside.close()
    (tmp_path / "index" / "spaces" / "notes.txt").touch()
    assert [one.space for one in spaces.spaces(counted=False)] == ["space-b"]
    (described,) = (tmp_path / "index" / "spaces").glob("*/index.json")
    described.write_text("{")
    with pytest.raises(BackendUnavailable, match=r"index\.json cannot be read"):
        spaces.spaces(counted=False)
