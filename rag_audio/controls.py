"""What a musician can set beside the words of a prompt, as fields with their own checks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from rag_audio.errors import InvalidInput

MAX_CANDIDATES = 16


class Aim(StrEnum):
    """What can be enforced: measured on every candidate, and put right where it is off."""

    TEMPO = "tempo"
    KEY = "key"


@dataclass(frozen=True)
class Enforcement:
    """What must be met, and among how many candidates a variation the best is chosen.

    Attributes:
        aims: empty: nothing is enforced.
        candidates: 1…16.
    """

    aims: frozenset[Aim] = frozenset()
    candidates: int = 4

    def __post_init__(self) -> None:
        if not 1 <= self.candidates <= MAX_CANDIDATES:
            raise InvalidInput(f"candidates must be 1…{MAX_CANDIDATES}, got {self.candidates}")

    def __bool__(self) -> bool:
        return bool(self.aims)


_MAX_WORDS, _MAX_LENGTH = 8, 40


@dataclass(frozen=True)
class Controls:
    """Musical fields of a request that are put in words for the model, tempo and key aside.

    Attributes:
        time_signature: (beats, unit) such as (3, 4); None: free, loops count in four.
        bars: length in bars of that signature; the tempo counts quarter notes.
        instrumentation, mood: at most eight of each, in the user's own words.
    """

    time_signature: tuple[int, int] | None = None
    bars: int | None = None
    instrumentation: tuple[str, ...] = ()
    mood: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.time_signature is not None:
            beats, unit = self.time_signature
            if not (1 <= beats <= 32 and unit in (1, 2, 4, 8, 16)):
                raise InvalidInput(f"{beats}/{unit} is no time signature", hint="such as 3/4")
        if self.bars is not None and not 1 <= self.bars <= 1024:
            raise InvalidInput(f"bars must be 1…1024, got {self.bars}")
        for name, words in (("instrumentation", self.instrumentation), ("mood", self.mood)):
            if len(words) > _MAX_WORDS:
                raise InvalidInput(f"{name} has {len(words)} entries, more than {_MAX_WORDS}")
            for word in words:
                if not word.strip() or len(word) > _MAX_LENGTH:
                    raise InvalidInput(
                        f"{name}: {word!r} must be 1…{_MAX_LENGTH} characters",
                        hint="such as 'electric piano'; sentences go into the prompt",
                    )

    @property
    def quarters_per_bar(self) -> float:
        """Quarter notes in a bar; 4 where no signature was asked for."""
        if self.time_signature is None:
            return 4.0
        return self.time_signature[0] * 4 / self.time_signature[1]

    def duration_s(self, bpm: float) -> float | None:
        """Seconds that the bars last at a tempo; None where no bars were asked for."""
        return None if self.bars is None else self.bars * self.quarters_per_bar * 60.0 / bpm
