"""Names of artists and holders: when two are the same, and which one is meant by what was typed.

Two names are *the same* when they are written the same (:func:`exact`): Unicode composes them alike
(NFC) and spaces between words are single. Case, accents and signs tell names apart. What is stored
and compared everywhere (catalogue, index, ledger, rights) is this form.

What a person *types* is looked up among the names that are known, in three steps, and the first
step that finds something decides (:func:`lookup`):

1. exactly as written;
2. by :func:`fold`: without case, width of letters, typographic quotes and dashes, and accents of
   Latin, Greek and Cyrillic letters;
3. by :func:`loose`: also without full stops, spaces and hyphens.

Where a step finds several names, none is guessed: the answer is all of them, to choose from.
Voicing marks of kana, vowel signs, ``/``, ``!``, ``$``, ``+``, other signs and digits are letters
of a name in every step. A form that is empty matches nothing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from functools import lru_cache

from rag_audio.errors import InvalidInput

_JOINING = re.compile("[\uff9e\uff9f\u1160-\u11ff]")
"""Half-width voicing marks, and the vowels and finals of Hangul that is written in parts."""
_ACCENTED = ("LATIN", "GREEK", "CYRILLIC")
_TYPOGRAPHY = str.maketrans(
    {
        **dict.fromkeys("‘’ʼ`´′＇", "'"),
        **dict.fromkeys("“”„″＂", '"'),
        **dict.fromkeys("‐‑‒–—―−－", "-"),
    }
)
_SPACE = re.compile(r"\s")
_LOOSE = re.compile(r"[.\s\-]+")
_SHOWN = 4


class Matched(StrEnum):
    """Which step of a look-up found something."""

    EXACT = "exact"
    FOLD = "fold"
    LOOSE = "loose"
    NOTHING = "nothing"


@dataclass(frozen=True)
class Lookup:
    """The known names that a typed one may mean.

    Attributes:
        names: as they are known, different ones, in order; one where it is clear who is meant.
        by: the step that found them.
    """

    names: tuple[str, ...]
    by: Matched


@dataclass(frozen=True)
class Placed:
    """A folded text with its origin.

    Attributes:
        text: as :func:`fold` folds it, spaces as they were.
        origin: for each character of ``text`` the span (start, end) of the original it came from.
    """

    text: str
    origin: tuple[tuple[int, int], ...]


@lru_cache(maxsize=65536)
def exact(name: str) -> str:
    """A name as it is compared and stored: NFC, without spaces around, single ones between."""
    return " ".join(unicodedata.normalize("NFC", name).split())


def same(one: str, other: str) -> bool:
    """Whether two names are the same one."""
    return exact(one) == exact(other)


@lru_cache(maxsize=65536)
def fold(name: str) -> str:
    """A name without case, width, typography and accents: the second step of a look-up.

    Compatibility forms as in NFKC and full case folding (Unicode 3.13). Marks are taken from
    Latin, Greek and Cyrillic letters only; invisible format characters go.
    """
    return " ".join(unaccented(name).split())


@lru_cache(maxsize=65536)
def loose(name: str) -> str:
    """A folded name without full stops, spaces and hyphens: the third step of a look-up."""
    return fold(_LOOSE.sub("", fold(name)))


def fold_placed(text: str) -> Placed:
    """A text as :func:`fold` folds it, with where each character stood."""
    if text.isascii():
        return Placed(unaccented(text), tuple((i, i + 1) for i in range(len(text))))
    pieces: list[str] = []
    origin: list[tuple[int, int]] = []
    for start, end in _clusters(text):
        folded = _folded(text[start:end])
        pieces.append(folded)
        origin.extend([(start, end)] * len(folded))
    return Placed("".join(pieces), tuple(origin))


def unaccented(text: str) -> str:
    """A text as :func:`fold` folds it, with its spaces, line ends included."""
    if text.isascii():
        return _SPACE.sub(" ", text.lower())
    return "".join(_folded(text[start:end]) for start, end in _clusters(text))


def lookup(asked: str, known: Iterable[str]) -> Lookup:
    """The known names that ``asked`` may mean; see the head of the module.

    Args:
        known: the same ``frozenset`` again is indexed once.
    """
    index = _index(known if isinstance(known, frozenset) else frozenset(known))
    for by, form in FORMS.items():
        found = index[by].get(form(asked), ())
        if found:
            return Lookup(found, by)
    return Lookup((), Matched.NOTHING)


@lru_cache(maxsize=16)
def _index(known: frozenset[str]) -> dict[Matched, dict[str, tuple[str, ...]]]:
    """The names by each form of theirs that is not empty."""
    written = {exact(name): name for name in sorted(known, reverse=True)}
    found: dict[Matched, dict[str, tuple[str, ...]]] = {by: {} for by in FORMS}
    for name in sorted(written.values()):
        for by, form in FORMS.items():
            if key := form(name):
                found[by][key] = (*found[by].get(key, ()), name)
    return found


def resolve(asked: str, known: Iterable[str], what: str = "artist") -> str | None:
    """The known name that is meant, as it is known; None: nobody of that name is known.

    Args:
        what: the names are of, for the message.

    Raises:
        InvalidInput: several are written so; the message names them.
    """
    return meant(asked, lookup(asked, known), what)


def meant(asked: str, found: Lookup, what: str = "artist") -> str | None:
    """The name that a look-up found; None: it found none.

    Raises:
        InvalidInput: it found several; the message names them.
    """
    if len(found.names) > 1:
        raise several(asked, found.names, what)
    return found.names[0] if found.names else None


def several(asked: str, found: Iterable[str], what: str = "artist") -> InvalidInput:
    """That a typed name may mean several known ones, as an error to raise."""
    names = sorted(found)
    shown = ", ".join(repr(name) for name in names[:_SHOWN])
    more = ", …" if len(names) > _SHOWN else ""
    return InvalidInput(
        f"{asked!r} may be any of {len(names)} {what}s: {shown}{more}",
        hint="write the name exactly as one of them is written",
    )


def suggestion(asked: str, known: Iterable[str]) -> str | None:
    """The known name that is nearest to one that is not known; None: none is near."""
    by_fold: dict[str, str] = {}
    for name in sorted(known):
        by_fold.setdefault(fold(name), name)
    near = get_close_matches(fold(asked), list(by_fold), 1)
    return by_fold[near[0]] if near else None


def revocation_key(name: str, known: Iterable[str]) -> str:
    """How a revoked name is stored: ``~``, its fold, and a line for each name that is not meant.

    A revocation holds however the name comes to be written later on, and so compares folded names.
    Where the name is known, and others that fold to the same, it does not hold for these others. A
    name whose fold is empty is stored as it is, after ``=``.
    """
    if not fold(name):
        return f"={exact(name)}"
    alike = {exact(other) for other in known if fold(other) == fold(name)}
    others = alike - {exact(name)} if exact(name) in alike else set()
    return "\n".join((f"~{fold(name)}", *sorted(others)))


def is_revoked(name: str, keys: frozenset[str]) -> bool:
    """Whether a name is among revoked ones, by their :func:`revocation_key`."""
    if not keys:
        return False
    spared = _spared(keys).get(f"~{fold(name)}", ())
    return any(exact(name) not in names for names in spared) or f"={exact(name)}" in keys


@lru_cache(maxsize=64)
def _spared(keys: frozenset[str]) -> dict[str, list[frozenset[str]]]:
    """By fold, the names that each revocation of it does not mean."""
    found: dict[str, list[frozenset[str]]] = {}
    for key in sorted(keys):
        folded, *others = key.split("\n")
        found.setdefault(folded, []).append(frozenset(others))
    return found


def _clusters(text: str) -> Iterator[tuple[int, int]]:
    """Spans of a character and what joins it: marks, and format characters that are not seen."""
    start = 0
    for i, char in enumerate(text):
        joins = not char.isascii() and (
            unicodedata.category(char) in ("Mn", "Mc", "Me", "Cf") or _JOINING.match(char)
        )
        if i > start and not joins:
            yield start, i
            start = i
    if text:
        yield start, len(text)


FORMS = {Matched.EXACT: exact, Matched.FOLD: fold, Matched.LOOSE: loose}
"""The form of a name that each step of a look-up compares."""


@lru_cache(maxsize=16384)
def _folded(cluster: str) -> str:
    """The fold of one character and what combines with it."""
    if cluster.isascii():
        return " " if cluster.isspace() else cluster.lower()
    signs = "".join(_visible(unicodedata.normalize("NFKD", cluster)))
    composed = unicodedata.normalize("NFKC", signs.translate(_TYPOGRAPHY))
    folded = unicodedata.normalize("NFKC", composed.casefold())
    return " " if folded.isspace() else folded


def _visible(decomposed: str) -> Iterator[str]:
    """The characters that count: marks on accented scripts do not, nor what cannot be seen."""
    accented = False
    for char in decomposed:
        category = unicodedata.category(char)
        if category == "Cf" or "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef":
            continue
        if category in ("Mn", "Me"):
            if not accented:
                yield char
            continue
        accented = unicodedata.name(char, "").startswith(_ACCENTED)
        yield char
