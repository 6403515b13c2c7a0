"""Where a sound's spectrogram peaks, on an axis of semitones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise, product

import numpy as np
from numpy.typing import NDArray

from rag_audio.audio.dsp import mono, resample
from rag_audio.domain import Audio
from rag_audio.domain.landmarks import Landmarks, Numbers, Reals
from rag_audio.errors import InvalidInput

Levels = NDArray[np.float32]

RATE = 11_025
WINDOW = 1024
HOP = 128
_PADDED = 4 * WINDOW
"""So that low notes lie between close lines of the spectrum."""
LOWEST_HZ = 49.0
SEMITONES = 78
"""The axis ends at 4.4 kHz."""
STEPS = 3
"""Bands per semitone."""
_RANGE_DB = 70.0
_NEAR = (2 * round(0.07 * RATE / HOP) + 1, 2 * round(1.2 * STEPS) + 1)
"""70 ms and 1.2 semitones on either side."""
_CROWD_S, _CROWD_SEMITONES = 0.5, 8.0
_TOGETHER = 64
"""Windows of a spectrogram that are transformed at once, and peaks whose triples are found."""


@dataclass(frozen=True, eq=False)
class Peaks:
    """Where a spectrogram peaks.

    Attributes:
        times_s: ``[N]``, ascending.
        semitones: ``[N]`` above 49 Hz, 0…78, finer than a band.
        ranks: ``[N]``, how many peaks within half a second and two thirds of an octave are
            stronger; 0 is the strongest.
        duration_s: of the sound.
    """

    times_s: Reals
    semitones: Reals
    ranks: Numbers
    duration_s: float

    def strongest(self, rank: int) -> Peaks:
        """The peaks with fewer than ``rank`` stronger ones around them."""
        kept = self.ranks < rank
        return Peaks(self.times_s[kept], self.semitones[kept], self.ranks[kept], self.duration_s)

    def backwards(self) -> Peaks:
        """The peaks of the sound played backwards."""
        return Peaks(
            (self.duration_s - self.times_s)[::-1],
            self.semitones[::-1],
            self.ranks[::-1],
            self.duration_s,
        )


def find_peaks(sound: Audio) -> Peaks:
    """The peaks of a sound's spectrogram; none in silence or in less than a window (93 ms)."""
    samples = resample(mono(sound), RATE).samples[0]
    if samples.size < WINDOW or not np.any(np.abs(samples) > 1e-5):
        nothing = np.zeros(0)
        return Peaks(nothing, nothing, np.zeros(0, np.int64), sound.duration_s)
    levels = _levels(samples)
    frames, bands = local_maxima(levels, _NEAR)
    times = (frames + summit(levels, frames, bands, 0)) * HOP / RATE
    semitones = (bands + summit(levels, frames, bands, 1)) / STEPS
    ranks = _ranks(frames, bands, levels[frames, bands])
    order = np.lexsort((semitones, times))
    return Peaks(times[order], semitones[order], ranks[order], sound.duration_s)


def _levels(samples: Levels) -> Levels:
    """Decibels above the floor ``[frames, bands]``."""
    from scipy.fft import rfft

    framed = np.lib.stride_tricks.sliding_window_view(np.pad(samples, WINDOW // 2), WINDOW)[::HOP]
    window = np.hanning(WINDOW).astype(np.float32)
    lines, below, above, part = _bands()
    levels = np.empty((len(framed), below.size), np.float32)
    padded = np.zeros((_TOGETHER, _PADDED), np.float32)
    for start in range(0, len(framed), _TOGETHER):
        piece = framed[start : start + _TOGETHER]
        np.multiply(piece, window, out=padded[: len(piece), :WINDOW])
        power = np.abs(rfft(padded[: len(piece)], axis=1)[:, lines])
        power = 20 * np.log10(power + np.float32(1e-9))
        levels[start : start + len(piece)] = power[:, below] * (1 - part) + power[:, above] * part
    levels -= levels.max() - np.float32(_RANGE_DB)
    return np.maximum(levels, 0, out=levels)


@cache
def _bands() -> tuple[Numbers, Numbers, Numbers, Levels]:
    """The lines of a spectrum that are looked at, and for each band which of them lie below and
    above it, and how near it is to the upper one, 0…1."""
    hz = LOWEST_HZ * 2 ** (np.arange(SEMITONES * STEPS) / (12 * STEPS))
    places = hz * _PADDED / RATE
    left = places.astype(int)
    lines, places_of = np.unique(np.concatenate([left, left + 1]), return_inverse=True)
    below, above = np.split(places_of, 2)
    return lines, below, above, (places - left).astype(np.float32)


def local_maxima(levels: Levels, reach: tuple[int, int]) -> tuple[Numbers, Numbers]:
    """Where levels ``[frames, bands]`` are the highest of a neighbourhood, and not on its edge.

    Args:
        reach: frames and bands of the neighbourhood, the place itself in its middle.

    Returns:
        Frame and band of each, ``[N]``, in order.
    """
    highest = _highest_around(_highest_around(levels, reach[0], 0), reach[1], 1)
    frames, bands = np.nonzero((levels == highest) & (levels > 0))
    inside = (bands > 0) & (bands < levels.shape[1] - 1)
    return frames[inside].astype(np.int64), bands[inside].astype(np.int64)


def _highest_around(levels: Levels, size: int, axis: int) -> Levels:
    """The highest of ``size`` neighbours along an axis, the place itself in their middle.

    Of 1, 2, 4 … neighbours each is the higher of two of those before it.
    """
    reach = [(0, 0), (0, 0)]
    reach[axis] = (size // 2, size - 1 - size // 2)
    found = np.pad(levels, reach, mode="edge")
    if axis:
        found = np.ascontiguousarray(found.T)
    covered = 1
    while covered < size:
        step = min(covered, size - covered)
        found = np.maximum(found[:-step], found[step:])
        covered += step
    return found.T if axis else found


def _ranks(frames: Numbers, bands: Numbers, levels: Levels) -> Numbers:
    reach, across = round(_CROWD_S * RATE / HOP), round(_CROWD_SEMITONES * STEPS)
    low = np.searchsorted(frames, frames - reach, side="left")
    high = np.searchsorted(frames, frames + reach, side="right")
    owners, others = _ranges(low, high)
    is_stronger = levels[others] > levels[owners]
    is_stronger &= np.abs(bands[others] - bands[owners]) <= across
    return np.bincount(owners[is_stronger], minlength=frames.size).astype(np.int64)


def _ranges(low: Numbers, high: Numbers) -> tuple[Numbers, Numbers]:
    """Every number from ``low`` to before ``high`` ``[N]``, one range after the other.

    Returns:
        Which range each belongs to, and the number itself.
    """
    sizes = np.maximum(high - low, 0)
    owners = np.repeat(np.arange(sizes.size), sizes)
    begins = np.cumsum(sizes) - sizes
    return owners, np.arange(owners.size) + (low - begins)[owners]


def summit(levels: Levels, frames: Numbers, bands: Numbers, axis: int) -> Reals:
    """Where between the neighbours a peak is highest, -0.5…0.5, by the parabola through three."""
    step = (1, 0) if axis == 0 else (0, 1)
    last = levels.shape[0] - 1
    before = levels[np.maximum(frames - step[0], 0), bands - step[1]].astype(np.float64)
    after = levels[np.minimum(frames + step[0], last), bands + step[1]].astype(np.float64)
    here = levels[frames, bands]
    bend = before - 2 * here + after
    summit = 0.5 * (before - after) / np.where(bend < -1e-9, bend, -1e9)
    return np.asarray(np.clip(summit, -0.5, 0.5))


# Three peaks become a number that a change of tempo, pitch or speed leaves as it is.
#
# Of three peaks a, b, c in order of time the hash holds the leaps from a to b and from a to c in
# semitones and the ratio of the times a-b and a-c: none of them changes with tempo or pitch. This
# is the idea of J. Six and M. Leman, "Panako" (ISMIR 2014), and of the quads of R. Sonnleitner
# and G. Widmer, "Robust quad-based audio fingerprinting" (IEEE/ACM TASLP 2016). So that a hash is
# rarer, it also holds coarsely where a lies and how long the three last; a question asks for all
# cells into which a change of up to 12 % and 2.4 semitones can have moved them.

MAX_TEMPO_CHANGE = 0.12
"""Natural logarithm of the largest change of tempo that is looked for."""
MAX_SEMITONES = 2.4

MAX_LEAP = 10.0
"""Semitones from the first peak to the others."""
_MIN_SPAN_S, _MAX_SPAN_S, _SPARSE_SPAN_S = 0.35, 1.4, 4.0
_MOST_NEAR = 200
MIN_RATIO, MAX_RATIO = 0.2, 0.8
"""Of the time from the first peak to the second to that from the first to the third."""


@dataclass(frozen=True)
class TripleGrid:
    """How finely the hash of a triple says what it holds, and what changes a question allows for.

    Attributes:
        leap, ratio, span, pitch: size of a cell: of a leap in semitones, of the ratio of times, of
            the span as a natural logarithm, of the first peak's pitch in semitones.
        shortest_s, longest_s: of spans.
        semitones: how high peaks may be.
        leap_border, ratio_border: a question also looks into the next cell where a value lies as
            near as this to its border, in cells, as far as it is beyond the middle of the cell.
        tempo_change: natural logarithm of the largest change of tempo that is looked for.
        shift: the largest change of pitch that is looked for, in semitones.
        off_semitones: by which a pitch that is kept may be off.
    """

    leap: float = 0.4
    ratio: float = 0.06
    span: float = 0.25
    pitch: float = 5.0
    shortest_s: float = _MIN_SPAN_S
    longest_s: float = _SPARSE_SPAN_S
    semitones: float = SEMITONES
    leap_border: float = 0.25
    ratio_border: float = 0.25
    tempo_change: float = MAX_TEMPO_CHANGE
    shift: float = MAX_SEMITONES
    off_semitones: float = 0.0

    @property
    def cells(self) -> tuple[int, int, int, int, int]:
        """How many cells there are for each leap, ratio, span and pitch."""
        leaps = 2 * round(MAX_LEAP / self.leap) + 2
        ratios = round((MAX_RATIO - MIN_RATIO) / self.ratio) + 2
        spans = round(np.log(self.longest_s / self.shortest_s) / self.span) + 4
        return leaps, leaps, ratios, spans, round(self.semitones / self.pitch) + 2

    @property
    def hashes(self) -> int:
        """How many different hashes there are: 0…hashes-1."""
        return int(np.prod(self.cells))

    def hashes_of(self, triples: Triples) -> Numbers:
        """``[N]``, the hash of each triple: what is stored."""
        return self._pack(np.rint(self._values(triples)))

    def probes_of(self, triples: Triples) -> tuple[Numbers, Numbers, Numbers]:
        """Every hash under which a triple may be stored, if it was changed within the limits.

        Returns:
            ``[P]`` hashes, the triple that each belongs to, and how many of its five values are
            not in the cell they would be in if nothing had been changed: 0…5.
        """
        values = self._values(triples)
        pitch = (self.shift + self.off_semitones) / self.pitch
        reach = np.array(
            [self.leap_border] * 2 + [self.ratio_border, self.tempo_change / self.span, pitch]
        )[:, None]
        nearest, low, high = np.rint(values), np.rint(values - reach), np.rint(values + reach)
        hashes, owners, steps = [], [], []
        every = np.arange(triples.first.size)
        for choice in product((False, True), repeat=5):
            moved = np.array(choice)[:, None]
            differ = (~moved | (high > low)).all(axis=0)
            cells = np.where(moved, high, low)[:, differ]
            hashes.append(self._pack(cells))
            owners.append(every[differ])
            steps.append((cells != nearest[:, differ]).sum(axis=0))
        return np.concatenate(hashes), np.concatenate(owners), np.concatenate(steps)

    def _values(self, triples: Triples) -> Reals:
        """``[5, N]``: both leaps, ratio, span and pitch, in cells, not yet rounded."""
        times, semitones = triples.peaks.times_s, triples.peaks.semitones
        first, second, third = triples.first, triples.second, triples.third
        spans = triples.spans_s
        ratios = (times[second] - times[first]) / spans
        return np.stack(
            [
                (semitones[second] - semitones[first] + MAX_LEAP) / self.leap,
                (semitones[third] - semitones[first] + MAX_LEAP) / self.leap,
                (ratios - MIN_RATIO) / self.ratio,
                np.log(spans / self.shortest_s) / self.span + 1,
                semitones[first] / self.pitch,
            ]
        )

    def _pack(self, cells: Reals) -> Numbers:
        hashes = np.zeros(cells.shape[1], np.int64)
        for row, count in zip(cells, self.cells, strict=True):
            hashes = hashes * count + np.clip(row, 0, count - 1).astype(np.int64)
        return hashes


STEMS = TripleGrid()
"""Of stems, whose peaks are kept finely."""
HASHES = STEMS.hashes
"""How many different hashes stems have: 0…HASHES-1."""


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
    low = np.searchsorted(times, times + shortest * MIN_RATIO)
    high = np.searchsorted(times, times + longest, side="right")
    end = np.searchsorted(times, times + furthest, side="right")
    found = triples_near(peaks, np.arange(times.size), low, high, shortest)
    # Where little sounds: notes of a slow bass are seconds apart.
    few = np.bincount(found[0], minlength=times.size) < each
    sparse = np.flatnonzero(few & (end > high))
    if sparse.size:
        far = np.minimum(end, low + _MOST_NEAR)
        more = triples_near(peaks, sparse, low[sparse], far[sparse], shortest)
        found = np.concatenate([found[:, ~np.isin(found[0], sparse)], more], axis=1)
        found = found[:, np.argsort(found[0], kind="stable")]
    return Triples(peaks, *_strongest(peaks, found, each))


def triples_near(
    peaks: Peaks, first: Numbers, low: Numbers, high: Numbers, shortest: float
) -> Numbers:
    """``[3, N]``: every second and third peak that make a triple with some first ones, in order of
    the first, the second and the third.

    Args:
        first: ``[F]`` indices of peaks. low, high: of each the range of peaks that are near it.
        shortest: least time from the first peak to the third, in seconds.
    """
    some = [
        _triples_of(peaks, first[at:to], low[at:to], high[at:to], shortest)
        for at, to in pairwise(range(0, first.size + _TOGETHER, _TOGETHER))
    ]
    return np.concatenate([np.zeros((3, 0), np.int64), *some], axis=1)


def _triples_of(
    peaks: Peaks, first: Numbers, low: Numbers, high: Numbers, shortest: float
) -> Numbers:
    owners, near = _ranges(low, high)
    leaps = np.abs(peaks.semitones[near] - peaks.semitones[first[owners]])
    owners, near = owners[leaps <= MAX_LEAP], near[leaps <= MAX_LEAP]
    after = peaks.times_s[near] - peaks.times_s[first[owners]]
    # A third peak is one of those near the same first one, and later than the second.
    ends = np.searchsorted(owners, owners, side="right")
    second, third = _ranges(np.arange(near.size), ends)
    gaps, spans = after[second], after[third]
    fits = (spans >= shortest) & (gaps >= MIN_RATIO * spans) & (gaps <= MAX_RATIO * spans)
    second, third = second[fits], third[fits]
    return np.stack([first[owners[second]], near[second], near[third]])


def _strongest(peaks: Peaks, triples: Numbers, each: int) -> Numbers:
    """``[3, N]``: of triples in order of their first peak those of the strongest other two.

    Args:
        each: how many at most begin with one peak.
    """
    first, second, third = triples
    spans = peaks.times_s[third] - peaks.times_s[first]
    weakness = peaks.ranks[second] + peaks.ranks[third] + 0.1 * spans
    ends = np.cumsum(np.bincount(first, minlength=1))
    kept = [
        np.arange(at, to) if to - at <= each else at + weakness[at:to].argpartition(each)[:each]
        for at, to in pairwise([0, *ends.tolist()])
    ]
    return triples[:, np.concatenate(kept)]


# What is kept of a stem so that it is found again: the peaks of its spectrogram, and their hashes.


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
        columns = (STEMS.hashes_of(triples), triples.times_s, triples.spans_s, triples.semitones)
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
    owners, near = _ranges(low, high)
    is_same = np.abs(pitches[near] - semitones[owners]) <= _SAME_SEMITONES
    return np.bincount(owners[is_same], minlength=times.size) > 0
