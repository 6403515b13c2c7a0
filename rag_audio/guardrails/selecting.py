"""Which artists of a database belong into a list of protected names."""

from __future__ import annotations

import re
from array import array
from dataclasses import dataclass, field
from datetime import UTC, datetime
from zlib import crc32

from rag_audio.guardrails.normalise import fold
from rag_audio.guardrails.sources import KINDS, UNKNOWN, Entry

USUAL_KINDS = ("person", "group", "other", UNKNOWN)
ALL_KINDS = (*KINDS, UNKNOWN)
YEARS_OF_RIGHTS = 70
"""After an author's death, in most countries: directive 2006/116/EC, article 1."""
_SPECIAL = re.compile(r"\[.*\]")
_SPECIAL_NAMES = frozenset(("various artists", "various", "unknown artist", "traditional"))
_ELSEWHERE = re.compile(
    r"\b(?:engineer|engineering|mastering|mixer|photograph\w*|graphic|designer|illustrator|"
    r"artwork|painter|liner notes|translator|actor|actress|author|poet|novelist|playwright|"
    r"a&r|executive|manager|label owner|journalist|comedian|audiobooks?|narrator|voice actor)\b",
    re.IGNORECASE,
)
_MUSICIAN = re.compile(
    r"\b(?:singer|vocal\w*|rapper|mc|dj|producer|composer|songwriter|musician|band|guitar\w*|"
    r"bass\w*|drum\w*|percussion\w*|pian\w*|keyboard\w*|violin\w*|cell\w*|saxoph\w*|trump\w*|"
    r"flaut\w*|flut\w*|organ\w*|harp\w*|conductor|soprano|tenor|baritone|multi-instrumentalist|"
    r"rock|pop|jazz|techno|house|metal|punk|hip hop|electronic|folk)\b",
    re.IGNORECASE,
)
_SLOTS = 2**22
_MANY = 20


@dataclass(frozen=True)
class Choice:
    """Who is taken.

    Attributes:
        kinds: some of :data:`ALL_KINDS`.
        died_from: persons who died before that year are left out; None: 70 years ago.
        min_aliases, min_ratings, min_tags: so many at least.
        limit: only so many, those with most ratings, tags and aliases; 0: all.
    """

    kinds: tuple[str, ...] = USUAL_KINDS
    died_from: int | None = None
    min_aliases: int = 0
    min_ratings: int = 0
    min_tags: int = 0
    limit: int = 0

    @property
    def first_year(self) -> int:
        """Who died before it is left out."""
        if self.died_from is not None:
            return self.died_from
        return datetime.now(UTC).year - YEARS_OF_RIGHTS


def why_not(entry: Entry, choice: Choice) -> str:
    """Why an artist is left out; empty: it is taken."""
    if _SPECIAL.fullmatch(entry.name) or fold(entry.name) in _SPECIAL_NAMES:
        return "special purpose"
    if "special purpose" in entry.comment.lower():
        return "special purpose"
    if entry.kind not in choice.kinds:
        return f"kind {entry.kind}"
    if entry.kind != "group" and entry.died is not None and entry.died < choice.first_year:
        return f"died before {choice.first_year}"
    if _ELSEWHERE.search(entry.comment) and not _MUSICIAN.search(entry.comment):
        return "no musicians"
    return ""


@dataclass
class WordCounts:
    """In how many names a word stands, about: words share counters, so it is never too few.

    A word of many names of groups is an everyday one of some language.
    """

    _counts: array[int] = field(default_factory=lambda: array("B", bytes(_SLOTS)), repr=False)

    def add(self, name: str) -> None:
        """Count the words of a name."""
        for word in set(fold(name[:300]).split()):
            slot = crc32(word.encode()) % _SLOTS
            if self._counts[slot] < _MANY:
                self._counts[slot] += 1

    def is_common(self, word: str) -> bool:
        """Whether a folded word stands in many names."""
        return self._counts[crc32(word.encode()) % _SLOTS] >= _MANY
