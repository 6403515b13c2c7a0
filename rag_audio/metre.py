"""How long a bar and a beat are. Whatever needs a bar line asks here, and nowhere else.

A tempo counts quarter notes, as tempos in MIDI files do (Standard MIDI Files 1.0: microseconds per
quarter note). So a bar of 3/4 lasts three of its beats, one of 6/8 three, of 12/8 six, of 5/4 five,
of 7/8 three and a half, and one of 2/2 four, whatever a conductor would beat.
"""

from __future__ import annotations

from rag_audio import limits
from rag_audio.errors import InvalidInput

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
