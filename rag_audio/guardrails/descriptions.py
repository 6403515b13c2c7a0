"""Somebody described by what everyone knows of them: helmets of two robots, a glove and a moonwalk.

``data/policy/descriptions.csv`` has the columns ``artist, words``: words that together describe the
artist, in any order; ``a|b`` is either, ``a*`` every word that begins so. They count where all of
them stand near one another.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from rag_audio.guardrails.normalise import Text, fold
from rag_audio.guardrails.vocabulary import is_music
from rag_audio.resources import data_dir

_WINDOW = 12
"""So many words a description may span."""
_PREFIX = 3
_MOST_NEAR = 60
"""So many words of a description are looked at from one on."""
_RHYMES = re.compile(
    r"(?<!\w)(?:(?:name|she|he|her|him|who|they|it|you\s+know)\W+(?:\w+\W+){0,4}?)?rhymes\s+with\s+[\"'“‘]?"
)


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


def described_people(text: Text) -> Iterator[tuple[int, int, str]]:
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


def rhymed_names(text: Text) -> Iterator[tuple[int, int]]:
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
