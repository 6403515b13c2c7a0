"""Whether a name is that of somebody private: "my uncle …", "…, our neighbour", "happy birthday …".

Many artists have a given name, or a surname, that thousands of others have. What stands beside it
says that one of those is meant: a word of family, friends, trades or pets
(``data/policy/words/relations.txt``), or an occasion on which songs are made for private people
(``occasions.txt``). The name must be one word: "my uncle Zanther Quill" stays a full name. What a
style phrase is about is never private.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache

from rag_audio.guardrails.name_finder import NameHit
from rag_audio.guardrails.normalise import NormalisedText, Word
from rag_audio.guardrails.policy_tables import rule_words
from rag_audio.guardrails.vocabulary import (
    is_music,
    is_ordinary,
    listed_words,
)

_OWN = rule_words("private", "own")
_FOR = rule_words("private", "for")
_SHOP = rule_words("private", "shop")
_GOES_ON = rule_words("private", "goes_on")
_PERFORMANCE = rule_words("private", "performance")
_REACH = 4
"""Words after a name among which "my sister" may stand."""
_LEAST_STEM = 5


@lru_cache(maxsize=16384)
def is_relation(word: str) -> bool:
    """Whether a folded word says who somebody private is: uncle, coach, neighbour."""
    return word in listed_words("relations")


@lru_cache(maxsize=16384)
def is_occasion(word: str) -> bool:
    """Whether a folded word is, or begins with, an occasion: birthday, Geburtstagslied."""
    occasions = listed_words("occasions")
    return word in occasions or any(
        word[:size] in occasions for size in range(_LEAST_STEM, len(word))
    )


def is_private(text: NormalisedText, hit: NameHit, asked: Collection[int]) -> bool:
    """Whether a name that was found is somebody private's.

    Args:
        asked: offsets of the plain text at which the objects of style phrases begin.
    """
    if hit.last > hit.first and hit.exact:
        return False
    words = text.words
    if _is_asked(text, hit.first, asked):
        return False
    if text.capitals_mean and not words[hit.first].capital and not text.raw.islower():
        return False
    following = words[hit.last + 1] if hit.last + 1 < len(words) else None
    joined = following is not None and not text.plain[words[hit.last].end : following.start].strip(
        " '"
    )
    if joined and following is not None and _is_performance(following, words[hit.last]):
        return False
    return (
        _follows_relation(text, hit, asked)
        or _is_explained(text, hit)
        or _is_for_an_occasion(text, hit, joined)
        or _has_another_surname(text, hit)
        or (words[hit.last].possessive and following is not None and following.text in _SHOP)
    )


def _is_asked(text: NormalisedText, number: int, asked: Collection[int]) -> bool:
    """Whether a style phrase ends before a word, or before the small words before that."""
    while True:
        if text.words[number].start in asked:
            return True
        if number == 0 or text.words[number - 1].text not in _OWN:
            return False
        number -= 1


def _is_performance(following: Word, name: Word) -> bool:
    """Whether what follows a name is what an artist is known by: "… type beat"."""
    if following.text in _PERFORMANCE:
        return True
    small = len(following.text) < 4 or following.text in _GOES_ON or following.capital
    return not name.possessive and not small and is_music(following.text)


def _gap(text: NormalisedText, number: int) -> str:
    """What stands between a word and the one before it."""
    return text.plain[text.words[number - 1].end : text.words[number].start]


def _follows_relation(text: NormalisedText, hit: NameHit, asked: Collection[int]) -> bool:
    """``my uncle …``, ``coach …``."""
    if hit.first == 0 or _gap(text, hit.first).strip(" ."):
        return False
    before = text.words[hit.first - 1]
    related = is_relation(before.text) and not before.possessive
    return related and not _is_asked(text, hit.first - 1, asked)


def _is_explained(text: NormalisedText, hit: NameHit) -> bool:
    """``…, my sister``, ``… our neighbour``, ``… the parrot``."""
    words = text.words
    after = words[hit.last + 1 : hit.last + 1 + _REACH]
    if not after or after[0].text not in _OWN or _gap(text, hit.last + 1).strip() not in ("", ","):
        return False
    return any(is_relation(word.text) and not word.possessive for word in after[1:3])


def _is_for_an_occasion(text: NormalisedText, hit: NameHit, joined: bool) -> bool:
    """``birthday song for …``, ``happy birthday … from all of us``."""
    words = text.words
    if hit.first == 0:
        return False
    before = words[hit.first - 1].text
    if before not in _FOR and not is_occasion(before) and before not in _OWN:
        return False
    if not any(is_occasion(word.text) for word in words):
        return False
    if not joined:
        return True
    return words[hit.last + 1].text in _GOES_ON or is_occasion(words[hit.last + 1].text)


def _has_another_surname(text: NormalisedText, hit: NameHit) -> bool:
    """A given name with a surname that is not the artist's, where somebody private is spoken of."""
    words = text.words
    if hit.last + 1 >= len(words) or not text.capitals_mean or not hit.exact:
        return False
    surname = words[hit.last + 1]
    named = surname.capital and not _gap(text, hit.last + 1).strip()
    if not named or is_ordinary(surname.text) or len(surname.text) < 3:
        return False
    return any(is_relation(word.text) or is_occasion(word.text) for word in words)
