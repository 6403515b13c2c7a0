"""The ways to write a name that the index looks for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from rag_audio.guardrails.everyday import is_given_name, is_place
from rag_audio.guardrails.names import Artist, Reading
from rag_audio.guardrails.normalise import fold, read, sound, squash
from rag_audio.guardrails.vocabulary import is_compound, is_ordinary

_SURNAME = 5
"""Letters of a surname that is looked for by itself."""


@dataclass(frozen=True)
class Form:
    """One way to write a name.

    Attributes:
        letters: without spaces and doubled letters. words: how many it has.
        turned: surname first or alone, an epithet, or one word that is less known; looked for as
            it is only, not misspelled.
    """

    letters: str
    words: int
    artist: Artist
    reading: Reading
    text: str
    turned: bool = False

    @cached_property
    def heard(self) -> str:
        """How it sounds."""
        return sound(self.letters)


def surname_of(artist: Artist) -> Form | None:
    """The surname by which somebody is known, where it is no word, place or given name.

    It is read as a word too: what stands around it must make it a name.
    """
    if artist.reading is not Reading.NAME or not artist.well_known:
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
    return Form(squash(surname), 1, artist, Reading.WORD, surname, True)


def forms_of(artist: Artist) -> Iterator[Form]:
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
        if tiny and reading is Reading.NAME:
            reading = Reading.WORD
        epithet = epithet or (len(words) == 1 and not artist.well_known)
        yield Form(letters, len(words), artist, reading, text, epithet)
        with_s = squash(fold(text))
        if with_s != letters:  # a possessive that is spelled out: "d e s t i n y s"
            yield Form(with_s, len(words), artist, reading, text, epithet)
        if words[0] in ("the", "die", "los", "les") and words[1:] not in ([], ["the"]):
            rest = words[1:]
            bare = " ".join(rest)
            plain = len(rest) == 1 and is_ordinary(rest[0])
            if epithet and plain:
                continue  # "the Boss" is nobody without its article
            as_word = Reading.WORD if plain or reading is not Reading.NAME else Reading.NAME
            if as_word is Reading.WORD and not artist.well_known:
                as_word = Reading.MASS
            as_it_is = epithet or (len(rest) == 1 and not artist.well_known)
            yield Form(squash(bare), len(rest), artist, as_word, bare, as_it_is)
        if reading is Reading.NAME and not epithet and len(words) == 2 and text.isascii():
            yield Form(
                squash(words[1] + words[0]), 2, artist, reading, f"{words[1]} {words[0]}", True
            )
