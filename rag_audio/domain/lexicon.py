"""A lexicon of music: instruments, drums, playing, genres, moods, tempo words, kinds of sounds.

``data/lexicon/concepts.csv`` has a row for each concept: its name in English, its kind, what is
broader, a range of tempo, and its words in six languages and in the abbreviations of sample
libraries. In a cell ``|`` separates words; ``*`` stands for any usual ending of the language; ``?``
before a word says that it means other things as well. Such a word, and one that is also a word of
everyday English or a given name (``data/policy/words``), counts only beside another word of its
language (of another abbreviation, if it is one).

A text is read without case and accents (:func:`rag_audio.domain.names.fold_placed`), the longest
words first. Where a word means different things in two languages, the language of most other words
decides, and English where none does. German compounds of known words are taken apart. Words that
are not in the lexicon, such as names, are left alone.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import NamedTuple

from rag_audio.domain.names import fold, fold_placed
from rag_audio.errors import ConfigError
from rag_audio.resources import REINSTALL, data_dir

LANGUAGES = ("english", "short", "german", "french", "spanish", "japanese", "russian")
"""Columns of words; ``short`` are abbreviations."""


@dataclass(frozen=True)
class Concept:
    """One row of the lexicon.

    Attributes:
        name: in English. kind: ``instrument``, ``drum``, ``kind`` (of a sound, such as a loop),
            ``playing``, ``mood``, ``tempo``, ``genre``, ``sound``, ``scene``, ``word`` (about
            music) or ``function`` (and, with, of).
        broader: names of what it is a sort of.
        bpm: lowest and highest tempo, of a tempo word.
        words: by language, as the table has them.
    """

    name: str
    kind: str
    broader: tuple[str, ...]
    bpm: tuple[float, float] | None
    words: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Mention:
    """A word or phrase that names a concept: ``text[start:end]``, in ``language``."""

    start: int
    end: int
    concept: str
    language: str


@cache
def concepts() -> Mapping[str, Concept]:
    """All concepts by name.

    Raises:
        ConfigError: the table is missing or damaged.
    """
    file = data_dir("lexicon") / "concepts.csv"
    try:
        with file.open(encoding="utf-8", newline="") as rows:
            return {row["concept"]: _concept(row) for row in csv.DictReader(rows)}
    except (OSError, KeyError, ValueError) as error:
        raise ConfigError(f"{file} cannot be read: {error}", hint=REINSTALL) from error


def _concept(row: Mapping[str, str]) -> Concept:
    low, _, high = row["bpm"].partition("-")
    words = {language: tuple(filter(None, row[language].split("|"))) for language in LANGUAGES}
    return Concept(
        row["concept"],
        row["kind"],
        tuple(filter(None, row["broader"].split("|"))),
        (float(low), float(high)) if low else None,
        {**words, "english": (row["concept"], *words["english"])},
    )


@lru_cache(maxsize=1024)
def broader(concept: str) -> Mapping[str, int]:
    """What a concept is a sort of, with how many steps up: a violin is of the strings, 1."""
    found: dict[str, int] = {}
    level: tuple[str, ...] = concepts()[concept].broader
    steps = 1
    while level:
        for name in level:
            found.setdefault(name, steps)
        level = tuple(up for name in level for up in concepts()[name].broader if up not in found)
        steps += 1
    return found


@lru_cache(maxsize=4096)
def concepts_in(text: str) -> tuple[Mention, ...]:
    """What a text speaks of, in order, without overlap."""
    placed = fold_placed(text)
    found = [*_japanese(placed.text), *_found(placed.text)]
    found.sort(key=lambda one: one.start)
    return tuple(
        Mention(placed.origin[one.start][0], placed.origin[one.end - 1][1], meant.concept, language)
        for one, meant, language in _decided(found)
    )


_ABOUT = {"instrument": 1.0, "drum": 1.0, "sound": 1.0, "kind": 0.6, "genre": 0.6, "function": 0.0}
MANNER = 0.35
"""How important moods, tempo words and the like are."""


def importance(name: str) -> float:
    """How much a request is about a concept, 0…1: what is to sound comes before how it sounds."""
    return _ABOUT.get(concepts()[name].kind, MANNER)


def tempo_words(bpm: float) -> tuple[str, ...]:
    """The plainest tempo words for a tempo: slow, moderate, fast; none for one between them."""
    return tuple(name for name, (low, high) in _tempos().items() if low <= bpm <= high)


@cache
def _tempos() -> Mapping[str, tuple[float, float]]:
    return {name: concepts()[name].bpm or (0.0, 0.0) for name in ("slow", "moderate", "fast")}


def forms_of(language: str, kinds: Set[str]) -> frozenset[str]:
    """Single words of a language for concepts of some kinds, folded, with all their endings."""
    return frozenset(
        parts[0][0] + ending
        for concept in concepts().values()
        if concept.kind in kinds
        for word in concept.words[language]
        for parts in _patterns(word, language)
        if len(parts) == 1
        for ending in (_ENDINGS[language] if parts[0][1] else ("",))
    )


# The table turned round: what each word, or stem and ending, may mean.


def _with_n(endings: str) -> frozenset[str]:
    """Endings of nouns, of adjectives, and of adjectives made of nouns (барабан-ный)."""
    nouns, adjectives = (set(fold(part).split()) for part in endings.split("|"))
    derived = {f"{suffix}{one}" for suffix in ("н", "ов") for one in adjectives}
    return frozenset({"", *nouns, *adjectives, *derived})


_ENDINGS = {
    "german": frozenset("e en er es em n s ern".split()) | {""},
    "french": frozenset("s e es x".split()) | {""},
    "spanish": frozenset("s es e o os a as".split()) | {""},
    "russian": _with_n(
        "а я ы и у ю е о ой ей ом ем ам ям ами ями ах ях ов ев ь ью ию"
        "|ый ий ой ая яя ое ее ые ие ого его ому ему ую юю ым им ых их ыми ими ом ем ей"
    ),
}
_LONGEST_ENDING = max(len(one) for endings in _ENDINGS.values() for one in endings)
_JAPANESE = "ぁ-ゖァ-ヺー一-鿿々"
_WORD = re.compile(rf"(?:(?![{_JAPANESE}])[^\W\d_])+|\d+|&")
_PIECE = re.compile(rf"(?:{_WORD.pattern})\*?")
_UMLAUT = re.compile("[äöüÄÖÜ]")
_GAP = re.compile(r"[\s_\-.'/]{0,2}")
_PART = 4
"""Letters that a part of a compound has at least."""


class _Meaning(NamedTuple):
    """What a word may mean; ``weak``: only beside another word of the language."""

    concept: str
    language: str
    weak: bool = False


class _Entry(NamedTuple):
    """A phrase after its first word: further words, each with whether it may have an ending."""

    rest: tuple[tuple[str, bool], ...]
    meaning: _Meaning


class _Possible(NamedTuple):
    start: int
    end: int
    meanings: tuple[_Meaning, ...]


@cache
def _entries(cyrillic: bool) -> tuple[dict[str, list[_Entry]], dict[str, list[_Entry]]]:
    """Phrases of Russian, or those in Latin letters, by a whole first word and by the stem of one.

    They are read apart, so that a text without Cyrillic letters does not wait for Russian.
    """
    whole: dict[str, list[_Entry]] = {}
    stems: dict[str, list[_Entry]] = {}
    for concept in concepts().values():
        for language, words in concept.words.items():
            if language == "japanese" or cyrillic != (language == "russian"):
                continue
            for word in words:
                weak = word.startswith("?") or (
                    concept.kind == "function" and language != "english"
                )
                meaning = _Meaning(concept.name, language, weak)
                for (first, ends), *rest in _patterns(word, language):
                    (stems if ends else whole).setdefault(first, []).append(
                        _Entry(tuple(rest), meaning)
                    )
    return whole, stems


def _patterns(word: str, language: str) -> Iterator[list[tuple[str, bool]]]:
    """The words of a phrase, each with whether it may have an ending, in all its spellings."""
    plain = word.lstrip("?")
    spellings = [plain]
    if language == "german" and _UMLAUT.search(plain):
        spellings.append(_UMLAUT.sub(lambda umlaut: f"{fold(umlaut[0])}e", plain))
    if language in ("english", "short") and len(plain) > 2:
        spellings.append(_plural(plain))
    for spelling in spellings:
        pieces = _PIECE.findall(fold(spelling))
        yield [(piece.rstrip("*"), piece.endswith("*")) for piece in pieces]


def _plural(word: str) -> str:
    if word.endswith("y") and word[-2] not in "aeo":
        return f"{word[:-1]}ies"
    return f"{word}es" if word.endswith(("s", "x", "z", "ch", "sh")) else f"{word}s"


def _fits(word: str, pattern: tuple[str, bool], language: str) -> bool:
    stem, ends = pattern
    return word == stem or (
        ends and word.startswith(stem) and word[len(stem) :] in _ENDINGS[language]
    )


@lru_cache(maxsize=65536)
def _beginning(word: str) -> tuple[_Entry, ...]:
    """Phrases that may begin with a word."""
    whole, stems = _entries("а" <= word[0] <= "я")
    found = list(whole.get(word, ()))
    for cut in range(min(_LONGEST_ENDING, len(word) - 1) + 1):
        stem = word[: len(word) - cut]
        found += [
            one
            for one in stems.get(stem, ())
            if word[len(stem) :] in _ENDINGS[one.meaning.language]
        ]
    return tuple(found)


def _found(text: str) -> Iterator[_Possible]:
    """The longest phrases of a folded text, and the parts of compounds, but Japanese."""
    words = list(_WORD.finditer(text))
    at = 0
    while at < len(words):
        best: dict[_Meaning, None] = {}
        longest = 0
        for entry in _beginning(words[at].group()):
            count = 1 + len(entry.rest)
            if count < longest:
                continue
            if count == 1 or _follows(text, words[at : at + count], entry):
                best = best if count == longest else {}
                best[entry.meaning] = None
                longest = count
        if best:
            if longest == 1 and words[at].group() in _everyday():
                best = {
                    one._replace(weak=one.weak or one.language != "english"): None for one in best
                }
            yield _Possible(words[at].start(), words[at + longest - 1].end(), tuple(best))
        else:
            start = words[at].start()
            for first, end, meanings in _compound(words[at].group()):
                yield _Possible(start + first, start + end, meanings)
        at += max(1, longest)


@cache
def _everyday() -> frozenset[str]:
    """Words of everyday English, and given names."""
    words = data_dir("policy") / "words"
    texts = ((words / f"{name}.txt").read_text(encoding="utf-8") for name in ("english", "given"))
    return frozenset(word for text in texts for word in text.lower().split())


def _follows(text: str, words: Sequence[re.Match[str]], entry: _Entry) -> bool:
    """Whether a phrase's further words stand here, with no more than a hyphen between them."""
    if len(words) != 1 + len(entry.rest) or not words[1].group().startswith(entry.rest[0][0]):
        return False
    return all(
        _fits(word.group(), pattern, entry.meaning.language)
        and _GAP.fullmatch(text, before.end(), word.start())
        for before, word, pattern in zip(words, words[1:], entry.rest, strict=False)
    )


@lru_cache(maxsize=65536)
def _compound(word: str) -> tuple[_Possible, ...]:
    """The parts of a compound, first to last; none where one of them is not known."""
    for cut in range(_PART, len(word) - _PART + 1):
        first = _part(word[:cut].removesuffix("s")) or _part(word[:cut])
        if not first:
            continue
        head = _Possible(0, cut, first)
        if last := _part(word[cut:]):
            return (head, _Possible(cut, len(word), last))
        if rest := _compound(word[cut:]):
            moved = (_Possible(cut + one.start, cut + one.end, one.meanings) for one in rest)
            return (head, *moved)
    return ()


@lru_cache(maxsize=65536)
def _part(word: str) -> tuple[_Meaning, ...]:
    """What a word may mean as a part of a German or English compound."""
    return tuple(
        dict.fromkeys(
            one.meaning
            for one in _beginning(word)
            if not one.rest
            and one.meaning.language in ("german", "english")
            and concepts()[one.meaning.concept].kind != "function"
            and (one.meaning.language == "english" or word not in _everyday())
        )
    )


# Japanese is written without spaces: its words are sought in the text as it is.


@cache
def _japanese_words() -> tuple[re.Pattern[str], Mapping[str, tuple[_Meaning, ...]]]:
    known: dict[str, tuple[_Meaning, ...]] = {}
    for concept in concepts().values():
        for word in concept.words["japanese"]:
            meaning = _Meaning(concept.name, "japanese", concept.kind == "function")
            known[fold(word)] = (*known.get(fold(word), ()), meaning)
    longest_first = sorted(known, key=lambda word: (-len(word), word))
    return re.compile("|".join(map(re.escape, longest_first))), known


def _japanese(text: str) -> list[_Possible]:
    """Japanese words; none within a longer run of katakana, or of kanji, that is not known."""
    if text.isascii():
        return []
    pattern, known = _japanese_words()
    matches = list(pattern.finditer(text))
    read = {at for match in matches for at in range(match.start(), match.end())}
    return [
        _Possible(match.start(), match.end(), known[match.group()])
        for match in matches
        if (len(match.group()) > 1 and _script(match.group()[0]) == "kanji")
        or not (
            _joins(text, match.start() - 1, match.start(), read)
            or _joins(text, match.end(), match.end() - 1, read)
        )
    ]


def _joins(text: str, outside: int, inside: int, read: set[int]) -> bool:
    """Whether a character that is not read belongs to the same run as one that is."""
    if not 0 <= outside < len(text) or outside in read:
        return False
    script = _script(text[outside])
    return script != "" and script == _script(text[inside])


def _script(char: str) -> str:
    if "ァ" <= char <= "ヺ" or char == "ー":
        return "katakana"
    return "kanji" if "一" <= char <= "鿿" or char == "々" else ""


# Which of several meanings is meant.


def _decided(found: Sequence[_Possible]) -> Iterator[tuple[_Possible, _Meaning, str]]:
    """Each with its meaning, and the language it is said in: English where it is English too."""
    evidence: Counter[str] = Counter()
    for one in found:
        sure = {meaning.language for meaning in one.meanings if not meaning.weak}
        if "english" not in sure:
            evidence.update(sure)
    for one in found:
        may = [each for each in one.meanings if not each.weak or evidence[each.language]]
        if not may:
            continue
        meant = max(may, key=lambda each: _likeliness(each, evidence))
        is_english = _Meaning(meant.concept, "english", False) in one.meanings
        yield one, meant, "english" if is_english else meant.language


def _likeliness(meaning: _Meaning, evidence: Mapping[str, int]) -> tuple[int, int]:
    """The language of most other words first, then English, then abbreviations, then any."""
    usual = {"english": 2, "short": 1}.get(meaning.language, 0)
    return (0 if usual else evidence[meaning.language]), usual
