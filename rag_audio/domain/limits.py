"""Limits of values, stated once.

The nouns check them on construction, the API writes them into its schema and the command line into
its options. :class:`rag_audio.domain.GenerationRequest` has those of a request;
:data:`SEARCH` those of a search, named as in :class:`.ReferenceQuery`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from rag_audio.errors import InvalidInput

_CONTROL = frozenset(map(chr, range(32))) - {"\n", "\r", "\t"} | {"\x7f"}
_SHOWN = 40


@dataclass(frozen=True)
class Number:
    """A range of numbers, both ends included.

    Attributes:
        above: ``low`` itself is not in it.
    """

    low: float
    high: float
    above: bool = False

    def check(self, name: str, value: float | None) -> None:
        """Let a value pass that is in the range; None is no value.

        Raises:
            InvalidInput: it is not; ``name`` says of what.
        """
        if value is not None and not self.holds(value):
            raise InvalidInput(f"{name} must be {self.broken_by(value)}, got {shown(value)}")

    def holds(self, value: float) -> bool:
        """Whether a value is in the range; one that is not a number never is."""
        return self.low <= value <= self.high and not (self.above and value == self.low)

    def broken_by(self, value: float) -> str:
        """The end of the range that a value is beyond, in words."""
        if value > self.high:
            return f"at most {shown(self.high)}"
        if value <= self.low:
            return f"{'more than' if self.above else 'at least'} {shown(self.low)}"
        return f"a number from {shown(self.low)} to {shown(self.high)}"


@dataclass(frozen=True)
class Text:
    """Texts by their number of characters; none holds a control character but newline and tab."""

    most: int
    least: int = 0

    def check(self, name: str, value: str | None) -> None:
        """As :meth:`Number.check`."""
        if value is None:
            return
        if len(value) > self.most:
            raise InvalidInput(f"{name} must have at most {self.most} characters, got {len(value)}")
        if len(value.strip() if self.least else value) < self.least:
            raise InvalidInput(f"{name} is empty")
        check_characters(name, value)


@dataclass(frozen=True)
class Items:
    """Lists by their length, each item within ``each``."""

    most: int
    each: Number | Text | None = None

    def check(self, name: str, values: Sequence[object] | None) -> None:
        """As :meth:`Number.check`."""
        if values is None:
            return
        if len(values) > self.most:
            raise InvalidInput(f"{name} must have at most {self.most} entries, got {len(values)}")
        for value in values:
            if isinstance(self.each, Number) and isinstance(value, int | float):
                self.each.check(name, value)
            elif isinstance(self.each, Text) and isinstance(value, str):
                self.each.check(f"{name}: {value[:_SHOWN]!r}", value)


Limit = Number | Text | Items


def check_characters(name: str, value: str) -> None:
    """Let a text pass that holds no control character but newline and tab.

    Raises:
        InvalidInput: it holds one.
    """
    found = sorted(_CONTROL.intersection(value))
    if found:
        raise InvalidInput(f"{name} holds the control character U+{ord(found[0]):04X}")


def shown(value: float) -> str:
    """A number as it is written in messages: whole ones with all their digits."""
    return str(int(value)) if isinstance(value, int) or value.is_integer() else f"{value:g}"


BAR = Number(1, 1024)
"""The number of a bar, from 1, and how many a piece may have."""
BEATS = Number(1, 32)
CANDIDATES = Number(1, 16)
BEAT_UNITS = (1, 2, 4, 8, 16)
"""A time signature is one of BEATS over one of BEAT_UNITS."""
MOST_REFERENCES = 64
"""References of one output, named and retrieved."""
FOUND = Number(0, 1000)
"""References that one search returns."""
BPM = Number(20, 400)
DURATION_S = Number(0.5, 3600)
SEED = Number(0, 2**63 - 1)
STEPS = Number(1, 1000)
GUIDANCE = Number(0, 50)
VARIATIONS = Number(1, 16)
OUTPUT = Number(1, 2**40 - 1)
"""The number of an output: a mark carries 40 bits."""
WORKERS = Number(0, 64)
"""Processes that decode files for an index run."""
WINDOW_START_S = Number(0, 36_000)
WINDOW_S = Number(1, 36_000)
"""The part of a stem that is named as a reference: where it begins, and how long it is."""

STEM_ID = "[0-9A-Fa-f]{1,64}"
"""A stem's id or its first digits, as a regular expression."""
PROMPT = Text(2000)
NAME = Text(200, least=1)
WORD = Text(40, least=1)
WEIGHT = Number(0, 1000)
STEM_IDS = Items(256)

SEARCH: Mapping[str, Limit] = MappingProxyType(
    {
        "text": PROMPT,
        "artist": NAME,
        "like": Items(16),
        "bpm": Number(0, 1000, above=True),
        "libraries": Items(64, NAME),
        "licenses": Items(64, NAME),
        "tags": Items(16, NAME),
        "min_duration_s": Number(0, 36_000, above=True),
        "k": FOUND,
        "variety": Number(0, 1),
    }
)
VARIETY = 0.3
"""The default weight of variety among found references (MMR)."""
