"""What hides a number in sound, and finds it again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from rag_audio.domain import Audio


@dataclass(frozen=True)
class Mark:
    """What a watermark carries: a number of 40 bits, and whether somebody embedded it by hand."""

    payload: int
    by_hand: bool = False


@dataclass(frozen=True)
class Detection:
    """What a watermark detector heard.

    Attributes:
        mark: None when nothing with a valid tag was found.
        confidence: 0…1, from the detection statistic.
        tempo: ratio found, 1 = unchanged. semitones: pitch shift found.
        offset_s: where the first whole block starts.
        others: further marks in the same sound: older ones, or those of a mix.
        over_time: (seconds, confidence) along the sound, for the mark that was found, if any.
    """

    mark: Mark | None
    confidence: float
    tempo: float = 1.0
    semitones: float = 0.0
    offset_s: float = 0.0
    others: tuple[Mark, ...] = ()
    over_time: tuple[tuple[float, float], ...] = ()


class Watermarker(Protocol):
    """Hides a number in sound."""

    name: str

    def embed(self, audio: Audio, mark: Mark) -> Audio | None:
        """The marked audio, same rate, channels and length; None: too little to carry a mark."""
        ...

    def detect(self, audio: Audio) -> Detection:
        """Finds the mark in any rate, channel count and length, at other tempos and pitches too."""
        ...

    def detect_pieces(self, pieces: Iterable[Audio]) -> Detection:
        """The same for sound that comes piece by piece, so that its length costs no memory."""
        ...
