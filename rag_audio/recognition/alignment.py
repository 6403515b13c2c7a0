"""Whether a stem's peaks are in a sound where a hypothesis puts them, and whether by chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rag_audio.recognition.peaks import SEMITONES, Peaks
from rag_audio.recognition.store import Numbers, Reals

_CELL_S, _CELL_SEMITONES = 0.012, 0.2
_REACH_S, _REACH_SEMITONES = 3, 2
_AROUND_S, _AROUND_SEMITONES = 0.8, 5.0
_EXPECTED = 0.35
_LEAST, _MOST = 0.02, 0.6
_SILENCE = 0.3
_HOPELESS = 5.0
_EXACT, _SIGMA_S, _SIGMA_SEMITONES = 0.7, 0.007, 0.1


@dataclass(frozen=True)
class Alignment:
    """How a stem lies in a sound: stem time = ``tempo`` · sound time + ``offset_s``.

    Attributes:
        evidence: natural logarithm of how much likelier the peaks are with the stem there than
            without; the part of the sound where it is greatest.
        agreeing: peaks of the stem that are where they belong, in that part.
        of: peaks of the stem in that part.
        exactness: 0…1, which share of the agreeing peaks is as near as those of a copy (4 ms), of
            those that are so near or as near as those of another performance (12 ms), both less
            what is there by chance (as much as from 12 to 20 ms); but at most 0.15 above the share
            of 4 ms within 20 ms. Above 0.8 for most copies; about 0.5 for other performances of the
            same pattern with the same sounds.
        start_s, end_s: that part, in the sound.
    """

    evidence: float
    agreeing: int
    of: int
    exactness: float
    start_s: float
    end_s: float
    tempo: float
    semitones: float
    offset_s: float


class Scene:
    """A sound's peaks, laid out so that a stem's can be looked up among them."""

    def __init__(self, peaks: Peaks) -> None:
        self._peaks = peaks
        frames = int(peaks.duration_s / _CELL_S) + 2 * _REACH_S + 2
        bands = int(SEMITONES / _CELL_SEMITONES) + 2 * _REACH_SEMITONES + 2
        self._nearest = np.full((frames, bands), -1, np.int32)
        rows, columns = self._place(peaks.times_s, peaks.semitones)
        # The weaker ones first, so that the strongest of several near a place is found there.
        order = np.argsort(-peaks.ranks, kind="stable")
        reach = [
            (i, j)
            for i in range(-_REACH_S, _REACH_S + 1)
            for j in range(-_REACH_SEMITONES, _REACH_SEMITONES + 1)
        ]
        for i, j in sorted(reach, key=lambda one: -(one[0] ** 2 + one[1] ** 2)):
            self._nearest[rows[order] + i, columns[order] + j] = order
        self._chance, self._silent = _chance(self._nearest >= 0)

    def align(
        self, times_s: Reals, semitones: Reals, tempo: float, shift: float, offset_s: float
    ) -> Alignment:
        """The best alignment near a hypothesis.

        Args:
            times_s, semitones: ``[N]``, the stem's peaks in order of time.
            tempo, shift, offset_s: the hypothesis.
        """
        best = self._weigh(times_s, semitones, tempo, shift, offset_s)
        if best.evidence < _HOPELESS:
            return best
        for _ in range(3):
            better = self._refined(times_s, semitones, best)
            if better is None or better.evidence <= best.evidence + 1e-6:
                break
            best = better
        return best

    def _place(self, times_s: Reals, semitones: Reals) -> tuple[Numbers, Numbers]:
        rows = np.rint(times_s / _CELL_S).astype(np.int64) + _REACH_S
        columns = np.rint(semitones / _CELL_SEMITONES).astype(np.int64) + _REACH_SEMITONES
        return rows, columns

    def _look(
        self, times_s: Reals, semitones: Reals, tempo: float, shift: float, offset_s: float
    ) -> tuple[Numbers, Numbers, NDArray[np.float32], NDArray[np.bool_]]:
        """Which of the stem's peaks fall into the sound, the sound's peak there (or -1), how likely
        one is there by chance, and whether all around is silent."""
        places = (times_s - offset_s) / tempo
        heard = semitones + shift
        inside = np.flatnonzero(
            (places >= 0) & (places < self._peaks.duration_s) & (heard >= 0) & (heard < SEMITONES)
        )
        rows, columns = self._place(places[inside], heard[inside])
        return (
            inside,
            self._nearest[rows, columns].astype(np.int64),
            self._chance[rows, columns],
            self._silent[rows, columns],
        )

    def _weigh(
        self, times_s: Reals, semitones: Reals, tempo: float, shift: float, offset_s: float
    ) -> Alignment:
        inside, found, chance, silent = self._look(times_s, semitones, tempo, shift, offset_s)
        there = found >= 0
        late = (times_s[inside] - offset_s) / tempo - self._peaks.times_s[found]
        high = semitones[inside] + shift - self._peaks.semitones[found]
        present = _EXPECTED + (1 - _EXPECTED) * chance
        # Where the sound is silent nothing was put in the stem's place: it was cut out.
        weight = np.where(silent, _SILENCE, 1.0)
        gains = np.where(
            there,
            np.log(present / chance) + _precision(late, high),
            weight * np.log((1 - present) / (1 - chance)),
        )
        start, end, evidence = _best_run(gains)
        if end == start:
            return Alignment(0.0, 0, 0, 0.0, 0.0, 0.0, tempo, shift, offset_s)
        places = (times_s[inside[start:end]] - offset_s) / tempo
        return Alignment(
            evidence,
            int(there[start:end].sum()),
            end - start,
            _exactness(late[start:end][there[start:end]], high[start:end][there[start:end]]),
            float(places[0]),
            float(places[-1]),
            tempo,
            shift,
            offset_s,
        )

    def _refined(self, times_s: Reals, semitones: Reals, near: Alignment) -> Alignment | None:
        inside, found, *_ = self._look(
            times_s, semitones, near.tempo, near.semitones, near.offset_s
        )
        places = (times_s[inside] - near.offset_s) / near.tempo
        used = (found >= 0) & (places >= near.start_s) & (places <= near.end_s)
        if used.sum() < 4:
            return None
        heard = self._peaks.times_s[found[used]]
        kept = times_s[inside[used]]
        centre = heard.mean()
        spread = float(((heard - centre) ** 2).sum())
        tempo = near.tempo
        if spread > 1.0:
            tempo = float(((heard - centre) * (kept - kept.mean())).sum()) / spread
        tempo = float(np.clip(tempo, near.tempo * 0.97, near.tempo * 1.03))
        offset = float(np.median(kept - tempo * heard))
        shift = float(np.median(self._peaks.semitones[found[used]] - semitones[inside[used]]))
        return self._weigh(times_s, semitones, tempo, shift, offset)


def _precision(late: Reals, high: Reals) -> Reals:
    """How much likelier a copy lies so far off than a peak that is near by chance: a logarithm."""
    width, height = (2 * _REACH_S + 1) * _CELL_S, (2 * _REACH_SEMITONES + 1) * _CELL_SEMITONES
    normal = np.exp(-0.5 * ((late / _SIGMA_S) ** 2 + (high / _SIGMA_SEMITONES) ** 2))
    density = normal / (2 * np.pi * _SIGMA_S * _SIGMA_SEMITONES)
    return np.asarray(np.log(_EXACT * density * width * height + 1 - _EXACT))


def _exactness(late: Reals, high: Reals) -> float:
    """Of the agreeing peaks' errors in seconds and semitones; see :class:`Alignment`."""
    off = np.abs(late[np.abs(high) < 0.25])
    copied = np.count_nonzero(off < 0.004)
    played = np.count_nonzero((off >= 0.004) & (off < 0.012))
    by_chance = np.count_nonzero((off >= 0.012) & (off < 0.02))
    more = max(0.0, copied - by_chance / 2)
    share = copied / max(1, copied + played + by_chance)
    return float(min(more / max(1.0, more + max(0, played - by_chance)), share + 0.15))


def _chance(taken: NDArray[np.bool_]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """How likely each place is taken by chance, from what surrounds it, and where all is silent.

    Notes that sound together, and notes that stay, make it likelier: at one time or at one pitch
    there is more than around the place.
    """
    from scipy.ndimage import uniform_filter

    long, high = 2 * round(_AROUND_S / _CELL_S) + 1, 2 * round(_AROUND_SEMITONES / _CELL_SEMITONES)
    shares = taken.astype(np.float32)
    around = uniform_filter(shares, (long, high + 1), mode="constant")
    together = uniform_filter(shares, (1, high + 1), mode="constant")
    staying = uniform_filter(shares, (long, 1), mode="constant")
    chance = np.maximum(around, together * staying / np.maximum(around, 1e-3))
    return np.clip(chance, _LEAST, _MOST), together < 1e-6


def _best_run(gains: Reals) -> tuple[int, int, float]:
    """Where the sum over a run is greatest: start, end (exclusive) and sum."""
    if gains.size == 0:
        return 0, 0, 0.0
    sums = np.concatenate([[0.0], np.cumsum(gains)])
    lowest = np.minimum.accumulate(sums)
    end = int(np.argmax(sums - lowest))
    start = int(np.argmin(sums[: end + 1]))
    return start, end, float(sums[end] - sums[start])
