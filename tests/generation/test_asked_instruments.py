"""What a request asks for by its words, and the passage of a score that plays it."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from rag_audio.audio.scores import NoteScore, ScoreNote, ScorePart
from rag_audio.domain import GenerationRequest, Segment
from rag_audio.generation.asked_instruments import (
    asks_for_a_beat,
    instruments_asked_for,
    passage_of,
)
from tests.generation.test_planning import reference

PIANO, VIOLIN = 0, 40


def part(program: int, *starts: float, drum: bool = False) -> ScorePart:
    return ScorePart(program, drum, tuple(ScoreNote(s, s + 1.0, 60, 90) for s in starts))


def score(*parts: ScorePart) -> NoteScore:
    return NoteScore(parts, ((0.0, 120.0),), True, None, (4, 4))


def segment(start_s: float, duration_s: float = 10.0) -> Segment:
    return Segment(replace(reference("song").stem, duration_s=60.0), start_s, duration_s)


def test_instruments_and_drums_are_asked_for_in_any_language_and_field() -> None:
    asked = instruments_asked_for(GenerationRequest("langsames Klavier", instrumentation=("kick",)))
    assert asked == {"piano", "kick"}
    assert instruments_asked_for(GenerationRequest("slow and sad")) == frozenset()


def test_dance_music_rock_and_drums_ask_for_a_beat() -> None:
    for words in ("deep house", "trap with flute", "langsame Rockballade", "warm, with a snare"):
        assert asks_for_a_beat(GenerationRequest(words)), words
    for words in ("slow waltz for guitar", "ambient pad", "sad piano and strings"):
        assert not asks_for_a_beat(GenerationRequest(words)), words


def test_the_passage_is_where_the_asked_instruments_play() -> None:
    song = score(part(PIANO, *range(30)), part(VIOLIN, 41, 43, 45, 47), part(PIANO, 42, 44))
    assert passage_of(segment(5.0), song, {"violin"}).start_s == 40.0
    assert passage_of(segment(5.0), song, {"strings"}).start_s == 40.0, "a violin is strings"
    assert passage_of(segment(5.0), song, {"piano"}).start_s == 5.0, "it plays there already"
    assert passage_of(segment(5.0), song, {"harp"}).start_s == 5.0, "nobody plays it"
    drums = score(part(PIANO, *range(30)), part(0, 50, 51, drum=True))
    assert passage_of(segment(5.0), drums, {"drums"}).start_s == 45.0


@given(
    st.lists(st.floats(0, 59), min_size=1, max_size=8),
    st.floats(0, 50),
    st.sampled_from([10.0, 33.0, 60.0, 80.0]),
)
def test_a_passage_lies_in_its_stem_and_is_as_long_as_before(
    starts: list[float], start_s: float, duration_s: float
) -> None:
    before = segment(min(start_s, max(0.0, 60.0 - duration_s)), duration_s)
    after = passage_of(before, score(part(VIOLIN, *sorted(starts)), part(PIANO, 0)), {"violin"})
    assert after.duration_s == before.duration_s
    assert after == before or 0 <= after.start_s <= 60.0 - duration_s
