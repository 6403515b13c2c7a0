"""Whether a clip is heard as a loop of whole beats, on patterns whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from rag_audio.audio.confidence import key_confidence, tempo_confidence
from rag_audio.audio.constant_q import constant_q
from rag_audio.audio.loops import find_rhythm
from rag_audio.domain import Audio

RATE = 22_050


def beats(duration_s: float, beat_s: float) -> Audio:
    """A hit on every beat, the first one twice as loud, and a quiet one between."""
    made = np.zeros((1, round(duration_s * RATE)), np.float32)
    rng = np.random.default_rng(0)
    hit = rng.standard_normal(1500) * np.exp(-np.arange(1500) / 300)
    for half in range(round(2 * duration_s / beat_s)):
        at = round(half * beat_s / 2 * RATE)
        level = 0.1 if half % 2 else 0.6 if half % 8 == 0 else 0.3
        room = made[0, at : at + hit.size]
        room += (level * hit[: room.size]).astype(np.float32)
    return Audio(made, RATE)


@pytest.mark.parametrize(("bpm", "count"), [(90.0, 4), (128.0, 4), (97.0, 8), (140.0, 16)])
def test_a_loop_has_the_tempo_of_its_length(bpm: float, count: int) -> None:
    loop = find_rhythm(beats(count * 60 / bpm, 60 / bpm)).loop
    assert loop is not None
    assert (loop.beats, loop.bpm) == (count, pytest.approx(bpm, rel=1e-4))
    assert loop.probability() > 0.9


@pytest.mark.parametrize("over", [0.3, 0.4, 0.6])
def test_a_clip_that_ends_between_beats_is_no_loop(over: float) -> None:
    loop = find_rhythm(beats((8 + over) * 0.5, 0.5)).loop
    assert loop is None or loop.probability() < 0.3


def test_a_single_hit_has_one_onset_and_is_no_loop_whatever_its_length() -> None:
    for seconds in (0.05, 0.3, 1.0, 2.0):
        sound = beats(seconds, 10.0)
        rhythm = find_rhythm(sound)
        assert rhythm.onsets == 1
        assert rhythm.loop is None or rhythm.loop.probability() < 0.5


def test_a_name_counts_beside_the_sound() -> None:
    loop = find_rhythm(beats(4.0, 0.5)).loop
    assert loop is not None
    assert loop.probability(-3.0) < loop.probability() < loop.probability(3.0)


def test_silence_has_no_loop() -> None:
    assert find_rhythm(Audio(np.zeros((2, 2 * RATE), np.float32), RATE)).loop is None


def test_confidence_falls_away_from_usual_tempos_and_with_shorter_clips() -> None:
    assert tempo_confidence(None, 0.9) == 0.0
    assert tempo_confidence(115.0, 0.9) > tempo_confidence(160.0, 0.9) >= 0.2
    assert key_confidence(0.8, 16.0) > key_confidence(0.8, 1.0) > key_confidence(0.1, 1.0)


@pytest.mark.parametrize("semitone", [0, 21, 45, 83])
def test_a_tone_has_the_strength_of_its_pitch(semitone: int) -> None:
    hz = 32.703 * 2 ** (semitone / 12)
    tone = np.sin(2 * np.pi * hz * np.arange(4 * RATE) / RATE).astype(np.float32)
    strength = constant_q(tone).mean(axis=1)
    assert strength.shape == (252,)
    assert int(strength.argmax()) == 3 * semitone
