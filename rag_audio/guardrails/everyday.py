"""Which words of a name are everyday ones, and how a name of a long list reads for it.

A database of artists has nearly every word of a dictionary as somebody's name, and most pairs of
words too. Such a name says nothing by itself, so it is left out: what a style phrase is about is
refused anyway unless it is music talk (:mod:`.styles`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache, lru_cache

from rag_audio.guardrails.names import Reading
from rag_audio.guardrails.normalise import Word, read
from rag_audio.guardrails.vocabulary import is_compound
from rag_audio.guardrails.vocabulary import is_everyday as is_in_a_dictionary
from rag_audio.resources import data_dir

MAX_WORDS = 6
MAX_LETTERS = 60
_SHORT = 3
_LATIN = re.compile(r"[\W\d_]*(?:[A-Za-z\u00c0-\u024f\u1e00-\u1eff\u0300-\u036f][\W\d_]*)+")
_UNSPACED = re.compile(r"[\u3041-\u30ff\u3400-\u9fff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")


@cache
def _words(name: str) -> frozenset[str]:
    path = data_dir("policy") / "words" / f"{name}.txt"
    lines = path.read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#"))
    return frozenset(word.text for word in read(text).words)


def is_given_name(word: str) -> bool:
    """Whether a folded word is a common given name (``data/policy/words/given.txt``)."""
    return word in _words("given")


def is_place(word: str) -> bool:
    """Whether a folded word belongs to a place's name (``data/policy/words/places.txt``)."""
    return word in _words("places")


@lru_cache(maxsize=65536)
def is_everyday(word: str) -> bool:
    """Whether a folded word may stand in a sentence without naming an artist."""
    return (
        is_in_a_dictionary(word)
        or is_given_name(word)
        or is_place(word)
        or is_compound(word)
        or not word.isalpha()
    )


def reading_of(
    words: list[Word], text: str, full_name: bool, is_common: Callable[[str], bool]
) -> Reading | None:
    """How a name of a long list reads; None: it says nothing and is left out.

    It says something when a word of it is no everyday one. A person's full name, and a name with
    two such words, is found wherever it stands; a single word, a group's name with one such word,
    and a name in other letters, whose everyday words we do not know, only where the context makes
    it a name.

    Args:
        words: of the name, as :func:`.normalise.read` finds them. text: as it is written.
        full_name: it is a person's given name and surname, or may be: a CSV file does not say.
        is_common: whether a folded word stands in many names of groups; surnames do.
    """
    letters = "".join(word.text for word in words)
    if not words or len(words) > MAX_WORDS or not _SHORT < len(letters) <= MAX_LETTERS:
        return None
    if _UNSPACED.search(text):
        return None
    strange = [w for w in words if not is_everyday(w.text)]
    if not full_name:
        strange = [w for w in strange if not is_common(w.text)]
    if not strange:
        return None
    found_anywhere = len(words) > 1 and (full_name or len(strange) > 1)
    return Reading.NAME if found_anywhere and _LATIN.fullmatch(text) else Reading.WORD


def is_full_name(name: str, sort_name: str) -> bool:
    """Whether a name is sorted by its surname: "Quill, Zanther" of "Zanther Quill"."""
    surname, comma, given = sort_name.partition(",")
    return bool(comma) and f"{given.strip()} {surname.strip()}" == name
