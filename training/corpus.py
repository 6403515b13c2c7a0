"""Endless music with captions and ground truth: the data that the embedded models learn from.

Every clip is made from a seed: a piece is composed (:mod:`training.pieces`), put into words
(:mod:`training.captions`), played with one of the given soundfonts and treated with effects
(:mod:`training.effects`). Nothing is read but soundfonts. The same seed gives the same clip.

Two ways to hold out: ``split="test"`` composes with progressions and seeds that training never
sees, and another soundfont plays the same music with other sounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rag_audio.domain.music import beat_s
from rag_audio.errors import InvalidInput
from rag_audio.resources import data_dir
from training import effects as fx
from training.captions import caption, near_miss
from training.palette import FAMILIES
from training.pieces import Facts, Piece, Split, compose
from training.score import Song, Voice, without_overlaps

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "FAMILIES", "Clip", "Facts", "Piece", "Split", "caption", "compose", "make_clip", "near_miss",
    "own_soundfont", "render",
]  # fmt: skip

FLUID = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
"""Debian's ``fluid-soundfont-gm`` (MIT), for realism where it is installed."""

_TAIL_S = 0.25
_LEVELS = (0.45, 0.72, 1.0)
"""Loudness of soft, normal and accented notes: the player itself ignores velocity."""


@dataclass(frozen=True, eq=False)
class Clip:
    """A piece of the corpus.

    Attributes:
        samples: float32 ``[2, T]``, peak below 1.
        soundfont: file name of what played it.
    """

    samples: NDArray[np.float32]
    sample_rate: int
    caption: str
    facts: Facts
    seed: int
    soundfont: str


def own_soundfont() -> Path:
    """The soundfont that this project synthesises."""
    return data_dir("soundfont") / "rag-audio.sf2"


@lru_cache(maxsize=4)
def _player(soundfont: str, sample_rate: int) -> Any:
    from symusic import Synthesizer

    return Synthesizer(soundfont, sample_rate, 0)


def make_clip(
    seed: int,
    *,
    sample_rate: int = 44100,
    duration_s: float = 12.0,
    soundfonts: Sequence[Path] | None = None,
    split: Split = "train",
    effects: bool = True,
) -> Clip:
    """Compose, describe and render one clip.

    Args:
        soundfonts: one of them is drawn by the seed; None is our own.

    Raises:
        InvalidInput: a soundfont does not exist, or the duration is not 1…60 s.
    """
    fonts = tuple(soundfonts) if soundfonts else (own_soundfont(),)
    chosen = fonts[int(np.random.default_rng([seed, 11]).integers(len(fonts)))]
    piece = compose(seed, split, max(24.0, 1.5 * duration_s))
    samples = render(
        piece, seed=seed, sample_rate=sample_rate, duration_s=duration_s, soundfont=chosen,
        effects=effects,
    )  # fmt: skip
    text = caption(piece.facts, seed)
    return Clip(samples, sample_rate, text, piece.facts, seed, chosen.name)


def render(
    piece: Piece,
    *,
    seed: int,
    sample_rate: int,
    duration_s: float,
    soundfont: Path,
    effects: bool = True,
) -> NDArray[np.float32]:
    """Play a window of the piece that starts on a bar line.

    Returns:
        float32 ``[2, T]`` of exactly ``duration_s``, peak below 1.
    """
    if not soundfont.is_file():
        raise InvalidInput(f"there is no soundfont {str(soundfont)!r}")
    if not 1.0 <= duration_s <= 60.0:
        raise InvalidInput(f"duration_s must be 1…60, got {duration_s:g}")
    rng = np.random.default_rng([seed, 12])
    start_s = _start_of_window(piece.song, duration_s, rng)
    frames = round(duration_s * sample_rate)
    player = _player(str(soundfont), sample_rate)
    mix = np.zeros((2, frames), np.float32)
    for voice in piece.song.voices:
        dry = _play(voice, piece.song.bpm, start_s, duration_s, player, sample_rate, frames)
        mix += fx.placed(dry, voice, sample_rate, rng, treat=effects)
    if effects:
        mix = fx.mastered(mix, sample_rate, rng, room=piece.room, drive=piece.drive)
    return fx.levelled(mix, rng if effects else None)


def _start_of_window(song: Song, duration_s: float, rng: np.random.Generator) -> float:
    """A bar line, a multiple of two bars where there is room, from which the window fits."""
    room = max(0, int((song.duration_s - duration_s) / song.bar_s + 1e-6))
    return float(rng.integers(0, room // 2 + 1)) * 2 * song.bar_s


def _play(
    voice: Voice, bpm: float, start_s: float, duration_s: float, player: Any, rate: int, frames: int
) -> NDArray[np.float32]:
    """One voice in the window, float32 ``[1, frames]`` (``[2, frames]`` for drums, which have
    places of their own); accents by rendering in layers."""
    from symusic import Note, Score, Track

    layers: tuple[list[Any], ...] = ([], [], [])
    for e in without_overlaps(voice.events):
        begin = e.start * beat_s(bpm) - start_s
        length = e.length * beat_s(bpm)
        if begin < -0.02:  # what rang before the window is cut, as a loop would be
            length, begin = length + begin, 0.0
            if length < 0.15 or voice.drum:
                continue
        if begin >= duration_s:
            break
        length = min(max(length, 0.03), duration_s - begin + 0.02)
        layer = 0 if e.velocity < 76 else 1 if e.velocity < 98 else 2
        layers[layer].append(Note(max(0.0, begin), length, e.pitch, e.velocity, ttype="second"))
    out = np.zeros((2 if voice.drum else 1, frames), np.float32)
    for gain, notes in zip(_LEVELS, layers, strict=True):
        if not notes:
            continue
        score = Score(480, ttype="second")
        track = Track("", voice.program, voice.drum, ttype="second")
        for note in notes:
            track.notes.append(note)
        score.tracks.append(track)
        sound = np.asarray(player.render(score, stereo=voice.drum))[:, :frames]
        out[:, : sound.shape[1]] += np.float32(gain) * sound
    return out
