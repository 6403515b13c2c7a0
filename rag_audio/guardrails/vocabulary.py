"""Which words are ordinary, and which are music talk; the lists lie in ``data/policy/words``."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from rag_audio.guardrails.lists import policy_table, rule_pattern, rule_words, word_set
from rag_audio.guardrails.normalise import Text, Word, fold, read
from rag_audio.guardrails.phrases import Strength
from rag_audio.resources import data_dir

_FOREIGN = ("german", "french", "spanish", "portuguese", "italian")
_LANGUAGES: dict[str, dict[str, Any]] = policy_table("languages")
_DECADE = re.compile(
    r"\d{1,4}(?:s|er|ers|th|st|nd|rd|bpm|hz|khz|bit|bar|bars|db|k|%)?|[a-g][#b]?m?"
)


@cache
def _list(name: str) -> frozenset[str]:
    path = data_dir("policy") / "words" / f"{name}.txt"
    lines = path.read_text(encoding="utf-8").splitlines()
    text = " ".join(line for line in lines if not line.startswith("#"))
    return frozenset((text if text.isascii() else read(text).plain).split())


@cache
def music_words() -> frozenset[str]:
    """Music talk of all European languages we read: it names nobody."""
    foreign = (word for name in _FOREIGN for word in _list(name))
    return _list("music") | _list("connectives") | frozenset(foreign)


@cache
def _english() -> frozenset[str]:
    return _list("english") | _list("english_more")


@cache
def _english_and_music() -> frozenset[str]:
    return _english() | _list("music")


@cache
def listed_words(name: str) -> frozenset[str]:
    """The words of a list, folded, each without spaces."""
    path = data_dir("policy") / "words" / f"{name}.txt"
    lines = path.read_text(encoding="utf-8").splitlines()
    return frozenset(folded_words(" ".join(line for line in lines if not line.startswith("#"))))


def folded_words(text: str) -> list[str]:
    """The words between a text's spaces, each folded and without spaces of its own.

    The text is read in one go, which is many times faster than word by word.
    """
    pieces = read(text).plain.replace("'", "").split()
    return [one if one.isalpha() else fold(one).replace(" ", "") for one in pieces]


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


@cache
def asian_words(name: str) -> tuple[frozenset[str], int]:
    """Music talk of a language in its own script, and the length of its longest word."""
    words = _list(name)
    return words, max(map(len, words))


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


# Somebody described by what everyone knows of them: helmets of two robots, a glove and a
# moonwalk.
#
# ``data/policy/descriptions.csv`` has the columns ``artist, words``: words that together describe
# the artist, in any order; ``a|b`` is either, ``a*`` every word that begins so. They count where
# all of them stand near one another.

_WINDOW = 12
"""So many words a description may span."""
_PREFIX = 3
_MOST_NEAR = 60
"""So many words of a description are looked at from one on."""
_RHYMES = rule_pattern("vocabulary", "rhymes")


@dataclass(frozen=True)
class _Description:
    artist: str
    slots: int


@cache
def _table() -> tuple[
    tuple[_Description, ...],
    dict[str, tuple[tuple[int, int], ...]],
    dict[str, tuple[tuple[str, int, int], ...]],
]:
    """Descriptions; the places (description, slot) of each whole word; those of stems, with the
    stem, by their first letters."""
    made: list[_Description] = []
    whole: dict[str, list[tuple[int, int]]] = defaultdict(list)
    stems: dict[str, list[tuple[str, int, int]]] = defaultdict(list)
    with (data_dir("policy") / "descriptions.csv").open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file)):
            slots = row["words"].split()
            made.append(_Description(row["artist"], len(slots)))
            for slot, alternatives in enumerate(slots):
                for word in alternatives.split("|"):
                    plain = fold(word.rstrip("*")).replace(" ", "")
                    if word.endswith("*"):
                        stems[plain[:_PREFIX]].append((plain, number, slot))
                    else:
                        whole[plain].append((number, slot))
    return (
        tuple(made),
        {word: tuple(places) for word, places in whole.items()},
        {letters: tuple(places) for letters, places in stems.items()},
    )


def described_people(text: Text) -> Iterator[tuple[int, int, str]]:
    """First word, last word and artist of each description in a text."""
    descriptions, whole, stems = _table()
    found: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for i, word in enumerate(text.words):
        for number, slot in whole.get(word.text, ()):
            found[number].append((i, slot))
        for stem, number, slot in stems.get(word.text[:_PREFIX], ()):
            if word.text.startswith(stem):
                found[number].append((i, slot))
    for number, places in found.items():
        wanted = descriptions[number].slots
        if len({slot for _, slot in places}) < wanted:
            continue
        last = _complete(places, wanted)
        if last is not None:
            yield *last, descriptions[number].artist


def _complete(places: list[tuple[int, int]], wanted: int) -> tuple[int, int] | None:
    """First and last word of the first window that fills every slot with a word of its own."""
    for at, (first, _) in enumerate(places):
        slots: dict[int, int] = {}
        for i, slot in places[at : at + _MOST_NEAR]:
            if i - first >= _WINDOW:
                break
            if slot not in slots and i not in slots.values():
                slots[slot] = i
        if len(slots) == wanted:
            return first, max(slots.values())
    return None


def rhymed_names(text: Text) -> Iterator[tuple[int, int]]:
    """Two words with capitals that somebody's name rhymes with, as spans of the plain text."""
    for match in _RHYMES.finditer(text.plain):
        words = [word for word in text.words if word.start >= match.end()][:2]
        if (
            len(words) == 2
            and text.capitals_mean
            and words[0].start == match.end()
            and all(word.capital for word in words)
            and not all(is_music(word.text) for word in words)
        ):
            yield words[0].start, words[1].end


# What stands at a style phrase of a language whose words we know only in part.
#
# ``data/policy/words/world.txt`` has the music talk and the commonest things of each. A capital
# that begins no such word makes a name; without capitals, or in a script without them, a name is
# what has none of those words in it, where hardly anything but music or a name may stand.

_NATIONS = rule_words("vocabulary", "nations")
_SHORT_STEM = 3
_ENDING = 4
_LONGEST = 4
"""Words that a name abroad has at most."""


@dataclass(frozen=True)
class _Talk:
    words: frozenset[str]
    stems: frozenset[str]
    empty: frozenset[str]


@cache
def _lists() -> dict[str, _Talk]:
    found = {
        code: _Talk(listed_words(language["list"]), frozenset(), frozenset())
        for code, language in _LANGUAGES.items()
        if "list" in language
    }
    path = data_dir("policy") / "words" / "world.txt"
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#") or not line.strip():
            continue
        language, _, rest = line.partition(":")
        folded = [(word, fold(word.strip("!*")).replace(" ", "")) for word in rest.split()]
        talk = found.get(language.strip(), _Talk(frozenset(), frozenset(), frozenset()))
        found[language.strip()] = _Talk(
            talk.words | {plain for word, plain in folded if not word.endswith("*")},
            talk.stems | {plain for word, plain in folded if word.endswith("*") and len(plain) > 1},
            talk.empty | {plain for word, plain in folded if word.startswith("!")},
        )
    for code in found:
        other = _read_as(code)
        if other != code:
            base = found[other]
            found[other] = _Talk(base.words | found[code].words, base.stems, base.empty)
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
