"""What a traced file is from where to where: an output, another one, or something else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rag_audio.domain import Audio
from rag_audio.ports import Watermarker
from rag_audio.provenance.content import Fingerprints, fits_of
from rag_audio.provenance.fingerprint import Fingerprint, Peaks
from rag_audio.provenance.ranges import Sound, TimeRange, compare, part_of

Change = tuple[float, float]
"""Tempo (ratio) and semitones that a sound was changed by."""
UNCHANGED: Change = (1.0, 0.0)
_SAME_DISTANCE = 0.7
_SEARCHED_S, _MOST_SEARCHED = 5.0, 8
"""A stretch of another sound is searched for a mark and for other outputs from this length on, and
so many of them, the longest first."""


@dataclass(frozen=True)
class Placed:
    """What a file is in time.

    Attributes:
        ranges: in order, without gaps; empty where the whole is too weak a copy to be taken apart.
        says: for people; empty where all of the file is the output.
    """

    ranges: tuple[TimeRange, ...] = ()
    says: str = ""

    @property
    def moved(self) -> bool:
        """Whether a mark was moved into a stretch that is not its output's sound."""
        return any(one.transplanted for one in self.ranges)


class Placer:
    """Takes files apart.

    Args:
        master: the unmarked sound of an output, where it is still kept.
    """

    def __init__(
        self,
        fingerprints: Fingerprints | None,
        watermarker: Watermarker,
        master: Callable[[int], Audio | None],
    ) -> None:
        self._fingerprints, self._watermarker = fingerprints, watermarker
        self._master = master

    def place(
        self,
        output: int,
        kept: Fingerprint,
        peaks: Peaks,
        heard: Audio,
        change: Change,
        is_known: Callable[[int], bool],
    ) -> Placed:
        """Where in a sound an output is, and what the rest of it is.

        Args:
            kept: the output's. peaks: of the whole sound.
            change: how the sound was changed since.
            is_known: whether the ledger has an output.
        """
        # Without the master there is no second opinion on a stretch that is less clear.
        parts = compare(peaks, kept, *change, strict=self._master(output) is None)
        if not any(sound is Sound.SAME for _, _, sound in parts):
            return Placed()
        other = [(a, b) for a, b, sound in parts if sound is Sound.OTHER and b - a >= _SEARCHED_S]
        searched = sorted(other, key=lambda part: part[0] - part[1])[:_MOST_SEARCHED]
        found: list[TimeRange] = []
        for start, end, sound in parts:
            if (start, end) in searched:
                found.append(self._elsewhere(output, peaks, heard, start, end, is_known))
            else:
                whose = output if sound is Sound.SAME else None
                found.append(TimeRange(start, end, whose, sound is not Sound.UNCLEAR))
        ranges = _joined(found)
        return Placed(tuple(ranges), _in_words(ranges, output))

    def is_in_master(self, output: int, sound: Audio) -> bool:
        """A second opinion, by another feature, before anything is called transplanted."""
        whole = self._master(output)
        if whole is None:
            return False
        from rag_audio.similarity import copy_distance

        return copy_distance(whole, sound) < _SAME_DISTANCE

    def _elsewhere(
        self,
        output: int,
        peaks: Peaks,
        heard: Audio,
        start: float,
        end: float,
        is_known: Callable[[int], bool],
    ) -> TimeRange:
        """What a stretch is that by its landmarks is not the output's sound."""
        first, last = round(start * heard.sample_rate), round(end * heard.sample_rate)
        sound = Audio(np.ascontiguousarray(heard.samples[:, first:last]), heard.sample_rate)
        if self.is_in_master(output, sound):
            return TimeRange(start, end, output)
        mark = self._watermarker.detect(sound).mark
        marked = None if mark is None or mark.by_hand else mark.payload
        fits = (
            []
            if self._fingerprints is None
            else fits_of(self._fingerprints, part_of(peaks, start, end))
        )
        other = next((fit.output for fit in fits if is_known(fit.output)), None)
        moved = marked not in (None, other)
        return TimeRange(start, end, other, transplanted=moved, marked=marked if moved else None)


def _joined(ranges: Sequence[TimeRange]) -> list[TimeRange]:
    """Neighbours of which the same is told, put together."""
    made: list[TimeRange] = []
    for one in ranges:
        if made and one == replace(made[-1], start_s=one.start_s, end_s=one.end_s):
            made[-1] = replace(made[-1], end_s=one.end_s)
        else:
            made.append(one)
    return made


def _in_words(ranges: Sequence[TimeRange], output: int) -> str:
    if not any(one.checked and one.output != output for one in ranges):
        return ""
    told = (f"{one.start_s:.1f} to {one.end_s:.1f} s: {one.in_words}" for one in ranges)
    return f"In time: {'; '.join(told)}."
