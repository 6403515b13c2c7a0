"""The time ranges of a traced file, and the output, if any, that each of them is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import groupby, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rag_audio.domain import Audio
from rag_audio.domain.ports import Detection, Watermarker
from rag_audio.provenance.trace.content_matching import Hearing, Recogniser, hearings
from rag_audio.provenance.trace.fingerprint import (
    HOLDS,
    UNRELATED,
    Fingerprint,
    PeakSet,
    Query,
    make_query,
    match,
    part_of,
    peak_in_waveform,
    waveform_in,
)

# From where to where a piece of audio is an output: its sound, window by window.
#
# A mark or a manifest speaks for a whole file, and a fingerprint finds the best place in it. A
# file may hold an output and then something else; here every second is compared with the output.

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
_SLIVER_S = 0.1
"""What is shorter, and cannot be told, is no range of its own."""

Counts = NDArray[np.float64]


class StretchKind(StrEnum):
    """What a stretch of sound is, compared with an output: its sound, another one, or unclear."""

    SAME, OTHER, UNCLEAR = "same", "other", "unclear"


@dataclass(frozen=True)
class Stretch:
    """A stretch of a file, compared with an output."""

    start_s: float
    end_s: float
    kind: StretchKind

    @property
    def length_s(self) -> float:
        """Its duration."""
        return self.end_s - self.start_s


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


@dataclass(frozen=True, eq=False)
class _LandmarkWindow:
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
    peaks: PeakSet,
    kept: Fingerprint,
    tempo: float = 1.0,
    semitones: float = 0.0,
    *,
    strict: bool = False,
) -> list[Stretch]:
    """The stretches of a sound, compared with an output, in order and without gaps.

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
    peaks: PeakSet, kept: Fingerprint, tempo: float, semitones: float, bins: int
) -> list[_LandmarkWindow]:
    length = min(_WINDOW_S, peaks.duration_s)
    found = []
    for start in np.arange(0.0, max(0.0, peaks.duration_s - length) + _STEP_S / 2, _STEP_S):
        query = make_query(part_of(peaks, start, start + length), tempo, semitones)
        here = slice(int(start / _BIN_S), min(bins, int(np.ceil((start + length) / _BIN_S))))
        if query.times_s.size:
            best = match(query, kept)
            found.append(_LandmarkWindow(here, query, best.landmarks, best.share))
    return found


def _stretches(
    same: NDArray[np.bool_], apart: NDArray[np.bool_], duration_s: float
) -> list[Stretch]:
    """Equal neighbours put together; short gaps in the output's sound are its own."""
    _close_gaps(same)
    other = ~same & apart
    kinds = [
        StretchKind.SAME if a else StretchKind.OTHER if b else StretchKind.UNCLEAR
        for a, b in zip(same, other, strict=True)
    ]
    _give_seams_away(kinds)
    return [
        Stretch(first * _BIN_S, min(last * _BIN_S, duration_s), kind)
        for first, last, kind in _runs(kinds)
    ]


def _runs(kinds: list[StretchKind]) -> list[tuple[int, int, StretchKind]]:
    found, at = [], 0
    for kind, group in groupby(kinds):
        end = at + len(list(group))
        found.append((at, end, kind))
        at = end
    return found


def _give_seams_away(kinds: list[StretchKind]) -> None:
    """Short stretches that cannot be told go to another sound beside them; what is then called
    another sound for less than :data:`SHORTEST_S` is not clear."""
    for first, last, kind in _runs(kinds):
        beside = (kinds[max(0, first - 1)], kinds[min(last, len(kinds) - 1)])
        if (
            kind is StretchKind.UNCLEAR
            and (last - first) * _BIN_S <= _GAP_S
            and StretchKind.OTHER in beside
        ):
            kinds[first:last] = [StretchKind.OTHER] * (last - first)
    for first, last, kind in _runs(kinds):
        if kind is StretchKind.OTHER and (last - first) * _BIN_S < SHORTEST_S:
            kinds[first:last] = [StretchKind.UNCLEAR] * (last - first)


def _close_gaps(same: NDArray[np.bool_]) -> None:
    places = np.flatnonzero(same)
    for before, after in pairwise(places):
        if 1 < after - before <= _GAP_S / _BIN_S + 1:
            same[before:after] = True


Change = tuple[float, float]
"""Tempo (ratio) and semitones that a sound was changed by."""
UNCHANGED: Change = (1.0, 0.0)
_SAME_DISTANCE = 0.7
_SAME_TEMPO, _SAME_SEMITONES = 0.005, 0.05
_SEARCHED_S, _MOST_SEARCHED = 5.0, 8
"""A stretch of another sound is searched for a mark and for other outputs from this length on, and
so many of them, the longest first."""


class Placer:
    """Takes files apart.

    Args:
        recogniser: of outputs; None: no fingerprints are kept.
        master: the unmarked sound of an output, where it is still kept.
        is_known: whether the ledger has an output.
    """

    def __init__(
        self,
        recogniser: Recogniser | None,
        watermarker: Watermarker,
        master: Callable[[int], Audio | None],
        is_known: Callable[[int], bool],
    ) -> None:
        self._recogniser, self._watermarker = recogniser, watermarker
        self._master, self._is_known = master, is_known

    def place(
        self, output: int, kept: Fingerprint, sound: Hearing, change: Change
    ) -> tuple[TimeRange, ...]:
        """Where in a sound an output is, and what the rest of it is, in order and without gaps;
        empty where the whole is too weak a copy to be taken apart.

        Args:
            kept: the output's.
            sound: where it runs backwards, ranges are of the file that was turned round.
            change: how the sound was changed since.
        """
        keeps = self.keeps_master(output)
        # Without the master there is no second opinion on a stretch that is less clear.
        stretches = compare(sound.peaks, kept, *change, strict=not keeps)
        if not any(one.kind is StretchKind.SAME for one in stretches):
            return ()
        if keeps:
            stretches = _together(stretches)
        shortest_s = SHORTEST_S if keeps else _SEARCHED_S
        others = [one for one in stretches if one.kind is not StretchKind.SAME]
        long = [one for one in others if one.length_s >= shortest_s]
        searched = sorted(long, key=lambda one: -one.length_s)[:_MOST_SEARCHED]
        found: list[TimeRange] = []
        for one in stretches:
            if one in searched:
                found += self._elsewhere(output, kept, sound, one)
            elif one.kind is StretchKind.SAME:
                found.append(_range(one, output))
            else:
                found.append(_range(one, None, checked=one.kind is StretchKind.OTHER))
        if sound.runs_backwards:
            found = [_mirrored(one, sound.peaks.duration_s) for one in reversed(found)]
        return tuple(joined(without_slivers(found)))

    def is_in_master(self, output: int, sound: Audio) -> bool | None:
        """Whether a sound holds an output's master, alone or under other sound, at its speed and
        pitch; None: that cannot be told, or the master is not kept."""
        whole = self._master(output)
        if whole is None:
            return None
        from rag_audio.audio.copy_distance import copy_distance

        if copy_distance(whole, sound) < _SAME_DISTANCE:
            return True
        return _verdict(peak_in_waveform(whole, sound))

    def keeps_master(self, output: int) -> bool:
        """Whether there is a second opinion on an output's sound."""
        return self._master(output) is not None

    def _elsewhere(
        self, output: int, kept: Fingerprint, sound: Hearing, stretch: Stretch
    ) -> list[TimeRange]:
        """What a stretch is that by its landmarks is not clearly the output's sound."""
        piece = _cut(sound.audio, stretch)
        fits = [] if self._recogniser is None else self._recogniser.fits(hearings(piece))
        other = next((fit.output for fit in fits if self._is_known(fit.output)), None)
        if other is not None:
            mark = self._watermarker.detect(piece).mark
            moved = None if mark is None or mark.by_hand or mark.payload == other else mark.payload
            return [_range(stretch, other, transplanted=moved is not None, marked=moved)]
        found = []
        for part, holds in self._covered(output, sound.audio, stretch):
            if holds:
                found.append(_range(part, output))
            elif holds is None or part.kind is StretchKind.UNCLEAR:
                found.append(_range(part, None, checked=False))
            else:
                found.append(self._foreign(output, kept, sound, part))
        return found

    def _foreign(self, output: int, kept: Fingerprint, sound: Hearing, part: Stretch) -> TimeRange:
        """A part that is not the output at its own speed: it may be at another one."""
        if part.length_s < _SEARCHED_S:
            return _range(part, None)
        piece = _cut(sound.audio, part)
        detection = self._watermarker.detect(piece)
        mark = detection.mark
        if mark is None or mark.by_hand:
            return _range(part, None)
        if mark.payload != output and self._is_known(mark.payload):
            own = self.is_in_master(mark.payload, piece)
            if own or (own is None and self.keeps_master(mark.payload)):
                return _range(part, mark.payload if own else None, checked=bool(own))
        if is_changed(detection):
            here = part_of(sound.peaks, part.start_s, part.end_s)
            same = mark.payload == output and any(
                one.kind is StretchKind.SAME
                for change in undone(detection.tempo, detection.semitones)
                for one in compare(here, kept, *change)
            )
            return _range(part, output if same else None, checked=same)
        return _range(part, None, transplanted=True, marked=mark.payload)

    def _covered(
        self, output: int, heard: Audio, stretch: Stretch
    ) -> Iterator[tuple[Stretch, bool | None]]:
        """A stretch in parts that hold the output's waveform, under whatever, and that do not.

        Without the master all of it is one part, which does not.
        """
        whole = self._master(output)
        if whole is None:
            yield stretch, False
            return
        windows = waveform_in(whole, _cut(heard, stretch))
        edges = sorted({0.0, *(w.start_s for w in windows), *(w.end_s for w in windows)})
        told: list[tuple[float, float, bool | None]] = []
        for start, end in pairwise(edges):
            peaks = (w.peak for w in windows if w.start_s < end and w.end_s > start)
            holds = _verdict(max(peaks, default=0.0))
            if told and told[-1][2] == holds:
                start = told.pop()[0]
            told.append((start, end, holds))
        for start, end, holds in told:
            at = stretch.start_s
            yield Stretch(at + start, at + end, stretch.kind), holds


def _together(stretches: Sequence[Stretch]) -> list[Stretch]:
    """Neighbours that are not clearly the output's sound, as one."""
    made: list[Stretch] = []
    for one in stretches:
        kinds = {one.kind, made[-1].kind} if made else {StretchKind.SAME}
        if StretchKind.SAME in kinds:
            made.append(one)
        else:
            kind = StretchKind.OTHER if StretchKind.OTHER in kinds else StretchKind.UNCLEAR
            made[-1] = Stretch(made[-1].start_s, one.end_s, kind)
    return made


def undone(tempo: float, semitones: float) -> set[Change]:
    """How a sound may have been changed whose mark was read so, whichever way round one counts."""
    return {(t, p) for t in (tempo, 1.0 / tempo) for p in (semitones, -semitones)}


def is_changed(detection: Detection) -> bool:
    """Whether a mark was read at another tempo or pitch than it was written at."""
    tempo, semitones = abs(detection.tempo - 1.0), abs(detection.semitones)
    return tempo > _SAME_TEMPO or semitones > _SAME_SEMITONES


def _verdict(peak: float) -> bool | None:
    """Whether a sound holds a waveform; None: that cannot be told."""
    return None if UNRELATED <= peak < HOLDS else peak >= HOLDS


def _range(stretch: Stretch, output: int | None, **more: Any) -> TimeRange:
    return TimeRange(stretch.start_s, stretch.end_s, output, **more)


def _mirrored(one: TimeRange, duration_s: float) -> TimeRange:
    """The range in a sound that is played backwards."""
    start_s, end_s = duration_s - one.end_s, duration_s - one.start_s
    return replace(one, start_s=max(0.0, start_s), end_s=end_s)


def _cut(heard: Audio, stretch: Stretch) -> Audio:
    first, last = (round(at * heard.sample_rate) for at in (stretch.start_s, stretch.end_s))
    return Audio(np.ascontiguousarray(heard.samples[:, first:last]), heard.sample_rate)


def without_slivers(ranges: Sequence[TimeRange]) -> list[TimeRange]:
    """The ranges, with what is too short to be anything counted to the one before it, and at the
    beginning to the one behind it: a codec adds some milliseconds at the ends of a file."""
    made: list[TimeRange] = []
    start_s = ranges[0].start_s
    for one in ranges:
        if one.checked or one.end_s - one.start_s >= _SLIVER_S:
            made.append(replace(one, start_s=start_s))
        elif made:
            made[-1] = replace(made[-1], end_s=one.end_s)
        else:
            continue
        start_s = one.end_s
    return made or list(ranges)


def joined(ranges: Sequence[TimeRange]) -> list[TimeRange]:
    """Neighbours with the same finding, put together."""
    made: list[TimeRange] = []
    for one in ranges:
        if made and one == replace(made[-1], start_s=one.start_s, end_s=one.end_s):
            made[-1] = replace(made[-1], end_s=one.end_s)
        else:
            made.append(one)
    return made


def in_words(ranges: Sequence[TimeRange], output: int) -> str:
    """What a file is in time, for people; empty where all of it is the output."""
    if not any(one.checked and one.output != output for one in ranges):
        return ""
    told = (f"{one.start_s:.1f} to {one.end_s:.1f} s: {one.in_words}" for one in ranges)
    return f"In time: {'; '.join(told)}."
