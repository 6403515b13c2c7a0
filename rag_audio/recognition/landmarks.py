"""What is kept of a stem so that it is found again: the peaks of its spectrogram, and their hashes.

Three peaks make a *landmark*. Its hash holds what a change of tempo, of pitch or of speed leaves as
it is: the leaps in semitones between the peaks, and the ratio of the times between them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rag_audio.domain import Audio
from rag_audio.errors import InvalidInput
from rag_audio.recognition.peaks import find_peaks
from rag_audio.recognition.store import Landmarks, Numbers, Reals
from rag_audio.recognition.triples import find_triples, hashes_of

STEM_RANK = 5
"""Peaks of a stem that are kept have fewer than 5 stronger ones around them: some 20 a second."""
TRIPLES_EACH = 3
"""Landmarks that begin with one peak."""
_SAME_S, _SAME_SEMITONES = 0.03, 0.4


def make_landmarks(sounds: Sequence[Audio]) -> Landmarks:
    """What is kept of a stem.

    Args:
        sounds: the stem, as one or several sounds of one channel each and of the same length (its
            channels, or what they give when mixed); what all of them hold is kept once.

    Raises:
        InvalidInput: there is no sound.
    """
    if not sounds:
        raise InvalidInput("landmarks need at least one sound, got none")
    times, semitones, rows = np.zeros(0), np.zeros(0), []
    for sound in sounds:
        peaks = find_peaks(sound).strongest(STEM_RANK)
        new = ~_near(peaks.times_s, peaks.semitones, times, semitones)
        triples = find_triples(peaks, TRIPLES_EACH)
        kept = new[triples.first] | new[triples.second] | new[triples.third]
        columns = (hashes_of(triples), triples.times_s, triples.spans_s, triples.semitones)
        rows.append([column[kept] for column in columns])
        times = np.concatenate([times, peaks.times_s[new]])
        semitones = np.concatenate([semitones, peaks.semitones[new]])
    hashes, begins, spans, pitches = (np.concatenate(column) for column in zip(*rows, strict=True))
    order = np.lexsort((semitones, times))
    return Landmarks(
        hashes.astype(np.int64),
        _whole(begins * 1000),
        _whole(spans * 1000),
        _whole(pitches * 100),
        _whole(times[order] * 1000),
        _whole(semitones[order] * 100),
        max(sound.duration_s for sound in sounds),
    )


def _whole(values: Reals) -> Numbers:
    return np.maximum(np.rint(values), 0).astype(np.int64)


def _near(times: Reals, semitones: Reals, others: Reals, pitches: Reals) -> NDArray[np.bool_]:
    """Which of the first peaks are the same as one of the second."""
    order = np.argsort(others, kind="stable")
    others, pitches = others[order], pitches[order]
    low = np.searchsorted(others, times - _SAME_S)
    high = np.searchsorted(others, times + _SAME_S)
    return np.array(
        [
            bool((np.abs(pitches[a:b] - pitch) <= _SAME_SEMITONES).any())
            for a, b, pitch in zip(low, high, semitones, strict=True)
        ],
        dtype=bool,
    )
