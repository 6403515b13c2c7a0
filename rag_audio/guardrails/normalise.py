"""A prompt as the rules read it: plain letters, words, and where each stood in the original."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache

from rag_audio.guardrails.policy_tables import letters, policy_table, replacements

# Which Latin letter a character stands for: look-alikes, styled letters, other alphabets.
#
# The tables state facts of Unicode (names of characters, UTS #39 confusables) in our own
# selection: the letters that pass for Latin ones in ordinary fonts. Cyrillic, Greek and
# Devanagari words that are no disguise are transliterated instead, so that a name is found in
# those scripts by its sound.

_STYLED = re.compile(
    r"(?:LATIN|NEGATIVE CIRCLED LATIN|NEGATIVE SQUARED LATIN|SQUARED LATIN|CIRCLED LATIN|"
    r"PARENTHESIZED LATIN|FULLWIDTH LATIN|TAG LATIN|REGIONAL INDICATOR SYMBOL|MODIFIER LETTER|"
    r"LISU) ?(?:CAPITAL |SMALL )?(?:LETTER )?(?:SMALL CAPITAL |SMALL |CAPITAL |TURNED |REVERSED |"
    r"OPEN |SCRIPT |DOTLESS |LONG |STRETCHED |INSULAR |SIDEWAYS )*([A-Z])(?: WITH .+)?"
)


_LATIN_EXTRAS = letters("latin")
_LOOK_ALIKES = letters("look_alikes")
_TWINS = frozenset(policy_table("letters")["twins"])
_TRANSLITERATION = letters("transliteration")
_DEVANAGARI = letters("devanagari")
_KANA = re.compile("[\u3041-\u30ff\u31f0-\u31ff\uff66-\uff9f]")
_OTHER_ALPHABETS = re.compile("[\u0370-\u052f\u0530-\u058f\u13a0-\u13ff\uab70-\uabbf]")


@lru_cache(maxsize=16384)
def fold_char(char: str) -> str:
    """The plain small letters one character stands for; empty for invisible and combining ones."""
    if char.isascii():
        return char.lower()
    if _KANA.match(char):  # a voicing mark is no accent: it makes another letter
        return unicodedata.normalize("NFKC", char)
    if char in _LATIN_EXTRAS:
        return _LATIN_EXTRAS[char]
    category = unicodedata.category(char)
    if category in ("Cf", "Mn", "Me") and not _is_vowel_sign(char):
        return ""
    if category.startswith("Z") or category == "Cc":
        return " "
    parts = [p for p in unicodedata.normalize("NFKD", char) if not unicodedata.combining(p)]
    return "".join(part.lower() if part.isascii() else _fold_part(part) for part in parts)


def is_other_alphabet(text: str) -> bool:
    """Whether a letter of an alphabet with Latin look-alikes occurs in ``text``."""
    return _OTHER_ALPHABETS.search(text) is not None


def unmask(word: str) -> list[str]:
    """Latin letters for each character of a word that has letters of other alphabets.

    A word that mixes alphabets, or consists of look-alikes only, is a disguise: what it looks
    like counts. Any other word is transliterated.
    """
    bare = "".join(c if is_other_alphabet(c) else fold_char(c) for c in word)
    disguised = any("a" <= c <= "z" for c in bare) or all(c in _TWINS for c in bare)
    return [
        fold_char(char)
        if not is_other_alphabet(char)
        else _LOOK_ALIKES.get(char, char)
        if disguised
        else _TRANSLITERATION.get(_bare(char), _bare(char))
        for char in word
    ]


def has_devanagari(text: str) -> bool:
    return any("\u0900" <= char <= "\u097f" for char in text)


def _bare(char: str) -> str:
    """A letter in small, without its accent where that is not a letter of its own."""
    small = char.casefold()
    return small if small in _TRANSLITERATION else unicodedata.normalize("NFKD", small)[:1]


@cache
def _is_vowel_sign(char: str) -> bool:
    """Vowel signs of Indic scripts carry sound, unlike accents; so do Arabic letters' forms."""
    name = unicodedata.name(char, "")
    return unicodedata.combining(char) == 0 and any(
        sign in name for sign in ("VOWEL SIGN", "ANUSVARA", "CANDRABINDU", "VISARGA")
    )


def _fold_part(part: str) -> str:
    if part in _LATIN_EXTRAS:
        return _LATIN_EXTRAS[part]
    named = _STYLED.fullmatch(unicodedata.name(part, ""))
    return named.group(1).lower() if named else part


_UNSPACED = "\u3041-\u309f\u3005-\u3007\u3400-\u9fff"
_KATAKANA = "\u30a1-\u30fa\u30fc"
# Scripts without spaces: a run of katakana is a word, and so is every other sign.
_WORD = re.compile(
    rf"[{_KATAKANA}]+|[{_UNSPACED}]|"
    rf"[^\W_{_KATAKANA}{_UNSPACED}](?:[^\W_{_KATAKANA}{_UNSPACED}]|[\u0900-\u0903\u093a-\u094f\u0962\u0963])*"
)
_QUANTITY = re.compile(
    r"\W*\d[\d.,:/x\-]*(?:s|st|nd|rd|th|bpm|hz|khz|bit|bars?|x|k|db|er|ers|am|pm|min|sec|ms)?\W*"
)
_TEMPO = re.compile(r"\d{2,3}(?:[.,]\d+)?\s?bpm\b")
_CHUNK = re.compile(r"\S+")
_LEET = letters("leet")
_LEET_ONE = "1!|¡"
_DOUBLE = re.compile(r"(.)\1+", re.DOTALL)
_VOICING = frozenset("\u3099\u309a")
_RUN = re.compile(r"[\w\u00ad\u200b-\u200f\u2060-\u2064\ufeff\u0300-\u036f]+")


@dataclass(frozen=True)
class Word:
    """A word of a text.

    Attributes:
        text: plain small letters, without a possessive ``'s``.
        start, end: offsets into :attr:`NormalisedText.plain`; ``end`` excludes the ``'s``.
        capital: whether the original began with a capital letter.
        possessive: whether ``'s`` followed.
    """

    text: str
    start: int
    end: int
    capital: bool
    possessive: bool


class NormalisedText:
    """A text with its plain form.

    Attributes:
        raw: as it was written.
        plain: small Latin letters where letters can be read so; punctuation is kept.
        origin: for each character of ``plain`` its offset in ``raw``.
    """

    def __init__(self, raw: str, plain: str, origin: Sequence[int]) -> None:
        self.raw = raw
        self.plain = plain
        self.origin = origin

    def raw_span(self, start: int, end: int) -> tuple[int, int]:
        """``plain[start:end]`` as offsets into ``raw``."""
        return self.origin[start], self.origin[end - 1] + 1

    def raw_words(self, first: int, last: int) -> str:
        """The words ``words[first:last + 1]`` as they were written."""
        start, end = self.raw_span(self.words[first].start, self.words[last].end)
        return self.raw[start:end]

    @cached_property
    def words(self) -> list[Word]:
        found: list[Word] = []
        at = 0
        for match in _WORD.finditer(self.plain):
            start, end = match.span()
            if start < at:
                continue
            text = match.group()
            possessive = False
            if self.plain[end : end + 1] == "'":
                tail = _WORD.match(self.plain, end + 1)
                if tail is not None:
                    possessive = tail.group() == "s"
                    if possessive:
                        at = tail.end()
                    elif len(text) > 1 or len(tail.group()) < 3:
                        text, end = text + tail.group(), tail.end()
                        at = end
            first = self.raw[self.origin[start]]
            capital = first.isupper() or first.istitle()
            found.append(Word(text, start, end, capital, possessive))
        return found

    @cached_property
    def capitals_mean(self) -> bool:
        """Whether a capital says "name" here: not in a text that is capitals throughout."""
        small = [w for w in self.words if w.text.isalpha() and len(w.text) > 1 and not w.capital]
        return bool(small)

    @cached_property
    def squashed(self) -> Squashed:
        return Squashed(self.words)


class Squashed:
    """The letters of a list of words in one run, doubled letters single.

    Attributes:
        letters: the run.
        word_of: for each letter the index of its word.
        starts: (offset in the run, word) of each word's start; two may share an offset ("a Adele").
        ends: where words end in the run, exclusive; of two that end at one place the first.
    """

    def __init__(self, words: Iterable[Word]) -> None:
        letters: list[str] = []
        self.word_of: list[int] = []
        self.starts: list[tuple[int, int]] = []
        self.ends: dict[int, int] = {}
        for number, word in enumerate(words):
            for position, letter in enumerate(word.text):
                if not letters or letters[-1] != letter:
                    letters.append(letter)
                    self.word_of.append(number)
                if position == 0:
                    self.starts.append((len(letters) - 1, number))
            self.ends.setdefault(len(letters), number)
        self.letters = "".join(letters)


def read(raw: str) -> NormalisedText:
    """The plain form of a text."""
    if raw.isascii():
        plain = raw.translate(_ascii_folds())
        if len(plain) == len(raw):
            return NormalisedText(raw, plain, range(len(raw)))
    pieces: list[str] = []
    origin: list[int] = []
    masked = _unmasked(raw) if is_other_alphabet(raw) else {}
    for i, char in enumerate(raw):
        plain = masked[i] if i in masked else fold_char(char)
        if plain in _VOICING and pieces:  # written apart from its kana, as half-width letters do
            joined = unicodedata.normalize("NFC", pieces[-1] + plain)
            if len(joined) == len(pieces[-1]):
                pieces[-1] = joined
                continue
        pieces.append(plain)
        origin.extend([i] * len(plain))
    return NormalisedText(raw, "".join(pieces), origin)


@cache
def _ascii_folds() -> dict[int, str]:
    """What :func:`fold_char` makes of each ASCII character."""
    return {code: fold_char(chr(code)) for code in range(128)}


def variants(text: NormalisedText) -> list[NormalisedText]:
    """Other ways to read a text: digits and signs as letters, Devanagari by its sound."""
    found = []
    if _has_leet(text.plain):
        ones = "il" if any(sign in text.plain for sign in _LEET_ONE) else "i"
        made = [_leet(text, one, figures) for one in ones for figures in (False, True)]
        found = list({other.plain: other for other in made if other.plain != text.plain}.values())
    if has_devanagari(text.plain):
        pieces = [_DEVANAGARI.get(char, char) for char in text.plain]
        origin = [o for o, piece in zip(text.origin, pieces, strict=True) for _ in piece]
        found.append(NormalisedText(text.raw, "".join(pieces), origin))
    return found


@lru_cache(maxsize=65536)
def fold(text: str) -> str:
    """Case, accents and punctuation removed, spaces single: how names are compared."""
    return " ".join(match.group() for match in _WORD.finditer(read(text).plain.replace("'", "")))


def squash(folded: str) -> str:
    """A folded name as one run of letters, doubled letters single."""
    letters = folded.replace(" ", "")
    return _DOUBLE.sub(r"\1", letters) if _DOUBLE.search(letters) else letters


_SPELLINGS = replacements("spellings")
_MERGED = str.maketrans({"c": "k", "q": "k", "z": "s", "w": "v"})
_SILENT = re.compile(r"(?<!^)[aeiouyh]|(?<=[aeou])v(?![aeiou])")


@lru_cache(maxsize=65536)
def sound(letters: str) -> str:
    """The consonants one hears in a run of letters, in order; a vowel counts only at the start.

    After the idea of Soundex and Metaphone (L. Philips, 1990), kept as long as the name is.
    """
    made = letters
    for pattern, to in _SPELLINGS:
        made = pattern.sub(to, made)
    made = _SILENT.sub("", made.translate(_MERGED))
    if made[:1] in ("a", "e", "i", "o", "u"):
        made = "a" + made[1:]
    return _DOUBLE.sub(r"\1", made)


def _unmasked(raw: str) -> dict[int, str]:
    """Plain letters for the characters of words that have letters of other alphabets."""
    found: dict[int, str] = {}
    for chunk in _RUN.finditer(raw):
        if is_other_alphabet(chunk.group()):
            found |= dict(enumerate(unmask(chunk.group()), chunk.start()))
    return found


def _has_leet(plain: str) -> bool:
    return any(sign in plain for sign in "0123456789@$€£¥+|!¡(")


def _mixes(chunk: str) -> bool:
    plain = chunk.rstrip(".,;:")
    if plain.startswith("(") and plain.endswith(")"):
        chunk = plain[1:-1]  # "electric bass (finger)"
    return any(c.isalpha() for c in chunk) and any(c in _LEET or c in _LEET_ONE for c in chunk)


def _leet(text: NormalisedText, one: str, figures: bool) -> NormalisedText:
    """The text with digits and signs in words read as letters; ``1`` is read as ``one``.

    Args:
        figures: beside a disguised word, read figures and quantities as letters too.
    """
    letters = list(text.plain)
    every = list(_CHUNK.finditer(text.plain))
    chunks = [c for c in every if not _QUANTITY.fullmatch(c.group())]
    if figures and any(_mixes(chunk.group()) for chunk in chunks):
        # "53x" is no quantity beside "4ft3r"; "100 BPM" is one beside anything.
        chunks = [c for c in every if not _TEMPO.match(text.plain, c.start())]
    for chunk in chunks:
        for i in range(chunk.start(), chunk.end()):
            sign = letters[i]
            after = i + 1 < chunk.end() and (letters[i + 1].isalnum() or letters[i + 1] in "@$!|")
            if sign in _LEET_ONE and (sign == "1" or after):
                letters[i] = one
            elif sign in _LEET and (sign.isdigit() or sign in "@$€" or after):
                letters[i] = _LEET[sign]
    return NormalisedText(text.raw, "".join(letters), text.origin)
