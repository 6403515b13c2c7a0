"""Somebody meant but not named: by a song ("the singer of …"), or by what everyone knows."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from rag_audio.guardrails.names import Song
from rag_audio.guardrails.normalise import NormalisedText, Word, fold, read
from rag_audio.guardrails.policy_tables import rule_pattern, rule_words
from rag_audio.guardrails.vocabulary import is_music, is_ordinary
from rag_audio.resources import data_dir

_DESCRIBED = rule_pattern("songs", "described")
_WHO = rule_pattern("songs", "who")
_ABOUT = rule_pattern("songs", "about")
_SONG_TALK = rule_pattern("songs", "song_talk")
_SMALL = rule_words("songs", "small")
_SCENE = rule_pattern("songs", "scene")
_QUOTED_ABROAD = rule_pattern("songs", "quoted_abroad")
_FAME = rule_pattern("songs", "fame")
_OF = re.compile(r"(?<!\w)(?:of|from)\s+[\"'“‘]?$")
_CHANGED = rule_pattern("songs", "changed")
_SOUND_OF = rule_pattern("songs", "sound_of")
_REMAKE = rule_pattern("songs", "remake")
_CUE = rule_pattern("songs", "cue")
_CUED = rule_pattern("songs", "cued")
_ABROAD_LIKE = rule_pattern("songs", "abroad_like")
_THAT = re.compile(r"(?<!\w)(?:that|the|this|a|with)\s+[\"'“‘]?$")
_FROM_ALBUM = rule_pattern("songs", "from_album")
_OF_FAME = rule_pattern("songs", "of_fame")
_QUOTED = re.compile(r"[\"'「『‘“]\s*$")
_NEAR = 60


def song_spans(
    text: NormalisedText, found: Iterable[tuple[int, int, Song]]
) -> Iterator[tuple[int, int, Song]]:
    """Titles that stand for their artists here, as spans of words."""
    described = [m.end() for m in (*_DESCRIBED.finditer(text.plain), *_WHO.finditer(text.plain))]
    for first, last, song in found:
        words = text.words[first : last + 1]
        start, end = words[0].start, words[-1].end
        single = len(words) == 1
        if not single and _is_parted(text.plain[start:end]) and not _is_parted(song.title):
            continue
        after_title = text.plain[end:]
        if not single and " " not in song.title and all(is_ordinary(w.text) for w in words):
            continue  # "a love song" is nobody's "Lovesong"
        scene = (
            all(is_ordinary(w.text) and not w.capital for w in words[1:] or words)
            and _SCENE.match(after_title) is not None
        )
        plain = song.common or scene or (single and is_ordinary(words[0].text))
        if not plain and not (single and len(words[0].text) < 5):
            yield first, last, song
            continue
        before = text.plain[max(0, start - _NEAR) : start]
        after = text.plain[end : end + _NEAR]
        near = any(start - 25 <= at <= start for at in described)
        behind = "を歌っ" in after[:6] or "の歌手" in after[:6] or "गाने वाले" in after
        quoted = _QUOTED.search(before) is not None and after[:1] in "\"'」』’”,"
        capital = text.capitals_mean and _has_capitals(words, song)
        talk = _SONG_TALK.search(before) is not None or after.lstrip("\"' ").startswith("by ")
        about = not single and _ABOUT.search(before) is not None
        changed = _begins(text, start) and _CHANGED.match(after_title) is not None
        changed = changed or (
            not single and _begins(text, start) and after_title.lstrip("\"'”’").startswith(" but ")
        )
        remade = _REMAKE.search(before) is not None and words[0].capital and start > 0
        sound = _SOUND_OF.match(after_title) is not None and (
            capital
            and (start > 0 or not single)
            and (not single or _THAT.search(before) is not None)
        )
        if (
            near
            or behind
            or (_FAME.match(after_title) is not None and _OF.search(before) is not None)
            or (changed and (not single or words[0].capital))
            or (sound and (words[0].capital or not single))
            or (remade and text.capitals_mean)
            or about
            or (quoted and talk)
            or (talk and capital and words[0].capital and (not single or quoted))
            or (talk and len(words) >= 3 and "song" in before + after)
            or (capital and words[0].capital and _is_referred_to(text, words, before, after))
            or (not scene and _is_named_era(words, after))
        ):
            yield first, last, song


def _has_capitals(words: Sequence[Word], song: Song) -> bool:
    """Whether a title's words have their capitals, as English has them or as the title has."""
    own = [word.capital for word in read(song.title).words]
    return all(
        w.capital or w.text.isdigit() or w.text in _SMALL or (i < len(own) and not own[i])
        for i, w in enumerate(words)
    )


def _is_referred_to(text: NormalisedText, words: Sequence[Word], before: str, after: str) -> bool:
    """Whether words with a title's capitals are spoken of as a piece: "an outtake from …"."""
    single = len(words) == 1
    if _CUE.search(before) is not None or (not single and _ABROAD_LIKE.search(before) is not None):
        return True
    cued = _CUED.match(after)
    if cued is None:
        return False
    telling = cued["strong"].startswith(("sound", "outtake", "album", "b", "riff"))
    return not single or not _begins(text, words[0].start) or telling


def _is_named_era(words: Sequence[Word], after: str) -> bool:
    """Whether a title in small letters is what an era or album is called: "igor era"."""
    cued = _CUED.match(after)
    if cued is None or not cued["strong"].startswith(("era", "album", "sound", "outtake", "riff")):
        return False
    return len(words) > 1 or not is_ordinary(words[0].text)


def _is_parted(words: str) -> bool:
    """Whether a sentence or a part of one ends between the words."""
    return re.search(r"[,.;:!?]\s", words) is not None


def _begins(text: NormalisedText, start: int) -> bool:
    """Whether a segment of a list begins at an offset of the plain text."""
    before = text.plain[:start].rstrip(" \"'“‘([")
    return not before or before[-1] in ",;:.!\n"


def _plain_span(text: NormalisedText, start: int, end: int) -> Iterator[tuple[int, int]]:
    """A span of the original as one of the plain text."""
    inside = [at for at, origin in enumerate(text.origin) if start <= origin < end]
    if inside:
        yield inside[0], inside[-1] + 1


def described_spans(text: NormalisedText) -> Iterator[tuple[int, int]]:
    """Unknown titles after "the band behind …" or "from the album …": quoted, or two capitals, as
    plain spans; and what anybody is famous for."""
    for match in _QUOTED_ABROAD.finditer(text.raw):
        group = next(g for g, found in match.groupdict().items() if found)
        yield from _plain_span(text, *match.span(group))
    for match in _OF_FAME.finditer(text.plain):
        if any(w.capital for w in text.words if match.start(1) <= w.start < match.end(1)):
            yield match.span(1)
    leads = (_DESCRIBED, _WHO, _FROM_ALBUM)
    for match in (match for lead in leads for match in lead.finditer(text.plain)):
        at = match.end()
        quote = re.match(r"[^\"”」』']{2,50}(?=[\"”」』']|$)", text.plain[at:])
        if text.plain[at - 1 : at] in ('"', "'") and quote is not None:
            yield at, at + quote.end()
            continue
        words = [w for w in text.words if w.start >= at][:2]
        album = re.search(r"\b(?:album|ep|lp)\b", match.group()) is not None
        if album and words and words[0].start == at and words[0].capital and text.capitals_mean:
            yield words[0].start, words[-1].end if words[-1].capital else words[0].end
            continue
        if (
            len(words) == 2
            and text.capitals_mean
            and words[0].start == at
            and all(w.capital and not is_music(w.text) for w in words)
        ):
            yield words[0].start, words[1].end


# Somebody described by what everyone knows of them: helmets of two robots, a glove and a
# moonwalk.
#
# ``data/policy/descriptions.csv`` has the columns ``artist, words``: words that together describe
# the artist, in any order; ``a|b`` is either, ``a*`` every word that begins so. They count where
# all of them stand near one another.

_WINDOW = 12
"""So many words a description may span."""
_PREFIX = 3
_MOST_NEAR = 60
"""So many words of a description are looked at from one on."""
_RHYMES = rule_pattern("songs", "rhymes")


@dataclass(frozen=True)
class _Description:
    artist: str
    slots: int


@cache
def _table() -> tuple[
    tuple[_Description, ...],
    dict[str, tuple[tuple[int, int], ...]],
    dict[str, tuple[tuple[str, int, int], ...]],
]:
    """Descriptions; the places (description, slot) of each whole word; those of stems, with the
    stem, by their first letters."""
    made: list[_Description] = []
    whole: dict[str, list[tuple[int, int]]] = defaultdict(list)
    stems: dict[str, list[tuple[str, int, int]]] = defaultdict(list)
    with (data_dir("policy") / "descriptions.csv").open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file)):
            slots = row["words"].split()
            made.append(_Description(row["artist"], len(slots)))
            for slot, alternatives in enumerate(slots):
                for word in alternatives.split("|"):
                    plain = fold(word.rstrip("*")).replace(" ", "")
                    if word.endswith("*"):
                        stems[plain[:_PREFIX]].append((plain, number, slot))
                    else:
                        whole[plain].append((number, slot))
    return (
        tuple(made),
        {word: tuple(places) for word, places in whole.items()},
        {letters: tuple(places) for letters, places in stems.items()},
    )


def described_people(text: NormalisedText) -> Iterator[tuple[int, int, str]]:
    """First word, last word and artist of each description in a text."""
    descriptions, whole, stems = _table()
    found: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for i, word in enumerate(text.words):
        for number, slot in whole.get(word.text, ()):
            found[number].append((i, slot))
        for stem, number, slot in stems.get(word.text[:_PREFIX], ()):
            if word.text.startswith(stem):
                found[number].append((i, slot))
    for number, places in found.items():
        wanted = descriptions[number].slots
        if len({slot for _, slot in places}) < wanted:
            continue
        last = _complete(places, wanted)
        if last is not None:
            yield *last, descriptions[number].artist


def _complete(places: list[tuple[int, int]], wanted: int) -> tuple[int, int] | None:
    """First and last word of the first window that fills every slot with a word of its own."""
    for at, (first, _) in enumerate(places):
        slots: dict[int, int] = {}
        for i, slot in places[at : at + _MOST_NEAR]:
            if i - first >= _WINDOW:
                break
            if slot not in slots and i not in slots.values():
                slots[slot] = i
        if len(slots) == wanted:
            return first, max(slots.values())
    return None


def rhymed_names(text: NormalisedText) -> Iterator[tuple[int, int]]:
    """Two words with capitals that somebody's name rhymes with, as spans of the plain text."""
    for match in _RHYMES.finditer(text.plain):
        words = [word for word in text.words if word.start >= match.end()][:2]
        if (
            len(words) == 2
            and text.capitals_mean
            and words[0].start == match.end()
            and all(word.capital for word in words)
            and not all(is_music(word.text) for word in words)
        ):
            yield words[0].start, words[1].end
