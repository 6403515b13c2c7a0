"""What a request asks for by its words."""

from __future__ import annotations

from rag_audio.domain import GenerationRequest
from rag_audio.generation.asked_instruments import asks_for_a_beat, instruments_asked_for


def test_instruments_and_drums_are_asked_for_in_any_language_and_field() -> None:
    asked = instruments_asked_for(GenerationRequest("langsames Klavier", instrumentation=("kick",)))
    assert asked == {"piano", "kick"}
    assert instruments_asked_for(GenerationRequest("slow and sad")) == frozenset()


def test_dance_music_rock_and_drums_ask_for_a_beat() -> None:
    for words in ("deep house", "trap with flute", "langsame Rockballade", "warm, with a snare"):
        assert asks_for_a_beat(GenerationRequest(words)), words
    for words in ("slow waltz for guitar", "ambient pad", "sad piano and strings"):
        assert not asks_for_a_beat(GenerationRequest(words)), words
