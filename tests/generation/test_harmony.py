"""What two sounds' harmonies do to each other, on chords whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_audio.audio.scores import NoteScore, ScoreNote, ScorePart
from rag_audio.domain import Audio
from rag_audio.generation.harmony import (
    Harmony,
    disagreement,
    harmony_of,
    harmony_of_score,
    roughness,
)

RATE = 22_050
PITCHES = st.sets(st.integers(36, 84), min_size=1, max_size=5)


def chord(*pitches: int, seconds: float = 4.0) -> Harmony:
    """The partials of notes held together."""
    notes = tuple(ScoreNote(0.0, seconds, pitch, 100) for pitch in pitches)
    score = NoteScore((ScorePart(0, False, notes),), ((0.0, 120.0),), True, None, None)
    return harmony_of_score(score, 0.0, seconds)


def sines(*pitches: int, seconds: float = 4.0) -> Audio:
    t = np.arange(round(seconds * RATE)) / RATE
    tones = [
        0.88**n * np.sin(2 * np.pi * (n + 1) * 440 * 2 ** ((pitch - 69) / 12) * t)
        for pitch in pitches
        for n in range(6)
    ]
    return Audio((0.05 * np.sum(tones, axis=0))[None].astype(np.float32), RATE)


def clash(one: Harmony, other: Harmony, bar_s: float = 2.0) -> float:
    return disagreement(one.chroma(bar_s), other.chroma(bar_s))


def test_a_chord_agrees_with_itself_an_octave_higher_and_not_with_one_a_tritone_away() -> None:
    assert clash(chord(48, 52, 55), chord(60, 64, 67)) < 0.05
    assert clash(chord(48, 52, 55), chord(60, 67)) < 0.3
    assert clash(chord(48, 52, 55), chord(54, 58, 61)) > 0.9


def test_bars_are_compared_each_with_its_own() -> None:
    def progression(*roots: int) -> Harmony:
        parts = [chord(root, root + 4, root + 7, seconds=2.0) for root in roots]
        return Harmony(
            np.concatenate([p.hz for p in parts]), np.concatenate([p.levels for p in parts])
        )

    there, back = progression(60, 66), progression(66, 60)
    assert clash(there, back, bar_s=2.0) > 0.9
    assert clash(there, back, bar_s=0.0) < 0.01  # as a whole they hold the same


@given(one=PITCHES, other=PITCHES, semitones=st.integers(-6, 6))
def test_disagreement_is_a_share_and_does_not_depend_on_order_or_transposition(
    one: set[int], other: set[int], semitones: int
) -> None:
    a, b = chord(*one, seconds=0.5), chord(*other, seconds=0.5)
    found = clash(a, b)
    assert 0.0 <= found <= 1.0
    assert clash(b, a) == pytest.approx(found)
    moved = [sound.laid_out(0.5, 1.0, semitones, 0.0) for sound in (a, b)]
    assert clash(*moved) == pytest.approx(found, abs=1e-6)
    assert 0.0 <= roughness(a, b) <= 1.0


def test_a_recording_and_a_score_of_the_same_chord_are_heard_alike() -> None:
    assert clash(harmony_of(sines(48, 52, 55)), chord(48, 52, 55)) < 0.1
    assert clash(harmony_of(sines(48, 52, 55)), chord(49, 53, 56)) > 0.6


@given(frames=st.integers(0, 25))
def test_a_row_of_partials_does_not_depend_on_how_many_there_are(frames: int) -> None:
    sound = sines(48, 55, seconds=3.0)
    some = Audio(sound.samples[:, : max(1, round(frames * RATE / 10))], RATE)
    few, all_ = harmony_of(some), harmony_of(sound)
    assert len(few.hz) == max(1, frames)
    whole = max(0, frames - 1)  # the last one looks beyond the end
    assert np.array_equal(few.levels[:whole], all_.levels[:whole])
    assert np.array_equal(few.hz[:whole], all_.hz[:whole])


def test_silence_has_no_harmony_to_disagree_with() -> None:
    silent = harmony_of(Audio(np.zeros((2, RATE), np.float32), RATE))
    assert clash(silent, chord(60)) == 0.0 and roughness(silent, chord(60)) == 0.0


def test_a_semitone_is_rougher_than_a_fifth_and_a_unison_is_smooth() -> None:
    by_interval = {
        n: roughness(harmony_of(sines(60)), harmony_of(sines(60 + n))) for n in (0, 1, 7)
    }
    assert by_interval[0] < by_interval[7] < by_interval[1]


def test_two_tones_are_roughest_about_a_quarter_of_a_critical_band_apart() -> None:
    def tone(hz: float) -> Harmony:
        return Harmony(np.array([[hz]]), np.array([[1.0]]))

    apart = np.arange(0, 200, 5.0)
    curve = [roughness(tone(440.0), tone(440.0 + hz)) for hz in apart]
    # 0.24 of the curve's unit at 440 Hz: (0.021 · 440 + 19) Hz.
    assert apart[int(np.argmax(curve))] == pytest.approx(28, abs=5)
    assert max(curve) == pytest.approx(1.0, abs=0.01)


def test_a_loop_comes_round_and_a_stretch_lasts_longer() -> None:
    first, second = chord(60, seconds=1.0), chord(64, seconds=1.0)
    two = Harmony(
        np.concatenate([first.hz, second.hz]), np.concatenate([first.levels, second.levels])
    )
    strongest = two.laid_out(8.0, 2.0, 1, 4.0).chroma(2.0).argmax(axis=1)
    assert list(strongest) == [1, 5, 1, 5]
