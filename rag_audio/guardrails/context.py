"""Whether a name that is a word too is a name where it stands, outside of style phrases.

A countable noun in the singular that stands without an article ("Drake 90 bpm", "drake lyrics") is
a name in English; a word that is in no dictionary is one in small letters too. A word that stands
without an article anyway (rain, air) is a name only by what surrounds it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rag_audio.guardrails.everyday import is_given_name
from rag_audio.guardrails.index import Hit
from rag_audio.guardrails.names import Reading
from rag_audio.guardrails.normalise import Text, fold, squash
from rag_audio.guardrails.vocabulary import is_music, is_ordinary, word_set

_SEGMENT = re.compile(r"[,;|\n•/]|\s-\s|\.\s")
_TEMPO = re.compile(r"[\s,(\[]*\d{2,3}\s?bpm\b")
_TAIL = word_set(
    "rock pop rap hip hop hiphop trap rnb funk soul disco house techno edm jazz blues country "
    "metal punk ballad anthem acoustic guitar guitars piano drums bass synth vocals instrumental "
    "style vibe vibes energy type song cover remix sad dark slow fast upbeat chill mellow minor "
    "major bpm key stadium arena electro reggae folk grunge indie emo hard glam gospel autotune "
    "autotuned please pls plz 80s 90s 70s 60s 2000s 2010s 1980s 1990s 1970s 1960s a b c d e f g"
)
_ROLE_AFTER = re.compile(
    r"['\")]*\s*[(\[,]?\s*(?:the\s+)?(?:artist|singer|rapper|band|group|musician|producer|boyband|girlband|"
    r"girl\s+group|boy\s+band|duo)(?=[)\],.;!?]|\s*$)"
)
_PAIR_WORDS = 5
_PAIR = re.compile(
    r"['\")]*\s*(?:\bx\b|×|\bmeets\b|\bvs\b\.?|\bversus\b|\bfeat\b\.?|\bft\b\.?|\+)\s*['\"(]*"
)
_GLUED = ("core", "esque", "ish", "coded", "ified", "wave")
_DETERMINERS = word_set(
    "the a an my our your his her its their some any no every each this that these those one two "
    "three another which and of in at on der die das ein eine le la les un une el los il lo"
)
_SMALL = word_set("the of a an and in on from with de la le der die das el los")
_AFTER_NAME = word_set(
    "on with at in and but would could might singing sings playing plays rapping style type vibe "
    "vibes energy era sound sounds flow as for from doing covering himself herself themselves"
)
_UNCOUNTABLE = word_set(
    "heart pink yes justice chic disturbed busted rancid sting squeeze blur accept hurts jam "
    "offset rose psy brandy usher incognito telephone"
)
"""Names as words that need no article: stuffs, qualities, verbs."""
_LEAST_SPELLED = 4
"""Letters that must be spelled out one by one before they mean a name that is a word too."""


def is_epithet(hit: Hit) -> bool:
    """Whether what was found is what somebody is called in place of the name."""
    epithets = hit.form.artist.epithets
    return bool(epithets) and (
        hit.form.text in epithets
        or f"the {hit.form.text}" in {epithet.lower() for epithet in epithets}
    )


def is_told_by_capitals(text: Text, hit: Hit) -> bool:
    """Whether the words of an epithet are written as a name: "the Purple One", "the Boss"."""
    words = text.words[hit.first : hit.last + 1]
    telling = [word for word in words if word.text not in _SMALL]
    if not text.capitals_mean or not all(word.capital for word in telling):
        return False
    if len(telling) > 1:
        return True
    the = words[0].text == "the" or (hit.first > 0 and text.words[hit.first - 1].text == "the")
    following = text.words[hit.last + 1 : hit.last + 2]
    gap = text.plain[words[-1].end : following[0].start] if following else ""
    return the and (not following or gap.strip() != "" or following[0].text in _AFTER_NAME)


def has_telling_capital(text: Text, number: int) -> bool:
    """Whether a word after the first one has a capital that says "name"."""
    word = text.words[number]
    others = [w for i, w in enumerate(text.words) if i != number and w.text.isalpha()]
    return word.capital and number > 0 and (text.capitals_mean or not others)


def is_rare(hit: Hit) -> bool:
    """Whether a name's only word is in no dictionary, so that as a word it is hardly used.

    Given names are no such words: "a lullaby for …" is about anybody.
    """
    form = hit.form
    word = fold(form.text)
    short = form.words != 1 or form.turned or len(form.letters) <= 3
    return not short and not is_ordinary(word) and not is_given_name(word)


def is_surname(hit: Hit) -> bool:
    """Whether somebody was found by the surname alone, as it is spelled."""
    form = hit.form
    surname = fold(form.artist.name).split()[1:] == [form.text]
    return hit.exact and form.turned and surname and not is_ordinary(form.text)


def is_bare(text: Text, hit: Hit) -> bool:
    """Whether a countable noun stands in the singular without an article: so only names do."""
    words = text.words
    last = words[hit.last].text
    if is_epithet(hit):
        return False
    plural = last.endswith("s") and not last.endswith("ss")
    stuff = hit.form.words == 1 and (plural or last in _UNCOUNTABLE)
    if hit.reading is Reading.MASS or stuff:
        return is_rare(hit)
    if hit.first == 0 or words[hit.first].text == "the":
        return True
    gap = text.plain[words[hit.first - 1].end : words[hit.first].start]
    return bool(gap.strip(" -'\"")) or words[hit.first - 1].text not in _DETERMINERS


def is_named(text: Text, hit: Hit, hits: Sequence[Hit]) -> bool:
    """Whether an exact or unmistakable hit is a name by what stands around it."""
    if not hit.sure:
        return False
    words = text.words
    start, end = words[hit.first].start, words[hit.last].end
    if _is_spelled_out(text, hit) or _ROLE_AFTER.match(text.plain, end):
        return True
    if _is_paired(text, hit, hits):
        return True
    if is_epithet(hit):
        return is_told_by_capitals(text, hit)
    if hit.reading is Reading.MASS:
        return False
    tagged = text.raw[: text.origin[start]][-1:] in ("#", "@")
    if _is_glued(text, hit) or (tagged and is_bare(text, hit)):
        return True
    if _TEMPO.match(text.plain, end) and (words[hit.first].capital or is_bare(text, hit)):
        return _begins(text, start) and is_bare(text, hit)
    return _is_alone(text, hit)


def _is_spelled_out(text: Text, hit: Hit) -> bool:
    words = text.words[hit.first : hit.last + 1]
    return len(words) >= _LEAST_SPELLED and all(len(word.text) == 1 for word in words)


def _is_glued(text: Text, hit: Hit) -> bool:
    """``Drakecore``."""
    word = squash(text.words[hit.first].text)
    tail = word.removeprefix(hit.form.letters)
    return hit.first == hit.last and hit.exact and tail != word and tail in _GLUED


def _is_paired(text: Text, hit: Hit, hits: Sequence[Hit]) -> bool:
    """Whether "x", "meets" or "feat." joins the name to another one."""
    for other in hits:
        left, right = (hit, other) if hit.first < other.first else (other, hit)
        if 0 < right.first - left.last <= _PAIR_WORDS and other.sure:
            gap = text.plain[text.words[left.last].end : text.words[right.first].start]
            if _PAIR.fullmatch(gap) and _is_told(text, left, right):
                return True
    return False


def _is_told(text: Text, one: Hit, other: Hit) -> bool:
    """Whether two names that are joined are told by a name among them, or by their capitals."""
    if any(hit.reading is Reading.NAME or is_rare(hit) for hit in (one, other)):
        return True
    return all(text.words[hit.first].capital for hit in (one, other))


def _begins(text: Text, start: int) -> bool:
    """Whether a segment of a list begins at an offset of the plain text."""
    before = text.plain[:start].rstrip(" \"'#@([")
    return not before or _SEGMENT.match(before[-1] + " ") is not None


def _is_alone(text: Text, hit: Hit) -> bool:
    """Whether a segment of a list consists of the name, and of music talk after it at most."""
    words = text.words
    start, end = words[hit.first].start, words[hit.last].end
    if not _begins(text, start):
        return False
    rest_end = next((m.start() for m in _SEGMENT.finditer(text.plain, end)), len(text.plain))
    rest = [w for w in words[hit.last + 1 :] if w.start < rest_end]
    capital = words[hit.first].capital
    if not rest:
        several = hit.form.words > 1 and hit.exact
        telling = capital and words[hit.first].text not in _UNCOUNTABLE
        return telling or is_rare(hit) or several or len(words) == 1
    rare = is_rare(hit)
    musical = all(
        w.text in _TAIL or w.text.isdigit() or (rare and _is_plain_talk(w.text)) for w in rest
    )
    return musical and (capital or rare) and is_bare(text, hit)


def _is_plain_talk(word: str) -> bool:
    """Whether a word is music talk, and no small word."""
    return len(word) > 3 and is_music(word) and word not in _DETERMINERS | _SMALL
