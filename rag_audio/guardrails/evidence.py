"""Names that are everyday words, told by other evidence in the same text.

A word such as "air" is a name where a title of the same artist stands in the text, where a year or
somebody's recording of it is spoken of, or where it is in no dictionary of any language. Titles of
an artist lead to the artist's misspelled name beside them, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rapidfuzz.distance import OSA

from rag_audio.guardrails.context import is_bare, is_epithet, is_surname
from rag_audio.guardrails.everyday import is_given_name, is_place
from rag_audio.guardrails.index import Hit
from rag_audio.guardrails.names import Reading, Song
from rag_audio.guardrails.normalise import Text, fold, read, squash
from rag_audio.guardrails.vocabulary import (
    is_compound,
    is_english,
    is_everyday,
    is_german_compound,
    is_music,
    is_ordinary,
    listed_words,
    word_set,
)

_LEAST = 4
"""Letters of a single word that counts wherever it stands."""
_NEAR = 8
"""So many words may stand between a name and a title of the same artist."""
_MISSPELLED = 6
"""Letters of an artist's name that is read in a misspelled word beside a title."""
_BESIDE = re.compile(
    r"[\s,:\"'“”‘’()–—|\-]*(?:(?:'s|by|from|of|de|von|di|do|da|on|in|era)\s+)*[\"'“‘(]*"
)
_RECORDED = re.compile(
    r"['\"]*\s+(?:recorded|released|played|did|sang|performed|made|wrote|produced|mixed|do|does|plays|sings)\s+"
    r"(?:it|them|this|that|things)(?!\w)"
)
_WOULD = re.compile(
    r"['\"]*\s+(?:would|could|might|'d)\s+(?:have\s+)?(?:just\s+)?(?:produced?|sing|sung|rap|record|recorded|write|"
    r"written|compose|mix|remix|release|perform|cover|drop|flip|score)(?!\w)"
)
_AS = re.compile(r"(?<!\w)(?:as|like|how|the\s+way|what|that|when)\s+(?:the\s+)?[\"']*$")
_YEAR = re.compile(
    r"['\")]*\s*(?:,?\s*(?:circa|ca\.?|c\.|around|back\s+in|era|live\s+in|tour)\s+|\s\()(?:late\s+|early\s+|mid\s+)?"
    r"(?:19[5-9]|20[0-2])\d(?!\w)|['\")]*\s+(?:19[5-9]|20[0-2])\d\s+(?:era|album|tour|sound|lineup|demo)(?!\w)"
)
_BEAT_TYPE = re.compile(
    r"(?:^|(?<=[\n,;|\])]))\s*(?:\[?free\]?\s+)?(?:type[\s\-]beats?|beats?\s+types?|prod\.?\s+types?|instru(?:\s+rap)?\s+types?|"
    r"tipo\s+beat|beat\s+tipo|base\s+tipo|beat\s+estilo|base\s+estilo|instrumental\s+tipo|instrumental\s+type)\s+[\"'“]*"
)
"""What a name follows in French, Spanish and Portuguese: "type beat NAME"."""
_LATIN = re.compile(r"[A-Za-z\u00c0-\u024f']+")
_STUFF = word_set("europe america asia boston chicago kansas texas japan berlin paris")


def evident_names(
    text: Text, hits: Sequence[Hit], songs: Sequence[tuple[int, int, Song]]
) -> Iterator[Hit]:
    """Hits that are words too and that something else in the text makes names.

    Args:
        hits: names found in the text. songs: titles found there, whether meant as such or not.
    """
    beats = {match.end() for match in _BEAT_TYPE.finditer(text.plain)}
    for hit in hits:
        if hit.reading is Reading.NAME or not hit.exact or is_epithet(hit):
            continue
        if (
            _is_unheard_of(text, hit)
            or (text.words[hit.first].start in beats and _may_be_of_beats(hit))
            or (hit.sure and _is_dated(text, hit))
            or any(_belong(text, hit, song) for song in songs)
        ):
            yield hit


def misspelled_beside(
    text: Text, songs: Sequence[tuple[int, int, Song]]
) -> Iterator[tuple[int, int, Song]]:
    """Titles of several words with their artist's name beside them, a letter from right: the words
    of both, and the song."""
    words = text.words
    for first, last, song in songs:
        name = squash(" ".join(word.text for word in read(song.artist).words))
        size = len(fold(song.artist).split())
        if last == first or len(name) < _MISSPELLED or not name.isascii():
            continue
        for begin in {first - size, first - size - 1, last + 1, last + 2}:
            end = begin + size - 1
            if begin < 0 or end >= len(words) or (begin <= last and end >= first):
                continue
            written = squash(" ".join(word.text for word in words[begin : end + 1]))
            if written[:2] == name[:2] and OSA.distance(written, name, score_cutoff=1) <= 1:
                yield min(begin, first), max(end, last), song


def is_unheard_word(word: str) -> bool:
    """Whether a folded word is in no dictionary that we have, no given name, place or compound."""
    return not (
        is_everyday(word)
        or is_given_name(word)
        or is_place(word)
        or is_compound(word)
        or is_german_compound(word)
        or word in listed_words("rare")
    )


def _is_unheard_of(text: Text, hit: Hit) -> bool:
    """Whether a single word can only be the name: none other is written so."""
    form = hit.form
    if form.words != 1 or hit.first != hit.last or is_surname(hit):
        return False
    word = text.words[hit.first].text
    written = text.raw[slice(*text.raw_span(*_span(text, hit)))]
    if word != fold(form.text) or len(word) < _LEAST or not _LATIN.fullmatch(written):
        return False
    if fold(form.artist.name).split()[:1] in (["the"], ["die"]):
        return False  # with its article only
    # Less known names may be words of languages that we have no list of; those of an imported
    # list (which are never turned) may be any words.
    if not form.artist.well_known and not (form.turned and _is_english_talk(text, hit)):
        return False
    if hit.first > 0 and text.words[hit.first - 1].text in ("a", "an"):
        return False
    return is_unheard_word(word)


def _span(text: Text, hit: Hit) -> tuple[int, int]:
    return text.words[hit.first].start, text.words[hit.last].end


def _is_english_talk(text: Text, hit: Hit) -> bool:
    """Whether all other words of a text are English or music talk."""
    others = [w.text for i, w in enumerate(text.words) if i != hit.first and w.text.isalpha()]
    return len(others) > 0 and all(is_english(word) or is_ordinary(word) for word in others)


def _may_be_of_beats(hit: Hit) -> bool:
    word = fold(hit.form.text)
    return hit.reading is Reading.WORD or not is_music(word)


def _is_dated(text: Text, hit: Hit) -> bool:
    """Whether somebody's recording, or a year of theirs, is spoken of."""
    words = text.words
    end = words[hit.last].end
    before = text.plain[: words[hit.first].start]
    article = before.split()[-1:] in (["a"], ["an"], ["my"], ["some"], ["this"], ["your"])
    if article or words[hit.last].text in _STUFF:
        return False
    if _RECORDED.match(text.plain, end) and _AS.search(before):
        return True
    word = hit.reading is Reading.WORD
    if _WOULD.match(text.plain, end):
        return word and (is_bare(text, hit) or words[hit.first].capital)
    return word and _YEAR.match(text.plain, end) is not None and is_bare(text, hit)


def _belong(text: Text, hit: Hit, found: tuple[int, int, Song]) -> bool:
    """Whether a title found in the text is by the artist, so that both mean what they name."""
    first, last, song = found
    if song.artist != hit.form.artist.name or (first <= hit.last and last >= hit.first):
        return False
    words = text.words
    left, right = (hit.last, first) if hit.last < first else (last, hit.first)
    gap = text.plain[words[left].end : words[right].start]
    if _BESIDE.fullmatch(gap):
        return last > first or not is_music(words[first].text)
    several = last > first and hit.reading is Reading.WORD and hit.sure
    return several and right - left <= _NEAR and is_bare(text, hit)
