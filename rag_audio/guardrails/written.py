"""Names of the library as they are written, signs and all: ``!!!``, ``+/-``, ``M.O.X.``, kana.

The other readings of a text (:mod:`.index`) see letters and forgive spelling; they cannot see a
name made of signs, and take a name in kana or with stops for whatever has the same letters. Here a
name is found where the text, folded by :func:`.fold`, has it with borders of its
own. It counts where it is the object of a style phrase; elsewhere ``!!!`` may only be loud.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import accumulate

from rag_audio.domain import names
from rag_audio.guardrails.lists import rule_pattern
from rag_audio.guardrails.normalise import Text, fold
from rag_audio.guardrails.phrases import Lead, Strength, find_leads
from rag_audio.guardrails.vocabulary import is_ordinary

_PREFIX = 3
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
class Written:
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
class Reading:
    """What a text says of the library's names.

    Attributes:
        licensed: spans (start, end) of the original where a licensed artist is named.
        barred: names of those who are not licensed.
        asked: those of ``barred`` that a style phrase is about.
        strange: spans of signs that a style phrase is about, and that nobody knows.
    """

    licensed: tuple[tuple[int, int], ...] = ()
    barred: tuple[Written, ...] = ()
    asked: tuple[Written, ...] = ()
    strange: tuple[tuple[int, int], ...] = ()


def read_names(text: Text, licensed: frozenset[str], barred: frozenset[str]) -> Reading:
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
    return Reading(
        tuple(known),
        tuple(bad),
        tuple(one for one in bad if spots.is_asked(one)),
        tuple(
            (start, end)
            for start, end in spots.strange()
            if not any(begin < end and start < stop for begin, stop in known)
        ),
    )


def _outside_longer(found: list[Written], others: list[Written]) -> list[Written]:
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


@lru_cache(maxsize=32)
def _by_prefix(wanted: frozenset[str]) -> dict[str, tuple[tuple[str, str], ...]]:
    """(folded, as written) of each name, by the first letters of the fold, longest first."""
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for name in sorted(wanted):
        folded = names.fold(name)
        if folded:
            found[folded[:_PREFIX]].append((folded, name))
    return {
        prefix: tuple(sorted(pairs, key=lambda pair: -len(pair[0])))
        for prefix, pairs in found.items()
    }


def _occurrences(raw: str, placed: names.Placed, wanted: frozenset[str]) -> Iterator[Written]:
    by_prefix = _by_prefix(wanted)
    text = placed.text
    for at in range(len(text) if by_prefix else 0):
        for length in range(1, _PREFIX + 1):
            for folded, name in by_prefix.get(text[at : at + length], ()):
                if len(folded[:_PREFIX]) == length and text.startswith(folded, at):
                    end = at + len(folded)
                    if _has_borders(text, at, end):
                        start, stop = placed.origin[at][0], placed.origin[end - 1][1]
                        whole = _with_marks(raw, start)
                        if whole < start and names.same(raw[whole:stop], name):
                            start = whole
                        exactly = names.same(raw[start:stop], name)
                        yield Written(start, stop, name, exactly)


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

    def __init__(self, text: Text, placed: names.Placed, found: list[Written]) -> None:
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

    def is_asked(self, one: Written) -> bool:
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

    def _objects(self, text: Text, lead: Lead) -> Iterator[int]:
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


def _phrase_start(text: Text, lead: Lead) -> int:
    """Where a phrase such as "type beat" begins that follows a name."""
    at = lead.at
    while at < len(text.plain) and not text.plain[at].isalnum():
        at += 1
    return text.origin[at] if at < len(text.plain) else len(text.raw)
