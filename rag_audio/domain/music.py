"""Musical keys: written, read, and how far they are from each other."""

from __future__ import annotations

from dataclasses import dataclass

from rag_audio.domain import limits
from rag_audio.domain.codec import FORMS, FieldForm
from rag_audio.domain.key_names import read_key
from rag_audio.errors import InvalidInput

_PITCH_NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")


@dataclass(frozen=True, order=True)
class Key:
    """A musical key.

    Attributes:
        tonic: pitch class, 0 = C … 11 = B.
        minor: True for minor, False for major.
    """

    tonic: int
    minor: bool

    def __post_init__(self) -> None:
        if not 0 <= self.tonic <= 11:
            raise InvalidInput(f"tonic must be 0…11, got {self.tonic}")

    def __str__(self) -> str:
        return f"{_PITCH_NAMES[self.tonic]} {'minor' if self.minor else 'major'}"

    @classmethod
    def parse(cls, text: str) -> Key:
        """Read ``A minor``, ``Am``, ``a-Moll``, ``la mineur``, ``8A``, ``1m`` and their like.

        All spellings are listed in :mod:`rag_audio.domain.key_names`.

        Raises:
            InvalidInput: the text is not a key.
        """
        named = _BY_NAME.get(text) or read_key(text)
        if named is None:
            raise InvalidInput(
                f"{text[:60]!r} is not a key",
                hint="write it like 'A minor', 'F# major', 'Bbm' or '8A'",
            )
        return cls(*named)

    def relative(self) -> Key:
        """The key with the same notes in the other mode."""
        return Key((self.tonic + (3 if self.minor else 9)) % 12, not self.minor)

    def neighbours(self) -> tuple[Key, ...]:
        """This key, its relative, and both a fifth up and down (circle of fifths)."""
        relative = self.relative()
        shifted = [Key((k.tonic + step) % 12, k.minor) for k in (self, relative) for step in (7, 5)]
        return (self, relative, *shifted)

    def semitones_to(self, other: Key) -> int:
        """Smallest transposition in -6…+5 that brings this key's notes onto ``other``'s.

        Keys of different mode are compared through the relative key, whose notes are the same.
        """
        source = self if self.minor == other.minor else self.relative()
        return (other.tonic - source.tonic + 6) % 12 - 6


_BY_NAME = {
    str(Key(tonic, minor)): (tonic, minor) for tonic in range(12) for minor in (False, True)
}
FORMS[Key] = FieldForm(str, Key.parse)


# How long a bar and a beat are. Whatever needs a bar line asks here, and nowhere else.
#
# A tempo counts quarter notes, as tempos in MIDI files do (Standard MIDI Files 1.0: microseconds
# per quarter note). So a bar of 3/4 lasts three of its beats, one of 6/8 three, of 12/8 six, of
# 5/4 five, of 7/8 three and a half, and one of 2/2 four, whatever a conductor would beat.

Signature = tuple[int, int]
"""(beats, unit): ``(3, 4)`` is three quarter notes in a bar."""

COMMON: Signature = (4, 4)
"""The metre of what says no other."""


def is_signature(signature: Signature) -> bool:
    """Whether it is 1…32 beats of a whole note, a half, a quarter, an eighth or a sixteenth."""
    beats, unit = signature
    return limits.BEATS.holds(beats) and unit in limits.BEAT_UNITS


def require_signature(signature: Signature) -> None:
    """Let a time signature pass that :func:`is_signature` knows.

    Raises:
        InvalidInput: it is none.
    """
    if not is_signature(signature):
        beats, unit = signature
        units = ", ".join(map(str, limits.BEAT_UNITS))
        raise InvalidInput(
            f"time_signature: {beats}/{unit} is not a time signature",
            hint=f"1…{limits.BEATS.high} over one of {units}, such as 3/4",
        )


def beat_s(bpm: float | None) -> float:
    """Length of a beat of the tempo, which is a quarter note, in seconds; 0.0: not known."""
    return 0.0 if bpm is None else 60.0 / bpm


def bar_s(bpm: float | None, signature: Signature | None) -> float:
    """Length of a bar in seconds; 0.0: not known.

    Args:
        bpm: quarter notes per minute, more than 0; None: not known.
        signature: None: nothing is known of the metre, which is taken to be 4/4.
    """
    if bpm is None:
        return 0.0
    beats, unit = COMMON if signature is None else signature
    return beats * 4 / unit * 60.0 / bpm
