"""Keyword search without a lexicon: the baseline of ``bench_search.py``.

Captions are titles as they stand in the names of files, instruments, key and tempo; tokens are
lower-cased words without accents and plurals. BM25 as in Robertson & Zaragoza (2009), equation
3.15, over files.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath

from rag_audio.domain import Stem
from rag_audio.domain.names import unaccented

_K1, _B = 1.2, 0.75
_WORD = re.compile(r"\d+(?=bpm\b)|[^\W_]+")
_COMMON = frozenset(
    "a an and are at by for from in into is it like of on or some that the this to with".split()
)


def caption(stem: Stem) -> str:
    """What is read of a stem."""
    title = " ".join(re.split(r"[\s_\-.]+", PurePosixPath(stem.path).stem))
    parts = [title, ", ".join(stem.instruments), str(stem.key or "")]
    if stem.bpm is not None:
        parts.append(f"{stem.bpm:.0f} bpm")
    return ". ".join(filter(None, parts))


def search(captions: Mapping[str, str], depth: int) -> Callable[[str], list[str]]:
    """A search that answers with the keys of the best captions that have a word of the query."""
    documents = {path: Counter(tokens(text)) for path, text in captions.items()}
    mean = sum(one.total() for one in documents.values()) / len(documents)
    having = Counter(token for one in documents.values() for token in one)

    def score(document: Counter[str], query: list[str]) -> float:
        length = 1 - _B + _B * document.total() / mean
        return sum(
            math.log(1 + (len(documents) - having[token] + 0.5) / (having[token] + 0.5))
            * document[token]
            * (_K1 + 1)
            / (document[token] + _K1 * length)
            for token in query
        )

    def find(text: str) -> list[str]:
        query = tokens(text)
        found = sorted((-score(one, query), path) for path, one in documents.items())
        return [path for worth, path in found if worth < 0][:depth]

    return find


def tokens(text: str) -> list[str]:
    """Words without case, accents and plurals (Harman, "How Effective Is Suffixing?", 1991)."""
    return [_singular(word) for word in _WORD.findall(unaccented(text)) if word not in _COMMON]


def _singular(word: str) -> str:
    if len(word) < 4 or not word.endswith("s"):
        return word
    if word.endswith("ies") and not word.endswith(("aies", "eies")):
        return f"{word[:-3]}y"
    if word.endswith(("sses", "shes", "ches", "xes", "zes", "oes")):
        return word[:-2]
    return word if word.endswith(("us", "ss", "is")) else word[:-1]
