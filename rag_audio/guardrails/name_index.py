"""Find protected names and song titles in a text, however they are written.

Built once per roster. Four ways lead to a name, each by look-up, so that the time for a prompt
hardly grows with the number of names:

- *letters*: the name without spaces, punctuation, accents and doubled letters, from the start of a
  word to the end of one (``t.a.y.l.o.r``), by its first four letters;
- *edits*: what is left of a name when one letter is deleted, compared with the same of each window
  of words (the symmetric deletion look-up of W. Garbe's SymSpell), verified by edit distance;
- *sound*: its consonants (:func:`~.normalise.sound`), verified by likeness of letters, or as it is
  heard (:func:`~.transliteration.heard`), verified by its vowels.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from rapidfuzz import fuzz
from rapidfuzz.distance import OSA

from rag_audio.guardrails.names import (
    Artist,
    SentenceReading,
    Song,
    Spelling,
    forms_of,
    surname_of,
    without_collection,
)
from rag_audio.guardrails.native_scripts import NativeIndex
from rag_audio.guardrails.normalise import (
    NormalisedText,
    Squashed,
    Word,
    fold,
    has_devanagari,
    is_other_alphabet,
    read,
    sound,
    squash,
)
from rag_audio.guardrails.policy_tables import rule_words
from rag_audio.guardrails.transliteration import (
    Pronunciation,
    SoundIndex,
    heard,
    is_sounded,
    most_unlike,
    unlikeness,
)
from rag_audio.guardrails.vocabulary import (
    is_english,
    is_everyday,
    is_given_name,
    is_ordinary,
)

# How like a name words are, and whether words that spell a name are likely to mean it.

_ENDINGS = rule_words("misspelled", "endings")
_CASES = rule_words("misspelled", "cases")
_KEY = 4
_LONG = 8


def likeness(letters: str, heard: str, form: Spelling, known: bool, proper: bool) -> float:
    """How like a name the letters are, 0…100; 0 when they are not near enough."""
    ratio = fuzz.ratio(letters, form.letters)
    size = len(form.letters)
    same_sound = heard == form.heard
    if known:
        long = proper and form.words > 1 and size >= _LONG
        if long and OSA.distance(letters, form.letters, score_cutoff=1) <= 1:
            return ratio
        wanted = 84 if form.words > 1 else 75
        return ratio if same_sound and ratio >= wanted and size >= 6 else 0.0
    limit = 0 if size < 5 else 1 if size < 9 else 2
    if size == 5 and (letters[:1] != form.letters[:1] or letters[-1:] != form.letters[-1:]):
        limit = 0
    if form.words == 1 and size < 7 and letters[:1] != form.letters[:1]:
        limit = 0
    if OSA.distance(letters, form.letters, score_cutoff=limit) <= limit:
        return ratio
    if len(heard) < 4 or (form.words == 1 and size < 6):
        return 0.0
    wanted = 70 if same_sound and len(heard) >= 5 else 76 if same_sound or len(heard) >= 6 else 84
    if form.words == 1:
        wanted += 6
    return ratio if ratio >= wanted else 0.0


def lacks_number(form: Spelling, letters: str) -> bool:
    """Whether all that is missing of a name is its number: a surname is not a band's name."""
    figures = [sign for sign in form.letters if sign.isdigit()]
    return bool(figures) and squash(letters) == "".join(
        sign for sign in form.letters if not sign.isdigit()
    )


def begins_alike(letters: str, form: Spelling) -> bool:
    """Whether letters are at most two slips from a name, or share its beginning."""
    return letters[:2] == form.letters[:2] or OSA.distance(letters, form.letters) <= 2


def is_spaced_as(form: Spelling, words: Sequence[Word], first: int, last: int) -> bool:
    """Whether words have the spaces of a name, or its capitals: words of languages that we have no
    dictionary of are not read as a name's letters run together."""
    if last == first and not words[first].capital and len(form.letters) < 7:
        return False
    return last - first + 1 == form.words or words[first].capital


def may_be_english(text: NormalisedText) -> bool:
    """Whether a text may be English, so that its words may be spelled as they are heard there.

    A short text may; a longer one may where half of its words are in the English dictionary.
    """
    told = [is_english(word.text) for word in text.words if len(word.text) > 2]
    return len(told) < 4 or 2 * sum(told) >= len(told)


def is_of_other_letters(text: NormalisedText, first: int, last: int) -> bool:
    """Whether words were written in letters that are not Latin."""
    written = text.raw_words(first, last)
    return any(is_other_alphabet(sign) or has_devanagari(sign) for sign in written)


def may_mean(form: Spelling, words: Sequence[Word], first: int, last: int) -> bool:
    """Whether dictionary words that sound like a name may be it: "lead zeppelin", "the beetles"."""
    if last > first:
        return form.words > 1
    the = first > 0 and words[first - 1].text == "the"
    return form.words == 1 and the and form.artist.name.lower().startswith("the ")


def latin(word: str) -> str:
    """A word without the letters that only dress it up, where the rest of it is Latin."""
    plain = "".join(c for c in word if c.isascii())
    return plain if 2 * len(plain) > len(word) else word


def deletions(letters: str) -> list[str]:
    return [letters, *(letters[:i] + letters[i + 1 :] for i in range(len(letters)))]


def may_end_longer(form: Spelling, run: Squashed, words: Sequence[Word], end: int) -> bool:
    """Whether a name is long enough for an ending; in a word of no dictionary it may be shorter."""
    if len(form.letters) >= 6 or end >= len(run.letters):
        return len(form.letters) >= 6
    return len(form.letters) == 5 and not is_ordinary(words[run.word_of[end]].text)


def with_ending(letters: str, word_of: Sequence[int], ends: dict[int, int], end: int) -> int | None:
    """The word in which a name and one of the usual endings stop together."""
    if end >= len(letters) or word_of[end] != word_of[end - 1]:
        return None
    for length in range(1, 7):
        last = ends.get(end + length)
        if last is not None:
            tail = letters[end : end + length]
            return last if tail in _ENDINGS or (tail == "que" and letters[end - 1] == "s") else None
    return None


def declined(form: Spelling, text: NormalisedText, run: Squashed, end: int) -> int | None:
    """The word in Cyrillic or Greek in which a name stops before the ending of a case."""
    if len(form.letters) < 5 or end >= len(run.letters) or run.word_of[end] != run.word_of[end - 1]:
        return None
    if not is_other_alphabet(text.raw_words(run.word_of[end], run.word_of[end])):
        return None
    for length in range(1, 4):
        last = run.ends.get(end + length)
        if last is not None:
            return last if run.letters[end : end + length] in _CASES else None
    return None


def is_fair(form: Spelling, words: Sequence[Word]) -> bool:
    """Whether words that spell a name by their letters are likely to mean it.

    A short name must stand in its own words or be spelled out letter by letter.
    """
    if len(words) == 1 and form.words > 1 and is_given_name(words[0].text):
        return False
    little = len(words) == 1 and (len(form.letters) <= _KEY or not form.artist.well_known)
    if little and is_ordinary(words[0].text) and words[0].text != fold(form.text):
        return False
    if len(words) == form.words or len(form.letters) >= 8:
        return True
    if len(words) == 1 and (len(form.letters) >= 6 or form.words >= len(form.letters)):
        return True
    return len(words) >= 3 and all(len(word.text) == 1 for word in words)


def is_everyday_abroad(words: Sequence[Word]) -> bool:
    """Whether words in small letters are everyday words of a language other than English."""
    return all(is_everyday(word.text) and len(word.text) > 1 and not word.capital for word in words)


def is_sure(form: Spelling, words: Sequence[Word], first: int, last: int) -> bool:
    """Whether an exact hit cannot be read as ordinary words: "a cold play of light" can.

    So can a word of the dictionary whose letters are a name's in another spelling: "florida" is
    Flo Rida's without the space, "beatless" is the Beatles' with an s doubled.
    """
    if first == last and is_ordinary(words[first].text):
        return fold(form.text) == words[first].text
    if (
        form.words > 1
        or last == first
        or not all(is_ordinary(w.text) for w in words[first : last + 1])
    ):
        return True
    if all(len(w.text) == 1 for w in words[first : last + 1]):
        return True
    before = words[first - 1].text if first else ""
    after = words[last + 1].text if last + 1 < len(words) else ""
    return before not in ("a", "an", "the", "my", "some") and after not in (
        "of",
        "with",
        "in",
        "on",
    )


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


class NameIndex:
    """Forms of names, and song titles, by their letters.

    Args:
        surnames: also find people by their surname alone, as a word that may be a name.
    """

    def __init__(
        self, artists: Iterable[Artist], songs: Iterable[Song] = (), *, surnames: bool = False
    ) -> None:
        self._by_key: dict[str, list[Spelling]] = defaultdict(list)
        self._short: dict[str, Spelling] = {}
        self._near: list[Spelling] = []
        self._songs: dict[str, list[tuple[str, Song]]] = defaultdict(list)
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
                names = fold(form.text).split()
                if form.reading is SentenceReading.NAME and len(names) == 2 and len(names[1]) > 3:
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
                    yield NameHit(first, last, form, sure=sure)

    def inside(self, text: NormalisedText) -> Iterator[NameHit]:
        """Long names in the middle of a word: ``xxtaylorswiftxx``."""
        for number, word in enumerate(text.words):
            if len(word.text) < 10:
                continue
            letters = squash(word.text)
            for start in range(1, len(letters) - 8):
                for form in self._by_key.get(letters[start : start + _KEY], ()):
                    if (
                        len(form.letters) >= 9
                        and form.reading is SentenceReading.NAME
                        and letters.startswith(form.letters, start)
                    ):
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
            form = self._initials.get((words[i].text, squash(surname.text)))
            if form is not None:
                yield NameHit(i, i + 1, form)

    def songs(self, text: NormalisedText) -> Iterator[tuple[int, int, Song]]:
        """Famous titles by their letters: first word, last word, song."""
        run = text.squashed
        for start, first in run.starts:
            for letters, song in self._songs.get(run.letters[start : start + _KEY], ()):
                if run.letters.startswith(letters, start):
                    last = run.ends.get(start + len(letters))
                    if last is not None and last >= first:
                        yield first, last, song
                        break

    def abroad(self, raw: str) -> Iterator[tuple[int, int, Spelling]]:
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

    def _add(self, form: Spelling) -> None:
        if len(form.letters) < _KEY:
            self._short[form.letters] = form
        else:
            self._by_key[form.letters[:_KEY]].append(form)
        if len(form.letters) >= 5 and form.letters.isascii() and not form.turned:
            self._near.append(form)

    # Three indexes of misspelled names, each made when a text first asks for it: most prompts are
    # words of the dictionary throughout, of which only the sound counts.

    @cached_property
    def _deleted(self) -> dict[str, list[Spelling]]:
        made: dict[str, list[Spelling]] = {}
        with without_collection():
            for form in self._near:
                for key in deletions(form.letters):
                    made.setdefault(key, []).append(form)
        return made

    @cached_property
    def _sounds(self) -> dict[str, list[Spelling]]:
        made: dict[str, list[Spelling]] = {}
        with without_collection():
            for form in self._near:
                if form.artist.well_known and len(form.heard) >= 4:
                    for key in deletions(form.heard):
                        made.setdefault(key, []).append(form)
        return made

    @cached_property
    def _heard(self) -> dict[str, list[tuple[Pronunciation, Spelling]]]:
        made: dict[str, list[tuple[Pronunciation, Spelling]]] = {}
        with without_collection():
            for form in self._near:
                if form.artist.well_known and (len(form.letters) >= 6 or form.words > 1):
                    for reading in heard(fold(form.text).replace(" ", "")):
                        made.setdefault(reading.key, []).append((reading, form))
        return made

    def _candidates(self, letters: str, start: int) -> Iterator[Spelling]:
        for form in self._by_key.get(letters[start : start + _KEY], ()):
            if letters.startswith(form.letters, start):
                yield form
        for length in range(1, _KEY):
            short = self._short.get(letters[start : start + length])
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
                    for form in self._deleted.get(name, ()):
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
        pools = [self._sounds.get(consonants, ())]
        if not known or (proper and len(letters) >= _LONG - 1):
            pools += [self._deleted[key] for key in deletions(letters) if key in self._deleted]
        if not known and len(consonants) > 3:
            pools += [self._sounds[key] for key in deletions(consonants) if key in self._sounds]
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
            for other, form in self._heard.get(reading.key, ()):
                apart = unlikeness(reading, other)
                if apart <= most_unlike(reading.key) and (best is None or apart < best[0]):
                    best = (apart, form)
        return best[1] if best else None
