"""A tune as notes, and as the part that it has in a plan."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from rag_audio.domain.codec import Form, as_text, json_form
from rag_audio.errors import InvalidInput

MAX_NOTES = 1024
_NOTE = re.compile(r"(\d+\.\d{3})-(\d+\.\d{3}):(\d{1,3})")


class AudioAs(StrEnum):
    """What a sound that the user brings is for: to find references like it, or its melody."""

    SEARCH = "search"
    MELODY = "melody"


@dataclass(frozen=True)
class Note:
    """A note of a tune: seconds from its beginning, and a MIDI pitch, 60 = middle C."""

    start_s: float
    end_s: float
    pitch: int

    def __post_init__(self) -> None:
        if not 0 <= self.start_s < self.end_s < math.inf:
            raise InvalidInput(f"a note cannot last from {self.start_s:g} to {self.end_s:g} s")
        if not 0 <= self.pitch <= 127:
            raise InvalidInput(f"the pitch of a note must be 0…127, got {self.pitch}")


def notes_to_text(notes: Iterable[Note]) -> str:
    """``0.500-0.980:64 …``: start, end and pitch. A text, so that a ledger sets it aside."""
    return " ".join(f"{note.start_s:.3f}-{note.end_s:.3f}:{note.pitch}" for note in notes)


def notes_from_text(text: str) -> tuple[Note, ...]:
    """The inverse of :func:`notes_to_text`.

    Raises:
        InvalidInput: it holds something else, or no note.
    """
    notes = []
    for word in text.split():
        found = _NOTE.fullmatch(word)
        if found is None:
            raise InvalidInput(f"{word[:40]!r} is not a note", hint="write it like 0.500-0.980:64")
        notes.append(Note(float(found[1]), float(found[2]), int(found[3])))
    return tuple(notes)


@json_form(forms={"notes": Form(notes_to_text, lambda text: notes_from_text(as_text(text)))})
@dataclass(frozen=True)
class Melody:
    """The tune that seeds a plan, played by an instrument of the soundfont.

    Attributes:
        notes: as they are played, in order of start.
        period_s: it begins again after this long.
        instrument: a General MIDI name.
        weight: its share of the seed's energy, 0 < w ≤ 1; references share the rest.
        source_sha256: of the bytes of the file that it was heard in.
        source_rights: ``own`` or ``licensed``: what the user stated about the file, if anything.
        sources: indices into the plan's references: what was recognised in the file.
    """

    notes: tuple[Note, ...]
    period_s: float
    instrument: str
    weight: float
    source_sha256: str
    source_rights: str | None = None
    sources: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= len(self.notes) <= MAX_NOTES:
            raise InvalidInput(f"a melody has 1…{MAX_NOTES} notes, got {len(self.notes)}")
        if not max(note.end_s for note in self.notes) <= self.period_s < math.inf:
            raise InvalidInput(f"a melody's notes must end within its {self.period_s:g} s")
        if not 0 < self.weight <= 1:
            raise InvalidInput(f"a melody's weight must be in (0, 1], got {self.weight:g}")
