"""Which stems are percussion only: they have no harmony, and are never transposed."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from rag_audio.domain import SampleType, Stem

_DRUMS = frozenset(
    "amen bd bongo bongos breakbeat breakbeats cabasa clap claps clave claves conga "
    "congas cowbell cymbal cymbals djembe drum drumbeat drumkit drumloop drums hat hats hihat "
    "hihats kick kickdrum kicks kit maracas perc percs percussion rimshot shaker shakers sn snare "
    "snares tabla tambourine timbale timbales tom toms".split()
)
_WORD = re.compile(r"[a-z]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_OTHERS = re.compile(r"drums?\W*(?:and|&|n|'n'|\+)\W*bass|steel\W*drums?", re.IGNORECASE)
_HEARD = 0.5
"""A derived tag that is less sure says nothing."""


def is_drums(stem: Stem) -> bool:
    """Whether the stem is percussion only.

    Its instruments say so, else its tags; where nobody wrote tags, its title, the name of its file
    and what the embedder heard.
    """
    if stem.instruments:
        return all(names_drums(name) for name in stem.instruments)
    if stem.tags:
        return any(names_drums(tag) for tag in stem.tags)
    heard = (tag.text for tag in stem.derived_tags if tag.confidence >= _HEARD)
    return any(names_drums(text) for text in (stem.title, PurePosixPath(stem.path).stem, *heard))


def names_drums(text: str) -> bool:
    """Whether one of a text's words names percussion; "drum and bass" is a genre, and steel drums
    have pitch."""
    words = _WORD.findall(_CAMEL.sub(" ", _OTHERS.sub(" ", text)).lower())
    return not _DRUMS.isdisjoint(words)


def is_one_shot(stem: Stem) -> bool:
    """Whether the stem is a single sound, which is never looped at its own length."""
    return stem.sample_type is SampleType.ONE_SHOT
