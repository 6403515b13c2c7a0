"""Find protected names and song titles in a text, however they are written.

Built once per roster. Four ways lead to a name, each by look-up, so that the time for a prompt
hardly grows with the number of names:

- *letters*: the name without spaces, punctuation, accents and doubled letters, from the start of a
  word to the end of one (``t.a.y.l.o.r``), by its first four letters;
- *edits*: what is left of a name when one letter is deleted, held against the same of each window
  of words (the symmetric deletion look-up of W. Garbe's SymSpell), verified by edit distance;
- *sound*: its consonants (:func:`~.normalise.sound`), verified by likeness of letters, or as it is
  heard (:mod:`.phonetics`), verified by its vowels.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from rag_audio.guardrails.forms import Form, forms_of, surname_of
from rag_audio.guardrails.likeness import (
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
from rag_audio.guardrails.names import Artist, Reading, Song, without_collection
from rag_audio.guardrails.native import NativeIndex
from rag_audio.guardrails.normalise import Text, fold, read, sound, squash
from rag_audio.guardrails.phonetics import Heard, heard, most_unlike, unlikeness
from rag_audio.guardrails.translit import SoundIndex, is_sounded
from rag_audio.guardrails.vocabulary import (
    is_everyday,
    is_given_name,
    is_ordinary,
    word_set,
)

_KEY = 4
_MAX_WINDOW = 5
_DOUBLED = re.compile(r"(.)(?=\1)")
_LONG = 8
_EDGE = word_set(
    "a an the of in at on with and or for from to by as like is are it my und mit der die das "
    "von le la les de du des et avec el los las con y o e com da do na no il lo di"
)

_AFTER_NAMES = word_set("era style styled type beat vibe vibes inspired like sound period age time")


@dataclass(frozen=True)
class Hit:
    """A form found in a text: ``words[first:last + 1]``.

    Attributes:
        exact: False when it was misspelled.
        sure: False when the words are ordinary ones too, so that the context must make a name.
    """

    first: int
    last: int
    form: Form
    exact: bool = True
    sure: bool = True

    @property
    def reading(self) -> Reading:
        """How the words read here."""
        if not self.sure and self.form.reading is Reading.NAME:
            return Reading.WORD
        return self.form.reading


class NameIndex:
    """Forms of names, and song titles, by their letters.

    Args:
        surnames: also find people by their surname alone, as a word that may be a name.
    """

    def __init__(
        self, artists: Iterable[Artist], songs: Iterable[Song] = (), *, surnames: bool = False
    ) -> None:
        self._by_key: dict[str, list[Form]] = defaultdict(list)
        self._short: dict[str, Form] = {}
        self._near: list[Form] = []
        self._songs: dict[str, list[tuple[str, Song]]] = defaultdict(list)
        self._initials: dict[tuple[str, str], Form] = {}
        seen: set[str] = set()
        forms: list[Form] = []
        known = tuple(artists)
        for artist in known:
            for form in forms_of(artist):
                if form.letters not in seen:
                    seen.add(form.letters)
                    self._add(form)
                    forms.append(form)
                names = fold(form.text).split()
                if form.reading is Reading.NAME and len(names) == 2 and len(names[1]) > 3:
                    self._initials.setdefault((names[0][0], squash(names[1])), form)
        for form in filter(None, map(surname_of, known if surnames else ())):
            if form.letters not in seen:
                seen.add(form.letters)
                self._add(form)
        for bucket in self._by_key.values():
            bucket.sort(key=lambda form: -len(form.letters))
        self._forms = tuple(forms)
        for song in songs:
            for title in {song.title, song.title.replace(" & ", " and ")}:
                letters = squash(" ".join(word.text for word in read(title).words))
                self._songs[letters[:_KEY]].append((letters, song))
        for titles in self._songs.values():
            titles.sort(key=lambda pair: -len(pair[0]))

    def exact(self, text: Text) -> Iterator[Hit]:
        """Names by their letters, those that are words too among them."""
        run = text.squashed
        english = may_be_english(text)
        for start, first in run.starts:
            for form in self._candidates(run.letters, start):
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
                    yield Hit(first, last, form, sure=sure)

    def inside(self, text: Text) -> Iterator[Hit]:
        """Long names in the middle of a word: ``xxtaylorswiftxx``."""
        for number, word in enumerate(text.words):
            if len(word.text) < 10:
                continue
            letters = squash(word.text)
            for start in range(1, len(letters) - 8):
                for form in self._by_key.get(letters[start : start + _KEY], ()):
                    if (
                        len(form.letters) >= 9
                        and form.reading is Reading.NAME
                        and letters.startswith(form.letters, start)
                    ):
                        yield Hit(number, number, form)

    def near(self, text: Text, *, only: frozenset[int] | None = None) -> Iterator[Hit]:
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
                    yield Hit(first, last, form, exact=False, sure=not known or form.words > 1)

    def initials(self, text: Text) -> Iterator[Hit]:
        """``M. Surname``: an initial with its dot, and the last name of somebody protected."""
        words = text.words
        for i in range(len(words) - 1):
            surname = words[i + 1]
            if len(words[i].text) != 1 or not (surname.capital or not words[i].capital):
                continue
            if text.plain[words[i].end : surname.start].strip() != ".":
                continue
            form = self._initials.get((words[i].text, squash(surname.text)))
            if form is not None:
                yield Hit(i, i + 1, form)

    def songs(self, text: Text) -> Iterator[tuple[int, int, Song]]:
        """Famous titles by their letters: first word, last word, song."""
        run = text.squashed
        for start, first in run.starts:
            for letters, song in self._songs.get(run.letters[start : start + _KEY], ()):
                if run.letters.startswith(letters, start):
                    last = run.ends.get(start + len(letters))
                    if last is not None and last >= first:
                        yield first, last, song
                        break

    def abroad(self, raw: str) -> Iterator[tuple[int, int, Form]]:
        """Names in scripts that are told by their sound, as spans of the original."""
        if not raw.isascii() and is_sounded(raw):
            yield from self._sounding.find(raw)

    def native(self, raw: str) -> Iterator[tuple[int, int, Artist]]:
        """Names as their own scripts write them, where a style is asked for, as spans of a text."""
        if not raw.isascii():
            yield from self._written.find(raw)

    @cached_property
    def _written(self) -> NativeIndex:
        return NativeIndex(dict.fromkeys(form.artist for form in self._forms))

    @cached_property
    def _sounding(self) -> SoundIndex:
        with without_collection():
            return SoundIndex(form for form in self._forms if form.artist.well_known)

    def _add(self, form: Form) -> None:
        if len(form.letters) < _KEY:
            self._short[form.letters] = form
        else:
            self._by_key[form.letters[:_KEY]].append(form)
        if len(form.letters) >= 5 and form.letters.isascii() and not form.turned:
            self._near.append(form)

    # Three indexes of misspelled names, each made when a text first asks for it: most prompts are
    # words of the dictionary throughout, of which only the sound counts.

    @cached_property
    def _deleted(self) -> dict[str, list[Form]]:
        made: dict[str, list[Form]] = {}
        with without_collection():
            for form in self._near:
                for key in deletions(form.letters):
                    made.setdefault(key, []).append(form)
        return made

    @cached_property
    def _sounds(self) -> dict[str, list[Form]]:
        made: dict[str, list[Form]] = {}
        with without_collection():
            for form in self._near:
                if form.artist.well_known and len(form.heard) >= 4:
                    for key in deletions(form.heard):
                        made.setdefault(key, []).append(form)
        return made

    @cached_property
    def _heard(self) -> dict[str, list[tuple[Heard, Form]]]:
        made: dict[str, list[tuple[Heard, Form]]] = {}
        with without_collection():
            for form in self._near:
                if form.artist.well_known and (len(form.letters) >= 6 or form.words > 1):
                    for reading in heard(fold(form.text).replace(" ", "")):
                        made.setdefault(reading.key, []).append((reading, form))
        return made

    def _candidates(self, letters: str, start: int) -> Iterator[Form]:
        for form in self._by_key.get(letters[start : start + _KEY], ()):
            if letters.startswith(form.letters, start):
                yield form
        for length in range(1, _KEY):
            short = self._short.get(letters[start : start + length])
            if short is not None:
                yield short

    def _swapped(self, letters: str, known: bool) -> Form | None:
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
                    for form in self._deleted.get(name, ()):
                        if form.letters == name and len(name) >= 6:
                            return form
        return None

    def _nearest(
        self, written: str, known: bool, proper: bool, *, by_ear: bool = True
    ) -> Form | None:
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
        pools = [self._sounds.get(consonants, ())]
        if not known or (proper and len(letters) >= _LONG - 1):
            pools += [self._deleted[key] for key in deletions(letters) if key in self._deleted]
        if not known and len(consonants) > 3:
            pools += [self._sounds[key] for key in deletions(consonants) if key in self._sounds]
        best: tuple[float, Form] | None = None
        for form in {id(form): form for pool in pools for form in pool}.values():
            alike = likeness(letters, consonants, form, known, proper)
            if alike and (best is None or alike > best[0]):
                best = (alike, form)
        if best is not None and not by_ear and not begins_alike(letters, best[1]):
            best = None
        if best is None and not known and by_ear:
            return self._by_ear(written)
        return best[1] if best else None

    def _by_ear(self, letters: str) -> Form | None:
        """The protected name that is heard when letters are read aloud."""
        best: tuple[float, Form] | None = None
        for reading in heard(letters):
            for other, form in self._heard.get(reading.key, ()):
                apart = unlikeness(reading, other)
                if apart <= most_unlike(reading.key) and (best is None or apart < best[0]):
                    best = (apart, form)
        return best[1] if best else None
