"""An index of names and song titles that is made once, for a list that does not change."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import TypeVar

from rag_audio.guardrails.name_finder import (
    NameFinder,
    consonant_keys,
    initialled,
    may_be_misspelled,
    near_keys,
    pronunciations,
)
from rag_audio.guardrails.name_matching import KEY
from rag_audio.guardrails.names import (
    Artist,
    Song,
    Spelling,
    forms_of,
    surname_of,
    without_collection,
)
from rag_audio.guardrails.native_scripts import NativeIndex
from rag_audio.guardrails.normalise import read, squash
from rag_audio.guardrails.transliteration import Pronunciation, Sounds, sounds_of

_T = TypeVar("_T")


class SongTitles:
    """Titles of songs by their letters; of several by the same letters the first counts first."""

    def __init__(self, songs: Iterable[Song]) -> None:
        self._by_key: dict[str, list[tuple[str, Song]]] = {}
        for song in songs:
            for title in {song.title, song.title.replace(" & ", " and ")}:
                letters = squash(" ".join(word.text for word in read(title).words))
                self._by_key.setdefault(letters[:KEY], []).append((letters, song))
        for titles in self._by_key.values():
            titles.sort(key=lambda pair: -len(pair[0]))

    def at(self, letters: str, start: int) -> Iterator[tuple[str, Song]]:
        """Titles that are spelled there, by their letters, longest first."""
        for title, song in self._by_key.get(letters[start : start + KEY], ()):
            if letters.startswith(title, start):
                yield title, song


class NameIndex(NameFinder):
    """Forms of names, and song titles, by their letters.

    Args:
        surnames: also find people by their surname alone, as a word that may be a name.
    """

    def __init__(
        self, artists: Iterable[Artist], songs: Iterable[Song] = (), *, surnames: bool = False
    ) -> None:
        self._by_key: dict[str, list[Spelling]] = defaultdict(list)
        self._tiny: dict[str, Spelling] = {}
        self._near: list[Spelling] = []
        self._initials: dict[tuple[str, str], Spelling] = {}
        seen: set[str] = set()
        forms: list[Spelling] = []
        known = tuple(artists)
        for artist in known:
            for form in forms_of(artist):
                if form.letters not in seen:
                    seen.add(form.letters)
                    self._add(form)
                    forms.append(form)
                initials = initialled(form)
                if initials is not None:
                    self._initials.setdefault(initials, form)
        for form in filter(None, map(surname_of, known if surnames else ())):
            if form.letters not in seen:
                seen.add(form.letters)
                self._add(form)
        for bucket in self._by_key.values():
            bucket.sort(key=lambda form: -len(form.letters))
        self._forms = tuple(forms)
        self._titles = SongTitles(songs)

    def _add(self, form: Spelling) -> None:
        if len(form.letters) < KEY:
            self._tiny[form.letters] = form
        else:
            self._by_key[form.letters[:KEY]].append(form)
        if may_be_misspelled(form):
            self._near.append(form)

    def _long_at(self, letters: str, start: int) -> Iterator[Spelling]:
        for form in self._by_key.get(letters[start : start + KEY], ()):
            if letters.startswith(form.letters, start):
                yield form

    def _short(self, letters: str) -> Spelling | None:
        return self._tiny.get(letters)

    def _initialled(self, initial: str, surname: str) -> Spelling | None:
        return self._initials.get((initial, surname))

    def _titles_at(self, letters: str, start: int) -> Iterator[tuple[str, Song]]:
        return self._titles.at(letters, start)

    def _deleted(self, key: str) -> Sequence[Spelling]:
        return self._by_deletion.get(key, ())

    def _consonants(self, key: str) -> Sequence[Spelling]:
        return self._by_consonants.get(key, ())

    def _heard(self, key: str) -> Sequence[tuple[Pronunciation, Spelling]]:
        return self._by_ear_of.get(key, ())

    def _sounding(self, key: str) -> Iterable[tuple[Spelling, Sounds]]:
        return self._by_sounds.get(key, ())

    def _native(self, key: str) -> Iterable[tuple[str, Artist]]:
        return self._written.named(key)

    # Indexes that are made when a text first asks for them: most prompts are words of the
    # dictionary throughout, of which only the sound counts.

    @cached_property
    def _by_deletion(self) -> dict[str, list[Spelling]]:
        return _grouped((key, form) for form in self._near for key in near_keys(form))

    @cached_property
    def _by_consonants(self) -> dict[str, list[Spelling]]:
        return _grouped((key, form) for form in self._near for key in consonant_keys(form))

    @cached_property
    def _by_ear_of(self) -> dict[str, list[tuple[Pronunciation, Spelling]]]:
        return _grouped(
            (one.key, (one, form)) for form in self._near for one in pronunciations(form)
        )

    @cached_property
    def _by_sounds(self) -> dict[str, list[tuple[Spelling, Sounds]]]:
        known = (form for form in self._forms if form.artist.well_known)
        return _grouped((key, (form, one)) for form in known for key, one in sounds_of(form))

    @cached_property
    def _written(self) -> NativeIndex:
        return NativeIndex(dict.fromkeys(form.artist for form in self._forms))


def _grouped(pairs: Iterable[tuple[str, _T]]) -> dict[str, list[_T]]:
    found: dict[str, list[_T]] = {}
    with without_collection():
        for key, one in pairs:
            found.setdefault(key, []).append(one)
    return found
