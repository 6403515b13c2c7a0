"""Which words are ordinary, and which are music talk.

The lists lie in ``data/policy/words``; the music talk of the languages that the lexicon
(:mod:`rag_audio.domain.lexicon`) has is that of the lexicon, too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Any

from rag_audio.domain.lexicon import concepts, forms_of
from rag_audio.guardrails.normalise import Word, fold, read
from rag_audio.guardrails.policy_tables import (
    policy_lines,
    policy_table,
    rule_words,
    word_set,
)
from rag_audio.guardrails.style_leads import Strength

_FOREIGN = ("german", "french", "spanish", "portuguese", "italian")
_LANGUAGES: dict[str, dict[str, Any]] = policy_table("languages")
_THINGS = frozenset("instrument drum playing genre".split())
_TALK = _THINGS | {"mood", "tempo"}
"""Kinds of concepts whose words name nobody; those of the second where a name may stand."""
_DECADE = re.compile(
    r"\d{1,4}(?:s|er|ers|th|st|nd|rd|bpm|hz|khz|bit|bar|bars|db|k|%)?|[a-g][#b]?m?"
)


@cache
def plain_words(name: str) -> frozenset[str]:
    """The words of a list in plain letters, with the signs that are in them."""
    text = " ".join(policy_lines(f"words/{name}"))
    return frozenset((text if text.isascii() else read(text).plain).split())


@cache
def music_words() -> frozenset[str]:
    """Music talk of all European languages we read: it names nobody."""
    foreign = (word for name in _FOREIGN for word in plain_words(name))
    known = (forms_of(name, _THINGS) for name in ("german", "french", "spanish"))
    return plain_words("music") | plain_words("connectives") | frozenset(foreign).union(*known)


@cache
def _english() -> frozenset[str]:
    return plain_words("english") | plain_words("english_more")


@cache
def _english_and_music() -> frozenset[str]:
    return _english() | plain_words("music")


@cache
def listed_words(name: str) -> frozenset[str]:
    """The words of a list, folded, each without spaces."""
    # The text is read in one go, which is many times faster than word by word.
    pieces = read(" ".join(policy_lines(f"words/{name}"))).plain.replace("'", "").split()
    return frozenset(one if one.isalpha() else fold(one).replace(" ", "") for one in pieces)


@cache
def everyday_words() -> frozenset[str]:
    """Everyday words and music talk of all languages that we have lists of, folded."""
    abroad = (language["list"] for language in _LANGUAGES.values() if "list" in language)
    names = {*abroad, *_FOREIGN, "places"}
    return frozenset(word for name in names for word in listed_words(name))


@lru_cache(maxsize=65536)
def is_everyday(word: str) -> bool:
    """Whether a folded word is in a dictionary or list of any language."""
    return is_ordinary(word) or word in everyday_words()


@lru_cache(maxsize=65536)
def is_music(word: str) -> bool:
    """Whether a folded word is music talk: genre, instrument, era, place, number, small word."""
    return (
        len(word) == 1
        or word in music_words()
        or _DECADE.fullmatch(word) is not None
        or (word.endswith("s") and word[:-1] in music_words())
    )


@lru_cache(maxsize=65536)
def is_ordinary(word: str) -> bool:
    """Whether a folded word is in the English dictionary or is music talk."""
    return word in _english() or is_music(word) or _is_derived(word)


def is_given_name(word: str) -> bool:
    """Whether a folded word is a common given name."""
    return word in listed_words("given")


def is_english(word: str) -> bool:
    """Whether a folded word is English, or music talk as English has it."""
    return word in _english_and_music() or _is_derived(word)


@lru_cache(maxsize=65536)
def is_compound(word: str) -> bool:
    """Whether a folded word is two ordinary ones: birdsong, moonrise."""
    known = _english_and_music()
    halves = ((word[:i], word[i:]) for i in range(3, len(word) - 2))
    return any(first in known and second in known for first, second in halves)


@lru_cache(maxsize=65536)
def is_german_compound(word: str) -> bool:
    """Whether a folded word is two of our German list, maybe with an s between: Fernsehkrimis."""
    known = listed_words("german")
    halves = ((word[:i], word[i:]) for i in range(4, len(word) - 3))
    return any(
        first in known and (second in known or second.removeprefix("s") in known)
        for first, second in halves
    )


def _is_derived(word: str) -> bool:
    english = _english()
    for ending, put in (
        ("y", ""), ("ish", ""), ("like", ""), ("ness", ""), ("ly", ""), ("er", ""), ("ing", ""),
        ("ing", "e"), ("ed", ""), ("ed", "e"), ("s", ""), ("less", ""), ("ier", "y"), ("y", "e"),
        ("ism", ""), ("ist", ""),
        ("esque", ""), ("al", ""), ("ic", ""), ("able", ""),
    ):  # fmt: skip
        stem = word.removesuffix(ending)
        if len(stem) >= 3 and stem != word and stem + put in english:
            return True
    for prefix in ("un", "re", "over", "under", "non", "semi", "multi", "micro", "mega", "super"):
        if (
            word.startswith(prefix)
            and len(word) - len(prefix) >= 4
            and word[len(prefix) :] in english
        ):
            return True
    return False


# What stands at a style phrase of a language whose words we know only in part.
#
# ``data/policy/words/world.txt`` has the music talk and the commonest things of each. A capital
# that begins no such word makes a name; without capitals, or in a script without them, a name is
# what has none of those words in it, where hardly anything but music or a name may stand.

_NATIONS = rule_words("vocabulary", "nations")
_SHORT_STEM = 3
_ENDING = 4
_IN_LEXICON = {"ja": "japanese", "ru": "russian"}
_LONGEST = 4
"""Words that a name abroad has at most."""


@dataclass(frozen=True)
class _Talk:
    words: frozenset[str] = frozenset()
    stems: frozenset[str] = frozenset()
    empty: frozenset[str] = frozenset()


@cache
def _lists() -> dict[str, _Talk]:
    found = {
        code: _Talk(listed_words(language["list"]))
        for code, language in _LANGUAGES.items()
        if "list" in language
    }
    for line in filter(str.strip, policy_lines("words/world")):
        language, _, rest = line.partition(":")
        folded = [(word, fold(word.strip("!*")).replace(" ", "")) for word in rest.split()]
        talk = found.get(language.strip(), _Talk())
        found[language.strip()] = _Talk(
            talk.words | {plain for word, plain in folded if not word.endswith("*")},
            talk.stems | {plain for word, plain in folded if word.endswith("*") and len(plain) > 1},
            talk.empty | {plain for word, plain in folded if word.startswith("!")},
        )
    for code, language in _IN_LEXICON.items():
        folded = [
            (word, fold(word.strip("?*")).replace(" ", ""))
            for concept in concepts().values()
            if concept.kind in _TALK
            for word in concept.words[language]
            if " " not in word and "-" not in word
        ]
        talk = found.get(code, _Talk())
        found[code] = replace(
            talk,
            words=talk.words | {plain for word, plain in folded if not word.endswith("*")},
            stems=talk.stems | {plain for word, plain in folded if word.endswith("*")},
        )
    for code in found:
        other = _read_as(code)
        if other != code:
            found[other] = replace(found[other], words=found[other].words | found[code].words)
    return found


@cache
def languages() -> frozenset[str]:
    """Languages that are read here."""
    return frozenset(
        code
        for code, language in _LANGUAGES.items()
        if "stops" in language or "reads_as" in language
    )


@cache
def _stops(language: str) -> frozenset[str]:
    stops: str = _LANGUAGES.get(language, {}).get("stops", "")
    return word_set(fold(stops))


def _read_as(language: str) -> str:
    """The language by whose words and stops another one is read; some are in Latin letters."""
    read_as: str = _LANGUAGES.get(language, {}).get("reads_as", language)
    return read_as


def words_of(language: str) -> frozenset[str]:
    """The whole words of a language's list, folded: for scripts that are read in runs."""
    return _lists()[language].words


@lru_cache(maxsize=65536)
def is_talk(word: str, language: str) -> bool:
    """Whether a folded word is music talk, or a common thing, in a language."""
    if is_music(word) or word.isdigit():
        return True
    bare = [word]
    for prefix in _LANGUAGES.get(language, {}).get("prefixes", "").split():
        if word.startswith(prefix) and len(word) - len(prefix) >= 2:
            bare.append(word.removeprefix(prefix))
    lists = [_lists()[code] for code in ("all", language) if code in _lists()]
    return any(
        one in talk.words or any(one[:size] in talk.stems for size in _sizes(one))
        for one in bare
        for talk in lists
    )


def _sizes(word: str) -> range:
    """Lengths of stems that a word may have: a short one is no stem of a long word."""
    return range(2 if len(word) <= _SHORT_STEM + _ENDING else _SHORT_STEM + 1, len(word) + 1)


def _is_empty(word: str, language: str) -> bool:
    """Whether a word says nothing about what it stands with: "songs", "the"."""
    talk = _lists().get(language)
    stems = talk.empty if talk is not None else frozenset()
    return any(word[:size] in stems for size in range(3, len(word) + 1))


def named_after(
    words: Sequence[Word], language: str, strength: Strength, capitals: bool
) -> tuple[int, int] | None:
    """The name at the beginning of what follows a phrase: first word, last word; None: none.

    Args:
        capitals: whether capitals mean something in this text.
    """
    language = _read_as(language)
    kept = 0
    while kept < len(words) and words[kept].text not in _stops(language):
        kept += 1
    return _named(words[:kept], language, strength, capitals)


def named_before(
    words: Sequence[Word], language: str, strength: Strength, capitals: bool
) -> tuple[int, int] | None:
    """As :func:`named_after`, of the words that stand before a phrase, nearest last."""
    first = len(words)
    while first > max(0, len(words) - 3) and words[first - 1].text not in _stops(language):
        first -= 1
    near = words[first:]
    if capitals and near and near[-1].capital:  # a name's words all have capitals
        while len(near) > 1 and not near[0].capital:
            near, first = near[1:], first + 1
    else:
        near, first = near[-1:], len(words) - len(near[-1:])
    found = _named(near, language, strength, capitals)
    return None if found is None else (first + found[0], first + found[1])


def _is_strange(word: Word, language: str, capitals: bool) -> bool:
    """Whether a word is none of music talk; syllables are words of many meanings in Vietnamese."""
    if language == "vi" and capitals and word.capital:
        return word.text not in _NATIONS
    return not is_talk(word.text, language)


def _named(
    words: Sequence[Word], language: str, strength: Strength, capitals: bool
) -> tuple[int, int] | None:
    strange = [i for i, word in enumerate(words) if _is_strange(word, language, capitals)]
    if not strange or strange[0] >= _LONGEST:
        return None
    first, last = strange[0], strange[0]
    while last + 1 in strange and last - first < _LONGEST:
        last += 1
    own = _LANGUAGES.get(language, {})
    caseless = own.get("caseless", False)
    with_capitals = [i for i in strange if words[i].capital and capitals]
    if with_capitals and (not caseless or words[with_capitals[0]].text.isascii()):
        return with_capitals[0], max(last, with_capitals[0])
    if strength is not Strength.STRONG:
        return None
    telling = [
        word.text
        for word in words
        if not _is_empty(word.text, language) and (len(word.text) > 3 or caseless)
    ]
    if caseless:
        thing = bool(telling) and (
            is_talk(telling[0], language) or (language == "ar" and telling[0].startswith("ال"))
        )
    else:
        thing = any(
            is_talk(word, language) or ("adjective" in own and re.match(own["adjective"], word))
            for word in telling
        )
    return None if thing else (first, last)
