"""Artists and songs, the ways to write a name, and how a name reads in a sentence.

``data/policy/artists.csv`` has the columns ``name, aliases, common_aliases, common, genre, era,
epithets, kind``; aliases and epithets are separated by ``;``. ``common`` says how the name reads in
an ordinary sentence: empty is "as a name only" (found wherever it stands), ``yes`` is "as a word
too" (found where the context makes it a name), ``mass`` is "as a word that stands without an
article" (rain, air, europe). ``epithets`` are what somebody is called in place of the name;
``kind`` is artist (also when empty), producer, member or composer.
A user's own list needs the column ``name`` only.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, cached_property, lru_cache

from rag_audio.guardrails.normalise import Word, fold, read, sound, squash
from rag_audio.guardrails.policy_tables import policy_lines, rule_words
from rag_audio.guardrails.vocabulary import is_compound, is_given_name, is_music, is_ordinary
from rag_audio.guardrails.vocabulary import is_everyday as is_in_a_dictionary


class SentenceReading(StrEnum):
    """How a name reads in an ordinary sentence."""

    NAME = ""
    WORD = "yes"
    MASS = "mass"


_REALMS = rule_words("names", "realms")
KINDS = ("artist", "producer", "member", "composer")


@dataclass(frozen=True)
class Artist:
    """A protected artist.

    Attributes:
        aliases: other names that are found wherever they stand.
        common_aliases: other names that are words too.
        genre, era: plain facts for the transform; empty when unknown.
        epithets: what somebody is called in place of the name: "the Copper Baron".
        kind: what somebody is known as, one of :data:`KINDS`.
        well_known: whether a name of one word is found misspelled too.
    """

    name: str
    aliases: tuple[str, ...] = ()
    common_aliases: tuple[str, ...] = ()
    reading: SentenceReading = SentenceReading.NAME
    genre: str = ""
    era: str = ""
    epithets: tuple[str, ...] = ()
    kind: str = "artist"
    well_known: bool = True

    def forms(self) -> Iterator[tuple[str, SentenceReading]]:
        """Every way to write the name, with how it reads."""
        yield self.name, self.reading
        for alias in self.aliases:
            yield alias, SentenceReading.NAME
        for alias in self.common_aliases:
            yield alias, SentenceReading.WORD
        for epithet in self.epithets:
            yield epithet, epithet_reading(epithet)


@dataclass(frozen=True)
class Song:
    """A famous song.

    Attributes:
        common: whether the title is an everyday phrase, which says nothing by itself.
    """

    title: str
    artist: str
    common: bool


def epithet_reading(epithet: str) -> SentenceReading:
    """How an epithet reads: as a name where it holds a word that is in no dictionary, or crowns
    somebody in a genre ("the king of …"); else as words too ("the purple one")."""
    words = fold(epithet).split()
    strange = [word for word in words if not is_ordinary(word)]
    if strange:
        plain = len(words) == 1 and (len(epithet) < 5 or is_compound(words[0]))
        return SentenceReading.WORD if plain else SentenceReading.NAME
    _, of, realm = " ".join(words).partition(" of ")
    crowned = bool(of) and realm.split()[-1] in _REALMS and all(map(is_music, realm.split()))
    return SentenceReading.NAME if crowned else SentenceReading.WORD


# Which words of a name are everyday ones, and how a name of a long list reads for it.
#
# A database of artists has nearly every word of a dictionary as somebody's name, and most pairs
# of words too. Such a name says nothing by itself, so it is left out: what a style phrase is
# about is refused anyway unless it is music talk (:mod:`.style_phrases`).

MAX_WORDS = 6
MAX_LETTERS = 60
_SHORT = 3
_LATIN_WORD = re.compile(r"[\W\d_]*(?:[A-Za-z\u00c0-\u024f\u1e00-\u1eff\u0300-\u036f][\W\d_]*)+")
_UNSPACED = re.compile(r"[\u3041-\u30ff\u3400-\u9fff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")


@cache
def _places() -> frozenset[str]:
    text = "\n".join(policy_lines("words/places"))
    return frozenset(word.text for word in read(text).words)


def is_place(word: str) -> bool:
    """Whether a folded word belongs to a place's name (``data/policy/words/places.txt``)."""
    return word in _places()


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
) -> SentenceReading | None:
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
    return (
        SentenceReading.NAME
        if found_anywhere and _LATIN_WORD.fullmatch(text)
        else SentenceReading.WORD
    )


def is_full_name(name: str, sort_name: str) -> bool:
    """Whether a name is sorted by its surname: "Quill, Zanther" of "Zanther Quill"."""
    surname, comma, given = sort_name.partition(",")
    return bool(comma) and f"{given.strip()} {surname.strip()}" == name


# The ways to write a name that the index looks for.

_SURNAME = 5
"""Letters of a surname that is looked for by itself."""


@dataclass(frozen=True)
class Spelling:
    """One way to write a name.

    Attributes:
        letters: without spaces and doubled letters. words: how many it has.
        turned: surname first or alone, an epithet, or one word that is less known; looked for as
            it is only, not misspelled.
    """

    letters: str
    words: int
    artist: Artist
    reading: SentenceReading
    text: str
    turned: bool = False

    @cached_property
    def heard(self) -> str:
        """How it sounds."""
        return sound(self.letters)


def surname_of(artist: Artist) -> Spelling | None:
    """The surname by which somebody is known, where it is no word, place or given name.

    It is read as a word too: what stands around it must make it a name.
    """
    if artist.reading is not SentenceReading.NAME or not artist.well_known:
        return None
    words = [word.text for word in read(artist.name).words]
    if len(words) != 2 or not words[1].isascii():
        return None
    surname = words[1]
    plain = (
        is_ordinary(surname) or is_given_name(surname) or is_place(surname) or is_compound(surname)
    )
    if len(surname) < _SURNAME or not surname.isalpha() or plain:
        return None
    return Spelling(squash(surname), 1, artist, SentenceReading.WORD, surname, True)


def forms_of(artist: Artist) -> Iterator[Spelling]:
    """Every way to write an artist's name that is looked for."""
    for text, reading in artist.forms():
        epithet = text in artist.epithets
        words = [word.text for word in read(text).words]
        if not words:
            continue
        letters = squash(" ".join(words))
        # Two or three letters are an abbreviation of many things.
        tiny = len(letters) <= 3 and letters.isascii() and len("".join(words)) <= 3
        if words[0] == "the" and len(words) == 2 and is_ordinary(words[1]):
            tiny = True
        if tiny and reading is SentenceReading.NAME:
            reading = SentenceReading.WORD
        epithet = epithet or (len(words) == 1 and not artist.well_known)
        yield Spelling(letters, len(words), artist, reading, text, epithet)
        with_s = squash(fold(text))
        if with_s != letters:  # a possessive that is spelled out: "d e s t i n y s"
            yield Spelling(with_s, len(words), artist, reading, text, epithet)
        if words[0] in ("the", "die", "los", "les") and words[1:] not in ([], ["the"]):
            rest = words[1:]
            bare = " ".join(rest)
            plain = len(rest) == 1 and is_ordinary(rest[0])
            if epithet and plain:
                continue  # "the Boss" is nobody without its article
            as_word = (
                SentenceReading.WORD
                if plain or reading is not SentenceReading.NAME
                else SentenceReading.NAME
            )
            if as_word is SentenceReading.WORD and not artist.well_known:
                as_word = SentenceReading.MASS
            as_it_is = epithet or (len(rest) == 1 and not artist.well_known)
            yield Spelling(squash(bare), len(rest), artist, as_word, bare, as_it_is)
        if reading is SentenceReading.NAME and not epithet and len(words) == 2 and text.isascii():
            yield Spelling(
                squash(words[1] + words[0]), 2, artist, reading, f"{words[1]} {words[0]}", True
            )


@contextmanager
def without_collection() -> Iterator[None]:
    """A block without the cyclic garbage collector, which doubles the time that an index takes:
    it goes through all that is being made again and again, and nothing of that is garbage."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
