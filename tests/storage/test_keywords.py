"""Words as sparse vectors."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rag_audio.domain.lexicon import concepts, concepts_in
from rag_audio.storage.bm25 import encode_document, encode_query, tokenize, word_terms


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Warm Drums, drums & BASS!", ["warm", "drum", "drum", "bass"]),
        ("a piano with some strings", ["piano", "string"]),
        ("melodies brushes basses boxes echoes", ["melody", "brush", "bass", "box", "echo"]),
        ("bus brass bass gas", ["bus", "brass", "bass", "gas"]),
        ("Été CAFÉ Straße ΔΡΟΜΟΣ", ["ete", "cafe", "strasse", "δρομοσ"]),
        ("don't stop, it’s boom-bap", ["dont", "stop", "its", "boom", "bap"]),
        ("92 bpm 120bpm 808s", ["92", "bpm", "120", "bpm", "808"]),
        ("pad in A minor", ["pad", "a minor", "minor"]),
        ("G♭ major / F# Major", ["f# major", "major", "f# major", "major"]),
        ("a warm minor chord", ["warm", "minor", "chord"]),
        ("лупы 太鼓", ["лупы", "太鼓"]),
        (
            "glitch_robot1 GuitarRiff02",
            ["glitch", "robot1", "robot", "guitarriff02", "guitar", "riff", "02"],
        ),
        (
            "bd_808 tr808 em9 FXRiser",
            ["bd", "808", "tr808", "tr", "808", "em9", "em", "fxriser", "fx", "riser"],
        ),
        ("", []),
        (" \x00—… ", []),
    ],
)
def test_tokens_are_folded_words_and_whole_keys(text: str, tokens: list[str]) -> None:
    assert tokenize(text) == tokens


def test_one_drum_finds_many_drums() -> None:
    (word,) = encode_query("harbour").indices
    assert word in encode_document("Break 92. Boom-bap, HARBOURS").indices
    assert encode_query("drum drums Drum") == encode_query("drum")


def test_a_term_weighs_more_when_repeated_and_less_in_a_longer_caption() -> None:
    (term,) = encode_query("zorbs").indices

    def weight(text: str) -> float:
        document = encode_document(text)
        return document.values[document.indices.index(term)]

    assert weight("zorbs") < weight("zorbs zorbs") < weight("zorbs zorbs zorbs") < 2.2
    assert weight("zorbs piano bass lead") < weight("zorbs")


def match(query: str, caption: str) -> float:
    """How well a caption fits a query, every term counting alike."""
    asked, found = encode_query(query), encode_document(caption)
    weights = dict(zip(found.indices, found.values, strict=True))
    terms = zip(asked.indices, asked.values, strict=True)
    return sum(weight * weights.get(term, 0.0) for term, weight in terms)


@pytest.mark.parametrize("query", ["Klavier", "ピアノ", "пианино", "pianos", "piano électrique"])
def test_words_of_other_languages_find_english_ones(query: str) -> None:
    assert match(query, "Attic Rain. piano") > 0
    assert match(query, "Attic Rain. trumpet") == 0


def test_a_concept_finds_what_is_a_sort_of_it_and_ranks_it_below_itself() -> None:
    assert match("strings", "strings") > match("strings", "violin") > 0
    assert match("violin", "violin") > match("violin", "cello") > 0
    assert match("strings", "trumpet") == 0


def test_abbreviations_of_sample_libraries_are_understood() -> None:
    assert match("bd", "drum heavy kick") > 0
    assert match("kick", "bd 808") > 0
    assert match("snare drum", "sn_dolf") > 0


def test_a_tempo_in_a_caption_is_found_by_tempo_words() -> None:
    assert match("rapide", "loop. 160 bpm") > 0
    assert match("rapide", "loop. 80 bpm") == 0
    assert match("langsam", "loop. 80 bpm") > 0


@given(st.text(st.characters(), max_size=60))
@example("no")
@example("without reverb")
def test_any_text_gives_ascending_distinct_u32_indices_and_positive_weights(text: str) -> None:
    for vector in (encode_document(text), encode_query(text)):
        assert list(vector.indices) == sorted(set(vector.indices))
        assert all(0 <= index < 2**32 for index in vector.indices)
        assert all(value > 0 for value in vector.values)
    kinds = [(concepts()[one.concept].kind, one) for one in concepts_in(text)]
    joining = " ".join(text[one.start : one.end] for kind, one in kinds if kind == "function")
    left_out = set(encode_document(text).indices) - set(encode_query(text).indices)
    assert left_out <= word_terms(joining)


def test_hashes_are_the_same_in_every_process() -> None:
    code = "from rag_audio.storage.bm25 import encode_query; print(encode_query('warm drums'))"
    other = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "7"},
    )
    assert other.stdout.strip() == str(encode_query("warm drums"))
