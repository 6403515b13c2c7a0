"""What contains a name's words, or stands where a name may, and names no protected artist.

Everyday phrases (``data/policy/innocent.txt``: "queen bee"), and people of history whose names
stand for an age or a manner (``data/policy/figures.txt``: "inspired by Van Gogh", "a Bach-era
organ").
"""

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
    for name in ("innocent.txt", "figures.txt"):
        for line in (data_dir("policy") / name).read_text(encoding="utf-8").splitlines():
            words = tuple(fold(line).split())
            if words and not line.startswith("#"):
                made[words[0]].append(words)
    return made
