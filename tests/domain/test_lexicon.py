"""What words of music mean, in several languages."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_audio.domain import lexicon
from rag_audio.domain.lexicon import broader, concepts, concepts_in, importance
from rag_audio.domain.translation import in_english, understood, without_understood


def named(text: str) -> list[str]:
    """The concepts that a text names, but for "and", "of" and the like."""
    found = (one.concept for one in concepts_in(text))
    return [name for name in found if concepts()[name].kind != "function"]


def test_everything_broader_is_in_the_lexicon_and_nothing_is_broader_than_itself() -> None:
    assert len(concepts()) > 400
    for name, concept in concepts().items():
        assert set(concept.broader) <= set(concepts()), name
        assert name not in broader(name)


def test_broader_concepts_have_their_distance() -> None:
    assert broader("violin") == {"strings": 1}
    assert broader("breakbeat") == {"drum loop": 1, "drums": 2, "loop": 2, "percussion": 3}
    assert broader("piano") == {"keyboard": 1}


def test_no_word_of_a_language_names_two_concepts() -> None:
    named_by: dict[tuple[str, str], str] = {}
    for concept in concepts().values():
        for language, words in concept.words.items():
            for word in words:
                key = (language, word.lstrip("?").casefold())
                assert named_by.setdefault(key, concept.name) == concept.name, key


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("batterie rapide", ["drums", "fast"]),
        ("Klavier langsam traurig", ["piano", "slow", "sad"]),
        ("ピアノ", ["piano"]),
        ("静かなピアノの曲", ["calm", "piano", "music"]),
        ("激しいドラムの曲", ["intense", "drums", "music"]),
        ("тёмный бас", ["dark", "bass"]),
        ("тёмными басами", ["dark", "bass"]),
        ("скрипки, барабанная петля", ["violin", "drum loop"]),
        ("Geigen Trommeln Glöckchen", ["violin", "drums", "bell"]),
        ("Schlagzeugschleife", ["drum loop"]),
        ("Klavierakkorde", ["piano", "chord"]),
        ("guitares acoustiques", ["acoustic guitar"]),
        ("violines tristes", ["violin", "sad"]),
        ("drum & bass", ["drum and bass"]),
        ("drum_bass_hard", ["kick", "heavy"]),
        ("bd sn hh", ["kick", "snare", "hi-hat"]),
        ("floete Fluegelhorn", ["flute", "trumpet"]),
        ("ﾋﾟｱﾉ PIANO", ["piano", "piano"]),
    ],
)  # fmt: skip
def test_words_name_concepts_in_their_forms(text: str, names: list[str]) -> None:
    assert named(text) == names


def test_a_mention_is_where_the_word_stands() -> None:
    text = "un tambour, ｿﾛ"
    assert [(text[one.start : one.end], one.language) for one in concepts_in(text)][-2:] == [
        ("tambour", "french"),
        ("ｿﾛ", "japanese"),
    ]


@pytest.mark.parametrize(
    "text",
    ["ブロック", "風景", "Prince and Bush", "Nina Zorb", "basement", "keyless", "barking mad"],
)
def test_parts_of_other_words_and_names_are_nothing(text: str) -> None:
    assert not set(named(text)) & {"rock", "wind", "bass", "children", "keyboard"}


def test_a_word_of_two_languages_is_read_in_that_of_the_others() -> None:
    assert named("bajo eléctrico lento") == ["bass guitar", "slow"]
    assert named("hell") == []
    assert named("Klavier hell") == ["piano", "bright"]
    assert named("piano from hell") == ["piano"]


@pytest.mark.parametrize(
    ("text", "english"),
    [
        ("batterie rapide", "fast drums"),
        ("Klavier langsam traurig", "slow sad piano"),
        ("静かなピアノの曲", "calm piano music"),
        ("boucle de batterie très rapide", "very fast drum loop"),
        ("langsame Geige ohne Schlagzeug", "slow violin without drums"),
        ("быстрая гитара без барабанов", "fast guitar without drums"),
        ("música de piano, 90 bpm", "piano music, 90 bpm"),
        ("gtr riff", "guitar riff"),
        ("guitarra con reverb", "guitar with reverb"),
        ("canción triste de Zorbl", "sad song de Zorbl"),
    ],
)
def test_words_of_other_languages_are_put_in_english(text: str, english: str) -> None:
    assert in_english(text) == english


@pytest.mark.parametrize(
    "text",
    [
        "in the style of Prince",
        "Bush, Nana Zorb and Zorb Iglesias",
        "dark ambient drone, no drums, 432 Hz",
        "fast rock guitar in E minor",
        "hell and high water",
        "",
    ],
)
def test_english_and_names_stay_as_they_are(text: str) -> None:
    assert in_english(text) == without_understood(text) == text


@given(st.text(st.characters(), max_size=40))
def test_mentions_of_any_text_stand_in_order_without_overlap(text: str) -> None:
    end = 0
    for one in concepts_in(text):
        assert end <= one.start < one.end <= len(text)
        assert one.concept in concepts() and one.language in lexicon.LANGUAGES
        end = one.end


_WORDS = st.sampled_from(
    "Klavier langsam traurig batterie rapide бас тёмный ピアノ の Zorblax piano with ohne 120 , . "
    "gtr & ｶﾞ ß ﬁ".split(" ")
)


@given(st.lists(st.one_of(_WORDS, st.text(string.printable, max_size=6)), max_size=8))
def test_what_is_not_understood_stands_in_the_english_text_unchanged(words: list[str]) -> None:
    text = " ".join(words)
    english, at = in_english(text), 0
    for one in understood(text):
        assert english.startswith(text[at : one.start])
        english, at = english[one.start - at + len(one.english) :], one.end
    assert english == text[at:]


def test_what_is_to_sound_is_more_important_than_how() -> None:
    assert importance("harp") == importance("kick") == 1.0
    assert 0 < importance("calm") < importance("loop") < importance("harp")
    assert importance("and") == 0.0
