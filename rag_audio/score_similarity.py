"""Whether one score holds the notes of another, in whatever tempo, key or place."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rag_audio.scores import Score

STEPS_PER_BEAT = 12
"""Onsets are compared on a grid of sixteenths and triplets."""

LEAST_NOTES = 24
"""Fewer notes in common say nothing."""

_PITCHES = 128
_SHIFTS = range(-12, 13)
_MAX_STEPS = 1 << 17

Onsets = NDArray[np.int64]
"""``[N, 2]``: step and pitch of each note."""


def shared_notes(a: Score, b: Score) -> float:
    """Share of the smaller score's notes that stand in the other one, 0…1.

    Onsets count in beats, so that tempo does not matter; every shift in time and up to an octave
    of transposition is tried. Percussion counts only where a score has nothing else, and then the
    share is of the larger score: patterns of drums are common goods, whole performances are not.
    Fewer than :data:`LEAST_NOTES` notes in common are 0.
    """
    first, first_drums = onsets(a)
    second, second_drums = onsets(b)
    if first_drums != second_drums:
        return 0.0
    shared = _most_in_common(first, second, (0,) if first_drums else _SHIFTS)
    if shared < LEAST_NOTES:
        return 0.0
    return shared / (max if first_drums else min)(len(first), len(second))


def onsets(score: Score) -> tuple[Onsets, bool]:
    """Steps and pitches of a score's notes, each once; True when they are percussion."""
    pitched = [part for part in score.parts if not part.drum]
    parts = pitched or list(score.parts)
    found = {
        (round(_beats(score, note.start_s) * STEPS_PER_BEAT), note.pitch)
        for part in parts
        for note in part.notes
    }
    return np.array(sorted(found), dtype=np.int64).reshape(-1, 2), not pitched


def _beats(score: Score, at_s: float) -> float:
    """Beats from the start to a time, over the tempo map."""
    total = 0.0
    for (start, bpm), (end, _) in pairwise([*score.tempos, (float("inf"), 0.0)]):
        if at_s <= start:
            break
        total += (min(at_s, end) - start) * bpm / 60.0
    return total


def _most_in_common(a: Onsets, b: Onsets, shifts: tuple[int, ...] | range) -> int:
    """The most notes that coincide, over all shifts in time and the given ones in pitch."""
    a, b = (notes - [notes[0, 0], 0] for notes in (a, b))
    a, b = (notes[notes[:, 0] < _MAX_STEPS] for notes in (a, b))
    steps = int(a[-1, 0] + b[-1, 0] + 1)
    size = 1 << (steps - 1).bit_length()
    rolls = []
    for notes in (a, b):
        roll = np.zeros((_PITCHES, size), dtype=np.float32)
        roll[notes[:, 1], notes[:, 0]] = 1.0
        rows = np.unique(notes[:, 1])
        rolls.append({int(row): np.fft.rfft(roll[row]) for row in rows})
    best = 0.0
    for shift in shifts:
        both = [pitch for pitch in rolls[0] if pitch + shift in rolls[1]]
        if both:
            spectrum = sum(rolls[0][p] * np.conj(rolls[1][p + shift]) for p in both)
            best = max(best, float(np.fft.irfft(np.asarray(spectrum), size).max()))
    return round(best)
