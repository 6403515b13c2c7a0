"""Which outputs a sound may be that was played at another speed or pitch, backwards, or damaged.

All landmarks that are kept are held against some of the sound's at each of 14 hypotheses: seven
tempos, forwards and backwards. Pitch needs no hypothesis: the difference of the pitches is counted
with each landmark that agrees in gap and leap. So one pass names the outputs that share most, and
about how much higher the sound is. Landmarks are short, so it says little of the tempo: that, and
the place, is found by :mod:`.alignment`, for the best outputs alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from rag_audio.provenance.fingerprint import Numbers, Peaks, Reals, backwards, cells_of, pairs

TEMPOS = tuple(round(1.0 + 0.04 * step, 2) for step in range(-3, 4))
"""Of a sound against an output: ±12 %. A landmark lies within half a cell of its place at one."""
MOST_SEMITONES = 3.5
_SHIFTS = round(2 * MOST_SEMITONES)
_GAPS, _LEAPS, _PITCHES = 64, 64, 128
_BORDER = 0.3
_MOST_LANDMARKS = 600
_TOGETHER = 500
"""Outputs whose landmarks are in memory at once."""


@dataclass(frozen=True)
class Candidate:
    """An output that a sound may be.

    Attributes:
        semitones: by about how many the sound is higher.
        z: how far the count of its landmarks stands out from those of its other hypotheses.
    """

    output: int
    semitones: float
    z: float


def candidates(kept: Iterable[tuple[int, Numbers]], peaks: Peaks, most: int) -> list[Candidate]:
    """The outputs that a piece of sound is most likely to be, however it was changed.

    Args:
        kept: the hashes of each output.
        peaks: of the piece; 600 of its landmarks, evenly spread, are asked for.
        most: how many outputs are named.
    """
    queries = [_query(one) for one in (peaks, backwards(peaks))]
    if not queries[0][0].size:
        return []
    found: list[Candidate] = []
    for outputs, owners, hashes in _in_blocks(kept):
        found += _best(queries, outputs, owners, hashes)
        found = sorted(found, key=lambda one: -one.z)[:most]
    return found


def _query(peaks: Peaks) -> tuple[Reals, Reals, Reals]:
    """Gap, pitch and leap of at most 600 landmarks, evenly spread."""
    gaps, pitches, leaps = pairs(peaks)
    chosen = np.linspace(0, gaps.size - 1, min(gaps.size, _MOST_LANDMARKS)).astype(np.int64)
    return gaps[chosen], pitches[chosen], leaps[chosen]


def _in_blocks(
    kept: Iterable[tuple[int, Numbers]],
) -> Iterator[tuple[list[int], Numbers, Numbers]]:
    """Outputs, and of all their landmarks the owner's place among them and the hash."""
    rest = iter(kept)
    while block := [(output, np.unique(hashes)) for output, hashes in islice(rest, _TOGETHER)]:
        sizes = [hashes.size for _, hashes in block]
        owners = np.repeat(np.arange(len(block)), sizes)
        yield [output for output, _ in block], owners, np.concatenate([h for _, h in block])


def _best(
    queries: Sequence[tuple[Reals, Reals, Reals]],
    outputs: Sequence[int],
    owners: Numbers,
    hashes: Numbers,
) -> list[Candidate]:
    """Each output at its best hypothesis."""
    gaps, pitches, leaps = cells_of(hashes)
    lines = (gaps * _LEAPS + leaps + _LEAPS // 2) * _PITCHES + pitches
    order = np.argsort(lines, kind="stable")
    owners, pitches = owners[order], pitches[order]
    starts = np.zeros(_GAPS * _LEAPS * _PITCHES + 1, np.int64)
    np.cumsum(np.bincount(lines, minlength=starts.size - 1), out=starts[1:])
    width = 2 * _SHIFTS + 1
    votes = np.empty((len(queries), len(TEMPOS), width, len(outputs)), np.float32)
    for which, (gap, pitch, leap) in enumerate(queries):
        for at, tempo in enumerate(TEMPOS):
            line, centre = _probes(gap * tempo, pitch, leap)
            low = starts[line + np.maximum(centre - _SHIFTS, 0)]
            sizes = starts[line + np.minimum(centre + _SHIFTS, _PITCHES - 1) + 1] - low
            there = np.repeat(low - np.cumsum(sizes) + sizes, sizes) + np.arange(sizes.sum())
            shift = pitches[there] - np.repeat(centre, sizes) + _SHIFTS
            counted = np.bincount(
                shift * len(outputs) + owners[there], minlength=width * len(outputs)
            )
            votes[which, at] = counted.reshape(width, len(outputs))
    # A pitch lies between two cells: both are counted.
    votes[:, :, :-1] += votes[:, :, 1:]
    every = votes[:, :, :-1].reshape(-1, len(outputs))
    chance = every.mean(axis=0)
    best = every.argmax(axis=0)
    z = (every[best, np.arange(len(outputs))] - chance) / np.sqrt(chance + 1.0)
    shifts = best % (width - 1)
    return [
        Candidate(output, (_SHIFTS - float(shift) - 0.5) / 2, float(score))
        for output, shift, score in zip(outputs, shifts, z, strict=True)
    ]


def _probes(gaps: Reals, pitches: Reals, leaps: Reals) -> tuple[Numbers, Numbers]:
    """First cell of each line of pitches that a landmark may lie in, and the pitch's own cell."""
    centre = np.clip(np.rint(pitches), 0, _PITCHES - 1).astype(np.int64)
    lines, centres = [], []
    for gap in _near(gaps):
        for leap in _near(leaps):
            there = (gap >= 0) & (gap < _GAPS) & (np.abs(leap) < _LEAPS // 2)
            line = (gap * _LEAPS + leap + _LEAPS // 2) * _PITCHES
            lines.append(line[there])
            centres.append(centre[there])
    return np.concatenate(lines), np.concatenate(centres)


def _near(values: Reals) -> tuple[Numbers, Numbers]:
    """The cell of each value, and the one beside it where the border is near; else -1000."""
    nearest = np.rint(values).astype(np.int64)
    beyond = nearest + np.where(values >= nearest, 1, -1)
    return nearest, np.where(np.abs(values - nearest) > 0.5 - _BORDER, beyond, -1000)
