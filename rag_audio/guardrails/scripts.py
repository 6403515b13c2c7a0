"""Style phrases that follow the name in scripts without capitals: Japanese, Hindi, Chinese, Korean.

What stands before the phrase is a name unless it is made of music talk
(``data/policy/words/japanese.txt``, ``hindi.txt``).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import product

from rag_audio.guardrails.lists import policy_table, rule_pattern, rule_words
from rag_audio.guardrails.normalise import Text, fold
from rag_audio.guardrails.vocabulary import asian_words, is_music, is_ordinary, words_of

_KANA = "\u3041-\u3096\u30a1-\u30fa\u30fc\u30fd-\u30ff"
_HAN = "\u3005-\u3007\u4e00-\u9fff"
_JAPANESE = rule_pattern("scripts", "japanese")
_STRONG = rule_pattern("scripts", "strong")
_HINDI = rule_pattern("scripts", "hindi")
_CHINESE = rule_pattern("scripts", "chinese")
_KOREAN = rule_pattern("scripts", "korean", decomposed=True)
_KOREAN_STRONG = rule_pattern("scripts", "korean_strong", decomposed=True)
_KOREAN_ENDING = rule_pattern("scripts", "korean_ending", decomposed=True)
_THAI = rule_pattern("scripts", "thai")
_SURNAMES: str = policy_table("rules")["scripts"]["surnames"]
_CHINESE_MUSIC = rule_words("scripts", "chinese_music")
_KOREAN_MUSIC = frozenset(map(fold, rule_words("scripts", "korean_music")))


def find_names(text: Text, known: set[int]) -> Iterator[tuple[int, int]]:
    """Objects of such phrases that are no music talk, as spans of the plain text.

    Args:
        known: offsets of the plain text that belong to a licensed name.
    """
    if text.plain.isascii():
        return
    for match in _JAPANESE.finditer(text.plain):
        span = _trim(text.plain, *match.span("name"))
        name = text.plain[span[0] : span[1]]
        strong = _STRONG.search(match["suffix"]) is not None
        raw = text.raw[slice(*text.raw_span(*span))] if name else ""
        if name and not known & set(range(*span)) and _is_japanese_name(name, raw, strong):
            yield span
    for match in _HINDI.finditer(text.plain):
        span = _hindi_name(text.plain, *match.span("name"))
        if span[0] < span[1] and not known & set(range(*span)):
            yield span
    for find in (_chinese_names, _korean_names, _thai_names):
        for span in find(text.plain):
            if not known & set(range(*span)):
                yield span


def _chinese_names(plain: str) -> Iterator[tuple[int, int]]:
    if re.search(rf"[{_KANA}]", plain):
        return
    for match in _CHINESE.finditer(plain):
        group = next(g for g, found in match.groupdict().items() if found)
        start, end = _trim(plain, *match.span(group))
        name = plain[start:end]
        name = name.removeprefix("那种").removeprefix("那種").removeprefix("这种")
        if name and not name.isascii() and not _is_talk(name, _chinese_music()):
            yield start, end


def _korean_names(plain: str) -> Iterator[tuple[int, int]]:
    """The word before a phrase, or two where the first of them is no music talk either."""
    for match in _KOREAN.finditer(plain):
        start, end = _trim(plain, *match.span("name"))
        words = list(re.finditer(r"\S+", plain[start:end]))[-2:]
        if not words or plain[start:end].isascii():
            continue
        strong = _KOREAN_STRONG.search(match.group(), match.end("name") - match.start()) is not None
        strange = [word for word in words if not _is_korean_talk(word.group())]
        if words[-1] in strange and (strong or _is_korean_name(words[-1].group())):
            yield start + strange[0].start(), start + words[-1].end()


def _is_korean_talk(word: str) -> bool:
    music = _korean_music()
    bare = _KOREAN_ENDING.sub("", word)
    return any(one in music or is_ordinary(one) for one in (word, bare) if one) or any(
        word.startswith(known) for known in music if len(known) >= 4
    )


def _is_korean_name(word: str) -> bool:
    """Whether a word has a surname and three syllables, as most people's names do there."""
    composed = unicodedata.normalize("NFC", word)
    return len(composed) == 3 and composed[0] in _SURNAMES


def _thai_names(plain: str) -> Iterator[tuple[int, int]]:
    for match in _THAI.finditer(plain):
        name = match["name"]
        short = len(name) <= 5
        talk = any(name.startswith(word) for word in _thai_music() if short or len(word) > 2)
        if not talk and not match["weak"] and not (name.isascii() and is_ordinary(name)):
            yield match.span("name")


@cache
def _japanese_music() -> tuple[frozenset[str], int]:
    words = asian_words("japanese")[0] | words_of("ja")
    return words, max(map(len, words))


@cache
def _chinese_music() -> frozenset[str]:
    return _CHINESE_MUSIC | frozenset(word for word in words_of("zh"))


@cache
def _korean_music() -> frozenset[str]:
    return _KOREAN_MUSIC | words_of("ko")


@cache
def _thai_music() -> frozenset[str]:
    return words_of("th")


def _is_talk(part: str, music: frozenset[str]) -> bool:
    """Whether a run is music talk; Chinese writes several words in one run."""
    return part in music or any(len(word) > 1 and word in part for word in music)


def _trim(plain: str, start: int, end: int) -> tuple[int, int]:
    """The last run of letters before the phrase: after a space between words of other scripts."""
    while start < end and not plain[start].isalnum():
        start += 1
    while end > start and not plain[end - 1].isalnum() and plain[end - 1] != "ー":
        end -= 1
    return start, end


def _is_japanese_name(name: str, raw: str, strong: bool) -> bool:
    if name.isascii():
        words = fold(name).split()
        if raw[:1].isupper() and words and not all(is_music(word) for word in words):
            return True
        return bool(words) and not all(is_ordinary(word) for word in words)
    rest = _without_music(name)
    if not rest:
        return False
    # "like" may be said of anything, and most things are written with one or two Han characters.
    person = len(name) in (3, 4) and re.fullmatch(f"[{_HAN}]+", name) is not None
    return strong or person or len(rest) >= 3 or re.search("[\u30a1-\u30fa]{2}", rest) is not None


def _without_music(name: str) -> str:
    """What is left of a run when music talk is taken from it, longest words first."""
    words, longest = _japanese_music()
    rest: list[str] = []
    at = 0
    while at < len(name):
        for length in range(min(longest, len(name) - at), 0, -1):
            if name[at : at + length] in words:
                at += length
                break
        else:
            if name[at].isalpha() or name[at] in "ー":
                rest.append(name[at])
            at += 1
    return "".join(rest)


def _hindi_name(plain: str, start: int, end: int) -> tuple[int, int]:
    """The words that stand next to the phrase and are no music talk."""
    words, _ = asian_words("hindi")
    found = list(re.finditer(r"[\u0900-\u097fa-z.]+", plain[start:end]))
    first = len(found)
    for i in range(len(found) - 1, -1, -1):
        word = found[i].group().strip(".")
        ordinary = is_ordinary(word) if word.isascii() else word in words
        if ordinary and len(word) > 1:
            break
        first = i
    if first == len(found):
        return end, end
    return start + found[first].start(), start + found[-1].end()


# How a name is heard: consonants as the key, vowels to tell apart what shares it.
#
# ``Billy Eyelish``, ``Doowa Leepa`` and ``Mykel Jaxon`` are far from the letters of the names and
# near to their sound. What can be read in two ways (``ch``, ``ci``, ``w``) is read in both.
# After the ideas of Metaphone (L. Philips, 1990), whose key is of consonants too, and of Editex
# (J. Zobel and P. Dart, 1996), which lets letters of a group differ for less.

_PLAIN = (
    (re.compile(r"sch|sh+|(?<=[a-z])ti(?=on|an|ous)|ssi(?=on)"), "S"),
    (re.compile(r"tch|cz"), "C"),
    (re.compile(r"ph"), "f"),
    (re.compile(r"ck"), "k"),
    (re.compile(r"^(?:kn|gn)"), "n"),
    (re.compile(r"^wr"), "r"),
    (re.compile(r"gh(?=t|s|$)|(?<=[aeiou])gh"), ""),
    (re.compile(r"d?j|dg(?=[eiy])"), "J"),
    (re.compile(r"th"), "t"),
    (re.compile(r"qu"), "kv"),
    (re.compile(r"x"), "ks"),
    (re.compile(r"wh"), "w"),
)
_TWO_WAYS = (
    (re.compile(r"ch"), ("C", "k")),
    (re.compile(r"c[ie](?=[aou])"), ("S", "si")),
    (re.compile(r"c(?=[eiy])"), ("s", "k")),
    (re.compile(r"g(?=[eiy])"), ("g", "J")),
    (re.compile(r"(?<=[aeiou])ll(?=[aeo])"), ("l", "y")),
    (re.compile(r"w(?=[aeiouy])"), ("v", "")),
    (re.compile(r"(?<=[bcdfgklmnprstvzSCJ])e$"), ("", "e")),
)
_MOST_SITES = 3
_MERGED = str.maketrans({"c": "k", "q": "k", "z": "s"})
_CONSONANT = re.compile(r"[bdfgjklmnprstvSCJ]")
_REST = re.compile(r"[^aeiouy]")
_VOWELS = (
    (re.compile(r"ee+|ea|ie|ey"), "i"),
    (re.compile(r"ai|ay|ei"), "e"),
    (re.compile(r"oo+|ou|ew|ue"), "u"),
    (re.compile(r"au|aw|oa|ow|oe"), "o"),
    (re.compile(r"y"), "i"),
)
_NEAR = frozenset({"ae", "ei", "ou", "ao"})
_DOUBLE = re.compile(r"(.)\1+")
_DOUBLE_CONSONANT = re.compile(r"([bdfgjklmnprstvSCJ])\1+")
_LEAST = 3
"""Consonants that a name must have to be told by its sound."""


@dataclass(frozen=True)
class Heard:
    """One way to read a run of letters.

    Attributes:
        key: its consonants.
        vowels: what stands before, between and after them; one more than consonants.
    """

    key: str
    vowels: tuple[str, ...]


@lru_cache(maxsize=65536)
def heard(letters: str, least: int = _LEAST) -> tuple[Heard, ...]:
    """The ways to read a run of small letters, the likeliest first.

    Args:
        least: consonants that a reading must have: too many words sound like a shorter one.
    """
    made = letters
    for pattern, to in _PLAIN:
        made = pattern.sub(to, made)
    readings = [made]
    for pattern, ways in _TWO_WAYS:
        sites = len(pattern.findall(made))
        if sites and len(readings) < 1 << _MOST_SITES:
            readings = [pattern.sub(way, one) for one, way in product(readings, ways)]
        elif sites:
            readings = [pattern.sub(ways[0], one) for one in readings]
    found = (_split(one) for one in dict.fromkeys(readings))
    return tuple(one for one in dict.fromkeys(found) if len(one.key) >= least)


def unlikeness(one: Heard, other: Heard) -> float:
    """How differently two readings of one key are heard, 0…1: the mean over their vowels."""
    costs = [_cost(a, b) for a, b in zip(one.vowels, other.vowels, strict=True) if a or b]
    return sum(costs) / len(costs) if costs else 0.0


def most_unlike(key: str) -> float:
    """How unlike two readings of a key may be and still be one name: less for a short key."""
    return {3: 0.2, 4: 0.3}.get(len(key), 0.4)


def _split(made: str) -> Heard:
    made = _DOUBLE_CONSONANT.sub(r"\1", made.translate(_MERGED))
    key: list[str] = []
    vowels = [""]
    for sign in made:
        if not _CONSONANT.match(sign):
            vowels[-1] += sign
        elif key and key[-1] == sign and not _REST.sub("", vowels[-1]):
            continue
        else:
            key.append(sign)
            vowels.append("")
    return Heard("".join(key), tuple(_vowel(v) for v in vowels))


@lru_cache(maxsize=4096)
def _vowel(letters: str) -> str:
    made = letters
    for pattern, to in _VOWELS:
        made = pattern.sub(to, made)
    return _DOUBLE.sub(r"\1", _REST.sub("", made))


@lru_cache(maxsize=4096)
def _cost(one: str, other: str) -> float:
    if one == other:
        return 0.0
    if not one or not other:
        return 0.6
    if one in other or other in one:
        return 0.3
    pairs = {"".join(sorted(pair)) for pair in ((one[0], other[0]), (one[-1], other[-1]))}
    return 0.5 if pairs & _NEAR else 1.0
