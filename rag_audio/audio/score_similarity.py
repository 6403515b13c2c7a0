"""Whether one score holds the notes of another, in whatever tempo, key, place or direction."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from rag_audio.audio.scores import NoteScore

STEPS_PER_BEAT = 12
"""Onsets are compared on a grid of sixteenths and triplets."""

LEAST_NOTES = 24
"""Fewer notes in common say nothing."""

LEAST_PITCHES = 5
"""Scores of fewer pitches are not compared backwards or at other note values: a riff of three notes
is then like too many others."""

_PITCHES = 128
_MAX_STEPS = 1 << 17
_MAX_SCALE, _SAME_SCALE = 4.0, 0.002
_TIE = 1e-6
"""What lies in the middle between two steps goes to the later one, whatever the arithmetic."""
_WORTH = 0.5
"""Changed note values count where one score has at least half as many notes as the other."""

Onsets = NDArray[np.int64]
"""``[N, 2]``: step and pitch of each note."""
Notes = NDArray[np.float64]
"""``[N, 3]``: start and end in beats, and pitch, of each note."""


def shared_notes(a: NoteScore, b: NoteScore) -> float:
    """Share of the smaller score's notes that stand in the other one, 0…1.

    Onsets count in beats, so that tempo does not matter; every shift in time and every
    transposition is tried. So are the notes backwards, from their starts or from their ends, and at
    the note values that make both scores equally long, where both have five pitches or more.
    Percussion counts only where a score has nothing else, and then the share is of the larger
    score: patterns of drums are common goods, whole performances are not. Fewer than
    :data:`LEAST_NOTES` notes in common are 0.
    """
    first, first_drums = _notes(a)
    second, second_drums = _notes(b)
    if first_drums != second_drums:
        return 0.0
    fixed, best = onsets(first), 0
    for notes in _forms(first, second, first_drums):
        best = _most_in_common(fixed, onsets(notes), first_drums, best)
    if best < LEAST_NOTES:
        return 0.0
    sizes = len(fixed), len(onsets(second))
    return min(1.0, best / (max if first_drums else min)(sizes))


def onsets(notes: Notes) -> Onsets:
    """Steps and pitches of notes, each once, in order."""
    steps = np.floor(notes[:, 0] * STEPS_PER_BEAT + 0.5 + _TIE).astype(np.int64)
    found = np.stack([steps, notes[:, 2].astype(np.int64)], axis=1)
    return np.asarray(np.unique(found, axis=0), dtype=np.int64)


def _notes(score: NoteScore) -> tuple[Notes, bool]:
    """The notes of a score; True when they are percussion."""
    pitched = [part for part in score.parts if not part.drum]
    beats = _BeatCount(score)
    found = [
        (beats.at(note.start_s), beats.at(note.end_s), note.pitch)
        for part in (pitched or list(score.parts))
        for note in part.notes
    ]
    return np.array(found, dtype=np.float64).reshape(-1, 3), not pitched


def _forms(a: Notes, b: Notes, drums: bool) -> Iterator[Notes]:
    """The ways in which ``b`` is looked for in ``a``."""
    yield b
    if drums or min(len(np.unique(notes[:, 2])) for notes in (a, b)) < LEAST_PITCHES:
        return
    start, end, pitch = b.T
    alike = min(len(a), len(b)) >= _WORTH * max(len(a), len(b))
    for starts, backwards in ((start, False), (-start, True), (-end, True)):
        length, other = float(np.ptp(a[:, 0])), float(np.ptp(starts))
        scale = length / other if min(length, other) > 0 else 1.0
        differs = abs(scale - 1.0) > _SAME_SCALE and 1 / _MAX_SCALE <= scale <= _MAX_SCALE
        for factor in [1.0] * backwards + [scale] * (alike and differs):
            # The first notes of both are at one place, so that both fall on the grid alike.
            moved = (starts - starts.min()) * factor + a[:, 0].min()
            yield np.stack([moved, moved, pitch], 1)


class _BeatCount:
    """Beats from a score's start, over its tempo map."""

    def __init__(self, score: NoteScore) -> None:
        self._starts = [start for start, _ in score.tempos]
        self._bpms = [bpm for _, bpm in score.tempos]
        passed = (
            (until - start) * bpm / 60.0 for (start, bpm), (until, _) in pairwise(score.tempos)
        )
        self._beats = list(accumulate(passed, initial=0.0))

    def at(self, at_s: float) -> float:
        """Beats until a time."""
        n = bisect_left(self._starts, at_s) - 1
        if n < 0:
            return 0.0
        return self._beats[n] + (at_s - self._starts[n]) * self._bpms[n] / 60.0


def _most_in_common(a: Onsets, b: Onsets, as_they_are: bool, best: int) -> int:
    """The most notes that coincide, over all shifts in time and in pitch.

    Args:
        as_they_are: pitches are not shifted.
        best: what is known already: as much is returned where there is no more.
    """
    a, b = (notes - [notes[:, 0].min(), 0] for notes in (a, b))
    a, b = (notes[notes[:, 0] < _MAX_STEPS] for notes in (a, b))
    counts = [np.bincount(notes[:, 1], minlength=_PITCHES) for notes in (a, b)]
    shifts = [0] if as_they_are else list(range(1 - _PITCHES, _PITCHES))
    # No more notes can coincide than both scores have of a pitch.
    most = {shift: _in_common(counts[0], counts[1], shift) for shift in shifts}
    if max(most.values()) <= max(best, LEAST_NOTES - 1):
        return best
    size = 1 << (int(a[-1, 0] + b[:, 0].max())).bit_length()
    spectra = [_spectra(notes, size) for notes in (a, b)]
    for shift in sorted(shifts, key=lambda one: -most[one]):
        if most[shift] <= max(best, LEAST_NOTES - 1):
            break
        both = [pitch for pitch in spectra[0] if pitch + shift in spectra[1]]
        total = sum(spectra[0][p] * np.conj(spectra[1][p + shift]) for p in both)
        best = max(best, round(float(np.fft.irfft(np.asarray(total), size).max())))
    return best


def _in_common(a: NDArray[np.int_], b: NDArray[np.int_], shift: int) -> int:
    low, high = max(0, -shift), min(_PITCHES, _PITCHES - shift)
    return int(np.minimum(a[low:high], b[low + shift : high + shift]).sum())


def _spectra(notes: Onsets, size: int) -> dict[int, NDArray[np.complex128]]:
    """Of the onsets of each pitch, over ``size`` steps."""
    found = {}
    for pitch in np.unique(notes[:, 1]):
        row = np.zeros(size, dtype=np.float32)
        row[notes[notes[:, 1] == pitch, 0]] = 1.0
        found[int(pitch)] = np.fft.rfft(row)
    return found
