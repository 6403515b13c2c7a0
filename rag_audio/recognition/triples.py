"""Three peaks become a number that a change of tempo, pitch or speed leaves as it is.

Of three peaks a, b, c in order of time the hash holds the leaps from a to b and from a to c in
semitones and the ratio of the times a-b and a-c: none of them changes with tempo or pitch. This is
the idea of J. Six and M. Leman, "Panako" (ISMIR 2014), and of the quads of R. Sonnleitner and G.
Widmer, "Robust quad-based audio fingerprinting" (IEEE/ACM TASLP 2016). So that a hash is rarer, it
also holds coarsely where a lies and how long the three last; a question asks for all cells into
which a change of up to 12 % and 2.4 semitones can have moved them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from rag_audio.recognition.peaks import SEMITONES, Peaks
from rag_audio.recognition.store import Numbers, Reals

MAX_TEMPO_CHANGE = 0.12
"""Natural logarithm of the largest change of tempo that is looked for."""
MAX_SEMITONES = 2.4

_MAX_LEAP = 10.0
_MIN_SPAN_S, _MAX_SPAN_S, _SPARSE_SPAN_S = 0.35, 1.4, 4.0
_MOST_NEAR = 200
_MIN_RATIO, _MAX_RATIO = 0.2, 0.8
_LEAP_CELL, _RATIO_CELL, _SPAN_CELL, _PITCH_CELL = 0.4, 0.06, 0.25, 5.0
_BORDER = 0.25
_LEAPS = 2 * round(_MAX_LEAP / _LEAP_CELL) + 2
_RATIOS = round((_MAX_RATIO - _MIN_RATIO) / _RATIO_CELL) + 2
_SPANS = round(np.log(_SPARSE_SPAN_S / _MIN_SPAN_S) / _SPAN_CELL) + 4
_PITCHES = round(SEMITONES / _PITCH_CELL) + 2
HASHES = _LEAPS * _LEAPS * _RATIOS * _SPANS * _PITCHES
"""How many different hashes there are: 0…HASHES-1."""


@dataclass(frozen=True, eq=False)
class Triples:
    """Peaks, three at a time.

    Attributes:
        peaks: they are of these.
        first, second, third: ``[N]`` indices into the peaks, in order of time.
    """

    peaks: Peaks
    first: Numbers
    second: Numbers
    third: Numbers

    @property
    def times_s(self) -> Reals:
        """``[N]``, when the first peak sounds."""
        return self.peaks.times_s[self.first]

    @property
    def spans_s(self) -> Reals:
        """``[N]``, from the first peak to the third."""
        return self.peaks.times_s[self.third] - self.peaks.times_s[self.first]

    @property
    def semitones(self) -> Reals:
        """``[N]``, of the first peak."""
        return self.peaks.semitones[self.first]


def find_triples(peaks: Peaks, each: int, stretch: float = 0.0) -> Triples:
    """For every peak the triples that begin with it, those of the strongest other two.

    Args:
        each: how many at most begin with one peak.
        stretch: natural logarithm by which the span may lie outside of what is stored.
    """
    shortest, longest, furthest = (
        _MIN_SPAN_S * np.exp(-stretch),
        _MAX_SPAN_S * np.exp(stretch),
        _SPARSE_SPAN_S * np.exp(stretch),
    )
    times = peaks.times_s
    low = np.searchsorted(times, times + shortest * _MIN_RATIO)
    high = np.searchsorted(times, times + longest, side="right")
    end = np.searchsorted(times, times + furthest, side="right")
    rows: list[NDArray[np.int64]] = []
    for first in range(times.size):
        pairs = _pairs(peaks, first, np.arange(low[first], high[first]), shortest)
        if pairs.shape[1] < each and end[first] > high[first]:
            # Little sounds here: notes of a slow bass are seconds apart.
            near = np.arange(low[first], min(end[first], low[first] + _MOST_NEAR))
            pairs = _pairs(peaks, first, near, shortest)
        if pairs.shape[1] > each:
            spans = times[pairs[1]] - times[first]
            weakness = peaks.ranks[pairs].sum(axis=0) + 0.1 * spans
            pairs = pairs[:, np.argpartition(weakness, each)[:each]]
        rows.append(np.stack([np.full(pairs.shape[1], first), *pairs]))
    found = np.concatenate(rows, axis=1) if rows else np.zeros((3, 0), np.int64)
    return Triples(peaks, *found.astype(np.int64))


def _pairs(peaks: Peaks, first: int, near: Numbers, shortest: float) -> Numbers:
    """``[2, N]``: every second and third peak of those near a first one that make a triple."""
    near = near[np.abs(peaks.semitones[near] - peaks.semitones[first]) <= _MAX_LEAP]
    after = peaks.times_s[near] - peaks.times_s[first]
    gaps, spans = after[:, None], after[None]
    fits = (spans >= shortest) & (gaps >= _MIN_RATIO * spans) & (gaps <= _MAX_RATIO * spans)
    return np.asarray(near[np.array(np.nonzero(fits))])


def hashes_of(triples: Triples) -> Numbers:
    """``[N]``, the hash of each triple: what is stored."""
    return _pack(np.rint(_cells(triples)))


def probes_of(triples: Triples) -> tuple[Numbers, Numbers]:
    """Every hash under which a triple may be stored, if it was changed within the limits.

    Returns:
        ``[P]`` hashes, and ``[P]`` the triple that each belongs to.
    """
    values = _cells(triples)
    reach = np.array(
        [_BORDER, _BORDER, _BORDER, MAX_TEMPO_CHANGE / _SPAN_CELL, MAX_SEMITONES / _PITCH_CELL]
    )[:, None]
    low, high = np.rint(values - reach), np.rint(values + reach)
    hashes, owners = [], []
    every = np.arange(triples.first.size)
    for choice in product((False, True), repeat=5):
        moved = np.array(choice)[:, None]
        differ = (~moved | (high > low)).all(axis=0)
        hashes.append(_pack(np.where(moved, high, low)[:, differ]))
        owners.append(every[differ])
    return np.concatenate(hashes), np.concatenate(owners)


def _cells(triples: Triples) -> Reals:
    """``[5, N]``: both leaps, ratio, span and pitch, in cells, not yet rounded."""
    times, semitones = triples.peaks.times_s, triples.peaks.semitones
    first, second, third = triples.first, triples.second, triples.third
    spans = triples.spans_s
    ratios = (times[second] - times[first]) / spans
    return np.stack(
        [
            (semitones[second] - semitones[first] + _MAX_LEAP) / _LEAP_CELL,
            (semitones[third] - semitones[first] + _MAX_LEAP) / _LEAP_CELL,
            (ratios - _MIN_RATIO) / _RATIO_CELL,
            np.log(spans / _MIN_SPAN_S) / _SPAN_CELL + 1,
            semitones[first] / _PITCH_CELL,
        ]
    )


def _pack(cells: Reals) -> Numbers:
    hashes = np.zeros(cells.shape[1], np.int64)
    for row, count in zip(cells, (_LEAPS, _LEAPS, _RATIOS, _SPANS, _PITCHES), strict=True):
        hashes = hashes * count + np.clip(row, 0, count - 1).astype(np.int64)
    return hashes
