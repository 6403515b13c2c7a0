"""Which words are ordinary, and which are music talk; the lists lie in ``data/policy/words``."""

from __future__ import annotations

import re
from functools import cache, lru_cache

from rag_audio.guardrails.normalise import fold, read
from rag_audio.resources import data_dir

_FOREIGN = ("german", "french", "spanish", "portuguese", "italian")
ABROAD = {
    "ar": "arabic", "bg": "bulgarian", "cs": "czech", "da": "norwegian_danish", "el": "greek",
    "fa": "persian", "fi": "finnish", "he": "hebrew", "hi": "hindi", "hr": "croatian",
    "hu": "hungarian", "id": "indonesian_malay", "ja": "japanese", "ko": "korean",
    "nl": "dutch", "no": "norwegian_danish", "pl": "polish", "ro": "romanian", "ru": "russian",
    "sr": "serbian", "sv": "swedish", "sw": "swahili", "th": "thai", "tl": "tagalog",
    "tr": "turkish", "uk": "ukrainian", "vi": "vietnamese", "zh": "chinese",
}  # fmt: skip
"""Languages of which we have a list of everyday words and music talk, and the list's name."""
_DECADE = re.compile(
    r"\d{1,4}(?:s|er|ers|th|st|nd|rd|bpm|hz|khz|bit|bar|bars|db|k|%)?|[a-g][#b]?m?"
)


def word_set(words: str) -> frozenset[str]:
    """Words with spaces between them, as a set."""
    return frozenset(words.split())


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
    names = {*ABROAD.values(), *_FOREIGN, "places"}
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
