"""Find protected names and song titles in a text, however they are written.

Four ways lead to a name, each by look-up, so that the time for a prompt hardly grows with the
number of names:

- *letters*: the name without spaces, punctuation, accents and doubled letters, from the start of a
  word to the end of one (``t.a.y.l.o.r``);
- *edits*: what is left of a name when one letter is deleted, compared with the same of each window
  of words (the symmetric deletion look-up of W. Garbe's SymSpell), verified by edit distance;
- *sound*: its consonants (:func:`~.normalise.sound`), verified by likeness of letters, or as it is
  heard (:func:`~.transliteration.heard`), verified by its vowels.

What is looked up is either made once for a list of names (:mod:`.name_index`) or kept up to date
for all libraries of a process (:mod:`.library_names`).
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rag_audio.guardrails.name_matching import (
    KEY,
    LONG,
    begins_alike,
    declined,
    deletions,
    is_everyday_abroad,
    is_fair,
    is_of_other_letters,
    is_spaced_as,
    is_sure,
    lacks_number,
    latin,
    likeness,
    may_be_english,
    may_end_longer,
    may_mean,
    with_ending,
)
from rag_audio.guardrails.names import Artist, SentenceReading, Song, Spelling
from rag_audio.guardrails.native_scripts import find_native
from rag_audio.guardrails.normalise import NormalisedText, fold, sound, squash
from rag_audio.guardrails.policy_tables import rule_words
from rag_audio.guardrails.transliteration import (
    Pronunciation,
    Sounds,
    find_sounding,
    heard,
    is_sounded,
    most_unlike,
    unlikeness,
)
from rag_audio.guardrails.vocabulary import is_everyday, is_given_name, is_ordinary

_MAX_WINDOW = 5
_DOUBLED = re.compile(r"(.)(?=\1)")
_EDGE = rule_words("misspelled", "edge")

_AFTER_NAMES = rule_words("misspelled", "after_names")


@dataclass(frozen=True)
class NameHit:
    """A form found in a text: ``words[first:last + 1]``.

    Attributes:
        exact: False when it was misspelled.
        sure: False when the words are ordinary ones too, so that the context must make a name.
    """

    first: int
    last: int
    form: Spelling
    exact: bool = True
    sure: bool = True

    @property
    def reading(self) -> SentenceReading:
        """How the words read here."""
        if not self.sure and self.form.reading is SentenceReading.NAME:
            return SentenceReading.WORD
        return self.form.reading


class NameFinder(ABC):
    """Finds names in a text; what names there are is looked up by the methods below it."""

    def hits(self, text: NormalisedText, only: frozenset[int] | None = None) -> list[NameHit]:
        """All names in a text, those that are words too among them, exact ones first.

        Args:
            only: as in :meth:`near`.
        """
        exact = [*self.exact(text), *self.inside(text), *self.initials(text)]
        taken = {
            i
            for h in exact
            if h.reading is SentenceReading.NAME
            for i in range(h.first, h.last + 1)
        }
        near = [
            hit
            for hit in self.near(text, only=only)
            if not taken & set(range(hit.first, hit.last + 1))
            and (
                hit.reading is SentenceReading.NAME
                or hit.form.words > 1
                or len(hit.form.letters) > 4
            )
        ]
        return [*exact, *near]

    def exact(self, text: NormalisedText) -> Iterator[NameHit]:
        """Names by their letters, those that are words too among them."""
        run = text.squashed
        english = may_be_english(text)
        for start, first in run.starts:
            for form in self._spelled_at(run.letters, start):
                end = start + len(form.letters)
                last = run.ends.get(end)
                if last is None and may_end_longer(form, run, text.words, end):
                    last = with_ending(run.letters, run.word_of, run.ends, end)
                if last is None and not text.raw.isascii():
                    last = declined(form, text, run, end)
                if (
                    last is not None
                    and last >= first
                    and is_fair(form, text.words[first : last + 1])
                ):
                    sure = is_sure(form, text.words, first, last)
                    if sure and not english:
                        sure = not is_everyday_abroad(text.words[first : last + 1])
                    yield NameHit(first, last, form, sure=sure)

    def inside(self, text: NormalisedText) -> Iterator[NameHit]:
        """Long names in the middle of a word: ``xxtaylorswiftxx``."""
        for number, word in enumerate(text.words):
            if len(word.text) < 10:
                continue
            letters = squash(word.text)
            for start in range(1, len(letters) - 8):
                for form in self._long_at(letters, start):
                    if len(form.letters) >= 9 and form.reading is SentenceReading.NAME:
                        yield NameHit(number, number, form)

    def near(
        self, text: NormalisedText, *, only: frozenset[int] | None = None
    ) -> Iterator[NameHit]:
        """Misspelled names: within one or two edits, or with the same sound.

        Args:
            only: look at windows that contain one of these words; None: at all.
        """
        words = text.words
        english = may_be_english(text)
        ordinary = [
            is_ordinary(word.text)
            or (not english and (is_everyday(word.text) or is_given_name(word.text)))
            for word in words
        ]
        for first in range(len(words)):
            letters = ""
            known = True
            for last in range(first, min(first + _MAX_WINDOW, len(words))):
                letters += latin(words[last].text)
                if len(letters) > 32:
                    break
                known = known and ordinary[last]
                if len(letters) < 5 or words[last].text in _EDGE:
                    continue
                if known and words[first].text in _EDGE:
                    continue
                if last > first and words[last].text in _AFTER_NAMES:
                    continue
                if only is not None and not any(i in only for i in range(first, last + 1)):
                    continue
                proper = text.capitals_mean and all(w.capital for w in words[first : last + 1])
                by_ear = english and not is_of_other_letters(text, first, last)
                form = self._nearest(letters, known, proper, by_ear=by_ear) or self._swapped(
                    letters, known
                )
                small = words[first].text if words[first].text in _EDGE else ""
                if form is not None and small and not form.letters.startswith(squash(small)):
                    continue  # "to Jackson" is nobody's given name and surname
                if form is not None and lacks_number(form, letters):
                    continue
                if form is not None and known and not may_mean(form, words, first, last):
                    continue
                if form is not None and not english and not is_spaced_as(form, words, first, last):
                    continue
                if (
                    form is not None
                    and not form.artist.well_known
                    and (only is not None or last - first + 1 != form.words)
                ):
                    continue
                if form is not None:
                    yield NameHit(first, last, form, exact=False, sure=not known or form.words > 1)

    def initials(self, text: NormalisedText) -> Iterator[NameHit]:
        """``M. Surname``: an initial with its dot, and the last name of somebody protected."""
        words = text.words
        for i in range(len(words) - 1):
            surname = words[i + 1]
            if len(words[i].text) != 1 or not (surname.capital or not words[i].capital):
                continue
            if text.plain[words[i].end : surname.start].strip() != ".":
                continue
            form = self._initialled(words[i].text, squash(surname.text))
            if form is not None:
                yield NameHit(i, i + 1, form)

    def songs(self, text: NormalisedText) -> Iterator[tuple[int, int, Song]]:
        """Famous titles by their letters: first word, last word, song."""
        run = text.squashed
        for start, first in run.starts:
            for letters, song in self._titles_at(run.letters, start):
                last = run.ends.get(start + len(letters))
                if last is not None and last >= first:
                    yield first, last, song
                    break

    def abroad(self, raw: str) -> Iterator[tuple[int, int, Spelling]]:
        """Names in scripts that are told by their sound, as spans of the original."""
        if not raw.isascii() and is_sounded(raw):
            yield from find_sounding(raw, self._sounding)

    def native(self, raw: str) -> Iterator[tuple[int, int, Artist]]:
        """Names as their own scripts write them, where a style is asked for, as spans of a text."""
        yield from find_native(raw, self._native)

    def _spelled_at(self, letters: str, start: int) -> Iterator[Spelling]:
        yield from self._long_at(letters, start)
        for length in range(1, KEY):
            short = self._short(letters[start : start + length])
            if short is not None:
                yield short

    def _swapped(self, letters: str, known: bool) -> Spelling | None:
        """The name in which two letters changed places so that equal ones met: ``Ppaa Roach``.

        Single letters in place of doubled ones hide such a slip from :meth:`_nearest`.
        """
        if known or not letters.isascii():
            return None
        for i in _DOUBLED.finditer(letters):
            for left in (i.start() - 1, i.start() + 1):
                if 0 <= left < len(letters) - 1:
                    swapped = letters[:left] + letters[left + 1] + letters[left]
                    name = squash(swapped + letters[left + 2 :])
                    for form in self._deleted(name):
                        if form.letters == name and len(name) >= 6:
                            return form
        return None

    def _nearest(
        self, written: str, known: bool, proper: bool, *, by_ear: bool = True
    ) -> Spelling | None:
        """The protected name that letters are a misspelling of.

        Args:
            known: every word of them is in the dictionary: only the same sound counts then,
                or, if they are proper, one edit in a long name.
            proper: every word of them has a capital, where capitals mean something.
            by_ear: they may be read aloud as English is.
        """
        if not written.isascii():
            return None
        letters = squash(written)
        consonants = sound(letters)
        pools = [self._consonants(consonants)]
        if not known or (proper and len(letters) >= LONG - 1):
            pools += map(self._deleted, deletions(letters))
        if not known and len(consonants) > 3:
            pools += map(self._consonants, deletions(consonants))
        best: tuple[float, Spelling] | None = None
        for form in {id(form): form for pool in pools for form in pool}.values():
            alike = likeness(letters, consonants, form, known, proper)
            if alike and (best is None or alike > best[0]):
                best = (alike, form)
        if best is not None and not by_ear and not begins_alike(letters, best[1]):
            best = None
        if best is None and not known and by_ear:
            return self._by_ear(written)
        return best[1] if best else None

    def _by_ear(self, letters: str) -> Spelling | None:
        """The protected name that is heard when letters are read aloud."""
        best: tuple[float, Spelling] | None = None
        for reading in heard(letters):
            for other, form in self._heard(reading.key):
                apart = unlikeness(reading, other)
                if apart <= most_unlike(reading.key) and (best is None or apart < best[0]):
                    best = (apart, form)
        return best[1] if best else None

    # What names there are. Of several spelled by the same letters the first alone is looked for,
    # and look-ups give names in the order in which they were added.

    @abstractmethod
    def _long_at(self, letters: str, start: int) -> Iterator[Spelling]:
        """Names of at least :data:`KEY` letters that are spelled there, longest first."""

    @abstractmethod
    def _short(self, letters: str) -> Spelling | None:
        """The name of fewer letters that is spelled so."""

    @abstractmethod
    def _initialled(self, initial: str, surname: str) -> Spelling | None:
        """The name of two words of which the first begins so, and the second is spelled so."""

    @abstractmethod
    def _titles_at(self, letters: str, start: int) -> Iterator[tuple[str, Song]]:
        """Titles that are spelled there, by their letters, longest first."""

    @abstractmethod
    def _deleted(self, key: str) -> Sequence[Spelling]:
        """Names that :func:`near_keys` gives a key."""

    @abstractmethod
    def _consonants(self, key: str) -> Sequence[Spelling]:
        """Names that :func:`consonant_keys` gives a key."""

    @abstractmethod
    def _heard(self, key: str) -> Sequence[tuple[Pronunciation, Spelling]]:
        """Names with those of their :func:`pronunciations` that have a key."""

    @abstractmethod
    def _sounding(self, key: str) -> Iterable[tuple[Spelling, Sounds]]:
        """Names with what :func:`.sounds_of` gives a key."""

    @abstractmethod
    def _native(self, key: str) -> Iterable[tuple[str, Artist]]:
        """Artists with what :func:`.native_spellings` gives a key, longest first."""


# The keys by which spellings of names are looked up.


def may_be_misspelled(form: Spelling) -> bool:
    """Whether a spelling is looked for misspelled too."""
    return len(form.letters) >= 5 and form.letters.isascii() and not form.turned


def near_keys(form: Spelling) -> Iterable[str]:
    """What is left of a name that may be misspelled when one letter is deleted."""
    return deletions(form.letters)


def consonant_keys(form: Spelling) -> Iterable[str]:
    """What is left of the consonants of a name that may be misspelled when one is deleted."""
    told = form.artist.well_known and len(form.heard) >= 4
    return deletions(form.heard) if told else ()


def pronunciations(form: Spelling) -> Iterable[Pronunciation]:
    """How a name that may be misspelled is read aloud."""
    told = form.artist.well_known and (len(form.letters) >= 6 or form.words > 1)
    return heard(fold(form.text).replace(" ", "")) if told else ()


def initialled(form: Spelling) -> tuple[str, str] | None:
    """The initial and the surname of a name that is a given name and a surname."""
    names = fold(form.text).split()
    if form.reading is SentenceReading.NAME and len(names) == 2 and len(names[1]) > 3:
        return names[0][0], squash(names[1])
    return None
