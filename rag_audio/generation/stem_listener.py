"""Hear which partials sound in the stems of a library, while a plan is made."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from rag_audio.domain import Segment, StemKind
from rag_audio.errors import LibraryError
from rag_audio.generation.harmony import SAMPLE_RATE, Harmony, harmony_of, harmony_of_score
from rag_audio.generation.stem_player import StemPlayer

_LONGEST_S = 10.0
_MOST_KEPT = 256


class StemListener:
    """Hears the harmony of segments, and keeps what it heard of the last 256."""

    def __init__(self, player: StemPlayer) -> None:
        self._player = player
        self._heard = lru_cache(_MOST_KEPT)(self._hear)

    def listen(self, segment: Segment) -> Harmony | None:
        """The partials of a segment's first ten seconds; a score is not played, its notes tell.

        Returns:
            None where the file cannot be read: who makes the sound is told why.
        """
        try:
            return self._heard(replace(segment, duration_s=min(segment.duration_s, _LONGEST_S)))
        except LibraryError:
            return None

    def _hear(self, segment: Segment) -> Harmony:
        if segment.stem.kind is StemKind.AUDIO:
            return harmony_of(self._player.play(segment, SAMPLE_RATE))
        score = self._player.score(segment.stem)
        return harmony_of_score(score, segment.start_s, segment.duration_s)
