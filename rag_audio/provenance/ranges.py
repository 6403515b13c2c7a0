"""From where to where a piece of audio is an output: its sound, window by window.

A mark or a manifest speaks for a whole file, and a fingerprint finds the best place in it. A file
may hold an output and then something else; here every second is compared with the output.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rag_audio.provenance.fingerprint import Fingerprint, Peaks, Query, agreement, make_query

SHORTEST_S = 2.5
"""What is shorter is not called another sound."""
JUDGED_LANDMARKS = 60
"""Landmarks that a sound must have to be called another one."""
SAME_SHARE, SAME_LANDMARKS = 0.1, 12
"""Share, and number, of agreeing landmarks from which on a sound is the output's."""
OTHER_SHARE = 0.04
"""Below it a sound is another one."""
_SAME_OF_CLEAREST, _OTHER_OF_CLEAREST = 0.3, 0.12
"""The same, as parts of the share in the clearest window: where an output is heard clearly, another
of the same seed, which reaches 0.1, is not taken for it (``benchmarks/bench_fingerprint.py``)."""
_WINDOW_S, _STEP_S, _BIN_S = 5.0, 1.0, 0.5
_BIN_PART, _BIN_LANDMARKS, _BIN_JUDGED = 0.6, 4, 10
_GAP_S = 1.5

Counts = NDArray[np.float64]


class Sound(StrEnum):
    """What a stretch of sound is, held against an output."""

    SAME, OTHER, UNCLEAR = "same", "other", "unclear"


@dataclass(frozen=True)
class TimeRange:
    """A stretch of a traced file.

    Attributes:
        start_s, end_s: in the file.
        output: whose sound it is; None: of no output that is known, or not checked.
        checked: False where there is too little sound to tell.
        transplanted: the mark of an output is in it whose sound it is not.
        marked: that output.
    """

    start_s: float
    end_s: float
    output: int | None
    checked: bool = True
    transplanted: bool = False
    marked: int | None = None

    @property
    def named(self) -> tuple[int, ...]:
        """Every output that it names."""
        return tuple(number for number in (self.output, self.marked) if number is not None)

    @property
    def in_words(self) -> str:
        """What it is, for people."""
        if self.output is not None:
            said = f"output {self.output}"
        else:
            said = "no output that can be named" if self.checked else "cannot be told"
        if not self.transplanted:
            return said
        whose = "an output" if self.marked is None else f"output {self.marked}"
        return f"{said}, where the mark of {whose} was moved to"

    def to_json(self) -> dict[str, Any]:
        """As in the ``ranges`` of ``trace --json``."""
        return {
            "start_s": round(self.start_s, 2),
            "end_s": round(self.end_s, 2),
            "output": self.output,
            "checked": self.checked,
            "transplanted": self.transplanted,
        }


def part_of(peaks: Peaks, start_s: float, end_s: float) -> Peaks:
    """The peaks of a stretch, with times from its start."""
    low, high = np.searchsorted(peaks.times_s, (start_s, end_s))
    times = peaks.times_s[low:high] - start_s
    return Peaks(times, peaks.semitones[low:high], end_s - start_s)


@dataclass(frozen=True, eq=False)
class _Window:
    """A piece of the sound: its bins, its landmarks, and those that agree with the output."""

    bins: slice
    query: Query
    agreeing: NDArray[np.int64]
    share: float

    @property
    def judged(self) -> NDArray[np.bool_]:
        """Bins that hold landmarks enough to be called another sound; silence holds none."""
        count = self.bins.stop - self.bins.start
        if self.query.times_s.size < JUDGED_LANDMARKS:
            return np.zeros(count, np.bool_)
        edges = np.arange(count + 1) * _BIN_S
        there = np.histogram(self.query.times_s / self.query.tempo, edges)[0]
        near: NDArray[np.bool_] = np.convolve(there, np.ones(5), "same")[:count] >= _BIN_JUDGED
        return near

    def local(self, around: int) -> Counts:
        """The share of agreeing landmarks around each of its bins; 0 where too few agree."""
        count = self.bins.stop - self.bins.start
        times = self.query.times_s / self.query.tempo
        edges = np.arange(count + 1) * _BIN_S
        every, those = (
            np.convolve(np.histogram(some, edges)[0], np.ones(around), "same")[:count]
            for some in (times, times[self.agreeing])
        )
        return np.where(those < _BIN_LANDMARKS, 0.0, those / np.maximum(every, 1.0))


def compare(
    peaks: Peaks,
    kept: Fingerprint,
    tempo: float = 1.0,
    semitones: float = 0.0,
    *,
    strict: bool = False,
) -> list[tuple[float, float, Sound]]:
    """(start, end, what it is) of the stretches of a sound, in seconds, held against an output.

    Args:
        peaks: of the whole sound.
        kept: of the output. tempo, semitones: how the sound was changed since.
        strict: nothing is another sound for being much less clear than the clearest window, as an
            output under speech is.
    """
    bins = max(1, int(np.ceil(peaks.duration_s / _BIN_S)))
    windows = _windows(peaks, kept, tempo, semitones, bins)
    clearest = max((window.share for window in windows), default=0.0)
    same_share = max(SAME_SHARE, _SAME_OF_CLEAREST * clearest)
    other_share = OTHER_SHARE if strict else max(OTHER_SHARE, _OTHER_OF_CLEAREST * clearest)
    same, judged = np.zeros(bins, np.bool_), np.zeros(bins, np.bool_)
    nearest = np.zeros(bins)
    for window in windows:
        here, share = window.bins, window.share
        judged[here] |= window.judged
        # A window that holds some of the output says nothing as a whole against its other parts.
        near = window.local(5) if share >= other_share else np.float64(share)
        nearest[here] = np.maximum(nearest[here], near)
        if share >= same_share and window.agreeing.size >= SAME_LANDMARKS:
            same[here] |= window.local(3) >= _BIN_PART * same_share
    return _stretches(same, judged & (nearest < other_share), peaks.duration_s)


def _windows(
    peaks: Peaks, kept: Fingerprint, tempo: float, semitones: float, bins: int
) -> list[_Window]:
    length = min(_WINDOW_S, peaks.duration_s)
    found = []
    for start in np.arange(0.0, max(0.0, peaks.duration_s - length) + _STEP_S / 2, _STEP_S):
        query = make_query(part_of(peaks, start, start + length), tempo, semitones)
        here = slice(int(start / _BIN_S), min(bins, int(np.ceil((start + length) / _BIN_S))))
        if query.times_s.size:
            agreeing, share = agreement(query, kept.hashes, kept.times_ms, kept.duration_s)
            found.append(_Window(here, query, agreeing, share))
    return found


def _stretches(
    same: NDArray[np.bool_], apart: NDArray[np.bool_], duration_s: float
) -> list[tuple[float, float, Sound]]:
    """Equal neighbours put together; short gaps in the output's sound are its own."""
    _close_gaps(same)
    other = ~same & apart
    kinds = [
        Sound.SAME if a else Sound.OTHER if b else Sound.UNCLEAR
        for a, b in zip(same, other, strict=True)
    ]
    _give_seams_away(kinds)
    return [
        (first * _BIN_S, min(last * _BIN_S, duration_s), kind) for first, last, kind in _runs(kinds)
    ]


def _runs(kinds: list[Sound]) -> list[tuple[int, int, Sound]]:
    found, at = [], 0
    for kind, group in groupby(kinds):
        end = at + len(list(group))
        found.append((at, end, kind))
        at = end
    return found


def _give_seams_away(kinds: list[Sound]) -> None:
    """Short stretches that cannot be told go to another sound beside them; what is then called
    another sound for less than :data:`SHORTEST_S` is not clear."""
    for first, last, kind in _runs(kinds):
        beside = (kinds[max(0, first - 1)], kinds[min(last, len(kinds) - 1)])
        if kind is Sound.UNCLEAR and (last - first) * _BIN_S <= _GAP_S and Sound.OTHER in beside:
            kinds[first:last] = [Sound.OTHER] * (last - first)
    for first, last, kind in _runs(kinds):
        if kind is Sound.OTHER and (last - first) * _BIN_S < SHORTEST_S:
            kinds[first:last] = [Sound.UNCLEAR] * (last - first)


def _close_gaps(same: NDArray[np.bool_]) -> None:
    places = np.flatnonzero(same)
    for before, after in pairwise(places):
        if 1 < after - before <= _GAP_S / _BIN_S + 1:
            same[before:after] = True
