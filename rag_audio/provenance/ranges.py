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
"""Below it a sound is another one: unrelated music reaches 0.02, an output in a mix at equal level
0.07 (``benchmarks/bench_fingerprint.py``)."""
_WINDOW_S, _STEP_S, _BIN_S = 5.0, 1.0, 0.5
_BIN_SHARE, _BIN_LANDMARKS = 0.06, 4
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
            said = "no output that can be named" if self.checked else "too little to tell"
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


def compare(
    peaks: Peaks, kept: Fingerprint, tempo: float = 1.0, semitones: float = 0.0
) -> list[tuple[float, float, Sound]]:
    """(start, end, what it is) of the stretches of a sound, in seconds, held against an output.

    Args:
        peaks: of the whole sound.
        kept: of the output. tempo, semitones: how the sound was changed since.
    """
    bins = max(1, int(np.ceil(peaks.duration_s / _BIN_S)))
    same = np.zeros(bins, np.bool_)
    nearest = np.zeros(bins)
    judged = np.zeros(bins, np.bool_)
    length = min(_WINDOW_S, peaks.duration_s)
    starts = np.arange(0.0, max(0.0, peaks.duration_s - length) + _STEP_S / 2, _STEP_S)
    for start in starts:
        query = make_query(part_of(peaks, start, start + length), tempo, semitones)
        here = slice(int(start / _BIN_S), min(bins, int(np.ceil((start + length) / _BIN_S))))
        if query.times_s.size == 0:
            continue
        agreeing, share = agreement(query, kept.hashes, kept.times_ms, kept.duration_s)
        judged[here] |= query.times_s.size >= JUDGED_LANDMARKS
        count = here.stop - here.start
        # A window that holds some of the output says nothing as a whole against its other parts.
        near = np.full(count, share) if share < OTHER_SHARE else _local(query, agreeing, count, 5)
        nearest[here] = np.maximum(nearest[here], near)
        if share >= SAME_SHARE and agreeing.size >= SAME_LANDMARKS:
            same[here] |= _local(query, agreeing, count, 3) >= _BIN_SHARE
    return _stretches(same, nearest, judged, peaks.duration_s)


def _local(query: Query, agreeing: NDArray[np.int64], bins: int, around: int) -> Counts:
    """``[bins]``: the share of agreeing landmarks around each bin of a window; 0 where too few."""
    times = query.times_s / query.tempo
    edges = np.arange(bins + 1) * _BIN_S
    every, those = (
        np.convolve(np.histogram(some, edges)[0], np.ones(around), "same")[:bins]
        for some in (times, times[agreeing])
    )
    return np.where(those < _BIN_LANDMARKS, 0.0, those / np.maximum(every, 1.0))


def _stretches(
    same: NDArray[np.bool_], nearest: Counts, judged: NDArray[np.bool_], duration_s: float
) -> list[tuple[float, float, Sound]]:
    """Equal neighbours put together; short gaps in the output's sound are its own."""
    _close_gaps(same)
    other = ~same & judged & (nearest < OTHER_SHARE)
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
