"""How a name is heard: consonants as the key, vowels to tell apart what shares it.

``Billy Eyelish``, ``Doowa Leepa`` and ``Mykel Jaxon`` are far from the letters of the names and
near to their sound. What can be read in two ways (``ch``, ``ci``, ``w``) is read in both.
After the ideas of Metaphone (L. Philips, 1990), whose key is of consonants too, and of Editex
(J. Zobel and P. Dart, 1996), which lets letters of a group differ for less.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

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
