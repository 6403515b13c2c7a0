"""Words as sparse vectors for BM25: tokens, concepts, hashing. Nothing is downloaded.

A document's vector holds the term-frequency part of BM25, a query's holds weights of its terms; the
index multiplies by the inverse document frequency. Robertson & Zaragoza, "The Probabilistic
Relevance Framework: BM25 and Beyond" (2009), equation 3.15.

Terms are words, and the concepts of :mod:`rag_audio.domain.lexicon` that they name, with what is
broader: "strings" finds violins, and words of other languages find English ones.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache

from rag_audio.domain import Key
from rag_audio.domain.file_names import split_words
from rag_audio.domain.lexicon import broader, concepts, concepts_in, importance, tempo_words
from rag_audio.domain.names import unaccented
from rag_audio.domain.ports import SparseVector
from rag_audio.domain.translation import in_english
from rag_audio.errors import InvalidInput

K1 = 1.2
"""Saturation of the term frequency."""

B = 0.75
"""How much a long caption is discounted."""

MEAN_TOKENS = 12
"""Length of a usual caption: title, artist, some tags, key and tempo."""

_KEY = re.compile(
    r"(?<!\w)[a-g] ?(?:#|♯|♭|b|-?sharp|-?flat)? ?(?:major|minor|maj|min)(?!\w)", re.IGNORECASE
)
_WORD = re.compile(r"\d+(?=bpm\b)|[^\W_]+", re.IGNORECASE)
_PIECE = re.compile(r"\d+|[^\W\d_]+")
_BPM = re.compile(r"\b(\d{2,3})(?: |)bpm\b", re.IGNORECASE)
_APOSTROPHE = re.compile(r"(?<=\w)['’](?=\w)")
_COMMON = frozenset(
    re.findall(
        r"\w+",
        "a an and are at by for from in into is it like of on or some that the this to with",
    )
)


BROADER = 0.5
"""What a document's broader concept weighs beside its own, for each step up."""

QUERY_BROADER = 0.2
"""The same for a query: a violin that is not there may be another stringed instrument."""

QUERY_WORD = 0.25
"""What a query's word weighs beside a concept, where it names one."""

_QUERIES_KEPT = 4096
_WORDS_KEPT = 65536


def tokenize(text: str) -> list[str]:
    """Lower-cased words without accents and plurals, in order; musical keys are one token.

    Plurals are folded as in Harman, "How Effective Is Suffixing?" (1991), with one rule more for
    words like *basses*. Words that carry no meaning alone ("a", "with") are left out. A word that
    is several, run together by a capital letter or a number (``GuitarRiff``, ``robot1``), is
    followed by its parts.
    """
    signs = text.replace("♭", "b").replace("♯", "#")
    tokens: list[str] = []
    position = 0
    for found in _KEY.finditer(signs):
        tokens += _words(signs[position : found.start()])
        tokens += _key_tokens(unaccented(found.group()))
        position = found.end()
    return tokens + _words(signs[position:])


def encode_document(text: str) -> SparseVector:
    """BM25 weights of a caption's terms, without the IDF, which the index applies."""
    tokens = tokenize(text)
    length = 1 - B + B * len(tokens) / MEAN_TOKENS
    named = _concepts(text)
    named.update(word for bpm in _BPM.findall(text) for word in tempo_words(float(bpm)))
    counts: dict[str, float] = dict(Counter(tokens))
    for term, weight in _terms(named, BROADER):
        counts[term] = max(counts.get(term, 0.0), weight)
    weights = {term: count * (K1 + 1) / (count + K1 * length) for term, count in counts.items()}
    return _sparse(weights)


@lru_cache(maxsize=_QUERIES_KEPT)
def encode_query(text: str) -> SparseVector:
    """Weights of a query's different terms, 1 at most; empty when ``text`` holds no word."""
    weights: dict[str, float] = {}
    named = _concepts(text)
    in_named: dict[str, float] = {}
    for name, concept in _spoken(text):
        for token in tokenize(name):
            in_named[token] = max(in_named.get(token, 0.0), QUERY_WORD * importance(concept))
    for token in (*tokenize(text), *tokenize(in_english(text))):
        weights[token] = in_named.get(token, 1.0)
    for name in named:
        for term, weight in _terms(Counter((name,)), QUERY_BROADER):
            weights[term] = max(weights.get(term, 0.0), weight * importance(name))
    return _sparse({term: weight for term, weight in weights.items() if weight > 0})


def word_terms(text: str) -> frozenset[int]:
    """The dimensions of a text's own words, concepts aside."""
    return frozenset(_sparse(dict.fromkeys(tokenize(text), 1.0)).indices)


def _spoken(text: str) -> Iterator[tuple[str, str]]:
    """The words of a text, and of it in English, that name concepts, each with its concept."""
    for version in (text, in_english(text)):
        for one in concepts_in(version):
            yield version[one.start : one.end], one.concept


def _words(text: str) -> list[str]:
    return [token for word in _WORD.findall(_APOSTROPHE.sub("", text)) for token in _parts(word)]


@lru_cache(maxsize=_WORDS_KEPT)
def _parts(word: str) -> tuple[str, ...]:
    plain = unaccented(word)
    if plain in _COMMON:
        return ()
    whole = _singular(plain)
    if whole.isdigit():
        return (whole,)
    parts = [_singular(unaccented(part)) for part in _PIECE.findall(split_words(word))]
    if len(parts) == 1:
        return (whole,)
    return (whole, *(part for part in parts if len(part) > 1))


def _concepts(text: str) -> Counter[str]:
    """Concepts that a text names, with how often: also in its parts, and in English as a whole."""
    most: Counter[str] = Counter()
    for version in dict.fromkeys((text, split_words(text), in_english(text))):
        most |= Counter(
            one.concept
            for one in concepts_in(version)
            if concepts()[one.concept].kind != "function"
        )
    return most


def _terms(named: Counter[str], decay: float) -> Iterator[tuple[str, float]]:
    """Concepts and what is broader as terms; none can be a word, for the sign in it."""
    for name, count in named.items():
        yield f"={name}", float(count)
        for above, steps in broader(name).items():
            yield f"={above}", count * decay**steps


def _key_tokens(text: str) -> list[str]:
    """``f# minor`` and ``gb minor`` are the same token; the mode alone is one, too."""
    try:
        key = Key.parse(text)
    except InvalidInput:
        return _words(text)
    return [str(key).casefold(), "minor" if key.minor else "major"]


def _singular(word: str) -> str:
    if len(word) < 4 or not word.endswith("s"):
        return word
    if word.endswith("ies") and not word.endswith(("aies", "eies")):
        return f"{word[:-3]}y"
    if word.endswith(("sses", "shes", "ches", "xes", "zes", "oes")):
        return word[:-2]
    return word if word.endswith(("us", "ss", "is")) else word[:-1]


def _sparse(weights: dict[str, float]) -> SparseVector:
    """Hash terms to 32 bits; two terms that collide (about 1 in 4 billion pairs) add up."""
    hashed: dict[int, float] = {}
    for term, weight in weights.items():
        dimension = _dimension_of(term)
        hashed[dimension] = hashed.get(dimension, 0.0) + weight
    ordered = sorted(hashed.items())
    return SparseVector(tuple(i for i, _ in ordered), tuple(w for _, w in ordered))


@lru_cache(maxsize=_WORDS_KEPT)
def _dimension_of(term: str) -> int:
    digest = hashlib.blake2b(term.encode("utf-8", "surrogatepass"), digest_size=4).digest()
    return int.from_bytes(digest, "little")
