"""Which stems are percussion, and which part of a drum kit, by the words that are known of them.

The words are those of the lexicon (:mod:`rag_audio.domain.lexicon`), in its languages and in the
abbreviations of sample libraries.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import PurePosixPath

from rag_audio.domain import SampleType, Stem
from rag_audio.domain.file_names import split_words
from rag_audio.domain.lexicon import broader, concepts, concepts_in

_TUNED = frozenset(("bell", "chimes", "handpan", "sleigh bells", "steel drums", "timpani"))
"""Percussion that has a harmony."""
_POETIC = frozenset(
    (
        *("breakbeat", "brush drums", "drum fill", "drum loop", "drum roll"),
        *("finger snap", "ride cymbal", "stick click"),
    )
)
"""What everyday words such as "beat", "ride" and "break" may mean: in the title of a piece they
seldom do."""
_SURE = 0.5
"""A derived tag that is less sure says nothing."""


class DrumPart(StrEnum):
    """A part of a drum kit, as far as parts are played differently."""

    KICK = "kick"
    SNARE = "snare"
    HAT = "hat"
    OPEN_HAT = "open hat"
    CYMBAL = "cymbal"
    TOM = "tom"
    CLAP = "clap"
    PERCUSSION = "percussion"


_PART_OF = {
    "kick": DrumPart.KICK,
    "snare": DrumPart.SNARE,
    "open hi-hat": DrumPart.OPEN_HAT,
    "hi-hat": DrumPart.HAT,
    "cymbal": DrumPart.CYMBAL,
    "tom": DrumPart.TOM,
    "clap": DrumPart.CLAP,
    "finger snap": DrumPart.CLAP,
}
"""By concept; what is narrower is the same part."""
_ORDER = tuple(DrumPart)
"""Of several parts in one name the first is meant."""

_BY_PITCH = {
    DrumPart.KICK: (35, 36),
    DrumPart.SNARE: (38, 40),
    DrumPart.HAT: (42, 44),
    DrumPart.OPEN_HAT: (46,),
    DrumPart.CYMBAL: (49, 51, 52, 53, 55, 57, 59),
    DrumPart.TOM: (41, 43, 45, 47, 48, 50),
    DrumPart.CLAP: (39,),
}
_PART_OF_PITCH = {pitch: part for part, pitches in _BY_PITCH.items() for pitch in pitches}


def is_drums(stem: Stem) -> bool:
    """Whether the stem is percussion only: it has no harmony, and is never transposed.

    Its instruments say so, else its tags; where nobody wrote tags, its title, the name of its file
    and what the embedder heard.
    """
    if stem.instruments:
        return all(names_drums(name) for name in stem.instruments)
    if stem.tags:
        return any(names_drums(tag) for tag in stem.tags)
    if any(names_drums(tag) for tag in _derived(stem)):
        return True
    names = (stem.title, PurePosixPath(stem.path).stem)
    return any(not _drums_in(name) <= _unsaid_by_names(stem) for name in names)


def names_drums(text: str) -> bool:
    """Whether one of a text's words names percussion; "drum and bass" is a genre, and steel drums
    have pitch."""
    return bool(_drums_in(text))


def is_one_shot(stem: Stem) -> bool:
    """Whether the stem is a single sound, which is never looped at its own length."""
    return stem.sample_type is SampleType.ONE_SHOT


def drum_part(stem: Stem) -> DrumPart | None:
    """The part of a kit that a stem is; None where nothing says that it is percussion.

    File name and title come first, then tags, instruments, derived tags of which the embedder is
    surer than not, and the folder. Names are read of one-shots and loops alone: those of whole
    pieces are poetry.
    """
    path = PurePosixPath(stem.path)
    named = stem.sample_type in (SampleType.ONE_SHOT, SampleType.LOOP)
    groups = (
        (path.stem, stem.title) if named else (),
        stem.tags,
        stem.instruments,
        tuple(_derived(stem)),
        path.parts[:-1] if named else (),
    )
    found = [part for group in groups if (part := _part_in(group)) is not None]
    clear = (part for part in found if part is not DrumPart.PERCUSSION)
    return next(clear, found[0] if found else None)


def part_of_pitch(pitch: int) -> DrumPart:
    """The part that a note of General MIDI's percussion channel strikes (GM 1, percussion map)."""
    return _PART_OF_PITCH.get(pitch, DrumPart.PERCUSSION)


def _derived(stem: Stem) -> Iterator[str]:
    return (tag.text for tag in stem.derived_tags if tag.confidence >= _SURE)


def _unsaid_by_names(stem: Stem) -> frozenset[str]:
    is_sample = stem.sample_type in (SampleType.ONE_SHOT, SampleType.LOOP)
    return frozenset() if is_sample else _POETIC


def _drums_in(text: str) -> frozenset[str]:
    """The concepts of percussion without pitch that a text names."""
    names = (one.concept for one in concepts_in(split_words(text)))
    return frozenset(n for n in names if concepts()[n].kind == "drum") - _TUNED


def _part_in(texts: Iterable[str]) -> DrumPart | None:
    parts: set[DrumPart] = set()
    for text in texts:
        found = {_part_of(name) for name in _drums_in(text)}
        words = set(split_words(text).casefold().replace("_", " ").replace("-", " ").split())
        if DrumPart.CYMBAL in found and words & {"closed", "pedal"}:
            found.add(DrumPart.HAT)
        if found & {DrumPart.HAT, DrumPart.CYMBAL} and "open" in words:
            found.add(DrumPart.OPEN_HAT)
        parts |= found
    if DrumPart.OPEN_HAT in parts:
        return DrumPart.OPEN_HAT
    return min(parts, key=_ORDER.index, default=None)


def _part_of(name: str) -> DrumPart:
    """The part of the concept, or of the nearest broader one that is a part."""
    known = (_PART_OF[one] for one in (name, *broader(name)) if one in _PART_OF)
    return next(known, DrumPart.PERCUSSION)
