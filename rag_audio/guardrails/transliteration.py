"""Names in Arabic, Hebrew, Hangul and kana, by the consonants that are heard in them.

A name is written in another script as it sounds, with the consonants that script has: p is b in
Arabic, r is l in Hangul, v is b in kana. So consonants that scripts do not tell apart are one here;
they are the key under which names are looked up. What then tells names apart is the consonants that
the script does write and, where it writes vowels, the vowels.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice, product

from rag_audio.guardrails.names import SentenceReading, Spelling
from rag_audio.guardrails.normalise import fold
from rag_audio.guardrails.policy_tables import letters, replacements, rule_pattern, rule_words
from rag_audio.guardrails.vocabulary import is_talk, plain_words

_RUN = re.compile(
    r"[\u0620-\u064a\u0671-\u06d3']+|[\u05d0-\u05ea'\u05f3]+|[\uac00-\ud7a3]+|[\u1100-\u11ff]+|"
    r"[\u30a1-\u30fa\u30fc]+"
)


_ARABIC, _HEBREW, _HANGUL, _KANA = map(letters, ("arabic", "hebrew", "hangul", "kana"))
_PARTICLE = rule_pattern("heard", "particle")
_COARSE = str.maketrans(
    {**dict.fromkeys("pbfv", "p"), **dict.fromkeys("kg", "k"), **dict.fromkeys("td", "t"),
     **dict.fromkeys("szSCJj", "s"), **dict.fromkeys("lr", "l")}
)  # fmt: skip
_NOT_CONSONANT = re.compile(r"[^pbfvkgtdszSCJjlrmn]")
_DROPPED_R = re.compile(r"r(?![aeiouy])")
_LANGUAGES = {"arabic": ("ar", "fa"), "hebrew": ("he",), "hangul": ("ko",), "kana": ()}
_MOST_WAYS = 4
_MOST_READINGS = 16
_LEAST = 4
_LEAST_ALONE = 5
_LEAST_LED = 3
"""Consonants of a name that follows "like"."""
_LIKE = rule_words("heard", "like")
_MOST_WORDS = 4


@dataclass(frozen=True)
class _SpelledWord:
    """A word in another script, as it sounds: consonants, and what vowels stand between."""

    start: int
    end: int
    sounds: str
    script: str
    is_talk: bool


@dataclass(frozen=True)
class Sounds:
    """What is heard of words: consonants, the vowels around them, consonants of each word."""

    consonants: str
    vowels: tuple[str, ...]
    sizes: tuple[int, ...]


Named = Callable[[str], Iterable[tuple[Spelling, Sounds]]]
"""Names with what is heard of them, by the key of their consonants."""


def sounds_of(form: Spelling) -> Iterator[tuple[str, Sounds]]:
    """What is heard of a name in scripts that write other consonants, each with its key."""
    known = form.artist.well_known and form.reading is SentenceReading.NAME
    if known and form.letters.isascii() and not form.turned:
        for entry in _entries(form):
            yield entry.consonants.translate(_COARSE), entry


def find_sounding(raw: str, named: Named) -> Iterator[tuple[int, int, Spelling]]:
    """Spans of the original, and the name that is heard there; the first of several is meant."""
    runs = list(_runs(raw))
    at = 0
    while at < len(runs):
        found = _longest(raw, runs, at, named)
        if found is None:
            at += 1
            continue
        last, form = found
        yield runs[at].start, runs[last].end, form
        at = last + 1


def _longest(
    raw: str, runs: list[_SpelledWord], first: int, named: Named
) -> tuple[int, Spelling] | None:
    best: tuple[int, Spelling] | None = None
    for last in range(first, min(first + _MOST_WORDS, len(runs))):
        if last > first:
            gap = raw[runs[last - 1].end : runs[last].start]
            same = runs[last].script == runs[first].script
            if not same or gap.strip("\u200c ・·-.") or len(gap) > 3:
                break
        window = runs[first : last + 1]
        led = first > 0 and raw[runs[first - 1].start : runs[first - 1].end] in _LIKE
        if all(run.is_talk for run in window):
            continue
        gaps = raw[window[0].start : window[-1].end]
        if window[0].script == "kana" and " " in gaps and len(window) > 1:
            continue  # words of a list; a name in kana has a dot between its words
        form = _named_so(window, _LEAST_LED if led else _LEAST, named)
        if form is not None:
            best = (last, form)
    return best


def _named_so(window: list[_SpelledWord], least: int, named: Named) -> Spelling | None:
    script = window[0].script
    parts = [_split(run.sounds) for run in window]
    written = _joined(parts)
    if len(written.consonants) < least:
        return None
    short = len(window) == 1 and len(written.consonants) < _LEAST_ALONE
    for form, entry in named(written.consonants.translate(_COARSE)):
        unspaced = script in ("kana", "hangul") and len(window) == 1
        if entry.sizes != written.sizes and not unspaced:
            continue
        all_written = script in ("kana", "hangul")
        odd = _odd_vowels(written.vowels, entry.vowels, all_written)
        led = least < _LEAST
        most = 0.15 if short and not led else 0.3 if unspaced or not all_written else 0.45
        if odd <= most and _alike(written.consonants, entry.consonants, script):
            return form
    return None


def is_sounded(raw: str) -> bool:
    """Whether a text has a word in one of the scripts that are read by their sound."""
    return any(char.isalpha() for char in "".join(_RUN.findall(raw)))


def _entries(form: Spelling) -> Iterator[Sounds]:
    words = fold(form.text).split()
    seen: set[str] = set()
    plain = [_DROPPED_R.sub("", word) for word in words]
    with_s = [[word.replace("th", "s") for word in spelled] for spelled in (words, plain)]
    for spelling in dict.fromkeys(map(tuple, (words, plain, *with_s))):
        ways = [heard(word, 0)[:_MOST_WAYS] for word in spelling]
        for readings in islice(product(*ways), _MOST_READINGS):
            sounds = _joined([(reading.key, reading.vowels) for reading in readings])
            if len(sounds.consonants) >= _LEAST_LED and sounds.consonants not in seen:
                seen.add(sounds.consonants)
                yield sounds


def _joined(parts: Sequence[tuple[str, tuple[str, ...]]]) -> Sounds:
    """The sounds of words that follow one another."""
    consonants = "".join(part[0] for part in parts)
    vowels: list[str] = [""]
    for _, between in parts:
        vowels[-1] += between[0]
        vowels += between[1:]
    return Sounds(consonants, tuple(vowels), tuple(len(part[0]) for part in parts))


def _runs(raw: str) -> Iterator[_SpelledWord]:
    for match in _RUN.finditer(raw):
        word = match.group()
        script = _script(word)
        talk = any(is_talk(fold(word), language) for language in _LANGUAGES[script])
        talk = talk or (script == "kana" and word in plain_words("japanese"))
        yield _SpelledWord(match.start(), match.end(), _sounds(word, script), script, talk)


def _script(word: str) -> str:
    for char in word:
        if "\u0590" <= char <= "\u05ff":
            return "hebrew"
        if "\u0600" <= char <= "\u06ff":
            return "arabic"
        if "\u30a0" <= char <= "\u30ff":
            return "kana"
    return "hangul"


@lru_cache(maxsize=16384)
def _sounds(word: str, script: str) -> str:
    """A word as small letters for vowels and plain consonants."""
    if script == "hangul":
        word = _PARTICLE.sub("", unicodedata.normalize("NFC", word))
        syllables = (char for char in word if "\uac00" <= char <= "\ud7a3")
        parts = unicodedata.normalize("NFD", "".join(syllables))
        return "".join(_HANGUL[part] for part in parts)
    if script == "hebrew":
        word = re.sub(r"ג['\u05f3]", "J", word)
        word = re.sub(r"צ['\u05f3]", "C", word)
        return "".join(_HEBREW.get(char, char if char in "JC" else "") for char in word)
    if script == "kana":
        word = re.sub(r"フ(?=[ァィェォ])", "f", re.sub(r"ウ(?=[ィェォ])", "w", word))
        word = re.sub(
            r"[ヴヷ](?=[ァィェォュ])", "v", re.sub(r"テ(?=ィ)", "t", re.sub(r"デ(?=ィ)", "d", word))
        )
        return "".join(_KANA.get(char, char if char in "fwvtd" else "") for char in word)
    return "".join(_ARABIC.get(char, "") for char in word)


def _split(sounds: str) -> tuple[str, tuple[str, ...]]:
    """Consonants, and the vowels before, between and after them; doubled consonants single."""
    consonants: list[str] = []
    vowels = [""]
    for sign in sounds:
        if _NOT_CONSONANT.match(sign):
            vowels[-1] += sign if sign in "aeiou" else {"y": "i", "w": "u"}.get(sign, "")
        elif consonants and not vowels[-1] and consonants[-1] == sign:
            continue
        else:
            consonants.append(sign)
            vowels.append("")
    return "".join(consonants), tuple(vowels)


_APART = {
    # Consonants that a script writes apart although they share a key.
    "arabic": ("pb", "fv", "kgJ", "t", "d", "sz", "SCJ", "l", "r"),
    "hebrew": ("pbfv", "kg", "t", "d", "sz", "SsC", "Jg", "l", "r"),
    "hangul": ("pf", "bv", "k", "g", "t", "d", "szSCJj", "lr"),
    "kana": ("p", "bv", "f", "k", "g", "t", "d", "sz", "SCJjs", "lr"),
}  # fmt: skip


def _alike(written: str, name: str, script: str) -> bool:
    """Whether consonants of a script may stand for those of a name; one in six may be odd."""
    odd = sum(
        one != other and not any(one in group and other in group for group in _APART[script])
        for one, other in zip(written, name, strict=False)
    )
    return len(written) == len(name) and odd <= len(name) // 6


def _odd_vowels(written: tuple[str, ...], name: tuple[str, ...], all_written: bool) -> float:
    """Share of vowels that do not agree; where only long ones are written, of those."""
    if len(written) != len(name):
        return 1.0
    both = [(a, b) for a, b in zip(written, name, strict=True) if a or (b and all_written)]
    odd = sum(0.5 if not a or not b else 0.0 if _near(a, b) else 1.0 for a, b in both)
    return odd / len(both) if both else 0.0


def _near(one: str, other: str) -> bool:
    """Whether vowels of a script may stand for those of a name: English ones are many."""
    pairs = {frozenset("ae"), frozenset("ei"), frozenset("ou"), frozenset("ao"), frozenset("au")}
    return (
        one == other
        or one[0] == other[0]
        or one[-1] == other[-1]
        or frozenset((one[0], other[0])) in pairs
        or frozenset((one[-1], other[-1])) in pairs
    )


# How a name is heard: consonants as the key, vowels to tell apart what shares it.
#
# ``Billy Eyelish``, ``Doowa Leepa`` and ``Mykel Jaxon`` are far from the letters of the names and
# near to their sound. What can be read in two ways (``ch``, ``ci``, ``w``) is read in both.
# After the ideas of Metaphone (L. Philips, 1990), whose key is of consonants too, and of Editex
# (J. Zobel and P. Dart, 1996), which lets letters of a group differ for less.

_PLAIN = replacements("aloud")
_TWO_WAYS = replacements("aloud_two_ways")
_MOST_SITES = 3
_MERGED = str.maketrans({"c": "k", "q": "k", "z": "s"})
_CONSONANT = re.compile(r"[bdfgjklmnprstvSCJ]")
_REST = re.compile(r"[^aeiouy]")
_VOWELS = replacements("vowels")
_NEAR = frozenset({"ae", "ei", "ou", "ao"})
_DOUBLE = re.compile(r"(.)\1+")
_DOUBLE_CONSONANT = re.compile(r"([bdfgjklmnprstvSCJ])\1+")
_LEAST_HEARD = 3
"""Consonants that a name must have to be told by its sound."""


@dataclass(frozen=True)
class Pronunciation:
    """One way to read a run of letters.

    Attributes:
        key: its consonants.
        vowels: what stands before, between and after them; one more than consonants.
    """

    key: str
    vowels: tuple[str, ...]


@lru_cache(maxsize=65536)
def heard(letters: str, least: int = _LEAST_HEARD) -> tuple[Pronunciation, ...]:
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
    found = (_read_aloud(one) for one in dict.fromkeys(readings))
    return tuple(one for one in dict.fromkeys(found) if len(one.key) >= least)


def unlikeness(one: Pronunciation, other: Pronunciation) -> float:
    """How differently two readings of one key are heard, 0…1: the mean over their vowels."""
    costs = [_cost(a, b) for a, b in zip(one.vowels, other.vowels, strict=True) if a or b]
    return sum(costs) / len(costs) if costs else 0.0


def most_unlike(key: str) -> float:
    """How unlike two readings of a key may be and still be one name: less for a short key."""
    return {3: 0.2, 4: 0.3}.get(len(key), 0.4)


def _read_aloud(made: str) -> Pronunciation:
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
    return Pronunciation("".join(key), tuple(_vowel(v) for v in vowels))


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
