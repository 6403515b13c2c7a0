"""How two sets of spectral peaks lie over each other: where, at which tempo and pitch, how exactly.

A landmark is lost when one of its two peaks is, or when another peak comes between them; a peak is
lost alone. So a damaged copy that shares few landmarks with an output still has peaks where the
output has them. Landmarks say where their first peak was, which is all that is needed of what is
kept. Where the differences of times and pitches of all pairs of peaks are counted, a copy stands
out at one place: a generalised Hough transform (Ballard, "Generalizing the Hough transform to
detect arbitrary shapes", Pattern Recognition 13(2), 1981).

Another output of the same references has many peaks in nearly the same places, those of a copy lie
within a few milliseconds: *exact* peaks tell the two apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rag_audio.provenance.trace.fingerprint import Fingerprint, Numbers, PeakSet, Reals, cells_of

EXACT_S, CLOSE_S = 0.006, 0.012
_BIN_S, _BIN_SEMITONES = 0.02, 0.25
_REACH_S, _REACH_SEMITONES = 0.035, 0.45
_AROUND_S, _ITSELF_S = 1.5, 0.15
_FITTED_S = (0.06, 0.04, 0.025)
_ROBUST_S = 0.008
_FEWEST = 8
_EDGE_S = 0.03
_MOST_DRIFT = 0.015


@dataclass(frozen=True)
class PeakAlignment:
    """The best place of a sound's peaks over those of an output.

    Attributes:
        tempo, semitones: of the sound against the output; 1.05 is 5 % faster.
        offset_s: time in the output at which the sound begins.
        z: how far the number of pairs at this offset stands out from that at offsets around it, in
            standard deviations of a Poisson distribution.
        shared: peaks of the output that the sound has within 35 ms and 0.45 semitones.
        exact, close: those within 6 and within 12 ms.
        possible: the peaks of the one of both that has fewer, where they overlap; at least 1.
    """

    tempo: float
    semitones: float
    offset_s: float
    z: float
    shared: int
    exact: int
    close: int
    possible: int

    @property
    def share(self) -> float:
        """Of the possible peaks those that are shared, 0…1."""
        return self.shared / self.possible

    @property
    def exact_share(self) -> float:
        """Of the possible peaks those that are exact, 0…1."""
        return self.exact / self.possible

    @property
    def close_share(self) -> float:
        """Of the possible peaks those that are close, 0…1."""
        return self.close / self.possible


def peaks_of(kept: Fingerprint) -> PeakSet:
    """The peaks at which the landmarks of an output begin; pitches are right to 0.25 semitones."""
    _, pitches, _ = cells_of(kept.hashes)
    rows = np.unique(np.stack([kept.times_ms, pitches], axis=1), axis=0)
    return PeakSet(rows[:, 0] / 1000.0, rows[:, 1] * 0.5, kept.duration_s)


def align(
    kept: PeakSet,
    heard: PeakSet,
    tempos: Sequence[float] = (1.0,),
    semitones: float = 0.0,
    reach: float = 0.25,
) -> PeakAlignment | None:
    """The best place of a sound over an output; None where one of them has too few peaks.

    Args:
        kept: of the output. heard: of the sound.
        tempos: that are tried; with several, the tempo is fitted to within a fraction of a percent.
        semitones: by which the sound may be higher, give or take ``reach``.
    """
    if min(kept.times_s.size, heard.times_s.size) < _FEWEST:
        return None
    leaps = kept.semitones[:, None] - heard.semitones[None, :] + semitones
    mine, theirs = np.nonzero(np.abs(leaps) <= reach + 2 * _BIN_SEMITONES)
    if mine.size == 0:
        return None
    leaps = leaps[mine, theirs]
    best = (-np.inf, 1.0, 0.0, 0.0)
    for tempo in tempos:
        apart = kept.times_s[mine] - heard.times_s[theirs] * tempo
        z, offset_s, leap = _fullest(apart, leaps, reach)
        if z > best[0]:
            best = (z, tempo, offset_s, leap)
    z, tempo, offset_s, leap = best
    tempo, offset_s, leap = _fitted(
        kept, heard, tempo, offset_s, leap - semitones, drifts=len(tempos) > 1
    )
    return _counted(kept, heard, tempo, offset_s, leap, z)


def _fullest(apart: Reals, leaps: Reals, reach: float) -> tuple[float, float, float]:
    """z, offset in seconds and leap of the cell of the histogram that stands out most."""
    low = float(apart.min()) - _BIN_S
    times = int((float(apart.max()) - low) / _BIN_S) + 2
    rows = int(np.ceil((2 * reach + 4 * _BIN_SEMITONES) / _BIN_SEMITONES)) + 1
    row = ((leaps + reach + 2 * _BIN_SEMITONES) / _BIN_SEMITONES).astype(np.int64)
    cells = row * times + ((apart - low) / _BIN_S).astype(np.int64)
    counts = np.bincount(cells, minlength=rows * times).reshape(rows, times)
    counts = np.pad(counts, 1)
    counts = counts[1:-1] + counts[:-2] + counts[2:]
    counts = counts[:, 1:-1] + counts[:, :-2] + counts[:, 2:]
    row_at, at = np.unravel_index(int(counts.argmax()), counts.shape)
    itself, around = round(_ITSELF_S / _BIN_S), round(_AROUND_S / _BIN_S)
    line = counts[row_at]
    beside = np.concatenate(
        [line[max(0, at - around) : max(0, at - itself)], line[at + itself + 1 : at + around + 1]]
    )
    chance = float(beside.mean()) if beside.size else 0.0
    z = (float(line[at]) - chance) / np.sqrt(chance + 1.0)
    leap = (float(row_at) + 0.5) * _BIN_SEMITONES - reach - 2 * _BIN_SEMITONES
    return float(z), low + (float(at) + 0.5) * _BIN_S, leap


def _fitted(
    kept: PeakSet, heard: PeakSet, tempo: float, offset_s: float, leap: float, *, drifts: bool
) -> tuple[float, float, float]:
    """Tempo, offset and leap by the pairs that are near each other, in ever narrower reach."""
    tried = tempo
    for reach_s in _FITTED_S:
        mine, theirs = _pairs(kept, heard, tempo, offset_s, leap, reach_s)
        if mine.size < _FEWEST:
            break
        here, there = heard.times_s[theirs], kept.times_s[mine]
        off = there - here * tempo - offset_s
        if drifts:
            weights = 1.0 / (1.0 + (off / _ROBUST_S) ** 2)
            line = np.stack([here, np.ones_like(here)], axis=1) * weights[:, None]
            slope, start = np.linalg.lstsq(line, there * weights, rcond=None)[0]
            if abs(slope / tried - 1.0) < _MOST_DRIFT:
                tempo, offset_s = float(slope), float(start)
        else:
            offset_s += float(np.median(off))
        leap = float(np.median(kept.semitones[mine] - heard.semitones[theirs]))
    return tempo, offset_s, leap


def _counted(
    kept: PeakSet, heard: PeakSet, tempo: float, offset_s: float, leap: float, z: float
) -> PeakAlignment:
    mine, theirs = _pairs(kept, heard, tempo, offset_s, leap, _REACH_S)
    place = heard.times_s * tempo + offset_s
    off = np.abs(kept.times_s[mine] - place[theirs])
    order = np.argsort(off, kind="stable")
    _, first = np.unique(mine[order], return_index=True)
    off = off[order][first]
    covered = (kept.times_s >= place[0] - _EDGE_S) & (kept.times_s <= place[-1] + _EDGE_S)
    within = (place >= -_EDGE_S) & (place <= kept.duration_s + _EDGE_S)
    possible = max(1, min(int(covered.sum()), int(within.sum())))
    return PeakAlignment(
        tempo,
        -leap,
        offset_s,
        z,
        min(possible, int(off.size)),
        min(possible, int((off < EXACT_S).sum())),
        min(possible, int((off < CLOSE_S).sum())),
        possible,
    )


def _pairs(
    kept: PeakSet, heard: PeakSet, tempo: float, offset_s: float, leap: float, reach_s: float
) -> tuple[Numbers, Numbers]:
    """Peaks of an output and of a sound that are near each other: indices ``[N]`` of both."""
    place = heard.times_s * tempo + offset_s
    low = np.searchsorted(kept.times_s, place - reach_s, side="left")
    counts = np.searchsorted(kept.times_s, place + reach_s, side="right") - low
    theirs = np.repeat(np.arange(place.size), counts)
    starts = np.repeat(low - np.cumsum(counts) + counts, counts)
    mine = starts + np.arange(counts.sum())
    near = np.abs(kept.semitones[mine] - heard.semitones[theirs] - leap) <= _REACH_SEMITONES
    return mine[near], theirs[near]
