"""Disguises that tell by themselves that a name is meant: figures in it, or read backwards.

Nobody writes ``pr1nce`` or ``ekarD`` of a word, so a name that is a word too counts as well.
"""

from __future__ import annotations

from collections.abc import Iterator

from rag_audio.guardrails.index import Hit, NameIndex
from rag_audio.guardrails.names import Reading
from rag_audio.guardrails.normalise import Text, squash
from rag_audio.guardrails.vocabulary import is_everyday

_LEAST = 5
"""Letters of a name that is looked for backwards."""
_LEAST_FIGURES = 4


def has_letters(text: Text, hit: Hit) -> bool:
    """Whether what was read as a name has a letter at all: "808" is a machine, no name."""
    return any(sign.isalpha() for sign in _raw(text, hit))


def is_disguised(text: Text, hit: Hit) -> bool:
    """Whether letters of a name that is a word too are written as figures or signs."""
    if not hit.exact or hit.reading is Reading.MASS or len(hit.form.letters) < _LEAST_FIGURES:
        return False
    raw = _raw(text, hit)
    return has_letters(text, hit) and any(c.isdigit() or c in "@$!€|" for c in raw)


def backwards(text: Text, index: NameIndex) -> Iterator[tuple[int, int, Hit]]:
    """Names that are written from right to left, as spans of the original."""
    turned = Text(text.raw, text.plain[::-1], text.origin[::-1])
    for hit in index.exact(turned):
        words = turned.words[hit.first : hit.last + 1]
        letters = squash("".join(word.text for word in words))
        plain = hit.reading is Reading.MASS or all(is_everyday(word.text[::-1]) for word in words)
        if (
            letters == hit.form.letters
            and len(letters) >= _LEAST
            and letters.isascii()
            and not plain
        ):
            start, end = turned.origin[words[-1].end - 1], turned.origin[words[0].start] + 1
            if start < end:
                yield start, end, hit


def _raw(text: Text, hit: Hit) -> str:
    words = text.words
    start, end = text.raw_span(words[hit.first].start, words[hit.last].end)
    return text.raw[start:end]
