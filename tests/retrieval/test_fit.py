"""How likely it is that what was found is what was meant."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rag_audio.domain import Segment
from rag_audio.domain.ports import Hit
from rag_audio.retrieval import fit
from rag_audio.retrieval.fit import THRESHOLD, Captions, SoughtWords, fit_notes, is_any_fitting
from rag_audio.storage.bm25 import encode_document
from tests.retrieval.test_narrowed_search import search
from tests.retrieval.test_references import stem, titles, tone

DRUMS = stem("Dusty drums", "loop")
BASS = stem("Low bass", "loop", duration_s=9.0)
PIANO = stem("Warm piano", "loop", duration_s=10.0)
THERE = (DRUMS, BASS, PIANO)


def test_what_has_the_words_fits_and_what_has_none_does_not() -> None:
    found = search(*THERE, text="warm piano")
    assert found[0].stem == PIANO
    assert found[0].fit is not None and found[0].fit > 0.8
    assert all(one.fit is not None and one.fit < THRESHOLD for one in found[1:])
    assert is_any_fitting(found) is True
    assert fit_notes(found) == ()


def test_where_nothing_has_the_words_it_is_said_with_the_best() -> None:
    found = search(*THERE, text="bagpipes")
    assert len(found) == 3
    assert is_any_fitting(found) is False
    (note,) = fit_notes(found)
    assert note.startswith("nothing here fits: the best is ")
    assert any(title in note for title in titles(found))


def test_without_words_nothing_is_judged() -> None:
    found = search(*THERE, audio=tone(50))
    assert [one.fit for one in found] == [None] * 3
    assert is_any_fitting(found) is None
    assert fit_notes(found) == ()
    assert search(*THERE, text="with the")[0].fit is None


def test_a_word_that_all_have_says_less_than_one_that_few_have() -> None:
    found = {one.stem.title: one.fit or 0.0 for one in search(*THERE, text="bass loop")}
    assert found["Low bass"] > 0.9
    words = SoughtWords.of("bagpipe loop", THERE, 3)
    assert words.share(DRUMS) < 0.5


def share(text: str, title: str) -> float:
    return SoughtWords.of(text, THERE, 10).share(stem(title))


def test_several_words_that_name_one_thing_count_as_one() -> None:
    assert share("acid bass line", "tb303 01") > share("acid bass line", "rave bass 01")
    assert share("electro beat with hi-hats", "electro beat 01") > 0.6
    assert share("hi-hats", "hihat_closed01") == 1.0


def test_a_caption_may_have_them_apart() -> None:
    assert share("closed hihat", "hihat_closed01") == 1.0
    assert share("electric piano", "piano, electric") == 1.0
    assert 0 < share("electric piano", "piano") < 1


@example("und", "und so")
@example("not too", "")
@given(st.text(max_size=40), st.text(max_size=40))
def test_a_fit_is_a_probability_for_any_words(text: str, title: str) -> None:
    of = stem(title)
    words = SoughtWords.of(text, [of, *THERE], 10)
    assert 0 <= words.fit(of) <= 1
    assert 0 <= words.share(of) <= 1 + 1e-9


class _Telling:
    """An index that tells terms, and how it was asked."""

    def __init__(self, known: dict[str, str]) -> None:
        self._known = known
        self.asked: list[list[str]] = []

    def terms(self, ids: Sequence[str]) -> dict[str, frozenset[int]]:
        self.asked.append(list(ids))
        found = {
            id_: encode_document(self._known[id_]).indices for id_ in ids if id_ in self._known
        }
        return {id_: frozenset(terms) for id_, terms in found.items()}


def test_terms_that_the_index_tells_are_asked_for_once_and_not_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known, unknown = THERE[0], THERE[1]
    hits = [Hit(str(n), Segment(one, 0.0, 1.0), 1.0) for n, one in enumerate((known, unknown))]
    index = _Telling({"0": known.caption})
    captions = Captions(index)
    captions.ask(hits)
    captions.ask(hits[:1])
    assert index.asked == [["0", "1"]]
    expected = Captions().of(known)
    read = []
    monkeypatch.setattr(fit, "_terms_of", lambda caption: read.append(caption) or frozenset())
    assert captions.of(known) == expected
    assert read == []
    captions.of(unknown)
    assert read == [unknown.caption]
