"""A score in beats, and its way to MIDI."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rag_audio.domain.music import bar_s
from training.theory import Scale

if TYPE_CHECKING:
    import numpy as np

TICKS = 480
"""Ticks per beat."""


@dataclass(frozen=True)
class Event:
    """A note: start and length in beats, MIDI pitch 0…127, velocity 1…127."""

    start: float
    length: float
    pitch: int
    velocity: int = 90


@dataclass(frozen=True)
class Voice:
    """What one instrument plays.

    Attributes:
        role: drums, bass, chords, arpeggio, melody or pad.
        program: General MIDI program 0…127; 0 for drums.
        pan: -1 left … 1 right; gain in dB. Renderers may use them; MIDI carries them as controls.
    """

    role: str
    program: int
    events: tuple[Event, ...]
    pan: float = 0.0
    gain_db: float = 0.0

    @property
    def drum(self) -> bool:
        return self.role == "drums"


@dataclass(frozen=True)
class Song:
    """A whole piece. ``beats`` is the number of beats of a bar, ``unit`` what a beat is (4, 8)."""

    title: str
    bpm: float
    scale: Scale | None
    bars: int
    voices: tuple[Voice, ...]
    beats: int = 4

    @property
    def duration_s(self) -> float:
        """To the last bar line."""
        return self.bars * self.bar_s

    @property
    def bar_s(self) -> float:
        """Length of a bar in seconds."""
        return bar_s(self.bpm, (self.beats, 4))


def swung(events: Iterable[Event], amount: float, unit: float = 1.0) -> tuple[Event, ...]:
    """Delay the second half of each ``unit`` beats: amount 0.5 is straight, 0.667 triplet swing."""

    def moved(at: float) -> float:
        whole, part = divmod(at + 1e-9, unit)
        share = part / unit
        bent = share * 2 * amount if share < 0.5 else amount + (share - 0.5) * 2 * (1 - amount)
        return whole * unit + bent * unit

    return tuple(
        replace(
            e, start=moved(e.start), length=max(0.05, moved(e.start + e.length) - moved(e.start))
        )
        for e in events
    )


def humanised(
    events: Iterable[Event], rng: np.random.Generator, bpm: float, timing_s: float = 0.006
) -> tuple[Event, ...]:
    """Small errors of time (standard deviation in seconds) and touch."""
    made = []
    for e in events:
        late = float(rng.normal(0.0, timing_s)) * bpm / 60
        touch = int(min(127, max(20, e.velocity + rng.normal(0.0, 4.0))))
        made.append(replace(e, start=max(0.0, e.start + late), velocity=touch))
    return tuple(made)


def without_overlaps(events: Iterable[Event]) -> tuple[Event, ...]:
    """Sorted, and no note runs into the next of its pitch."""
    ordered = sorted(events, key=lambda e: (e.start, e.pitch))
    upcoming: dict[int, float] = {}
    kept = []
    for e in reversed(ordered):
        limit = upcoming.get(e.pitch, float("inf"))
        if limit - e.start < 0.02:
            continue
        upcoming[e.pitch] = e.start
        kept.append(replace(e, length=min(e.length, limit - e.start)))
    return tuple(reversed(kept))


def to_symusic(song: Song) -> Any:
    """The song as a ``symusic.Score`` in ticks."""
    from symusic import ControlChange, KeySignature, Note, Score, Tempo, TimeSignature, Track

    score = Score(TICKS)
    score.tempos.append(Tempo(0, float(song.bpm)))
    score.time_signatures.append(TimeSignature(0, song.beats, 4))
    if song.scale is not None:
        key = song.scale.key
        major = (key.tonic + 3) % 12 if key.minor else key.tonic
        sharps = (major * 7 + 5) % 12 - 5  # position on the circle of fifths, -5…6
        score.key_signatures.append(KeySignature(0, sharps, int(key.minor)))
    for voice in song.voices:
        track = Track(voice.role, voice.program, voice.drum)
        track.controls.append(
            ControlChange(0, 7, min(127, round(100 * 10 ** (voice.gain_db / 40))))
        )
        track.controls.append(ControlChange(0, 10, min(127, round(64 + 63 * voice.pan))))
        for e in without_overlaps(voice.events):
            start, end = round(e.start * TICKS), round((e.start + e.length) * TICKS)
            track.notes.append(Note(start, max(1, end - start), e.pitch, e.velocity))
        score.tracks.append(track)
    return score


def midi_bytes(song: Song) -> bytes:
    """A standard MIDI file; the same song gives the same bytes."""
    return bytes(to_symusic(song).dumps_midi())
