"""Which stems a sound holds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Found:
    """A stem in a sound.

    Attributes:
        stem_id: of the stem.
        confidence: 0…1; 0.5 is what just suffices.
        agreeing: peaks of the stem that the sound holds where they belong.
        start_s, end_s: where in the sound.
        offset_s: where in the stem ``start_s`` lies; where the stem is reversed, counted from the
            stem's start to the sound at ``start_s``, from which it then runs backwards.
        tempo: of the sound against the stem; 1.05 is 5 % faster.
        semitones: by how many the sound is higher than the stem.
        reversed: whether it runs backwards.
        view: which of the given sounds it was found in, from 0.
    """

    stem_id: str
    confidence: float
    agreeing: int
    start_s: float
    end_s: float
    offset_s: float
    tempo: float
    semitones: float
    reversed: bool
    view: int
