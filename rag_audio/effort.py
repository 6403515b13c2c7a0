"""How much must be done to a stem before it has a wanted tempo and key."""

from __future__ import annotations

import math

from rag_audio.domain import Key, Stem


def effort_of(stem: Stem, bpm: float | None, key: Key | None) -> float:
    """How far a stem is from a tempo and key, in semitones; a stretch of 6 % counts as one.

    Half and double tempo are as near as the tempo itself, and a key's relative as near as the key.
    What a stem lacks need not be changed: drums have no key.

    Args:
        bpm, key: None: any will do.
    """
    effort = 0.0
    if bpm is not None and stem.bpm:
        octaves = math.log2(bpm / stem.bpm)
        effort += 12 * min(abs(octaves + shift) for shift in (-1, 0, 1))
    if key is not None and stem.key is not None:
        effort += abs(stem.key.semitones_to(key))
    return effort
