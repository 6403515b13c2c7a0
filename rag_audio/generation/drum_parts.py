"""Which part of a drum kit a stem is, by the words of its names and tags."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from pathlib import PurePosixPath

from rag_audio.domain import SampleType, Stem


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


_WORDS = {
    DrumPart.KICK: "kick bassdrum bd",
    DrumPart.SNARE: "snare sn snr sd rimshot",
    DrumPart.HAT: "hat hihat hh hhat chh",
    DrumPart.OPEN_HAT: "ohh openhat",
    DrumPart.CYMBAL: "cymbal crash ride splash china",
    DrumPart.TOM: "tom rototom",
    DrumPart.CLAP: "clap handclap snap fingersnap",
    DrumPart.PERCUSSION: "perc percussion percussive cowbell shaker tambourine triangle woodblock "
    "clave maraca cabasa guiro agogo conga bongo timbale djembe cajon tabla taiko",
}
_PART_OF = {word: part for part, words in _WORDS.items() for word in words.split()}
_ORDER = tuple(DrumPart)
_ANY_DRUM = frozenset({"drum", "drumkit", "breakbeat"})
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_NAMED = (SampleType.ONE_SHOT, SampleType.LOOP)
_SURE = 0.5

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


def drum_part(stem: Stem) -> DrumPart | None:
    """The part of a kit that a stem is; None where nothing says that it is percussion.

    File name and title come first, then tags, instruments, derived tags of which the embedder is
    surer than not, and the folder. Names are read of one-shots and loops alone: those of whole
    pieces are poetry.
    """
    path = PurePosixPath(stem.path)
    named = stem.sample_type in _NAMED
    groups = (
        (path.stem, stem.title) if named else (),
        stem.tags,
        stem.instruments,
        tuple(tag.text for tag in stem.derived_tags if tag.confidence >= _SURE),
        path.parts[:-1] if named else (),
    )
    found = [part for group in groups if (part := _read(group)) is not None]
    clear = (part for part in found if part is not DrumPart.PERCUSSION)
    return next(clear, found[0] if found else None)


def part_of_pitch(pitch: int) -> DrumPart:
    """The part that a note of General MIDI's percussion channel strikes (GM 1, percussion map)."""
    return _PART_OF_PITCH.get(pitch, DrumPart.PERCUSSION)


def _read(texts: Iterable[str]) -> DrumPart | None:
    words = {_singular(word) for text in texts for word in _WORD.findall(text)}
    parts = {_PART_OF[word] for word in words if word in _PART_OF}
    if DrumPart.CYMBAL in parts and words & {"closed", "pedal"}:
        parts.add(DrumPart.HAT)
    if "open" in words and parts & {DrumPart.HAT, DrumPart.CYMBAL}:
        parts.add(DrumPart.OPEN_HAT)
    if {"bass", "drum"} <= words and not parts:
        return DrumPart.KICK
    if parts:
        return DrumPart.OPEN_HAT if DrumPart.OPEN_HAT in parts else min(parts, key=_ORDER.index)
    return DrumPart.PERCUSSION if words & _ANY_DRUM else None


def _singular(word: str) -> str:
    lower = word.lower()
    return lower[:-1] if len(lower) > 3 and lower.endswith("s") and lower[-2] != "s" else lower
