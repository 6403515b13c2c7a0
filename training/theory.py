"""Keys, chords and voicings: the little harmony that the composers need."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rag_audio.domain import Key
from rag_audio.errors import InvalidInput

MODES: dict[str, tuple[int, ...]] = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "lydian": (0, 2, 4, 6, 7, 9, 11),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "harmonic minor": (0, 2, 3, 5, 7, 8, 11),
}
"""Semitones above the tonic."""

_NUMERALS = {"I": 0, "II": 1, "III": 2, "IV": 3, "V": 4, "VI": 5, "VII": 6}
_ROMAN = re.compile(r"([b#]?)([ivIV]+)(maj7|dim|sus4|sus2|add9|m7b5|6|7|9|5)?")


@dataclass(frozen=True)
class Scale:
    """A tonic (pitch class) and a mode of :data:`MODES`."""

    tonic: int
    mode: str = "major"

    @property
    def key(self) -> Key:
        """The major or minor key that listeners would name: the mode's third decides."""
        return Key(self.tonic % 12, MODES[self.mode][2] == 3)

    @property
    def classes(self) -> tuple[int, ...]:
        """Pitch classes from the tonic upwards."""
        return tuple((self.tonic + step) % 12 for step in MODES[self.mode])

    def near(self, pitch: float, classes: Sequence[int] | None = None) -> int:
        """The MIDI note nearest to ``pitch`` in the scale, or among ``classes``."""
        wanted = set(self.classes if classes is None else classes)
        middle = round(pitch)
        candidates = [p for p in range(middle - 7, middle + 8) if p % 12 in wanted]
        return min(candidates, key=lambda p: (abs(p - pitch), p))

    def step(self, pitch: int, steps: int) -> int:
        """``pitch`` (moved into the scale) and then so many scale steps up or down."""
        at = self.near(pitch)
        classes = self.classes
        index = classes.index(at % 12) + steps
        octave, degree = divmod(index, len(classes))
        base = at - (at - self.tonic) % 12
        return base + 12 * octave + (classes[degree] - self.tonic) % 12


@dataclass(frozen=True)
class Chord:
    """Root pitch class and the semitones above it, root first."""

    root: int
    intervals: tuple[int, ...]

    @property
    def classes(self) -> tuple[int, ...]:
        return tuple((self.root + step) % 12 for step in self.intervals)


def chord(scale: Scale, roman: str) -> Chord:
    """A chord by Roman numeral: case is quality, degrees follow the scale, ``b``/``#`` shift.

    Raises:
        InvalidInput: the numeral cannot be read.
    """
    found = _ROMAN.fullmatch(roman)
    if found is None or found[2].upper() not in _NUMERALS:
        raise InvalidInput(f"{roman!r} is not a Roman numeral", hint="for instance 'ii7' or 'bVII'")
    shift = {"": 0, "b": -1, "#": 1}[found[1]]
    root = scale.tonic + MODES[scale.mode][_NUMERALS[found[2].upper()]] + shift
    minor = found[2].islower()
    third = 3 if minor else 4
    suffix = found[3] or ""
    intervals = {
        "": (0, third, 7),
        "5": (0, 7),
        "7": (0, third, 7, 10),
        "maj7": (0, third, 7, 11),
        "9": (0, third, 7, 10, 14),
        "add9": (0, third, 7, 14),
        "6": (0, third, 7, 9),
        "dim": (0, 3, 6),
        "m7b5": (0, 3, 6, 10),
        "sus4": (0, 5, 7),
        "sus2": (0, 2, 7),
    }[suffix]
    return Chord(root % 12, intervals)


def voice(chord_: Chord, centre: float, before: Sequence[int] | None = None) -> tuple[int, ...]:
    """The close voicing around ``centre`` that moves least from the voicing ``before``."""
    target = list(before) if before else [round(centre)] * len(chord_.intervals)
    best: tuple[float, tuple[int, ...]] | None = None
    classes = chord_.classes
    for first in range(len(classes)):
        for octave in range(2, 8):
            pitch = 12 * octave + classes[first]
            notes = [pitch]
            for k in range(1, len(classes)):
                step = (classes[(first + k) % len(classes)] - notes[-1]) % 12
                notes.append(notes[-1] + (step or 12))
            mean = sum(notes) / len(notes)
            moved = sum(min(abs(n - t) for t in target) for n in notes) / len(notes)
            cost = moved + 0.6 * abs(mean - centre) + 0.1 * (notes[-1] - notes[0])
            if best is None or cost < best[0]:
                best = (cost, tuple(notes))
    assert best is not None  # noqa: S101 - every chord has a root
    return best[1]


def at_or_above(pitch_class: int, low: int) -> int:
    """The lowest MIDI note of a pitch class that is not below ``low``."""
    return low + (pitch_class - low) % 12
