"""The sound of scores: symusic's synthesizer plays the notes, this module their dynamics.

The synthesizer knows no velocities, controllers or pedals. So notes are played in layers of equal
gain, and volume, expression and pan are applied to the sound of a part. A score from a stranger is
never given to it: only notes that were read, checked and placed in seconds are.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rag_audio.audio.midi_channels import Spans
from rag_audio.audio.scores import ScoreNote, ScorePart
from rag_audio.domain import Audio
from rag_audio.errors import ConfigError
from rag_audio.resources import data_dir

_QUALITY = 4
_DRUM_BANK, _PRESET_BYTES, _MOST_PRESETS = 128, 38, 10_000
_RING_S = 1.0
_LEAD_IN_S = 10.0
_CEILING = 0.97
_SHORTEST_S = 0.01
_USUAL_VELOCITY = 100
"""What is played without a change of level, as General MIDI's usual volume is."""
_VELOCITY_POWER = 1.5
_STEPS_PER_DB = (10, 4, 1)
"""How finely gains are told apart; more coarsely where too many layers would be played."""
_LEAST_DB, _MOST_DB = -40.0, 12.0
_BLOCK_S = 8.0
"""Notes that begin in so many seconds are played at once: memory is reused then."""
_RAMP_S = 0.005
_MOST_LAYERS = 400
"""Layers per block; where the coarsest steps make more, each note keeps the volume of its beginning
and stands in the middle."""

Samples = NDArray[np.float32]


def open_synthesizer(soundfont: Path | None, sample_rate: int) -> Any:
    """The synthesizer with a soundfont; None: the package's own.

    Raises:
        ConfigError: the soundfont is missing or broken.
    """
    from symusic import Synthesizer

    path = _path_of(soundfont)
    if not path.is_file():
        raise ConfigError(f"there is no soundfont {path}", hint="set RAG_AUDIO_SOUNDFONT to an SF2")
    try:
        return Synthesizer(str(path), sample_rate, _QUALITY)
    except RuntimeError as error:
        raise ConfigError(f"{path} is not a soundfont that can be read: {error}") from error


def _path_of(soundfont: Path | None) -> Path:
    return soundfont or data_dir("soundfont") / "rag-audio.sf2"


def with_kits(parts: Sequence[ScorePart], soundfont: Path | None) -> tuple[ScorePart, ...]:
    """The parts, those of drums with kits that a soundfont has, as General MIDI 2 falls back: of a
    kit that is missing the first one of its eight is played, or else the standard kit."""
    kits = _kits(_path_of(soundfont))
    made = []
    for part in parts:
        if part.drum and kits and part.program not in kits:
            family = part.program - part.program % 8
            part = replace(part, program=family if family in kits else min(kits))
        made.append(part)
    return tuple(made)


@lru_cache(maxsize=8)
def _kits(soundfont: Path) -> frozenset[int]:
    """The programs of the bank of drums, as the file lists them (SoundFont 2.04, 7.2)."""
    try:
        with soundfont.open("rb") as file:
            at, end = 12, file.seek(0, 2)
            while at + 8 <= end:
                file.seek(at)
                head = file.read(12)
                if head[:4] == b"LIST" and head[8:] == b"pdta":
                    return _kits_listed(file.read(24 + _PRESET_BYTES * _MOST_PRESETS))
                size = int.from_bytes(head[4:8], "little")
                at += 8 + size + size % 2
    except OSError:
        pass  # the synthesizer will say what is wrong
    return frozenset()


def _kits_listed(chunk: bytes) -> frozenset[int]:
    size = int.from_bytes(chunk[4:8], "little") if chunk[:4] == b"phdr" else 0
    presets = range(8, min(8 + size, len(chunk)) - _PRESET_BYTES, _PRESET_BYTES)
    numbers = [(chunk[at + 20 : at + 22], chunk[at + 22 : at + 24]) for at in presets]
    return frozenset(
        int.from_bytes(program, "little")
        for program, bank in numbers
        if int.from_bytes(bank, "little") == _DRUM_BANK
    )


def ringing(part: ScorePart) -> ScorePart:
    """A part whose notes last as long as they sound.

    The pedal holds notes. Drums ring until they are struck again, a second at most: note-offs do
    not stop them.
    """
    if not part.drum:
        return replace(part, notes=part.sounding(), pedals=())
    following: dict[int, float] = {}
    made = []
    for note in reversed(part.notes):
        until = min(note.start_s + _RING_S, following.get(note.pitch, math.inf))
        following[note.pitch] = note.start_s
        made.append(ScoreNote(note.start_s, max(note.end_s, until), note.pitch, note.velocity))
    return replace(part, notes=tuple(reversed(made)))


def decibels(velocity: int, level: float = 1.0) -> float:
    """The gain of a note: half the velocity is 9 dB less.

    That is between samplers that play amplitudes as velocities (6 dB) and DLS and SoundFont, which
    play their squares (12 dB).

    Args:
        velocity: 1…127; 100 is 0 dB.
        level: a gain above 0.
    """
    exact = 20 * math.log10((velocity / _USUAL_VELOCITY) ** _VELOCITY_POWER * level)
    return min(_MOST_DB, max(_LEAST_DB, exact))


def play_parts(
    parts: Sequence[ScorePart],
    start_s: float,
    length_s: float,
    tempo_ratio: float,
    semitones: int,
    synthesizer: Any,
    sample_rate: int,
) -> Audio:
    """``length_s`` seconds of parts from ``start_s`` of the score's own time on, in stereo.

    Levels are the soundfont's, brought down as a whole where they would clip.
    """
    frames = max(1, round(length_s * sample_rate))
    window = start_s, start_s + length_s * tempo_ratio
    first, origin, notes = _heard(parts, window, tempo_ratio, semitones, sample_rate)
    skipped = round(start_s / tempo_ratio * sample_rate) - first
    made = np.zeros((2, skipped + frames), np.float32)
    for (block, course), layers in _layered(notes).items():
        at, sound = _block(layers, block, synthesizer, sample_rate)
        sound = sound[:, : max(0, made.shape[1] - at)]
        if course is not None:
            scale = sample_rate / tempo_ratio
            gains = _gains(parts[course], at, sound.shape[1], origin, scale)
            for side, gain in enumerate(gains):
                sound[side] *= gain
        made[:, at : at + sound.shape[1]] += sound
    made = made[:, skipped:]
    peak = float(max(made.max(), -made.min()))
    if peak > _CEILING:
        made = made * np.float32(_CEILING / peak)
    return Audio(np.ascontiguousarray(made), sample_rate)


@dataclass(frozen=True)
class _PlayedNote:
    """A note in the result.

    Attributes:
        begin_s, lasts_s: seconds, counted from the result's origin.
        decibels: of its velocity, and of its part's level where that does not change.
        level_db: of its part's level at its beginning, where that changes.
        course: the first part with the same levels and pans; None: they are the usual ones.
    """

    begin_s: float
    lasts_s: float
    pitch: int
    program: int
    drum: bool
    decibels: float
    level_db: float
    course: int | None


_Layers = dict[float, list[_PlayedNote]]
"""Notes by their gain in decibels."""


def _heard(
    parts: Sequence[ScorePart],
    window: tuple[float, float],
    tempo_ratio: float,
    semitones: int,
    sample_rate: int,
) -> tuple[int, float, list[_PlayedNote]]:
    """The notes that are heard in a window, and where they are counted from: the frame of the
    whole, and seconds of the score."""
    start, end = window
    heard = [
        (part, [n for n in part.notes if n.start_s < end and n.end_s > start]) for part in parts
    ]
    origin = min((n.start_s for _, notes in heard for n in notes), default=start)
    origin = max(min(origin, start), start - _LEAD_IN_S, 0.0)
    # A whole frame of the finished whole, so that a window is what the whole holds there.
    frame = math.floor(origin / tempo_ratio * sample_rate)
    origin = frame / sample_rate * tempo_ratio
    courses: dict[tuple[Spans, Spans], int] = {}
    found = []
    for number, (part, notes) in enumerate(heard):
        changes = len(part.levels) > 1
        course = None
        if notes and (changes or part.pans):
            course = courses.setdefault((part.levels if changes else (), part.pans), number)
        for note in notes:
            level = _value_at(part.levels, note.start_s)
            if level <= 0 and not changes:
                continue
            shift = 0 if part.drum else semitones
            lasts = (min(note.end_s, end) - max(note.start_s, origin)) / tempo_ratio
            found.append(
                _PlayedNote(
                    begin_s=max(0.0, (note.start_s - origin) / tempo_ratio),
                    lasts_s=max(lasts, _SHORTEST_S),
                    pitch=_within_range(note.pitch + shift),
                    program=part.program,
                    drum=part.drum,
                    decibels=decibels(note.velocity, 1.0 if changes else level),
                    level_db=decibels(_USUAL_VELOCITY, level) if changes and level else 0.0,
                    course=course,
                )
            )
    return frame, origin, found


def _layered(notes: Sequence[_PlayedNote]) -> dict[tuple[int, int | None], _Layers]:
    """The notes by the block in which they begin and their course, in layers of equal gain."""
    for steps in _STEPS_PER_DB:
        found = _in_layers(notes, steps, follow=True)
        blocks = len({block for block, _ in found})
        if sum(map(len, found.values())) <= _MOST_LAYERS * blocks:
            return found
    return _in_layers(notes, _STEPS_PER_DB[-1], follow=False)


def _in_layers(
    notes: Sequence[_PlayedNote], steps: int, *, follow: bool
) -> dict[tuple[int, int | None], _Layers]:
    found: dict[tuple[int, int | None], _Layers] = defaultdict(lambda: defaultdict(list))
    for note in notes:
        gain = note.decibels if follow else max(_LEAST_DB, note.decibels + note.level_db)
        key = int(note.begin_s // _BLOCK_S), note.course if follow else None
        found[key][round(gain * steps) / steps].append(note)
    return found


def _block(layers: _Layers, block: int, synthesizer: Any, sample_rate: int) -> tuple[int, Samples]:
    """The sound of notes that begin in one block, and the frame at which it begins."""
    from symusic import Note, Score, Track

    at = round(block * _BLOCK_S * sample_rate)
    at = max(
        at, math.floor(min(n.begin_s for notes in layers.values() for n in notes) * sample_rate)
    )
    total = np.zeros((2, 0), np.float32)
    for gain_db, notes in sorted(layers.items()):
        score, tracks = Score(480, ttype="second"), {}
        for note in notes:
            kind = note.program, note.drum
            if kind not in tracks:
                tracks[kind] = Track(program=note.program, is_drum=note.drum, ttype="second")
            begin_s = max(0.0, note.begin_s - at / sample_rate)
            tracks[kind].notes.append(
                Note(begin_s, note.lasts_s, note.pitch, _USUAL_VELOCITY, ttype="second")
            )
        for track in tracks.values():
            score.tracks.append(track)
        sound = np.asarray(synthesizer.render(score, stereo=True), dtype=np.float32)
        if gain_db:
            sound *= np.float32(10 ** (gain_db / 20))
        short, long = sorted((total, sound), key=lambda one: one.shape[1])
        long[:, : short.shape[1]] += short
        total = long
    return at, np.nan_to_num(total, copy=False)


def _gains(
    part: ScorePart, at: int, frames: int, origin: float, scale: float
) -> Iterator[NDArray[np.float32]]:
    """What the left and the right channel of a part's sound are multiplied by, from a frame on.

    Args:
        origin: the score's seconds at frame 0. scale: frames per second of the score.
    """
    levels = part.levels if len(part.levels) > 1 else ((0.0, 1.0),)
    level = _curve(levels, at, frames, origin, scale)
    angle = (_curve(part.pans or ((0.0, 0.0),), at, frames, origin, scale) + 1) * (math.pi / 4)
    for side in (np.cos(angle), np.sin(angle)):
        yield np.asarray(math.sqrt(2) * side * level, np.float32)


def _curve(steps: Spans, at: int, frames: int, origin: float, scale: float) -> Any:
    """The values that hold, with ramps of a few milliseconds; a number where it is one alone."""
    first = max(0, bisect_right(steps, origin + at / scale, key=lambda step: step[0]) - 1)
    last = bisect_right(steps, origin + (at + frames) / scale, key=lambda step: step[0])
    by_frame = {round((at_s - origin) * scale) - at: value for at_s, value in steps[first:last]}
    begins, values = list(by_frame), list(by_frame.values())
    if len(values) < 2:
        return values[0] if values else steps[0][1]
    ramp = max(1, round(_RAMP_S * scale))
    xs, ys = [float(begins[0])], [values[0]]
    for i in range(1, len(begins)):
        until = begins[i + 1] if i + 1 < len(begins) else math.inf
        xs += [begins[i], min(begins[i] + ramp, until)]
        ys += [values[i - 1], values[i]]
    return np.interp(np.arange(frames), xs, ys)


def _value_at(steps: Spans, at_s: float) -> float:
    at = bisect_right(steps, at_s, key=lambda step: step[0])
    return steps[max(0, at - 1)][1] if steps else 1.0


def _within_range(pitch: int) -> int:
    while pitch > 127:
        pitch -= 12
    while pitch < 0:
        pitch += 12
    return pitch
