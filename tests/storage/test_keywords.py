"""Words as sparse vectors."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_audio.storage.bm25 import encode_document, encode_query, tokenize


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
        ("", []),
        (" \x00—… ", []),
    ],
)
def test_tokens_are_folded_words_and_whole_keys(text: str, tokens: list[str]) -> None:
    assert tokenize(text) == tokens


def test_one_drum_finds_many_drums() -> None:
    (drum,) = encode_query("drum").indices
    assert drum in encode_document("Break 92. Boom-bap, DRUMS").indices
    assert encode_query("drum drums Drum") == encode_query("drum")


def test_a_term_weighs_more_when_repeated_and_less_in_a_longer_caption() -> None:
    (term,) = encode_query("drums").indices

    def weight(text: str) -> float:
        document = encode_document(text)
        return document.values[document.indices.index(term)]

    assert weight("drums") < weight("drums drums") < weight("drums drums drums") < 2.2
    assert weight("drums piano bass lead") < weight("drums")


@given(st.text(st.characters(), max_size=60))
def test_any_text_gives_ascending_distinct_u32_indices_and_positive_weights(text: str) -> None:
    for vector in (encode_document(text), encode_query(text)):
        assert list(vector.indices) == sorted(set(vector.indices))
        assert all(0 <= index < 2**32 for index in vector.indices)
        assert all(value > 0 for value in vector.values)
    assert set(encode_query(text).indices) == set(encode_document(text).indices)


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
