"""Names that are everyday words: other evidence in the same text decides whether one is meant.

A word such as "air" is a name where a title of the same artist stands in the text, where a year or
somebody's recording of it is spoken of, or where it is in no dictionary of any language. Titles of
an artist lead to the artist's misspelled name beside them, too.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache

from rapidfuzz.distance import OSA

from rag_audio.guardrails.name_finder import NameHit
from rag_audio.guardrails.names import SentenceReading, Song, is_place
from rag_audio.guardrails.normalise import NormalisedText, fold, read, squash
from rag_audio.guardrails.policy_tables import policy_lines, rule_pattern, rule_words
from rag_audio.guardrails.vocabulary import (
    is_compound,
    is_english,
    is_everyday,
    is_german_compound,
    is_given_name,
    is_music,
    is_ordinary,
    listed_words,
)

# Whether a name that is a word too is a name where it stands, outside of style phrases.
#
# A countable noun in the singular that stands without an article ("Drake 90 bpm", "drake lyrics")
# is a name in English; a word that is in no dictionary is one in small letters too. A word that
# stands without an article anyway (rain, air) is a name only by what surrounds it.

_SEGMENT = re.compile(r"[,;|\n•/]|\s-\s|\.\s")
_TEMPO = re.compile(r"[\s,(\[]*\d{2,3}\s?bpm\b")
_TAIL = rule_words("evidence", "tail")
_ROLE_AFTER = rule_pattern("evidence", "role_after")
_PAIR_WORDS = 5
_PAIR = rule_pattern("evidence", "pair")
_GLUED = rule_words("evidence", "glued")
_DETERMINERS = rule_words("evidence", "determiners")
_SMALL = rule_words("evidence", "small")
_AFTER_NAME = rule_words("evidence", "after_name")
_UNCOUNTABLE = rule_words("evidence", "uncountable")
_LEAST_SPELLED = 4
"""Letters that must be spelled out one by one before they mean a name that is a word too."""


def is_epithet(hit: NameHit) -> bool:
    """Whether what was found is what somebody is called in place of the name."""
    epithets = hit.form.artist.epithets
    return bool(epithets) and (
        hit.form.text in epithets
        or f"the {hit.form.text}" in {epithet.lower() for epithet in epithets}
    )


def is_told_by_capitals(text: NormalisedText, hit: NameHit) -> bool:
    """Whether the words of an epithet are written as a name: "the Purple One", "the Boss"."""
    words = text.words[hit.first : hit.last + 1]
    telling = [word for word in words if word.text not in _SMALL]
    if not text.capitals_mean or not all(word.capital for word in telling):
        return False
    if len(telling) > 1:
        return True
    the = words[0].text == "the" or (hit.first > 0 and text.words[hit.first - 1].text == "the")
    following = text.words[hit.last + 1 : hit.last + 2]
    gap = text.plain[words[-1].end : following[0].start] if following else ""
    return the and (not following or gap.strip() != "" or following[0].text in _AFTER_NAME)


def has_telling_capital(text: NormalisedText, number: int) -> bool:
    """Whether a word after the first one has a capital that says "name"."""
    word = text.words[number]
    others = [w for i, w in enumerate(text.words) if i != number and w.text.isalpha()]
    return word.capital and number > 0 and (text.capitals_mean or not others)


def is_rare(hit: NameHit) -> bool:
    """Whether a name's only word is in no dictionary, so that as a word it is hardly used.

    Given names are no such words: "a lullaby for …" is about anybody.
    """
    form = hit.form
    word = fold(form.text)
    short = form.words != 1 or form.turned or len(form.letters) <= 3
    return not short and not is_ordinary(word) and not is_given_name(word)


def is_surname(hit: NameHit) -> bool:
    """Whether somebody was found by the surname alone, as it is spelled."""
    form = hit.form
    surname = fold(form.artist.name).split()[1:] == [form.text]
    return hit.exact and form.turned and surname and not is_ordinary(form.text)


def is_bare(text: NormalisedText, hit: NameHit) -> bool:
    """Whether a countable noun stands in the singular without an article: so only names do."""
    words = text.words
    last = words[hit.last].text
    if is_epithet(hit):
        return False
    plural = last.endswith("s") and not last.endswith("ss")
    stuff = hit.form.words == 1 and (plural or last in _UNCOUNTABLE)
    if hit.reading is SentenceReading.MASS or stuff:
        return is_rare(hit)
    if hit.first == 0 or words[hit.first].text == "the":
        return True
    gap = text.plain[words[hit.first - 1].end : words[hit.first].start]
    return bool(gap.strip(" -'\"")) or words[hit.first - 1].text not in _DETERMINERS


def is_named(text: NormalisedText, hit: NameHit, hits: Sequence[NameHit]) -> bool:
    """Whether an exact or unmistakable hit is a name by what stands around it."""
    if not hit.sure:
        return False
    words = text.words
    start, end = words[hit.first].start, words[hit.last].end
    if _is_spelled_out(text, hit) or _ROLE_AFTER.match(text.plain, end):
        return True
    if _is_paired(text, hit, hits):
        return True
    if is_epithet(hit):
        return is_told_by_capitals(text, hit)
    if hit.reading is SentenceReading.MASS:
        return False
    tagged = text.raw[: text.origin[start]][-1:] in ("#", "@")
    if _is_glued(text, hit) or (tagged and is_bare(text, hit)):
        return True
    if _TEMPO.match(text.plain, end) and (words[hit.first].capital or is_bare(text, hit)):
        return _begins(text, start) and is_bare(text, hit)
    return _is_alone(text, hit)


def _is_spelled_out(text: NormalisedText, hit: NameHit) -> bool:
    words = text.words[hit.first : hit.last + 1]
    return len(words) >= _LEAST_SPELLED and all(len(word.text) == 1 for word in words)


def _is_glued(text: NormalisedText, hit: NameHit) -> bool:
    """``Drakecore``."""
    word = squash(text.words[hit.first].text)
    tail = word.removeprefix(hit.form.letters)
    return hit.first == hit.last and hit.exact and tail != word and tail in _GLUED


def _is_paired(text: NormalisedText, hit: NameHit, hits: Sequence[NameHit]) -> bool:
    """Whether "x", "meets" or "feat." joins the name to another one."""
    for other in hits:
        left, right = (hit, other) if hit.first < other.first else (other, hit)
        if 0 < right.first - left.last <= _PAIR_WORDS and other.sure:
            gap = text.plain[text.words[left.last].end : text.words[right.first].start]
            if _PAIR.fullmatch(gap) and _is_told(text, left, right):
                return True
    return False


def _is_told(text: NormalisedText, one: NameHit, other: NameHit) -> bool:
    """Whether two names that are joined are told by a name among them, or by their capitals."""
    if any(hit.reading is SentenceReading.NAME or is_rare(hit) for hit in (one, other)):
        return True
    return all(text.words[hit.first].capital for hit in (one, other))


def _begins(text: NormalisedText, start: int) -> bool:
    """Whether a segment of a list begins at an offset of the plain text."""
    before = text.plain[:start].rstrip(" \"'#@([")
    return not before or _SEGMENT.match(before[-1] + " ") is not None


def _is_alone(text: NormalisedText, hit: NameHit) -> bool:
    """Whether a segment of a list consists of the name, and of music talk after it at most."""
    words = text.words
    start, end = words[hit.first].start, words[hit.last].end
    if not _begins(text, start):
        return False
    rest_end = next((m.start() for m in _SEGMENT.finditer(text.plain, end)), len(text.plain))
    rest = [w for w in words[hit.last + 1 :] if w.start < rest_end]
    capital = words[hit.first].capital
    if not rest:
        several = hit.form.words > 1 and hit.exact
        telling = capital and words[hit.first].text not in _UNCOUNTABLE
        return telling or is_rare(hit) or several or len(words) == 1
    rare = is_rare(hit)
    musical = all(
        w.text in _TAIL or w.text.isdigit() or (rare and _is_plain_talk(w.text)) for w in rest
    )
    return musical and (capital or rare) and is_bare(text, hit)


def _is_plain_talk(word: str) -> bool:
    """Whether a word is music talk, and no small word."""
    return len(word) > 3 and is_music(word) and word not in _DETERMINERS | _SMALL


_LEAST = 4
"""Letters of a single word that counts wherever it stands."""
_NEAR = 8
"""So many words may stand between a name and a title of the same artist."""
_MISSPELLED = 6
"""Letters of an artist's name that is read in a misspelled word beside a title."""
_BESIDE = rule_pattern("evidence", "beside")
_RECORDED = rule_pattern("evidence", "recorded")
_WOULD = rule_pattern("evidence", "would")
_AS = rule_pattern("evidence", "as")
_YEAR = rule_pattern("evidence", "year")
_BEAT_TYPE = rule_pattern("evidence", "beat_type")
_LATIN = re.compile(r"[A-Za-z\u00c0-\u024f']+")
_STUFF = rule_words("evidence", "stuff")


def evident_names(
    text: NormalisedText, hits: Sequence[NameHit], songs: Sequence[tuple[int, int, Song]]
) -> Iterator[NameHit]:
    """Hits that are words too and that something else in the text makes names.

    Args:
        hits: names found in the text. songs: titles found there, whether meant as such or not.
    """
    beats = {match.end() for match in _BEAT_TYPE.finditer(text.plain)}
    for hit in hits:
        if hit.reading is SentenceReading.NAME or not hit.exact or is_epithet(hit):
            continue
        if (
            _is_unheard_of(text, hit)
            or (
                text.words[hit.first].start in beats
                and (hit.reading is SentenceReading.WORD or not is_music(fold(hit.form.text)))
            )
            or (hit.sure and _is_dated(text, hit))
            or any(_belong(text, hit, song) for song in songs)
        ):
            yield hit


def misspelled_beside(
    text: NormalisedText, songs: Sequence[tuple[int, int, Song]]
) -> Iterator[tuple[int, int, Song]]:
    """Titles of several words with their artist's name beside them, a letter from right: the words
    of both, and the song."""
    words = text.words
    for first, last, song in songs:
        name = squash(" ".join(word.text for word in read(song.artist).words))
        size = len(fold(song.artist).split())
        if last == first or len(name) < _MISSPELLED or not name.isascii():
            continue
        for begin in {first - size, first - size - 1, last + 1, last + 2}:
            end = begin + size - 1
            if begin < 0 or end >= len(words) or (begin <= last and end >= first):
                continue
            written = squash(" ".join(word.text for word in words[begin : end + 1]))
            if written[:2] == name[:2] and OSA.distance(written, name, score_cutoff=1) <= 1:
                yield min(begin, first), max(end, last), song


def is_unheard_word(word: str) -> bool:
    """Whether a folded word is in no dictionary that we have, no given name, place or compound."""
    return not (
        is_everyday(word)
        or is_given_name(word)
        or is_place(word)
        or is_compound(word)
        or is_german_compound(word)
        or word in listed_words("rare")
    )


def _is_unheard_of(text: NormalisedText, hit: NameHit) -> bool:
    """Whether a single word can only be the name: none other is written so."""
    form = hit.form
    if form.words != 1 or hit.first != hit.last or is_surname(hit):
        return False
    word = text.words[hit.first].text
    written = text.raw_words(hit.first, hit.last)
    if word != fold(form.text) or len(word) < _LEAST or not _LATIN.fullmatch(written):
        return False
    if fold(form.artist.name).split()[:1] in (["the"], ["die"]):
        return False  # with its article only
    # Less known names may be words of languages that we have no list of; those of an imported
    # list (which are never turned) may be any words.
    if not form.artist.well_known and not (form.turned and _is_english_talk(text, hit)):
        return False
    if hit.first > 0 and text.words[hit.first - 1].text in ("a", "an"):
        return False
    return is_unheard_word(word)


def _is_english_talk(text: NormalisedText, hit: NameHit) -> bool:
    """Whether all other words of a text are English or music talk."""
    others = [w.text for i, w in enumerate(text.words) if i != hit.first and w.text.isalpha()]
    return len(others) > 0 and all(is_english(word) or is_ordinary(word) for word in others)


def _is_dated(text: NormalisedText, hit: NameHit) -> bool:
    """Whether somebody's recording, or a year of theirs, is spoken of."""
    words = text.words
    end = words[hit.last].end
    before = text.plain[: words[hit.first].start]
    article = before.split()[-1:] in (["a"], ["an"], ["my"], ["some"], ["this"], ["your"])
    if article or words[hit.last].text in _STUFF:
        return False
    if _RECORDED.match(text.plain, end) and _AS.search(before):
        return True
    word = hit.reading is SentenceReading.WORD
    if _WOULD.match(text.plain, end):
        return word and (is_bare(text, hit) or words[hit.first].capital)
    return word and _YEAR.match(text.plain, end) is not None and is_bare(text, hit)


def _belong(text: NormalisedText, hit: NameHit, found: tuple[int, int, Song]) -> bool:
    """Whether a title found in the text is by the artist, so that both mean what they name."""
    first, last, song = found
    if song.artist != hit.form.artist.name or (first <= hit.last and last >= hit.first):
        return False
    words = text.words
    left, right = (hit.last, first) if hit.last < first else (last, hit.first)
    gap = text.plain[words[left].end : words[right].start]
    if _BESIDE.fullmatch(gap):
        return last > first or not is_music(words[first].text)
    several = last > first and hit.reading is SentenceReading.WORD and hit.sure
    return several and right - left <= _NEAR and is_bare(text, hit)


# What contains a name's words, or stands where a name may, and names no protected artist.
#
# Everyday phrases (``data/policy/innocent.txt``: "queen bee"), and people of history whose names
# stand for an age or a manner (``data/policy/figures.txt``: "inspired by Van Gogh", "a Bach-era
# organ").


def innocent_words(text: NormalisedText) -> set[int]:
    """Indices of the words that belong to such a phrase."""
    words = text.words
    found: set[int] = set()
    for i, word in enumerate(words):
        for phrase in _phrases().get(word.text, ()):
            if tuple(w.text for w in words[i : i + len(phrase)]) == phrase:
                found.update(range(i, i + len(phrase)))
    return found


@cache
def _phrases() -> dict[str, list[tuple[str, ...]]]:
    made: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    for line in (*policy_lines("innocent"), *policy_lines("figures")):
        words = tuple(fold(line).split())
        if words:
            made[words[0]].append(words)
    return made


# Whether a name that is known is meant where anything may stand: "make it …", "… lyrics".

_TALENTS = rule_words("evidence", "talents")
_PLACES = rule_words("evidence", "places")
_BEAT_TALK = rule_words("evidence", "beat_talk")
_THEMES = rule_words("evidence", "themes")
_QUALITIES = rule_words("evidence", "qualities")


def is_proper(text: NormalisedText, hit: NameHit, following: str = "", works: bool = False) -> bool:
    """Whether a name that is a word too is told by its capital, or by its rarity.

    Args:
        following: the word after it, where it belongs to the same object.
        works: whether that is a word of works and performances.
    """
    word = text.words[hit.first]
    if is_epithet(hit):
        return is_told_by_capitals(text, hit)
    if hit.reading is SentenceReading.NAME or is_rare(hit) or is_surname(hit):
        return True
    if not has_telling_capital(text, hit.first):
        return False
    if hit.reading is SentenceReading.MASS:
        return word.text not in _PLACES and (not following or following in _TALENTS)
    return not following or works or is_music(following)


def is_countable(text: NormalisedText, hit: NameHit, following: str) -> bool:
    """Whether a countable noun without an article is a name: "give me some prince vibes"."""
    ends = not following or following in _TALENTS
    return hit.exact and ends and is_bare(text, hit)


def is_beat_of(text: NormalisedText, hit: NameHit) -> bool:
    """Whether a word is the artist of "… type beat": alone, or with an article before it."""
    word = text.words[hit.first]
    if hit.reading is SentenceReading.MASS and word.text in _QUALITIES:
        return False
    before = text.plain[: word.start].rstrip(" \"'([")
    if not before or before[-1] in ",;:|.)]/\n":
        return True
    previous = before.split()[-1]
    return previous in _BEAT_TALK and (previous in ("a", "an", "x") or word.text not in _THEMES)


# Names in scripts without spaces that cut a longer everyday word.
#
# Chinese and Japanese write words in one run, so that the letters of a name may be the end of one
# word and the beginning of the next one: what does not end where words end is no name.

_UNSPACED = re.compile("[\u3041-\u30ff\u4e00-\u9fff]+")
_LONGEST = 5
"""Letters of the longest words that are looked for across the border of a name."""


@cache
def _words() -> frozenset[str]:
    return listed_words("chinese") | listed_words("japanese")


def cuts_a_word(text: NormalisedText, hit: NameHit) -> bool:
    """Whether an everyday word lies across the beginning or the end of a name."""
    start, end = text.words[hit.first].start, text.words[hit.last].end
    plain, words = text.plain, _words()
    if plain.isascii() or _UNSPACED.fullmatch(plain, start, end) is None:
        return False
    return any(
        plain[first:last] in words
        for border in (start, end)
        for first in range(max(0, border - _LONGEST + 1), border)
        for last in range(border + 1, min(len(plain), first + _LONGEST) + 1)
        if not (first <= start and end <= last) and (first >= start or last < end)
    )
