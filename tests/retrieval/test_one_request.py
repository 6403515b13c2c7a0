"""Several searches of one request ask the index once for what they have in common."""

from __future__ import annotations

from pathlib import Path

from rag_audio.retrieval.one_request import RequestIndex
from tests.retrieval.test_references import Counting, _many, find


def test_a_second_search_asks_nothing_anew_and_finds_what_it_finds_alone(tmp_path: Path) -> None:
    made, _ = _many(tmp_path, 90, 2)
    most, few = (find(made, text="drums", k=k) for k in (12, 3))
    counting = Counting(made)
    index = RequestIndex(counting)  # type: ignore[arg-type]
    assert find(index, text="drums", k=12) == most  # type: ignore[arg-type]
    searches = list(counting.searches)
    assert find(index, text="drums", k=3) == few  # type: ignore[arg-type]
    assert counting.searches == searches
    read = counting.read
    assert find(index, text="drums", k=12) == most  # type: ignore[arg-type]
    assert (counting.searches, counting.read) == (searches, read)
    find(index, text="drums", tags=("drums",), k=3)  # type: ignore[arg-type]
    made.close()
    assert len(counting.searches) > len(searches)  # another filter is another question
