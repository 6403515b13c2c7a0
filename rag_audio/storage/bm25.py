"""Words as sparse vectors for BM25: tokens, plural folding, hashing. Nothing is downloaded.

A document's vector holds the term-frequency part of BM25, a query's holds ones; the index
multiplies by the inverse document frequency. Robertson & Zaragoza, "The Probabilistic Relevance
Framework: BM25 and Beyond" (2009), equation 3.15.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter

from rag_audio.domain import Key
from rag_audio.domain.names import unaccented
from rag_audio.domain.ports import SparseVector
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
_WORD = re.compile(r"\d+(?=bpm\b)|[^\W_]+")
_APOSTROPHE = re.compile(r"(?<=\w)['’](?=\w)")
_COMMON = frozenset(
    re.findall(
        r"\w+",
        "a an and are at by for from in into is it like of on or some that the this to with",
    )
)


def tokenize(text: str) -> list[str]:
    """Lower-cased words without accents and plurals, in order; musical keys are one token.

    Plurals are folded as in Harman, "How Effective Is Suffixing?" (1991), with one rule more for
    words like *basses*. Words that carry no meaning alone ("a", "with") are left out.
    """
    plain = _APOSTROPHE.sub("", unaccented(text.replace("♭", "b").replace("♯", "#")))
    tokens: list[str] = []
    position = 0
    for found in _KEY.finditer(plain):
        tokens += _words(plain[position : found.start()])
        tokens += _key_tokens(found.group())
        position = found.end()
    return tokens + _words(plain[position:])


def encode_document(text: str) -> SparseVector:
    """BM25 weights of a caption's terms, without the IDF, which the index applies."""
    tokens = tokenize(text)
    length = 1 - B + B * len(tokens) / MEAN_TOKENS
    weights = {
        term: count * (K1 + 1) / (count + K1 * length) for term, count in Counter(tokens).items()
    }
    return _sparse(weights)


def encode_query(text: str) -> SparseVector:
    """One for each different term of a query; empty when ``text`` holds no word."""
    return _sparse(dict.fromkeys(tokenize(text), 1.0))


def _words(text: str) -> list[str]:
    return [_singular(word) for word in _WORD.findall(text) if word not in _COMMON]


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
        digest = hashlib.blake2b(term.encode("utf-8", "surrogatepass"), digest_size=4).digest()
        dimension = int.from_bytes(digest, "little")
        hashed[dimension] = hashed.get(dimension, 0.0) + weight
    ordered = sorted(hashed.items())
    return SparseVector(tuple(i for i, _ in ordered), tuple(w for _, w in ordered))
