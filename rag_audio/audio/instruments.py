"""Which General MIDI instrument words speak of."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from functools import cache

from rag_audio.resources import data_dir

_NOT = re.compile(r"(?:\bno|\bnot|\bwithout)(?: an?| any| the)? (?:\w+ )?$")
_MIDDLES = {"low": 40, "deep": 52, "": 67, "high": 79}
"""The MIDI pitch about which instruments of a register play melodies."""


@cache
def _instruments() -> dict[str, tuple[re.Pattern[str], str]]:
    """Words for each instrument of General MIDI, and its register."""
    with (data_dir("soundfont") / "instruments.csv").open(encoding="utf-8", newline="") as file:
        return {
            row["instrument"]: (
                re.compile(rf"(?<![\w-])(?:{row['words']})(?![\w-])"),
                row["register"],
            )
            for row in csv.DictReader(file)
        }


def instrument_in(text: str) -> str | None:
    """The General MIDI name of the instrument that a text names first; None where it names none.

    Of names that begin at the same word the longest counts ("electric piano" before "piano"). What
    follows "no" or "without" does not count.
    """
    lowered = " ".join(text.casefold().split())
    found = [
        (match.start(), -len(match.group()), name)
        for name, (pattern, _) in _instruments().items()
        for match in pattern.finditer(lowered)
        if _NOT.search(lowered[: match.start()]) is None
    ]
    return min(found)[2] if found else None


def first_instrument(texts: Iterable[str]) -> str | None:
    """The instrument of the first text that names one."""
    return next((name for text in texts if (name := instrument_in(text)) is not None), None)


def middle_of(instrument: str) -> int:
    """The MIDI pitch about which an instrument plays melodies."""
    known = _instruments().get(instrument)
    return _MIDDLES["" if known is None else known[1]]
