"""Hear which partials sound in the stems of a library, while a plan is made."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from rag_audio.audio import midi
from rag_audio.audio.key_profiles import key_of, profile_scores
from rag_audio.domain import Segment, StemKind
from rag_audio.errors import LibraryError
from rag_audio.generation.harmony import SAMPLE_RATE, Harmony, harmony_of, harmony_of_score
from rag_audio.generation.stem_player import StemPlayer

_LONGEST_S = 10.0
_MOST_KEPT = 256
_READERS = 3  # profiles, each of which counts as much as the measurement


class StemListener:
    """Hears the harmony of segments, and keeps what it heard of the last 256."""

    def __init__(self, player: StemPlayer) -> None:
        self._player = player
        self._heard = lru_cache(_MOST_KEPT)(self._hear)

    def listen(self, segment: Segment) -> Harmony | None:
        """The partials and key of a segment's first ten seconds; the notes of a score tell them.

        Returns:
            None where the file cannot be read: who makes the sound is told why.
        """
        try:
            return self._heard(replace(segment, duration_s=min(segment.duration_s, _LONGEST_S)))
        except LibraryError:
            return None

    def _hear(self, segment: Segment) -> Harmony:
        start_s, duration_s = segment.start_s, segment.duration_s
        if segment.stem.kind is StemKind.AUDIO:
            return with_key(harmony_of(self._player.play(segment, SAMPLE_RATE)))
        score = self._player.score(segment.stem)
        heard = harmony_of_score(score, start_s, duration_s)
        return with_key(heard, midi.scores_of_keys(score, start_s, start_s + duration_s))


def with_key(heard: Harmony, scores: ArrayLike | None = None) -> Harmony:
    """A harmony with its key: the one that three profiles of its pitch classes agree on most, and
    of a score how its key is measured when it is indexed.

    Args:
        scores: ``[24]``, of :func:`.midi.scores_of_keys`.
    """
    agreed = profile_scores(heard.chroma(0.0)[0])
    if scores is not None:
        agreed = (_READERS * agreed + np.asarray(scores)) / (_READERS + 1)
    key, clarity = key_of(agreed)
    return replace(heard, key=key, key_clarity=clarity)
