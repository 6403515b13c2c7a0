"""How much must be done to a stem before it has a wanted tempo and key."""

from __future__ import annotations

import math

from rag_audio.domain import Key, Stem, StemKind

SCORE_SHARE = 0.25
"""A score is played at any tempo: of its stretch so much counts, since its music may suffer."""


def effort_of(stem: Stem, bpm: float | None, key: Key | None) -> float | None:
    """How far a stem is from a tempo and key, in semitones; a stretch of 6 % counts as one.

    Half and double tempo are as near as the tempo itself, and a key's relative as near as the key.
    A key that a stem lacks need not be changed: drums have none. Where a tempo is wanted and the
    stem has none that is known, nobody can say: None.

    Args:
        bpm, key: None: any will do.
    """
    effort = 0.0
    if bpm is not None:
        if not stem.bpm:
            return None
        octaves = math.log2(bpm / stem.bpm)
        stretch = 12 * min(abs(octaves + shift) for shift in (-1, 0, 1))
        effort += stretch * (SCORE_SHARE if stem.kind is StemKind.MIDI else 1.0)
    if key is not None and stem.key is not None:
        effort += abs(stem.key.semitones_to(key))
    return effort
