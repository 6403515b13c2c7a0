"""Where a text asks for somebody's style: "in the style of …", "… type beat", in many languages.

``data/policy/phrases.csv`` has the language, the place (the phrase stands ``before`` or ``after``
the name), the strength and a pattern of folded words with ``(a|b)`` and ``?``. The strength says
what else may follow such a phrase:

``strong``
    hardly anything but music or a name ("in the style of").
``by``
    somebody ("sung by"), a choir as well as a name.
``weak``
    anything ("like").
``name``
    anything ("give me"): a name that is known counts, also one that is a countable noun too and
    stands without an article.
``proper``
    anything ("make it"): a name that is known counts, where its capital or its rarity tells it.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from rag_audio.guardrails.normalise import NormalisedText, fold, is_other_alphabet
from rag_audio.guardrails.policy_tables import (
    rule_pattern,
)
from rag_audio.resources import data_dir


class Strength(StrEnum):
    STRONG = "strong"
    BY = "by"
    WEAK = "weak"
    NAME = "name"
    PROPER = "proper"


@dataclass(frozen=True)
class Lead:
    """A style phrase found in a text.

    Attributes:
        at: offset in the plain text where the name may begin (or, with ``after``, end).
        start: where the phrase itself starts.
        after: the name stands before the phrase.
        language: two letters.
    """

    at: int
    start: int
    after: bool
    strength: Strength
    language: str


_OTHER_ALPHABETS = frozenset(("ru", "uk", "el", "bg"))
_WORD_START = r"(?<![^\W_])"
_NAME_FOLLOWS = r"(?:(?<=[\s'\-])|(?![^\W_]))[\s\"'“(:\-]*"
_LETTER_ENDS = r"(?<=[^\W_])"
_NAME_PRECEDES = _LETTER_ENDS + r"['\")]?[\s\-]{1,2}"
_HYPHEN = _LETTER_ENDS + r"['\")]?\s?-\s?"
_PHRASE_ENDS = r"(?![^\W_])(?!\s*(?:of|du|de|des|von|to|by|la|like)\b)"
_LABELS = tuple(
    (strength, rule_pattern("labels", strength))
    for strength in (Strength.STRONG, Strength.NAME, Strength.BY, Strength.PROPER)
)
"""What comes before a name in a list of fields ("artist: …", "prod. …"), and years before it."""
KNOWN_ONLY = (Strength.NAME, Strength.PROPER)
_GOES_ON = ("of ", "ng ", "ni ")
"""What continues a phrase: "style of …" is another one than "style …"."""
_ORDER = {strength: place for place, strength in enumerate(Strength)}


def find_leads(text: NormalisedText, *, any_sign: bool = False) -> Iterator[Lead]:
    """Every style phrase, the strongest where several end at one place.

    Args:
        any_sign: a name that stands before a phrase may end with any sign, not only a letter.
    """
    found: dict[tuple[int, bool, bool], Lead] = {}
    patterns = _patterns(any_sign)
    for place in _places_in(text.plain):
        before, language, strength, pattern = patterns[place]
        for match in pattern.finditer(text.plain):
            if _is_transliterated(text, *match.span()) != (language in _OTHER_ALPHABETS):
                continue
            at = match.end() if before else match.start()
            if before and text.plain.startswith(_GOES_ON, at) and language != "tl":
                continue
            lead = Lead(at, match.start(), not before, strength, language)
            key = (at, lead.after, strength in KNOWN_ONLY)
            known = found.get(key)
            if known is None or _ORDER[strength] < _ORDER[known.strength]:
                found[key] = lead
    for strength, label in _LABELS:
        for match in label.finditer(text.plain):
            found.setdefault(
                (match.end(), False, strength in KNOWN_ONLY),
                Lead(match.end(), match.start(), False, strength, "en"),
            )
    yield from sorted(found.values(), key=lambda lead: (lead.at, lead.after))


def _is_transliterated(text: NormalisedText, start: int, end: int) -> bool:
    """Whether a phrase of a Latin language is made of words of another alphabet: "в стиле"."""
    if text.raw.isascii():
        return False
    letters = [c for c in text.raw[slice(*text.raw_span(start, end))] if c.isalpha()]
    return bool(letters) and all(is_other_alphabet(c) for c in letters)


def _places_in(plain: str) -> list[int]:
    """Which patterns may match, in order: those of which the text has a word."""
    return sorted({n for key, places in _places().items() if key in plain for n in places})


@cache
def _places() -> dict[str, list[int]]:
    """By word, the patterns that cannot match without it or another one of theirs."""
    found: dict[str, list[int]] = {}
    for place, row in enumerate(_phrases()):
        for key in _keys(row["phrase"]):
            found.setdefault(key, []).append(place)
    return found


@cache
def _phrases() -> tuple[dict[str, str], ...]:
    with (data_dir("policy") / "phrases.csv").open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))


@cache
def _patterns(any_sign: bool) -> tuple[tuple[bool, str, Strength, re.Pattern[str]], ...]:
    made = []
    for row in _phrases():
        before = row["place"] == "before"
        body = _compile(row["phrase"])
        if before:
            starts, ends = _WORD_START, _NAME_FOLLOWS
        else:
            # "-like" only with its hyphen: "sounds like" is a phrase of the other kind.
            starts = _HYPHEN if row["phrase"] == "(like)" else _NAME_PRECEDES
            starts = starts.replace(_LETTER_ENDS, r"(?<=\S)") if any_sign else starts
            ends = _PHRASE_ENDS
        pattern = re.compile(starts + body + ends)
        made.append((before, row["language"], Strength(row["strength"]), pattern))
    return tuple(made)


def _compile(phrase: str) -> str:
    """A phrase of folded words as a regular expression over the plain text."""
    parts: list[str] = []
    for token in re.findall(r"\([^)]*\)[?+]?|[^\s()]+", phrase):
        mark = token[-1] if token[-1] in "?+" else ""
        core = token.rstrip("?+")
        if core.startswith("("):
            options = sorted((fold(o) for o in core[1:-1].split("|")), key=len, reverse=True)
            made = "(?:" + "|".join(_words(option) for option in options if option) + ")"
        else:
            made = _words(fold(core))
        if mark:
            repeat = "?" if mark == "?" else "{1,3}"
            parts.append(f"(?:{made}[\\s'\\-]+){repeat}")
        else:
            parts.append(f"{made}[\\s'\\-]+")
    body = "".join(parts)
    # The last word needs no space after it.
    return body.removesuffix("[\\s'\\-]+")


def _words(folded: str) -> str:
    return r"[\s'\-]+".join(re.escape(word) for word in folded.split())


def _keys(phrase: str) -> tuple[str, ...]:
    """Words of which one must occur where the phrase does: a quick test."""
    needed = [
        token.rstrip("?+")
        for token in re.findall(r"\([^)]*\)[?+]?|[^\s()]+", phrase)
        if not token.endswith("?")
    ]
    last = needed[-1] if needed else phrase
    first = needed[0] if needed else phrase
    chosen = max((first, last), key=lambda t: min(len(fold(o)) for o in t.strip("()").split("|")))
    return tuple({fold(option).split()[0] for option in chosen.strip("()").split("|") if option})
