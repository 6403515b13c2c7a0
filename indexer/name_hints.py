"""Tempo, key and sample type in names of files and folders, such as ``Loop_120bpm_Am.wav``.

Sample packs are named by people, and no standard says how. So only what can hardly mean anything
else is taken: a number beside the word BPM; a bare number beside a key, or in a numbered loop; a
key with its mode. A name that says two different things says nothing. What a name says is a hint:
it ranks below ``stems.csv`` and the file's own tags, and against a measurement the one of higher
confidence counts.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from rag_audio.domain import Key, SampleType
from rag_audio.errors import InvalidInput

STATED_BPM = 0.8
"""Confidence of a tempo beside the word BPM. Measured tempos of loops have 0.3 to 0.9, and those
that are wrong by more than an octave up to 0.7."""
BARE_BPM = 0.6
"""Confidence of a tempo without the word, such as 95 in ``Bass_95_F#min``."""
KEY_NAMED = 0.7
"""Confidence of a key in a name."""
CONFIRMED = 0.85
"""Confidence, at least, of a hint with which the measurement agrees."""

_STATED = (30.0, 300.0)
_BARE = (60, 200)
_SAME_TEMPO = 0.03

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class NameHints:
    """What a path says of the sound; None where it says nothing.

    Attributes:
        bpm: 30…300. bpm_confidence, key_confidence: 0…1.
        sample_type: loop, one-shot or phrase; nothing is called a song.
    """

    bpm: float | None = None
    bpm_confidence: float = 0.0
    key: Key | None = None
    key_confidence: float = 0.0
    sample_type: SampleType | None = None


def hints_of(path: str) -> NameHints:
    """The hints in a POSIX path below a library's root: those of the file's name, else those of
    the nearest folder that has any."""
    *folders, name = path.split("/")
    bpm, confidence, key = _read(_SUFFIX.sub("", name), is_file=True)
    for folder in reversed(folders):
        if bpm is not None and key is not None:
            break
        above, sure, named = _read(folder, is_file=False)
        if bpm is None:
            bpm, confidence = above, sure
        key = named if key is None else key
    kinds = (_sample_type(one) for one in (_SUFFIX.sub("", name), *reversed(folders)))
    return NameHints(
        bpm,
        confidence,
        key,
        0.0 if key is None else KEY_NAMED,
        next((kind for kind in kinds if kind is not None), None),
    )


def same_tempo(one: float, other: float) -> bool:
    """Whether two tempos are the same within 3 %, or an octave or two apart."""
    octaves = math.log2(one / other)
    nearest = round(octaves)
    return abs(nearest) <= 2 and abs(2 ** (octaves - nearest) - 1) <= _SAME_TEMPO


def same_notes(one: Key, other: Key) -> bool:
    """Whether two keys have the same notes: the same, or relative major and minor."""
    return one in (other, other.relative())


# One name: its dates are cut out, a stated tempo is sought in the text, all else in its words.

_SUFFIX = re.compile(r"\.[A-Za-z][A-Za-z0-9]{1,4}(?:#\d{1,3})?$|\.(?:3gp|3g2|669)$")
_DATE = re.compile(
    r"(?<!\d)(?:(?:19|20)\d\d[-_. ]?(?:0[1-9]|1[0-2])[-_. ]?(?:0[1-9]|[12]\d|3[01])"
    r"|\d{1,2}([-_.])\d{1,2}\1(?:(?:19|20)\d\d|\d\d)|\d{1,2}[:h]\d\d)(?!\d)",
    re.ASCII,
)
_NUMBER = r"\d{2,3}(?:[.,]\d{1,3})?"
_BEFORE = re.compile(
    rf"(?<![\d.,/])({_NUMBER})([\s_.\-]{{0,3}})bpm(?![a-z])", re.IGNORECASE | re.ASCII
)
_AFTER = re.compile(
    rf"(?<![a-z])(?:bpm|tempo)[\s_.:=\-]{{0,3}}({_NUMBER})(?![\da-z])", re.IGNORECASE | re.ASCII
)
_RANGE = re.compile(r"(?<!\d)([1-9]\d{1,2})\s*(?:-|–|~|\bto\b)\s*$", re.ASCII)
_WIDEST_RANGE = 60
_WORDS = re.compile(r"[^\W_]+(?:[#'%][^\W_]*)*|\|")
_CAMELOT = re.compile(r"(?:0?[1-9]|1[0-2])[AB]", re.ASCII)
_BARE_NUMBER = re.compile(r"[1-9]\d{1,2}", re.ASCII)
_COUNTER = re.compile(r"0\d{1,2}", re.ASCII)
_TEMPO_WORD = re.compile(r"\d{2,3}(?:bpm)?|bpm\d{0,3}", re.IGNORECASE | re.ASCII)

# What a number counts or measures where such a word stands before or after it.
_COUNTED = frozenset(
    "track trk take no nr num number vol volume part pt cd disc disk session mix version ver v rev "
    "song scene bar bars page set pack tape reel side channel ch input opus kit day preset "
    "level patch bank slot room route highway area studio agent formula psalm class".split()
)
_INSTRUMENTS = frozenset(
    "tr tb sh ms mc mpc sp cs cr jd jp jv jx juno jupiter rhodes wurlitzer wurli prophet polysix "
    "dx tx op linn mks vp ob sm akg neumann".split()
)
_UNITS = frozenset(
    "bit bits k khz hz kbps kb mb gb ms sec secs second seconds s min mins minutes db st nd rd th "
    "bars bar percent kg cm mm inch samples sounds loops files stems tracks takes years days "
    "degrees".split()
)
_LOOPS = frozenset("loop loops lp lps".split())
_TYPE_WORDS: Mapping[SampleType, frozenset[str]] = {
    SampleType.LOOP: _LOOPS | frozenset("beat beats breakbeat breakbeats".split()),
    SampleType.ONE_SHOT: frozenset("oneshot oneshots hit hits stab stabs fx sfx".split()),
    SampleType.PHRASE: frozenset("phrase phrases riff riffs lick licks".split()),
}
_ONE_SHOT = re.compile(r"one[\W_]*shots?(?![a-z])", re.IGNORECASE)
_LOOPS_GLUED = ("loop", "loops")
_NEVER_KEYS = frozenset("i who what where here how as so than why whoever there not".split())
_BITS, _RATES = frozenset(("16", "24", "32")), frozenset(("88", "96", "176", "192"))

_MODES = "major|maj|minor|min|moll|dur"
_GLUED = re.compile(rf"([A-G])(#|b|sharp|flat)?({_MODES})", re.IGNORECASE)
_SHORT = re.compile(r"([A-G])(#|b)?m|[a-g]#m")
_SMALL = re.compile(r"[abdeg]m")  # FM is a kind of synthesis, cm a length
_NOTE = re.compile(r"[A-G](?:#|b|sharp|flat)?", re.IGNORECASE)
_GERMAN = re.compile(r"(?:[A-H](?:is)?|Es|As|Des|Ges)", re.IGNORECASE)
_SOLFEGE = re.compile(r"(?:do|r[eé]|mi|fa|sol|la|si)(?:#|b)?", re.IGNORECASE)
_CHORD = re.compile(r"[A-G](?:#|b)?(?:m|maj|min|dim|aug|sus|add)?\d{0,2}")
_LONG_MODES = frozenset(_MODES.split("|"))
_ROMANCE_MODES = frozenset("mineur majeur minore maggiore menor mayor maior".split())
_PERSONS = frozenset(("amin", "emin"))
"""Names of persons that look like keys."""


def _read(name: str, *, is_file: bool) -> tuple[float | None, float, Key | None]:
    """The tempo, its confidence and the key that one name says."""
    plain = unicodedata.normalize("NFKC", name).replace("♯", "#").replace("♭", "b")
    text = _DATE.sub(" | ", plain)
    bpm = _stated(text)
    words = _Words(
        _WORDS.findall(text), has_tempo=bpm is not None, joined="_" in text and " " not in text
    )
    keys = list(words.keys(with_camelot=is_file))
    key = _only(one for one, _, _ in keys)
    if bpm is not None:
        return bpm, STATED_BPM, key
    bare = words.tempo([(start, end) for _, start, end in keys]) if is_file else None
    return bare, 0.0 if bare is None else BARE_BPM, key


def _sample_type(name: str) -> SampleType | None:
    """The type that a name says ("Drum Loop 3", "bassloops"); None where it says none or two."""
    if _ONE_SHOT.search(name):
        return SampleType.ONE_SHOT
    words = [re.sub(r"\d+$", "", word.casefold()) for word in _WORDS.findall(_apart(name))]
    return _only(
        kind
        for word in words
        for kind, known in _TYPE_WORDS.items()
        if word in known or (kind is SampleType.LOOP and word.endswith(_LOOPS_GLUED))
    )


def _apart(name: str) -> str:
    """A name with a space where a capital letter begins a word, as in ``DrumLoop``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)


def _only(found: Iterator[_Value]) -> _Value | None:
    """The value that all of them have; None where there is none, or several."""
    values = set(found)
    return values.pop() if len(values) == 1 else None


def _stated(text: str) -> float | None:
    found: set[float] = set()
    taken = set()
    after = {match.start(): match for match in _AFTER.finditer(text)}
    for match in _BEFORE.finditer(text):
        bpm, word = _value(match[1]), match.end() - 3
        if bpm is None:
            continue
        rival = _value(after[word][1]) if word in after else None
        if _is_range(text[: match.start()], bpm) or (match[2] and rival is not None):
            return None  # "120-130 bpm"; "50 BPM 92", where either number may be meant
        taken.add(word)
        found.add(bpm)
    found.update(
        bpm
        for word, match in after.items()
        if word not in taken and (bpm := _value(match[1])) is not None
    )
    return _only(iter(found))


def _value(text: str) -> float | None:
    bpm = float(text.replace(",", "."))
    return bpm if _STATED[0] <= bpm <= _STATED[1] and text[0] != "0" else None


def _is_range(before: str, bpm: float) -> bool:
    low = _RANGE.search(before)
    return low is not None and 0 < bpm - float(low[1]) <= _WIDEST_RANGE and float(low[1]) >= 40


@dataclass(frozen=True)
class _Words:
    """The words of a name.

    Attributes:
        has_tempo: the name states a tempo, so that it is of a sound that has one.
        joined: by underscores, as no title is.
    """

    words: list[str]
    has_tempo: bool
    joined: bool

    def at(self, number: int) -> str:
        """A word; empty before the first and after the last."""
        return self.words[number] if 0 <= number < len(self.words) else ""

    def keys(self, *, with_camelot: bool) -> Iterator[tuple[Key, int, int]]:
        """Keys, each with its first word and the one after its last."""
        number = 0
        while number < len(self.words):
            found = self._key(number)
            if found is None and with_camelot and self._is_camelot(number):
                found = self.words[number], 1
            key = None
            if found is not None:
                with suppress(InvalidInput):
                    key = Key.parse(found[0])
            if found is None or key is None:
                number += 1
                continue
            yield key, number, number + found[1]
            number += found[1]

    def tempo(self, keys: list[tuple[int, int]]) -> float | None:
        """A bare number that can only be a tempo.

        Args:
            keys: first word of each key, and the one after its last.
        """
        beside = {place for start, end in keys for place in (start - 1, end)}
        is_loop = any(word.casefold() in _LOOPS for word in self.words)
        if is_loop and any(_COUNTER.fullmatch(word) for word in self.words):
            beside = set(range(len(self.words)))
        return _only(float(self.words[n]) for n in beside if self._may_be_tempo(n))

    def _may_be_tempo(self, number: int) -> bool:
        word = self.at(number)
        if _BARE_NUMBER.fullmatch(word) is None or not _BARE[0] <= int(word) <= _BARE[1]:
            return False
        before, after = self.at(number - 1).casefold(), self.at(number + 1).casefold()
        if before in _BITS and word in _RATES:
            return False
        return not (before in _COUNTED or before in _INSTRUMENTS or after in _UNITS)

    def _is_camelot(self, number: int) -> bool:
        """Whether a word is a key of DJ programs ("8A - 128 - Title"): only beside a tempo."""
        if _CAMELOT.fullmatch(self.words[number]) is None:
            return False
        near = [place for place in (number - 1, number + 1) if self._may_be_tempo(place)]
        ends = {0, len(self.words) - 1}
        return self.has_tempo or bool(ends & {number, *near} and near)

    def _key(self, number: int) -> tuple[str, int] | None:
        """The key that begins at a word, as :meth:`.Key.parse` reads it, and how many words."""
        word, after = self.words[number], self.at(number + 1).casefold()
        if (
            _NOTE.fullmatch(word)
            and after in ("sharp", "flat")
            and self.at(number + 2).casefold() in _LONG_MODES
        ):
            return f"{word} {after} {self.at(number + 2).casefold()}", 3
        if after in _LONG_MODES and (_NOTE.fullmatch(word) or _is_german(word, after)):
            text = f"{word} {after}"
            return (text, 2) if self._is_spelled_key(number, word, after) else None
        if after in _ROMANCE_MODES and _SOLFEGE.fullmatch(word):
            return f"{word} {after}", 2
        if self._follows_key_of(number) and _NOTE.fullmatch(word):
            return word, 1
        glued = _GLUED.fullmatch(word)
        if glued is not None:
            letter, accidental, mode = glued.groups()
            sure = letter.isupper() and (accidental or word.casefold() not in _PERSONS)
            named = f"{letter}{(accidental or '').lower()} {mode.lower()}"
            return (named, 1) if sure or self._is_placed(number, 1, strict=True) else None
        if _SMALL.fullmatch(word) and self._is_beside_bpm(number):
            return word, 1
        short = _SHORT.fullmatch(word)
        if short is None or self._is_in_chords(number):
            return None
        return (word, 1) if "#" in word or short[2] or self._is_placed(number, 1) else None

    def _is_spelled_key(self, number: int, word: str, mode: str) -> bool:
        """Whether "A minor" and such are a key and no words of a title ("a minor mishap")."""
        if word in ("A", "a"):
            return self._is_placed(number, 2)
        if word in ("b", "c", "d", "e", "f", "g") and mode in ("min", "maj"):
            return self._is_placed(number, 2)
        return True

    def _is_placed(self, number: int, length: int, *, strict: bool = False) -> bool:
        """Whether words stand where people write a key: last, beside a tempo, or after "in".

        Args:
            strict: the last place counts only in names that are no titles.
        """
        before, after = self.at(number - 1), self.at(number + length)
        if {before.casefold(), after.casefold()} & _NEVER_KEYS:
            return False
        is_last = number + length == len(self.words)
        if self.joined or (is_last and (not strict or len(self.words) == length)):
            return True
        near = any(_TEMPO_WORD.fullmatch(word) is not None for word in (before, after) if word)
        return near or self.has_tempo or before.casefold() in ("in", "key", "of")

    def _is_beside_bpm(self, number: int) -> bool:
        """Whether a word stands beside a stated tempo ("120bpm-am")."""
        beside = (self.at(number - 1).casefold(), self.at(number + 1).casefold())
        return self.has_tempo and any("bpm" in word for word in beside)

    def _is_in_chords(self, number: int) -> bool:
        """Whether a word is one of several chords ("Am F C G")."""
        return any(
            _CHORD.fullmatch(self.at(place)) is not None for place in (number - 1, number + 1)
        )

    def _follows_key_of(self, number: int) -> bool:
        return [self.at(number - 2).casefold(), self.at(number - 1).casefold()] == ["key", "of"]


def _is_german(word: str, mode: str) -> bool:
    return mode in ("dur", "moll") and _GERMAN.fullmatch(word) is not None
