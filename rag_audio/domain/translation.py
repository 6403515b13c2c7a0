"""Words of other languages, and abbreviations, put in English by :mod:`rag_audio.domain.lexicon`.

A run of known words is put in English as a whole: what says how something sounds comes before what
sounds ("batterie rapide", fast drums), and a loop, riff or song comes last ("boucle de batterie").
Everything else stays as it is: English, names, numbers, words that are not known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from rag_audio.domain.lexicon import Mention, concepts, concepts_in

_BETWEEN = re.compile(r"[\s\-_'’]*")
_NAME_AFTER = re.compile(r"[ .&'’\-]{1,3}([^\W\d_a-z])")
_NAME_BEFORE = re.compile(r"(?:^|[\W_])([^\W\d_a-z])[^\W_]*[ .&'’\-]{1,3}$")
_ORDER = dict(
    {"tempo": 0, "mood": 1, "scene": 2, "genre": 3, "playing": 4, "kind": 6, "word": 7},
    **dict.fromkeys(("instrument", "drum", "sound"), 5),
)
_BEFORE_ADJECTIVES = ("very", "not too")


@dataclass(frozen=True)
class Understood:
    """A run of words, ``text[start:end]``, and what it says in English."""

    start: int
    end: int
    english: str


@lru_cache(maxsize=4096)
def understood(text: str) -> tuple[Understood, ...]:
    """The runs of a text that say something in another language or in abbreviations."""
    found: list[Understood] = []
    if all(one.language == "english" for one in concepts_in(text)):
        return ()
    for run in _runs(text):
        english = _in_english(text, run)
        said = text[run[0].start : run[-1].end]
        if _says_something(run) and english.casefold() != said.casefold():
            found.append(Understood(run[0].start, run[-1].end, english))
    return tuple(found)


def in_english(text: str) -> str:
    """A text with what is understood of it in English; as it is where nothing has to be."""
    return _replaced(text, [(one.start, one.end, one.english) for one in understood(text)])


def without_understood(text: str) -> str:
    """What is left of a text to be understood otherwise."""
    return _replaced(text, [(one.start, one.end, " ") for one in understood(text)])


def _replaced(text: str, pieces: Sequence[tuple[int, int, str]]) -> str:
    for start, end, put in reversed(pieces):
        text = text[:start] + put + text[end:]
    return text


def _says_something(run: Sequence[Mention]) -> bool:
    """Whether there are foreign words, and not only such as "style", or abbreviated instruments."""
    kinds = [(_kind(one), one.language) for one in run]
    is_of_sound = any(kind not in ("function", "word") for kind, _ in kinds)
    return is_of_sound and any(
        kind in ("instrument", "drum") if language == "short" else kind != "function"
        for kind, language in kinds
        if language != "english"
    )


def _kind(mention: Mention) -> str:
    return concepts()[mention.concept].kind


def _runs(text: str) -> Iterator[list[Mention]]:
    """Mentions that stand together, without names; none ends with an article or the like."""
    run: list[Mention] = []
    mentions = concepts_in(text)
    read = {at for one in mentions for at in range(one.start, one.end)}
    for mention in mentions:
        if _is_of_a_name(text, mention, read):
            continue
        if run and not _BETWEEN.fullmatch(text, run[-1].end, mention.start):
            yield from _trimmed(run)
            run = []
        run.append(mention)
    yield from _trimmed(run)


def _is_of_a_name(text: str, mention: Mention, read: set[int]) -> bool:
    """Whether a foreign word with a capital stands beside another such that is not known."""
    if mention.language == "english" or not text[mention.start].isupper():
        return False
    after = _NAME_AFTER.match(text, mention.end)
    before = _NAME_BEFORE.search(text[: mention.start])
    return (after is not None and after.start(1) not in read) or (
        before is not None and before.start(1) not in read
    )


def _trimmed(run: list[Mention]) -> Iterator[list[Mention]]:
    while run and _kind(run[-1]) == "function":
        run = run[:-1]
    if run:
        yield run


def _in_english(text: str, run: Sequence[Mention]) -> str:
    """Groups between joining words such as "and" and "without", each in English order."""
    words: list[str] = []
    group: list[tuple[str, str, Mention]] = []
    before = ""
    for mention in run:
        if mention.concept in _BEFORE_ADJECTIVES:
            before = f"{mention.concept} "
        elif _kind(mention) != "function":
            group.append((before, _said(text, mention), mention))
            before = ""
        elif mention.concept != "of":
            words += [*_ordered(group), _said(text, mention)]
            group = []
    return " ".join([*words, *_ordered(group)])


def _said(text: str, mention: Mention) -> str:
    """English as it stands, of all else the concept's name."""
    is_english = mention.language == "english"
    return text[mention.start : mention.end] if is_english else mention.concept


def _ordered(group: Sequence[tuple[str, str, Mention]]) -> Iterator[str]:
    ordered = sorted(group, key=lambda one: _ORDER[_kind(one[2])])
    for place, (before, said, mention) in enumerate(ordered, start=1):
        concept = mention.concept
        if concept in (other.concept for _, _, other in ordered[: place - 1]):
            continue
        if said == concept and _kind(mention) in ("instrument", "drum") and place < len(ordered):
            said = _singular(said)
        yield before + said


def _singular(name: str) -> str:
    """How a name stands before another noun: a drum loop, a string pad."""
    return name[:-1] if name.endswith("s") and not name.endswith(("ss", "us")) else name
