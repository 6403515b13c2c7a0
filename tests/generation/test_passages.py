"""The passage of a score that plays what is asked for."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from rag_audio.audio.scores import NoteScore, ScoreNote, ScorePart
from rag_audio.domain import Segment
from rag_audio.generation.passages import passage_of
from tests.generation.test_planning import reference

PIANO, VIOLIN = 0, 40
C_MAJOR = (48, 52, 55, 60, 62, 64, 65, 67, 69, 71, 72, 55, 59, 62, 65, 48, 52, 55, 60, 48)


def part(program: int, *starts: float, drum: bool = False) -> ScorePart:
    return ScorePart(program, drum, tuple(ScoreNote(s, s + 1.0, 60, 90) for s in starts))


def score(*parts: ScorePart) -> NoteScore:
    return NoteScore(parts, ((0.0, 120.0),), True, None, (4, 4))


def segment(start_s: float, duration_s: float = 10.0) -> Segment:
    return Segment(replace(reference("song").stem, duration_s=60.0), start_s, duration_s)


def moved(song: NoteScore, asked: set[str], *, clear: bool = False) -> Segment:
    return passage_of(segment(5.0), song, asked, clear=clear)


def test_the_passage_is_where_the_asked_instruments_play() -> None:
    song = score(part(PIANO, *range(30)), part(VIOLIN, 41, 43, 45, 47), part(PIANO, 42, 44))
    assert moved(song, {"violin"}).start_s == 40.0
    assert moved(song, {"strings"}).start_s == 40.0, "a violin is strings"
    assert moved(song, {"piano"}).start_s == 5.0, "it plays there already"
    assert moved(song, {"harp"}).start_s == 5.0, "nobody plays it"
    drums = score(part(PIANO, *range(30)), part(0, 50, 51, drum=True))
    assert moved(drums, {"drums"}).start_s == 45.0


@given(
    st.lists(st.floats(0, 59), min_size=1, max_size=8),
    st.floats(0, 50),
    st.sampled_from([10.0, 33.0, 60.0, 80.0]),
    st.booleans(),
)
def test_a_passage_lies_in_its_stem_and_is_as_long_as_before(
    starts: list[float], start_s: float, duration_s: float, clear: bool
) -> None:
    before = segment(min(start_s, max(0.0, 60.0 - duration_s)), duration_s)
    after = passage_of(
        before, score(part(VIOLIN, *sorted(starts)), part(PIANO, 0)), {"violin"}, clear=clear
    )
    assert after.duration_s == before.duration_s
    assert after == before or 0 <= after.start_s <= 60.0 - duration_s


def test_where_a_key_is_asked_for_the_passage_stands_in_a_clear_one() -> None:
    chromatic = [ScoreNote(n * 0.5, n * 0.5 + 0.5, 48 + n % 12, 90) for n in range(60)]
    tonal = [ScoreNote(30 + n * 0.5, 30.5 + n * 0.5, p, 90) for n, p in enumerate(C_MAJOR * 3)]
    song = score(ScorePart(PIANO, False, (*chromatic, *tonal)))
    assert moved(song, {"piano"}).start_s == 5.0
    assert moved(song, {"piano"}, clear=True).start_s >= 30.0
    assert moved(song, set(), clear=True).start_s >= 30.0
    there = segment(40.0)
    assert passage_of(there, song, {"piano"}, clear=True) == there, "it stands in one already"


def test_what_is_asked_for_comes_before_the_key() -> None:
    tonal = [ScoreNote(30 + n * 0.5, 30.5 + n * 0.5, p, 90) for n, p in enumerate(C_MAJOR * 3)]
    chromatic = [ScoreNote(n * 0.5, n * 0.5 + 0.5, 48 + n % 12, 90) for n in range(60)]
    song = score(ScorePart(VIOLIN, False, tuple(chromatic)), ScorePart(PIANO, False, tuple(tonal)))
    assert moved(song, {"violin"}, clear=True).start_s <= 20.0
