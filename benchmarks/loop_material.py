"""Clips whose sample type, tempo and key are known: renders of the composer, and real samples.

The composer's pieces (``training/pieces.py``) are played by the package's own instruments and cut
as people cut samples: loops at bar lines, phrases that end between beats or ring out, whole songs,
single notes, chords and drums. The real samples are those of ``sonic-pi-samples``, ``lmms-common``
and ``hydrogen-drumkits``; how many beats the loops of the first hold stands in
``real_material.py``, and what the others are is told by the folders of their makers.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from real_material import LOOP_BEATS, SAMPLES

from rag_audio.audio import midi
from rag_audio.audio.reading import load
from rag_audio.domain import Audio, Key, SampleType
from training.pieces import Piece, Split, compose
from training.score import Event, Song, Voice, midi_bytes

LMMS = Path("/usr/share/lmms/samples")
KITS = Path("/usr/share/hydrogen/data/drumkits")
_SHARES = {
    SampleType.LOOP: 0.45, SampleType.ONE_SHOT: 0.25, SampleType.PHRASE: 0.2, SampleType.SONG: 0.1,
}  # fmt: skip
_BARS = (1, 2, 4, 8)
_LOOP_S, _SHORT_S = (1.4, 24.0), 4.2
_PROGRAMS = (0, 4, 11, 16, 24, 27, 33, 38, 48, 56, 61, 73, 80, 81, 88, 89, 96, 98)
_HITS = (35, 36, 38, 39, 40, 42, 45, 46, 47, 49, 50, 51, 54, 56, 57, 60, 63, 70, 75, 76)


@dataclass(frozen=True, eq=False)
class Clip:
    """A sound and the truth about it.

    Attributes:
        path: as a person may have named it; where a name says nothing it is only a number.
        bpm: None where the sound has no tempo or none is known.
        key: None where the sound has no key or none is known.
    """

    path: str
    audio: Audio
    sample_type: SampleType
    bpm: float | None = None
    key: Key | None = None


def renders(count: int, split: Split = "test") -> Iterator[Clip]:
    """As many clips, the same ones each time."""
    for seed in range(count):
        rng = np.random.default_rng([seed, 17])
        kind = list(_SHARES)[int(rng.choice(len(_SHARES), p=list(_SHARES.values())))]
        if kind is SampleType.ONE_SHOT:
            yield Clip(_named(seed, kind, None, None, rng), _single_sound(rng), kind)
            continue
        piece = compose(seed, split, 30.0 if kind is SampleType.SONG else 24.0)
        audio = _cut(piece, kind, rng)
        facts = piece.facts
        yield Clip(_named(seed, kind, facts.bpm, facts.key, rng), audio, kind, facts.bpm, facts.key)


def _cut(piece: Piece, kind: SampleType, rng: np.random.Generator) -> Audio:
    bar, bars = piece.song.bar_s, piece.song.bars
    if kind is SampleType.SONG:
        return _played(piece.song, 0.0, None)
    fitting = [n for n in _BARS if _LOOP_S[0] <= n * bar <= _LOOP_S[1]]
    if kind is SampleType.LOOP:
        short = [n for n in fitting if n * bar <= _SHORT_S]
        length = int(rng.choice(short if short and rng.random() < 0.5 else fitting))
        return _played(piece.song, bar * int(rng.integers(0, bars - length + 1)), length * bar)
    length = int(rng.choice([n for n in fitting if n * bar >= 2.0]))
    if rng.random() < 0.5:  # its last bars, with what rings on
        return _played(piece.song, (bars - length) * bar, None)
    beats = length * piece.song.beats + rng.uniform(0.25, 0.75)
    start = int(rng.integers(0, bars - length)) * bar
    return _played(piece.song, start, beats * bar / piece.song.beats)


def _single_sound(rng: np.random.Generator) -> Audio:
    """A note, a chord or a drum, with what rings on, cut where people cut."""
    if rng.random() < 0.5:
        voice = Voice("drums", 0, (Event(0.0, 1.0, int(rng.choice(_HITS)), 110),))
    else:
        low, chord = int(rng.integers(36, 72)), ((0,), (0, 3, 7), (0, 4, 7))[int(rng.integers(3))]
        length = float(rng.uniform(0.3, 4.0))
        events = tuple(Event(0.0, length, low + step, 100) for step in chord)
        voice = Voice("chords", int(rng.choice(_PROGRAMS)), events)
    sound = _played(Song("one", 120.0, None, 1, (voice,)), 0.0, None)
    audible = np.flatnonzero(np.abs(sound.samples).max(axis=0) > 1e-3)
    return Audio(sound.samples[:, : int(audible[-1]) + 1], sound.sample_rate)


def _played(song: Song, start_s: float, duration_s: float | None) -> Audio:
    with tempfile.NamedTemporaryFile(suffix=".mid") as file:
        file.write(midi_bytes(song))
        file.flush()
        return midi.render(Path(file.name), start_s=start_s, duration_s=duration_s)


_FOLDERS = {
    SampleType.LOOP: "loops", SampleType.ONE_SHOT: "one shots", SampleType.PHRASE: "takes",
    SampleType.SONG: "songs",
}  # fmt: skip


def _named(
    seed: int, kind: SampleType, bpm: float | None, key: Key | None, rng: np.random.Generator
) -> str:
    """Half of the clips lie in a folder for their kind, half say their tempo, a third their key."""
    folder, tempo, tonality = rng.random(3) < (0.5, 0.5, 0.33)
    words = [f"{seed:03d}"]
    if tempo and bpm is not None:
        words.append(f"{bpm:g}bpm")
    if tonality and key is not None:
        words.append(str(key).replace(" ", ""))
    return (f"{_FOLDERS[kind]}/" if folder else "") + "_".join(words) + ".wav"


def real_samples() -> Iterator[Clip]:
    """The samples that are installed, each with what is known of it."""
    for file in sorted(SAMPLES.glob("*.flac")):
        is_loop = file.stem.startswith("loop_")
        if is_loop or file.stem.startswith(("bd_", "drum_", "sn_", "tabla_", "elec_", "perc_")):
            audio = load(file)
            beats = LOOP_BEATS.get(file.stem)
            bpm = None if beats is None else 60 * beats / audio.duration_s
            yield Clip(file.name, audio, SampleType.LOOP if is_loop else SampleType.ONE_SHOT, bpm)
    for folder, kind in (("beats", SampleType.LOOP), ("bassloops", SampleType.LOOP),
                         ("drums", SampleType.ONE_SHOT)):  # fmt: skip
        for file in sorted((LMMS / folder).glob("*.ogg")):
            yield Clip(f"{folder}/{file.name}", load(file), kind)
    for kit in sorted(KITS.glob("*/")):
        for file in sorted((*kit.glob("*.wav"), *kit.glob("*.flac"), *kit.glob("*.aiff")))[:8]:
            yield Clip(f"{kit.name}/{file.name}", load(file), SampleType.ONE_SHOT)
