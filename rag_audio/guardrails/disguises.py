"""Disguises that tell by themselves that a name is meant: figures in it, or read backwards.

Nobody writes ``pr1nce`` or ``ekarD`` of a word, so a name that is a word too counts as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from rag_audio.guardrails.name_index import Hit, NameIndex
from rag_audio.guardrails.names import Reading
from rag_audio.guardrails.normalise import Text, squash
from rag_audio.guardrails.vocabulary import is_everyday, listed_words

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


# Names in scripts without spaces that cut a longer everyday word.
#
# Chinese and Japanese write words in one run, so that the letters of a name may be the end of one
# word and the beginning of the next one: what does not end where words end is no name.

_UNSPACED = re.compile("[\u3041-\u30ff\u4e00-\u9fff]+")
_LONGEST = 5
"""Letters of the longest words that are looked for across the border of a name."""


@cache
def _words() -> frozenset[str]:
    return listed_words("chinese") | listed_words("japanese")


def cuts_a_word(text: Text, hit: Hit) -> bool:
    """Whether an everyday word lies across the beginning or the end of a name."""
    start, end = text.words[hit.first].start, text.words[hit.last].end
    plain, words = text.plain, _words()
    if plain.isascii() or _UNSPACED.fullmatch(plain, start, end) is None:
        return False
    return any(
        plain[first:last] in words
        for border in (start, end)
        for first in range(max(0, border - _LONGEST + 1), border)
        for last in range(border + 1, min(len(plain), first + _LONGEST) + 1)
        if not (first <= start and end <= last) and (first >= start or last < end)
    )
