"""Names of artists of all libraries of a process, as they are spelled, heard and misspelled.

A :class:`ScopedNames` finds in a text exactly what a :class:`.NameIndex` of its names would find.
Three things that such an index finds of a name depend on what other names there are, and are told
by scope: of several names that are spelled by the same letters the first counts; an artist none of
whose spellings counts is not found in a script of its own; and songs are those of its artists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from rag_audio.guardrails.name_finder import (
    NameFinder,
    consonant_keys,
    initialled,
    may_be_misspelled,
    near_keys,
    pronunciations,
)
from rag_audio.guardrails.name_index import SongTitles
from rag_audio.guardrails.name_matching import KEY
from rag_audio.guardrails.names import Artist, Song, Spelling, forms_of
from rag_audio.guardrails.native_scripts import native_spellings
from rag_audio.guardrails.normalise import fold
from rag_audio.guardrails.shared_names import KEPT, Held, NameTable, Prefixes, SharedNames
from rag_audio.guardrails.transliteration import Pronunciation, Sounds, sounds_of


class NameSpelling(NamedTuple):
    """A spelling of a library's name.

    Attributes:
        name: as the library writes it.
        place: of the spelling among those of the name.
        repeats: an earlier spelling of the name has the same letters.
        leads: it is the first of its artist's.
    """

    name: str
    place: int
    form: Spelling
    repeats: bool
    leads: bool


class LibraryNames(SharedNames[NameSpelling]):
    """Spellings of the names of all libraries, and the songs of those who have some.

    Args:
        artists_of: who is meant by a name of a library.
        titles: songs that stand for their artists, read when a text is first looked through.
    """

    def __init__(
        self,
        artists_of: Callable[[str], Iterable[Artist]],
        titles: Callable[[], SongTitles] = lambda: SongTitles(()),
        kept: int = KEPT,
    ) -> None:
        self.titles = titles
        self.prefixes = Prefixes(KEY)
        self.by_letters = _by_spelling(lambda form: [form.letters])
        self.by_artist: NameTable[NameSpelling, str, NameSpelling] = NameTable(
            lambda one: [(fold(one.form.artist.name), one)] if one.leads else [], _same, _order
        )
        self.by_initial: NameTable[NameSpelling, tuple[str, str], NameSpelling] = NameTable(
            lambda one: [(key, one) for key in filter(None, [initialled(one.form)])], _same, _order
        )
        self.by_deletion = _by_spelling(_misspelled(near_keys))
        self.by_consonants = _by_spelling(_misspelled(consonant_keys))
        self.by_reading: NameTable[NameSpelling, str, tuple[NameSpelling, Pronunciation]] = (
            NameTable(
                lambda one: [(reading.key, (one, reading)) for reading in _readings(one)],
                _first,
                lambda pair: _order(pair[0]),
            )
        )
        self.by_sounds: NameTable[NameSpelling, str, tuple[NameSpelling, Sounds]] = NameTable(
            lambda one: [(key, (one, sounds)) for key, sounds in _sounds(one)],
            _first,
            lambda pair: _order(pair[0]),
        )
        self.by_script: NameTable[NameSpelling, str, tuple[NameSpelling, str]] = NameTable(
            lambda one: [(key, (one, written)) for key, written in _native(one)],
            _first,
            lambda pair: (-len(pair[1]), *_order(pair[0])),
        )
        super().__init__(
            lambda name: _spellings(name, artists_of(name)),
            (
                self.by_letters,
                self.by_artist,
                self.by_initial,
                self.by_deletion,
                self.by_consonants,
                self.by_reading,
                self.by_sounds,
                self.by_script,
            ),
            kept,
        )

    def scope(self, names: frozenset[str]) -> ScopedNames:
        """What there is of some names; each is known as long as the scope lives."""
        return ScopedNames(self, self.hold(names))

    def _changed(self, added: Sequence[NameSpelling], removed: Sequence[NameSpelling]) -> None:
        gone = {one.form.letters for one in removed}
        self.prefixes.change(
            {one.form.letters for one in added},
            {letters for letters in gone if not self.by_letters.get(letters, self)},
        )


class ScopedNames(NameFinder):
    """Finds the names of one scope."""

    def __init__(self, shared: LibraryNames, held: Held) -> None:
        self._shared, self._held = shared, held
        self._names = held.names

    def _long_at(self, letters: str, start: int) -> Iterator[Spelling]:
        for spelled in self._shared.prefixes.at(letters, start):
            first = self._first(spelled)
            if first is not None:
                yield first.form

    def _short(self, letters: str) -> Spelling | None:
        first = self._first(letters)
        return None if first is None else first.form

    def _initialled(self, initial: str, surname: str) -> Spelling | None:
        for one in self._shared.by_initial.get((initial, surname), self._shared):
            if one.name in self._names:
                return one.form
        return None

    def _titles_at(self, letters: str, start: int) -> Iterator[tuple[str, Song]]:
        for title, song in self._shared.titles().at(letters, start):
            by = self._shared.by_artist.get(fold(song.artist), self._shared)
            if any(one.name in self._names for one in by):
                yield title, song

    def _deleted(self, key: str) -> Sequence[Spelling]:
        found = self._shared.by_deletion.get(key, self._shared)
        return [one.form for one in found if self._counts(one)]

    def _consonants(self, key: str) -> Sequence[Spelling]:
        found = self._shared.by_consonants.get(key, self._shared)
        return [one.form for one in found if self._counts(one)]

    def _heard(self, key: str) -> Sequence[tuple[Pronunciation, Spelling]]:
        found = self._shared.by_reading.get(key, self._shared)
        return [(reading, one.form) for one, reading in found if self._counts(one)]

    def _sounding(self, key: str) -> Iterable[tuple[Spelling, Sounds]]:
        found = self._shared.by_sounds.get(key, self._shared)
        return ((one.form, sounds) for one, sounds in found if self._counts(one))

    def _native(self, key: str) -> Iterable[tuple[str, Artist]]:
        for one, written in self._shared.by_script.get(key, self._shared):
            artist = one.form.artist
            if one.name in self._names and any(
                other.form.artist == artist and self._counts(other)
                for other in self._shared.of(one.name)
            ):
                yield written, artist

    def _first(self, letters: str) -> NameSpelling | None:
        """The first of the scope's spellings by some letters: the one that is looked for."""
        for one in self._shared.by_letters.get(letters, self._shared):
            if one.name in self._names:
                return one
        return None

    def _counts(self, one: NameSpelling) -> bool:
        return one.name in self._names and self._first(one.form.letters) is one


def _spellings(name: str, artists: Iterable[Artist]) -> Iterator[NameSpelling]:
    letters: set[str] = set()
    seen: set[Artist] = set()
    forms = (form for artist in artists for form in forms_of(artist))
    for place, form in enumerate(forms):
        yield NameSpelling(name, place, form, form.letters in letters, form.artist not in seen)
        letters.add(form.letters)
        seen.add(form.artist)


def _by_spelling(
    keys: Callable[[Spelling], Iterable[str]],
) -> NameTable[NameSpelling, str, NameSpelling]:
    return NameTable(
        lambda one: [] if one.repeats else [(key, one) for key in keys(one.form)], _same, _order
    )


def _misspelled(
    keys: Callable[[Spelling], Iterable[str]],
) -> Callable[[Spelling], Iterable[str]]:
    return lambda form: keys(form) if may_be_misspelled(form) else ()


def _readings(one: NameSpelling) -> Iterable[Pronunciation]:
    looked_for = not one.repeats and may_be_misspelled(one.form)
    return pronunciations(one.form) if looked_for else ()


def _sounds(one: NameSpelling) -> Iterable[tuple[str, Sounds]]:
    return () if one.repeats else sounds_of(one.form)


def _native(one: NameSpelling) -> Iterable[tuple[str, str]]:
    return native_spellings(one.form.artist) if one.leads else ()


def _same(one: NameSpelling) -> NameSpelling:
    return one


def _first(pair: tuple[NameSpelling, object]) -> NameSpelling:
    return pair[0]


def _order(one: NameSpelling) -> tuple[str, int]:
    return one.name, one.place
