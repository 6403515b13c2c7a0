"""How likely it is that what was found is what the words of a search mean.

Rank alone cannot say so: something is always nearest. The evidence is the share of the words that
a stem's caption holds, each weighted by what it is about (an instrument more than a mood, see
:func:`rag_audio.domain.lexicon.importance`) and by its inverse document frequency among what was
found (Robertson & Spärck Jones, "Relevance weighting of search terms", JASIS 27(3), 1976); a
logistic function makes a probability of it. Its constants and the threshold are those that
``benchmarks/bench_fit.py --fit`` prints. Nearness by meaning is no part of it: there it does not
tell right from wrong.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from rag_audio.domain import Reference, Stem
from rag_audio.domain.lexicon import MANNER, Mention, concepts_in, importance
from rag_audio.domain.ports import Hit, TellsTerms
from rag_audio.storage.bm25 import encode_document, encode_query, word_terms

INTERCEPT, SLOPE = -4.7, 7.2
"""Log odds that a stem with none of the words is right, and what all of them add."""

THRESHOLD = 0.25
"""Where no reference has at least this fit, nothing here fits."""

_WORD = re.compile(r"[^\s,;/-]+")
_CAPTIONS_KEPT = 4096
_WORDS_KEPT = 4096


Terms = Mapping[int, float]


class Captions:
    """The terms of captions: those that an index tells, others read from the words.

    Args:
        index: None: all are read from the words.
    """

    def __init__(self, index: object = None) -> None:
        self._index = index if isinstance(index, TellsTerms) else None
        self._known: dict[Stem, frozenset[int]] = {}

    def ask(self, hits: Iterable[Hit]) -> None:
        """Ask the index, in one question, for the terms of what was found and is not known yet."""
        if self._index is None:
            return
        unknown = {hit.id: hit.segment.stem for hit in hits if hit.segment.stem not in self._known}
        for point, terms in self._index.terms(list(unknown)).items() if unknown else ():
            self._known[unknown[point]] = terms

    def of(self, stem: Stem) -> frozenset[int]:
        """The terms of a stem's caption."""
        known = self._known.get(stem)
        return _terms_of(stem.caption) if known is None else known


@dataclass(frozen=True)
class SoughtWords:
    """The words of a search that carry meaning: the terms of each, and what it weighs.

    Attributes:
        terms: of each, its own, and those of each of its parts where it is several words that name
            one thing, such as "electric piano": a caption may have these apart.
        captions: knows the terms of captions.
    """

    terms: tuple[tuple[Terms, tuple[Terms, ...]], ...]
    weights: tuple[float, ...]
    captions: Captions = field(default_factory=Captions, repr=False, compare=False)

    @classmethod
    def of(
        cls, text: str, found: Iterable[Stem], segments: int, captions: Captions | None = None
    ) -> SoughtWords:
        """The words of ``text``; the rarer one is among ``found``, the more it weighs.

        Args:
            found: what the search by keywords found. segments: how many there are in the index.
            captions: knows the terms of captions; None: they are read from the words.
        """
        known = captions or Captions()
        said = concepts_in(text)
        spans = [span for span in _words_of(text, said) if encode_query(text[slice(*span)]).indices]
        words = [text[start:end] for start, end in spans]
        terms = tuple((_terms_of_word(word), _parts(word)) for word in words)
        each = [known.of(stem) for stem in {stem.caption: stem for stem in found}.values()]
        having = (sum(not caption.isdisjoint(own) for caption in each) for own, _ in terms)
        return cls(
            terms,
            tuple(
                _importance(span, said) * math.log1p(max(0.5, segments - n + 0.5) / (n + 0.5))
                for n, span in zip(having, spans, strict=True)
            ),
            known,
        )

    def fit(self, stem: Stem) -> float:
        """The probability, 0…1, that the stem is what the words mean, to three digits."""
        return round(1 / (1 + math.exp(-INTERCEPT - SLOPE * self.share(stem))), 3)

    def share(self, stem: Stem) -> float:
        """Of the words by weight, 0…1, that the stem's caption holds; 0 where there are none."""
        caption = self.captions.of(stem)
        held = (
            weight
            * max(_held(own, caption), sum(_held(p, caption) for p in parts) / (len(parts) or 1))
            for (own, parts), weight in zip(self.terms, self.weights, strict=True)
        )
        total = sum(self.weights)
        return sum(held) / total if total > 0 else 0.0


def _held(word: Terms, caption: frozenset[int]) -> float:
    """How much of a word a caption holds, 0…1: a broader term is less."""
    return max((word[term] for term in caption & word.keys()), default=0.0) / max(word.values())


@lru_cache(maxsize=_WORDS_KEPT)
def _terms_of_word(word: str) -> Terms:
    vector = encode_query(word)
    return dict(zip(vector.indices, vector.values, strict=True)) | _as_written(
        word, max(vector.values)
    )


@lru_cache(maxsize=_WORDS_KEPT)
def _parts(word: str) -> tuple[Terms, ...]:
    """Of several words that name one thing, the terms of each alone."""
    parts = [part for part in _WORD.findall(word) if encode_query(part).indices]
    return tuple(map(_terms_of_word, parts)) if len(parts) > 1 else ()


def _as_written(word: str, most: float) -> dict[int, float]:
    """A word that a caption holds as it is written counts in full, whatever it weighs in search."""
    terms = word_terms(word)
    return dict.fromkeys(terms, most) if len(terms) == 1 else {}


def _words_of(text: str, said: Sequence[Mention]) -> list[tuple[int, int]]:
    """From where to where the words stand; what names one thing is one: hi-hat, electric piano."""
    named = [(one.start, one.end) for one in said]
    plain = (
        found.span()
        for found in _WORD.finditer(text)
        if not any(start < found.end() and found.start() < end for start, end in named)
    )
    return sorted((*plain, *named))


def _importance(span: tuple[int, int], said: Sequence[Mention]) -> float:
    """Of the concept that a word is part of; of a word that the lexicon does not know, 1, or that
    of a manner where an instrument or another sound is named."""
    start, end = span
    spoken = [importance(one.concept) for one in said if one.start < end and start < one.end]
    if spoken:
        return max(spoken)
    return MANNER if any(importance(one.concept) == 1 for one in said) else 1.0


@lru_cache(maxsize=_CAPTIONS_KEPT)
def _terms_of(caption: str) -> frozenset[int]:
    return frozenset(encode_document(caption).indices)


def is_any_fitting(found: Sequence[Reference]) -> bool | None:
    """Whether any of the references fits; None where none was searched for by words."""
    best = _best(found)
    return None if best is None or best.fit is None else best.fit >= THRESHOLD


def fit_notes(found: Sequence[Reference]) -> tuple[str, ...]:
    """A line where none of the references fits, which names the best."""
    best = _best(found)
    if best is None or is_any_fitting(found) is not False:
        return ()
    name = best.stem.title or best.stem.path
    return (f"nothing here fits: the best is {name!r} (fit {best.fit:.2f})",)


def _best(found: Sequence[Reference]) -> Reference | None:
    """The one of the highest fit, the first of equals; None where none has any."""
    judged = [one for one in found if one.fit is not None]
    return max(judged, key=lambda one: one.fit or 0.0, default=None)
