"""Which stems are parts of one song, by what is known of their files."""

from __future__ import annotations

import re
from itertools import takewhile
from pathlib import PurePosixPath

from rag_audio.domain import Stem
from rag_audio.generation.seed_layout import has_tempo

_SAME_TEMPO = 0.005


def is_same_song(one: Stem, other: Stem) -> bool:
    """Whether two stems are parts of a song: one library, artist, tempo and key, and names that
    begin alike, such as ``last-tram-bass`` and ``last-tram-keys``.

    In different folders, such as one for scores and one for recordings, the artist has to be
    known, and two words have to be alike.
    """
    if (one.library, one.artist) != (other.library, other.artist):
        return False
    if one.bpm is None or other.bpm is None or not (has_tempo(one) and has_tempo(other)):
        return False
    if abs(one.bpm / other.bpm - 1) > _SAME_TEMPO or one.key != other.key:
        return False
    shared, shortest = _shared_words(one, other)
    if PurePosixPath(one.path).parent != PurePosixPath(other.path).parent:
        return bool(one.artist) and shared > 1 and 2 * shared > shortest
    return 2 * shared > shortest


def is_same_music(one: Stem, other: Stem) -> bool:
    """Whether two stems of a song have one name, such as a score and its recording."""
    names = {PurePosixPath(stem.path).stem.casefold() for stem in (one, other)}
    return len(names) == 1 and is_same_song(one, other)


def is_within(one: Stem, other: Stem) -> bool:
    """Whether one of two stems of a song holds the other, by their names: the mix
    ``last-tram`` holds ``last-tram-keys``, and two ``last-tram-keys`` are the same."""
    shared, shortest = _shared_words(one, other)
    return shared == shortest


def _shared_words(one: Stem, other: Stem) -> tuple[int, int]:
    """With how many words two files' names begin alike, and how many the shorter one has."""
    names = [re.findall(r"[^\W_]+", PurePosixPath(s.path).stem.casefold()) for s in (one, other)]
    common = takewhile(lambda pair: pair[0] == pair[1], zip(*names, strict=False))
    return len(list(common)), min(map(len, names))
