"""Everyday phrases that contain a name's words (``data/policy/innocent.txt``): "queen bee"."""

from __future__ import annotations

from collections import defaultdict
from functools import cache

from rag_audio.guardrails.normalise import Text, fold
from rag_audio.resources import data_dir


def innocent_words(text: Text) -> set[int]:
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
    path = data_dir("policy") / "innocent.txt"
    for line in path.read_text(encoding="utf-8").splitlines():
        words = tuple(fold(line).split())
        if words and not line.startswith("#"):
            made[words[0]].append(words)
    return made
