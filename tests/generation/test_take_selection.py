"""Tempo and key as promises, on chords whose tempo and key are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rag_audio.audio.analysis import analyse
from rag_audio.domain import Aim, Audio, Channel, ConditioningPlan, Enforcement, Key
from rag_audio.errors import InvalidInput
from rag_audio.generation.take_selection import enforce, key_distance, tempo_near

RATE = 22_050
_CADENCE = ((0, 4, 7), (5, 9, 12), (7, 11, 14), (0, 4, 7))
PLAN = ConditioningPlan(
    prompt="p", enriched_prompt="p", spans=(), negative_prompt="", references=(), licenses=(),
    seed_parts=(), channels=frozenset(Channel), strength=1.0, bpm=100.0, key=Key.parse("A major"),
    duration_s=12.0, seed=1, steps=1, guidance=1.0, variations=1, model="m",
    enforcement=Enforcement(frozenset(Aim)),
)  # fmt: skip


def take(bpm: float, semitones: int = 0, seconds: float = 12.0) -> Audio:
    """I-IV-V-I in A major and so many semitones away, a chord and a click on every beat."""
    t = np.arange(round(seconds * RATE)) / RATE
    beat = 60.0 / bpm
    since = t % beat
    bar = (t // (4 * beat)).astype(int) % 4
    pitches = np.array([(chord[0] - 12, *chord) for chord in _CADENCE])
    phase = [2 * np.pi * np.cumsum(220 * 2 ** ((row + semitones) / 12)) / RATE
             for row in pitches[bar].T]  # fmt: skip
    made = np.sum([np.sin(p) + 0.3 * np.sin(2 * p) for p in phase], axis=0) * np.exp(-3 * since)
    made += np.random.default_rng(0).standard_normal(t.size) * 2 * np.exp(-80 * since)
    return Audio((made / np.abs(made).max() * 0.7)[None].astype(np.float32), RATE)


def test_the_candidate_nearest_to_tempo_and_key_is_chosen() -> None:
    made = enforce([(5, take(80, 3)), (6, take(100)), (7, take(120, 5))], PLAN)
    assert made.seed == 6
    assert (made.time_ratio, made.semitones) == (1.0, 0)
    assert [one.seed for one in made.candidates] == [5, 6, 7]
    assert made.candidates[1].distance < 0.05 < made.candidates[0].distance


@pytest.mark.parametrize(("bpm", "semitones"), [(92, 2), (108, -3), (88, 0), (100, 5)])
def test_what_is_off_is_conformed_to_half_a_percent_and_the_key(bpm: float, semitones: int) -> None:
    source = take(bpm, semitones)
    made = enforce([(1, source)], PLAN)
    assert made.audio.samples.shape == source.samples.shape
    heard = analyse(made.audio)
    assert heard.bpm is not None
    assert tempo_near(heard.bpm, 100.0) == pytest.approx(100.0, rel=0.005)
    assert heard.key == Key.parse("A major")
    assert made.after.distance < 0.02
    assert "conformed" in made.notes[0]
    level = np.sqrt((made.audio.samples.reshape(-1, RATE // 2) ** 2).mean(axis=1))
    assert level.min() > 0.02  # the end is music too


def test_only_what_was_asked_for_is_touched() -> None:
    made = enforce(
        [(1, take(92, 3))], replace(PLAN, enforcement=Enforcement(frozenset({Aim.TEMPO})))
    )
    assert made.semitones == 0 and made.time_ratio != 1.0


def test_what_has_no_pulse_is_left_and_said() -> None:
    t = np.arange(6 * RATE) / RATE
    drone = Audio((0.2 * np.sin(2 * np.pi * 220 * t))[None].astype(np.float32), RATE)
    made = enforce([(1, drone)], replace(PLAN, enforcement=Enforcement(frozenset({Aim.TEMPO}))))
    assert made.audio is drone
    assert any("no pulse" in note for note in made.notes)


def test_distances_know_the_circle_of_fifths() -> None:
    wanted = Key.parse("C major")
    assert key_distance(wanted, wanted) == 0
    assert key_distance(Key.parse("A minor"), wanted) == pytest.approx(0.1)
    assert key_distance(Key.parse("G major"), wanted) < key_distance(Key.parse("D major"), wanted)
    assert key_distance(Key.parse("F# major"), wanted) == 1.0
    assert tempo_near(184, 92) == 92


def test_candidates_are_between_one_and_sixteen() -> None:
    with pytest.raises(InvalidInput, match="17"):
        Enforcement(frozenset(Aim), 17)
