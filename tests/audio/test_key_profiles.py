"""The key that several profiles agree on, and how clear it is."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rag_audio.audio.key_profiles import (
    CLEAR_KEY,
    KNOWN_KEY,
    clarity,
    key_of,
    profile_scores,
    with_overtones,
)
from rag_audio.domain import Key

C_MAJOR = np.array([4.0, 0, 2, 0, 3, 2, 0, 4, 0, 2, 0, 1])
distributions = st.lists(st.floats(0, 10), min_size=12, max_size=12)


def test_a_scale_with_its_chords_stands_clearly_in_its_key_as_notes_and_as_sound() -> None:
    for heard in (C_MAJOR, with_overtones(C_MAJOR)):
        key, clear = key_of(profile_scores(heard))
        assert key == Key(0, False) and clear >= KNOWN_KEY


def test_a_minor_key_is_told_from_its_relative() -> None:
    a_minor = np.array([3.0, 0, 2, 0, 4, 1, 0, 0, 1, 5, 0, 1])
    assert key_of(profile_scores(a_minor))[0] == Key(9, True)


def test_all_tones_alike_and_silence_stand_in_no_clear_key() -> None:
    for flat in (np.zeros(12), np.ones(12)):
        assert key_of(profile_scores(flat)) == (None, 0.0)
    chromatic = np.ones(12) + np.arange(12) * 0.01
    assert key_of(profile_scores(chromatic))[1] < CLEAR_KEY


@given(distributions, st.integers(0, 11))
def test_what_is_transposed_stands_in_the_transposed_key_as_clearly(
    tones: list[float], semitones: int
) -> None:
    key, clear = key_of(profile_scores(tones))
    moved, as_clear = key_of(profile_scores(np.roll(tones, semitones)))
    assert abs(as_clear - clear) < 1e-9
    if key is not None and clear > 1e-6:
        assert moved is not None and (moved.tonic - key.tonic - semitones) % 12 in (0, 3, 9)


@given(st.lists(distributions, min_size=1, max_size=4))
def test_many_at_once_are_scored_as_each_alone(rows: list[list[float]]) -> None:
    together = profile_scores(np.array(rows))
    assert together.shape == (len(rows), 24)
    for row, scores in zip(rows, together, strict=True):
        np.testing.assert_allclose(scores, profile_scores(row), atol=1e-9)
    np.testing.assert_allclose(clarity(together), [key_of(s)[1] for s in together], atol=1e-9)
