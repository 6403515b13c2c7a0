"""Disguises that tell by themselves that a name is meant: figures in it, or read backwards.

Nobody writes ``pr1nce`` or ``ekarD`` of a word, so a name that is a word too counts as well.
"""

from __future__ import annotations

from collections.abc import Iterator

from rag_audio.guardrails.name_finder import NameFinder, NameHit
from rag_audio.guardrails.names import SentenceReading
from rag_audio.guardrails.normalise import NormalisedText, squash
from rag_audio.guardrails.vocabulary import (
    is_everyday,
)

_LEAST_BACKWARDS = 5
"""Letters of a name that is looked for backwards."""
_LEAST_FIGURES = 4


def has_letters(text: NormalisedText, hit: NameHit) -> bool:
    """Whether what was read as a name has a letter at all: "808" is a machine, no name."""
    return any(sign.isalpha() for sign in text.raw_words(hit.first, hit.last))


def is_disguised(text: NormalisedText, hit: NameHit) -> bool:
    """Whether letters of a name that is a word too are written as figures or signs."""
    if (
        not hit.exact
        or hit.reading is SentenceReading.MASS
        or len(hit.form.letters) < _LEAST_FIGURES
    ):
        return False
    raw = text.raw_words(hit.first, hit.last)
    return has_letters(text, hit) and any(c.isdigit() or c in "@$!€|" for c in raw)


def backwards(text: NormalisedText, index: NameFinder) -> Iterator[tuple[int, int, NameHit]]:
    """Names that are written from right to left, as spans of the original."""
    turned = NormalisedText(text.raw, text.plain[::-1], text.origin[::-1])
    for hit in index.exact(turned):
        words = turned.words[hit.first : hit.last + 1]
        letters = squash("".join(word.text for word in words))
        plain = hit.reading is SentenceReading.MASS or all(
            is_everyday(word.text[::-1]) for word in words
        )
        if (
            letters == hit.form.letters
            and len(letters) >= _LEAST_BACKWARDS
            and letters.isascii()
            and not plain
        ):
            start, end = turned.origin[words[-1].end - 1], turned.origin[words[0].start] + 1
            if start < end:
                yield start, end, hit
