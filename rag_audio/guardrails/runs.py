"""Names in scripts without spaces that cut a longer everyday word.

Chinese and Japanese write words in one run, so that the letters of a name may be the end of one
word and the beginning of the next one: what does not end where words end is no name.
"""

from __future__ import annotations

import re
from functools import cache

from rag_audio.guardrails.index import Hit
from rag_audio.guardrails.normalise import Text
from rag_audio.guardrails.vocabulary import listed_words

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
