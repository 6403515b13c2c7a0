"""Whether a name that is known is meant where anything may stand: "make it …", "… lyrics"."""

from __future__ import annotations

from rag_audio.guardrails.context import (
    has_telling_capital,
    is_bare,
    is_epithet,
    is_rare,
    is_surname,
    is_told_by_capitals,
)
from rag_audio.guardrails.index import Hit
from rag_audio.guardrails.names import Reading
from rag_audio.guardrails.normalise import Text
from rag_audio.guardrails.vocabulary import is_music, word_set

_TALENTS = word_set(
    "vibes vibe energy flow vocals voice style feel aesthetic sound swagger lyrics harmonies hook "
    "verse falsetto track song type"
)
_PLACES = word_set("boston chicago kansas texas america asia europe japan")
_BEAT_TALK = word_set(
    "a an x free dark hard sad melodic chill emotional smooth old early new vintage hype fast slow "
    "guitar piano trap drill sample soulful aggressive detroit atlanta toxic"
)
_THEMES = word_set(
    "rain love death war ghost enigma madness poison rush imagination rainbow midnight mayhem "
    "exodus burial traffic oasis wings focus genesis atmosphere america asia europe japan texas "
    "kansas heatwave pendulum perfume propaganda underworld darkside"
)
_QUALITIES = word_set("free live lush sweet low blue tricky bent immortal oval sublime faithless")


def is_proper(text: Text, hit: Hit, following: str = "", works: bool = False) -> bool:
    """Whether a name that is a word too is told by its capital, or by its rarity.

    Args:
        following: the word after it, where it belongs to the same object.
        works: whether that is a word of works and performances.
    """
    word = text.words[hit.first]
    if is_epithet(hit):
        return is_told_by_capitals(text, hit)
    if hit.reading is Reading.NAME or is_rare(hit) or is_surname(hit):
        return True
    if not has_telling_capital(text, hit.first):
        return False
    if hit.reading is Reading.MASS:
        return word.text not in _PLACES and (not following or following in _TALENTS)
    return not following or works or is_music(following)


def is_countable(text: Text, hit: Hit, following: str) -> bool:
    """Whether a countable noun without an article is a name: "give me some prince vibes"."""
    ends = not following or following in _TALENTS
    return hit.exact and ends and is_bare(text, hit)


def is_beat_of(text: Text, hit: Hit) -> bool:
    """Whether a word is the artist of "… type beat": alone, or with an article before it."""
    word = text.words[hit.first]
    if hit.reading is Reading.MASS and word.text in _QUALITIES:
        return False
    before = text.plain[: word.start].rstrip(" \"'([")
    if not before or before[-1] in ",;:|.)]/\n":
        return True
    previous = before.split()[-1]
    return previous in _BEAT_TALK and (previous in ("a", "an", "x") or word.text not in _THEMES)
