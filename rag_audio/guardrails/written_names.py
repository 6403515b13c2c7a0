"""Names of the library as they are written, signs and all: ``!!!``, ``+/-``, ``M.O.X.``, kana.

The other readings of a text (:mod:`.name_finder`) see letters and forgive spelling; they cannot see
a name made of signs, and take a name in kana or with stops for whatever has the same letters. Here
a name is found where the text, folded by :func:`rag_audio.domain.names.fold_placed`, has it with
borders of its own. It counts where it is the object of a style phrase; elsewhere ``!!!`` may only
be loud. Further down: style phrases and names in scripts without spaces or capitals.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from itertools import accumulate

from rag_audio.domain import names
from rag_audio.guardrails.known_names import ScopedKnownNames
from rag_audio.guardrails.normalise import NormalisedText, fold
from rag_audio.guardrails.policy_tables import compiled, policy_table, rule_pattern, rule_words
from rag_audio.guardrails.style_leads import Lead, Strength, find_leads
from rag_audio.guardrails.vocabulary import is_music, is_ordinary, plain_words, words_of

_QUOTES = "\\s\"'“”„«»‘’`*_~#"
_OPENS = " \t\n\"'“”„«»‘’`*_~#([{<:-"
_BETWEEN = rule_pattern("written", "between")
_MOST_BETWEEN = 120
"""So many characters may stand there."""
_JOINT = rule_pattern("written", "joint")
_CLOSES = re.compile(rf"[{_QUOTES})\]}}>]*")
_PRECEDES = re.compile(rf"(?:['’]s(?![^\W_]))?[{_QUOTES})\]}}>:\-]*")
"""What may stand between a name and a style phrase that follows it."""
_ENDS_OBJECT = rule_pattern("written", "ends_object")
_SUFFIX = rule_pattern("written", "suffix")
_LEADS_STRANGE = rule_pattern("written", "leads_strange", re.IGNORECASE)
_FOLLOWS_STRANGE = rule_pattern("written", "follows_strange")
_SIGN = re.compile(r"[^\w\s.,;:…'\"“”„«»‘’`´()\[\]{}<>\-‐-―/\\]")
_SIGNS_ONLY = re.compile(r"[^\w\s]+")
_STRANGE = re.compile(r"[^\w\s.'’\-]|[^\W\d_a-zA-Z]")
_LETTERS = re.compile(r"[^\W\d_]")


@dataclass(frozen=True)
class WrittenName:
    """A name in a text: ``raw[start:end]``.

    Attributes:
        name: as the library writes it.
        exactly: the text has it as the library writes it, and not only by its fold.
    """

    start: int
    end: int
    name: str
    exactly: bool


@dataclass(frozen=True)
class NamesWritten:
    """What a text says of the library's names.

    Attributes:
        licensed: spans (start, end) of the original where a licensed artist is named.
        barred: names of those who are not licensed.
        asked: those of ``barred`` that a style phrase is about.
        strange: spans of signs that a style phrase is about, and that nobody knows.
    """

    licensed: tuple[tuple[int, int], ...] = ()
    barred: tuple[WrittenName, ...] = ()
    asked: tuple[WrittenName, ...] = ()
    strange: tuple[tuple[int, int], ...] = ()


def read_names(
    text: NormalisedText, licensed: ScopedKnownNames, barred: ScopedKnownNames
) -> NamesWritten:
    """Find the library's names in a text, and what of them is asked for.

    A name as it is written counts before one that only folds to the same: the first decides
    between a licensed artist and another one; where neither is written exactly, nobody is licensed.
    """
    placed = names.fold_placed(text.raw)
    ours = list(_occurrences(text.raw, placed, licensed))
    theirs = list(_occurrences(text.raw, placed, barred))
    exact_theirs = {(one.start, one.end) for one in theirs if one.exactly}
    any_theirs = {(one.start, one.end) for one in theirs}
    good = [
        one
        for one in ours
        if (one.start, one.end) not in (exact_theirs if one.exactly else any_theirs)
    ]
    exact_good = {(one.start, one.end) for one in good if one.exactly}
    bad = [one for one in theirs if (one.start, one.end) not in exact_good]
    bad = _outside_longer(bad, good)
    good = _outside_longer(good, bad)
    spots = _Spots(text, placed, [*good, *bad])
    known = [(one.start, one.end) for one in good]
    return NamesWritten(
        tuple(known),
        tuple(bad),
        tuple(one for one in bad if spots.is_asked(one)),
        tuple(
            (start, end)
            for start, end in spots.strange()
            if not any(begin < end and start < stop for begin, stop in known)
        ),
    )


def _outside_longer(found: list[WrittenName], others: list[WrittenName]) -> list[WrittenName]:
    """Those that are not only a part of another name that stands there."""
    spans = sorted({(one.start, one.end) for one in others})
    starts = [start for start, _ in spans]
    # The farthest end of all that begin so early, and of those that begin earlier still.
    reach = list(accumulate((end for _, end in spans), max))
    kept = []
    for one in found:
        before = bisect_left(starts, one.start)
        until = bisect_right(starts, one.start)
        inside = before > 0 and reach[before - 1] >= one.end
        if not inside and not any(end > one.end for _, end in spans[before:until]):
            kept.append(one)
    return kept


def leads_to(raw: str, start: int, name: int) -> bool:
    """Whether ``raw[start:name]`` only introduces the name that begins there: "the band"."""
    return name - start <= _MOST_BETWEEN and _is_between(raw[start:name])


def _is_between(text: str) -> bool:
    return _BETWEEN.fullmatch(text.lower()) is not None


def _occurrences(raw: str, placed: names.Placed, wanted: ScopedKnownNames) -> Iterator[WrittenName]:
    text = placed.text
    for at in range(len(text) if wanted else 0):
        for folded, name in wanted.folded_at(text, at):
            end = at + len(folded)
            if _has_borders(text, at, end):
                start, stop = placed.origin[at][0], placed.origin[end - 1][1]
                whole = _with_marks(raw, start)
                if whole < start and names.same(raw[whole:stop], name):
                    start = whole
                exactly = names.same(raw[start:stop], name)
                yield WrittenName(start, stop, name, exactly)


def _with_marks(raw: str, start: int) -> int:
    """Where a name begins that begins with marks or unseen signs, which join what stands before."""
    while start > 0 and unicodedata.category(raw[start - 1]) in ("Mn", "Mc", "Me", "Cf"):
        start -= 1
    return start


def _has_borders(text: str, start: int, end: int) -> bool:
    """Whether a name neither begins nor ends within a word, or a run of its own sign."""
    before, after = text[start - 1 : start], text[end : end + 1]
    first, last = text[start], text[end - 1]
    return not (
        (_is_letter(first) and _is_letter(before) and _script(first) == _script(before))
        or (_is_letter(last) and _is_letter(after) and _script(last) == _script(after))
        or (not _is_letter(first) and before == first)
    )


def _is_letter(char: str) -> bool:
    return char.isalnum() or char in ("ー", "_") if char else False


def _script(char: str) -> str:
    """Where runs of letters end although nothing stands between them: kana, Han, the others."""
    if "\u3041" <= char <= "\u3096":
        return "hiragana"
    if "\u30a1" <= char <= "\u30ff":
        return "katakana"
    if "\u3400" <= char <= "\u9fff" or char == "々":
        return "han"
    if "\uac00" <= char <= "\ud7a3":
        return "hangul"
    return "other"


_UNSEEN = frozenset(("Cf", "Mn", "Me"))
"""Unicode's categories of what only changes how other signs are drawn."""


def _seen(signs: str) -> str:
    return "".join(sign for sign in signs if unicodedata.category(sign) not in _UNSEEN)


class _Spots:
    """Where in a text somebody's style is asked for."""

    def __init__(
        self, text: NormalisedText, placed: names.Placed, found: list[WrittenName]
    ) -> None:
        self._raw = text.raw
        self._folded = placed
        self._origins = [start for start, _ in placed.origin]
        self._spans = sorted({(one.start, one.end) for one in found})
        self._ends = sorted({one.end for one in found})
        leads = list(find_leads(text, any_sign=True))
        self._before = [lead for lead in leads if not lead.after]
        self._after = [_phrase_start(text, lead) for lead in leads if lead.after]
        self._starts: dict[int, Lead | None] = {}
        for lead in self._before:
            for start in self._objects(text, lead):
                self._starts.setdefault(start, lead)
        # Names may follow one another without anything between them.
        self._adjacent = {
            end for at, end in self._spans if any(map(partial(self._touches, at=at), self._starts))
        }

    def is_asked(self, one: WrittenName) -> bool:
        """Whether a name is the object of a style phrase."""
        letters = _LETTERS.findall(one.name)
        alone = len(letters) <= 1 and one.name.isascii()
        possessive = self._raw[one.end : one.end + 2] in ("'s", "’s")
        if alone and letters and not possessive and not self._raw[: one.start].strip():
            return False  # "A type beat", at the beginning
        if not one.exactly and ((alone and letters) or _is_everyday(one.name)):
            return False  # "like rain": the other readings look at what stands around it
        place = bisect_left(self._origins, one.end)
        rest = self._folded.text[place:]
        if _SUFFIX.match(rest) or any(self._precedes(one.end, start) for start in self._after):
            return True
        begins = {*self._starts, *self._adjacent}
        if not any(self._touches(start, one.start) for start in begins) and not (
            _STRANGE.search(one.name)
            and (
                _LEADS_STRANGE.search(self._raw, max(0, one.start - _MOST_BETWEEN), one.start)
                or _FOLLOWS_STRANGE.match(self._folded.text, place)
            )
        ):
            return False
        return not (alone and letters) or _ENDS_OBJECT.match(rest) is not None

    def strange(self) -> Iterator[tuple[int, int]]:
        """Signs alone where a name is expected: ``in the style of ***``."""
        for start, lead in self._starts.items():
            if lead is None or lead.strength is not Strength.STRONG or lead.language == "ja":
                continue
            at = start
            while at < len(self._raw) and self._raw[at] in _OPENS:
                at += 1
            run = _SIGNS_ONLY.match(self._raw, at)
            if run is None or not _SIGN.search(_seen(run.group())):
                continue
            if run.end() == len(self._raw) or self._raw[run.end()].isspace():
                yield run.span()

    def _objects(self, text: NormalisedText, lead: Lead) -> Iterator[int]:
        """Offsets in the original where objects of a phrase begin."""
        plain_end = lead.at
        while plain_end > lead.start and not text.plain[plain_end - 1].isalnum():
            plain_end -= 1
        start = text.origin[plain_end - 1] + 1 if plain_end > lead.start else 0
        yield start
        for _ in range(6):
            between = _BETWEEN.match(self._raw, start)
            begin = between.end() if between else start
            yield begin
            # Names that are known end where they end; others with the next joint.
            nexts = [end for end in self._ends if begin < end <= begin + 60]
            joint, known = None, max((end for at, end in self._spans if at == begin), default=begin)
            for end in nexts:
                closed = _CLOSES.match(self._raw, end)
                joint = _JOINT.match(self._raw, closed.end() if closed else end)
                if joint is not None:
                    break
            if joint is None:
                joint = next(
                    (j for j in _JOINT.finditer(self._raw, known, begin + 60) if j.start() > begin),
                    None,
                )
            if joint is None or joint.end() <= start:
                return
            start = joint.end()
            yield start

    def _precedes(self, end: int, at: int) -> bool:
        """Whether a name that ends at ``end`` stands right before a phrase at ``at``."""
        near = 0 <= at - end <= _MOST_BETWEEN
        return near and _PRECEDES.fullmatch(self._raw, end, at) is not None

    def _touches(self, start: int, at: int) -> bool:
        """Whether nothing but openers, articles and the like stands between two offsets."""
        if not 0 <= at - start <= _MOST_BETWEEN:
            return False
        return start == at or _is_between(self._raw[start:at])


def _is_everyday(name: str) -> bool:
    words = fold(name).split()
    return bool(words) and all(is_ordinary(word) for word in words)


def _phrase_start(text: NormalisedText, lead: Lead) -> int:
    """Where a phrase such as "type beat" begins that follows a name."""
    at = lead.at
    while at < len(text.plain) and not text.plain[at].isalnum():
        at += 1
    return text.origin[at] if at < len(text.plain) else len(text.raw)


# Style phrases that follow the name in scripts without capitals: Japanese, Hindi, Chinese, Korean.
#
# What stands before the phrase is a name unless it is made of music talk
# (``data/policy/words/japanese.txt``, ``hindi.txt``).

_KANA = "\u3041-\u3096\u30a1-\u30fa\u30fc\u30fd-\u30ff"
_HAN = "\u3005-\u3007\u4e00-\u9fff"
_JAPANESE = rule_pattern("scripts", "japanese")
_STRONG = rule_pattern("scripts", "strong")
_HINDI = rule_pattern("scripts", "hindi")
_CHINESE = rule_pattern("scripts", "chinese")


def _korean(name: str) -> re.Pattern[str]:
    """A regular expression for folded Korean, whose syllables are letters."""
    return compiled(unicodedata.normalize("NFKD", policy_table("rules")["scripts"][name]))


_KOREAN = _korean("korean")
_KOREAN_STRONG = _korean("korean_strong")
_KOREAN_ENDING = _korean("korean_ending")
_THAI = rule_pattern("scripts", "thai")
_SURNAMES: str = policy_table("rules")["scripts"]["surnames"]
_CHINESE_MUSIC = rule_words("scripts", "chinese_music")
_KOREAN_MUSIC = frozenset(map(fold, rule_words("scripts", "korean_music")))


def find_names(text: NormalisedText, known: set[int]) -> Iterator[tuple[int, int]]:
    """Objects of such phrases that are no music talk, as spans of the plain text.

    Args:
        known: offsets of the plain text that belong to a licensed name.
    """
    if text.plain.isascii():
        return
    for match in _JAPANESE.finditer(text.plain):
        span = _trim(text.plain, *match.span("name"))
        name = text.plain[span[0] : span[1]]
        strong = _STRONG.search(match["suffix"]) is not None
        raw = text.raw[slice(*text.raw_span(*span))] if name else ""
        if name and not known & set(range(*span)) and _is_japanese_name(name, raw, strong):
            yield span
    for match in _HINDI.finditer(text.plain):
        span = _hindi_name(text.plain, *match.span("name"))
        if span[0] < span[1] and not known & set(range(*span)):
            yield span
    for find in (_chinese_names, _korean_names, _thai_names):
        for span in find(text.plain):
            if not known & set(range(*span)):
                yield span


def _chinese_names(plain: str) -> Iterator[tuple[int, int]]:
    if re.search(rf"[{_KANA}]", plain):
        return
    for match in _CHINESE.finditer(plain):
        group = next(g for g, found in match.groupdict().items() if found)
        start, end = _trim(plain, *match.span(group))
        name = plain[start:end]
        name = name.removeprefix("那种").removeprefix("那種").removeprefix("这种")
        if name and not name.isascii() and not _is_talk(name, _chinese_music()):
            yield start, end


def _korean_names(plain: str) -> Iterator[tuple[int, int]]:
    """The word before a phrase, or two where the first of them is no music talk either."""
    for match in _KOREAN.finditer(plain):
        start, end = _trim(plain, *match.span("name"))
        words = list(re.finditer(r"\S+", plain[start:end]))[-2:]
        if not words or plain[start:end].isascii():
            continue
        strong = _KOREAN_STRONG.search(match.group(), match.end("name") - match.start()) is not None
        strange = [word for word in words if not _is_korean_talk(word.group())]
        if words[-1] in strange and (strong or _is_korean_name(words[-1].group())):
            yield start + strange[0].start(), start + words[-1].end()


def _is_korean_talk(word: str) -> bool:
    music = _korean_music()
    bare = _KOREAN_ENDING.sub("", word)
    return any(one in music or is_ordinary(one) for one in (word, bare) if one) or any(
        word.startswith(known) for known in music if len(known) >= 4
    )


def _is_korean_name(word: str) -> bool:
    """Whether a word has a surname and three syllables, as most people's names do there."""
    composed = unicodedata.normalize("NFC", word)
    return len(composed) == 3 and composed[0] in _SURNAMES


def _thai_names(plain: str) -> Iterator[tuple[int, int]]:
    for match in _THAI.finditer(plain):
        name = match["name"]
        short = len(name) <= 5
        talk = any(name.startswith(word) for word in words_of("th") if short or len(word) > 2)
        if not talk and not match["weak"] and not (name.isascii() and is_ordinary(name)):
            yield match.span("name")


@cache
def _japanese_music() -> tuple[frozenset[str], int]:
    words = plain_words("japanese") | words_of("ja")
    return words, max(map(len, words))


@cache
def _chinese_music() -> frozenset[str]:
    return _CHINESE_MUSIC | words_of("zh")


@cache
def _korean_music() -> frozenset[str]:
    return _KOREAN_MUSIC | words_of("ko")


def _is_talk(part: str, music: frozenset[str]) -> bool:
    """Whether a run is music talk; Chinese writes several words in one run."""
    return part in music or any(len(word) > 1 and word in part for word in music)


def _trim(plain: str, start: int, end: int) -> tuple[int, int]:
    """The last run of letters before the phrase: after a space between words of other scripts."""
    while start < end and not plain[start].isalnum():
        start += 1
    while end > start and not plain[end - 1].isalnum() and plain[end - 1] != "ー":
        end -= 1
    return start, end


def _is_japanese_name(name: str, raw: str, strong: bool) -> bool:
    if name.isascii():
        words = fold(name).split()
        if raw[:1].isupper() and words and not all(is_music(word) for word in words):
            return True
        return bool(words) and not all(is_ordinary(word) for word in words)
    rest = _without_music(name)
    if not rest:
        return False
    # "like" may be said of anything, and most things are written with one or two Han characters.
    person = len(name) in (3, 4) and re.fullmatch(f"[{_HAN}]+", name) is not None
    return strong or person or len(rest) >= 3 or re.search("[\u30a1-\u30fa]{2}", rest) is not None


def _without_music(name: str) -> str:
    """What is left of a run when music talk is taken from it, longest words first."""
    words, longest = _japanese_music()
    rest: list[str] = []
    at = 0
    while at < len(name):
        for length in range(min(longest, len(name) - at), 0, -1):
            if name[at : at + length] in words:
                at += length
                break
        else:
            if name[at].isalpha() or name[at] in "ー":
                rest.append(name[at])
            at += 1
    return "".join(rest)


def _hindi_name(plain: str, start: int, end: int) -> tuple[int, int]:
    """The words that stand next to the phrase and are no music talk."""
    words = plain_words("hindi")
    found = list(re.finditer(r"[\u0900-\u097fa-z.]+", plain[start:end]))
    first = len(found)
    for i in range(len(found) - 1, -1, -1):
        word = found[i].group().strip(".")
        ordinary = is_ordinary(word) if word.isascii() else word in words
        if ordinary and len(word) > 1:
            break
        first = i
    if first == len(found):
        return end, end
    return start + found[first].start(), start + found[-1].end()
