"""Keys as people, tags and DJ software write them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_audio.domain import Key
from rag_audio.domain.fields import key_of
from rag_audio.errors import InvalidInput

SAID = {
    "A minor": "A minor, a minor, A MINOR, Am, Amin, A min., A-minor, A_minor, A - minor, a-Moll, "
    "a moll, amoll, A mol, la mineur, La minore, la menor, Lam, LA MINEUR, lá menor, ля минор, "
    "イ短調, A小调, 가단조, 8A, 08a, 8 A, 1m, 01M, A aeolian, A harmonic minor, "
    "A natural minor, key of A minor, in A minor, 8A/Am, 8A - Am, Am (8A), Am 8A, Am +12, "
    "Am -50 cents, 8A +3 ct, Ａｍ, A mineur, Ami",
    "C major": "C major, C, c, Cmaj, C Maj, CM, C-Dur, C dur, Do majeur, do mayor, Do maggiore, "
    "dó maior, до мажор, ハ長調, C大调, 다장조, 8B, 1d, 1D, C ionian, C♮, Ut majeur, C-duuri",
    "B minor": "B minor, Bm, Bmin, Hm, H minor, h-Moll, H moll, si mineur, Sim, si minore, "
    "си минор, ロ短調, 10A, 3m, B min",
    "B major": "B, B major, H, H-Dur, H dur, H major, si majeur, ロ長調, 1B, 6d, Ces-Dur, Cb",
    "Bb major": "Bb, B♭, B flat, Bflat major, b-flat major, BB MAJOR, B-Dur, B dur, Bdur, Bb-Dur, "
    "Bes, Hes-Dur, A#, Ais-Dur, si bémol majeur, Si b maggiore, Sib, sib mayor, "
    "si bemol mayor, си бемоль мажор, 変ロ長調, 降B大调, 6B, 11d, Bbmaj",
    "Bb minor": "Bbm, b-Moll, B moll, bmoll, Bb-Moll, bb minor, si bémol mineur, Sibm, 3A, 8m",
    "C# minor": "C#m, C♯ minor, C sharp minor, Csharp minor, C-sharp minor, cis-Moll, Cis-Moll, "
    "Cism, Dbm, Des-Moll, do dièse mineur, Do# minore, do sostenido menor, do sustenido menor, "
    "Do diesis minore, до диез минор, 嬰ハ短調, 12A, 5m, C#m/Dbm, C#/Db minor, C#m (12A)",
    "Eb major": "Eb, E♭, Es, Es-Dur, es dur, Es major, Eb maj, mi bémol majeur, Mib, EB, D#, "
    "mi bemolle maggiore, 降E大调, 変ホ長調, 5B, 10d",
    "Ab major": "A♭, Ab, As, As-Dur, as dur, G#, Gis-Dur, la bémol majeur, Lab mayor, 4B, 9d, "
    "4b    -50   cents",
    "F# minor": "F#m, F# min, F sharp minor, fis-Moll, Gbm, fa dièse mineur, Fa# minore, Fa#m, "
    "嬰ヘ短調, 11A, 4m, fa diese mineur",
    "C minor": "Cm, c-Moll, 5A, 10m, do mineur, Dom, Do m",
    "E major": "E, E-Dur, 12B, 5d, mi majeur, Mi",
    "D minor": "Dm, d-moll, 7A, 12m, ré mineur, re menor, Rem",
    "Db major": "Db maj, Db, Des-Dur, 3B, 8d, ré bémol majeur",
}


def test_a_key_is_read_in_each_of_its_spellings() -> None:
    read = {
        spelling: str(Key.parse(spelling)).replace("Db", "C#")
        for spellings in SAID.values()
        for spelling in spellings.split(", ")
    }
    assert read == {
        spelling: key.replace("Db", "C#")
        for key, spellings in SAID.items()
        for spelling in spellings.split(", ")
    }


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "o", "J minor", "A dorian", "D mixolydian", "Am7", "A-", "Cis-", "0A", "13A", "8C",
        "8A/9A", "Am/C", "8A/C#m", "A minor or so", "H♭♭", "5:00 AM", "#N/A", "m", "minor", "-",
        "1", "A major minor", "C" * 5000, "la la la", "8 8A", "А",
    ],
)  # fmt: skip
def test_what_is_no_key_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        Key.parse(text)
    assert "is not a key" in raised.value.message and len(raised.value.message) < 100


_BEFORE = re.compile(
    r"([A-Ga-g])\s*(#|♯|b|♭|-?sharp|-?flat)?\s*[-_ ]?\s*"
    r"(major|maj|minor|min|moll|dur|m|M)?(?![A-Za-z])",
)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from("ABCDEFGabcdefg"),
    st.sampled_from(["", "#", "♯", "b", "♭", "sharp", "-sharp", " flat", " #"]),
    st.sampled_from(["", "-", " ", "_", " - "]),
    st.sampled_from(["major", "maj", "minor", "min", "moll", "dur", "m", "M"]),
)
def test_what_was_read_before_is_read_the_same(
    letter: str, accidental: str, between: str, mode: str
) -> None:
    text = letter + accidental + between + mode
    assert _BEFORE.fullmatch(text)
    tonic = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}[letter.upper()]
    tonic += {"#": 1, "♯": 1, "sharp": 1, "b": -1, "♭": -1, "flat": -1, "": 0}[
        accidental.strip(" -")
    ]
    if letter in "Bb" and not accidental and mode in ("moll", "dur"):
        tonic -= 1  # German; it was read as B
    assert Key.parse(text) == Key(tonic % 12, mode in ("minor", "min", "moll", "m"))


def test_each_key_is_read_as_it_is_written() -> None:
    for tonic in range(12):
        for minor in (False, True):
            key = Key(tonic, minor)
            assert Key.parse(str(key)) == Key.parse(str(key).upper()) == key


def test_what_is_asked_for_in_any_spelling_is_answered_by_the_key_s_name() -> None:
    asked = {name: str(key_of("key", name)) for name in ("8A", "1m", "a-Moll", "la mineur")}
    assert set(asked.values()) == {"A minor"}


def test_both_wheels_go_round_in_fifths() -> None:
    camelot = [[Key.parse(f"{hour}{ring}") for hour in range(1, 13)] for ring in "AB"]
    opened = [[Key.parse(f"{hour}{ring}") for hour in range(1, 13)] for ring in "md"]
    for ring, other in zip(camelot, opened, strict=True):
        assert [key.tonic for key in ring[1:]] == [(key.tonic + 7) % 12 for key in ring[:-1]]
        assert ring[7:] + ring[:7] == other
        assert len(set(ring)) == 12
    assert [key.relative() for key in camelot[0]] == camelot[1]


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=80))
def test_any_text_is_a_key_or_is_refused(text: str) -> None:
    try:
        Key.parse(text)
    except InvalidInput as refused:
        assert "is not a key" in refused.message
