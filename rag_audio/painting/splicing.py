"""Put made sound into its place: crossfades that keep the power, and its level.

Samples are float32 ``[C, T]``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter1d

Samples = NDArray[np.float32]

CROSSFADE_S = 0.05
MOST_GAIN_DB = 18.0
_SILENT = 1e-5
_BLOCK_S, _STEADY_BLOCKS = 0.1, 5


@dataclass(frozen=True)
class LevelSpan:
    """Gains in decibels over frames ``start`` to ``end``: in the middle and at either edge."""

    start: int
    end: int
    gain_db: float
    left_db: float
    right_db: float


def splice(piece: Samples, made: Samples, start: int, end: int, fade: int) -> None:
    """Put ``made[:, start:end]`` into ``piece``, in place, with crossfades outside of it.

    The crossfades take up to ``fade`` frames before ``start`` and after ``end``, and nothing
    beyond them changes, not by a bit. Their gains are cos and sin, divided by √(1 + r·sin 2θ) with
    r ≥ 0 the correlation of the two sounds there, so that the power stays whether they are alike
    (r = 1: equal gain) or not (r = 0: equal power).

    Args:
        made: of the same shape as ``piece``.
    """
    before = min(fade, start)
    if before:
        where = slice(start - before, start)
        piece[:, where] = _crossfaded(piece[:, where], made[:, where])
    after = min(fade, piece.shape[1] - end)
    if after:
        where = slice(end, end + after)
        piece[:, where] = _crossfaded(made[:, where], piece[:, where])
    piece[:, start:end] = made[:, start:end]


def gain_to(heard_lufs: float, target_lufs: float) -> float:
    """Decibels from one loudness to another, at most ±18; 0 where either is silence."""
    if not (math.isfinite(heard_lufs) and math.isfinite(target_lufs)):
        return 0.0
    return max(-MOST_GAIN_DB, min(MOST_GAIN_DB, target_lufs - heard_lufs))


def gain_curve(frames: int, spans: Sequence[LevelSpan], ramp: int) -> NDArray[np.float64]:
    """Factors ``[frames]``: each span's own gain, led over ``ramp`` frames to those of its edges.

    Linear in decibels. Outside of the spans the gain of the nearest edge goes on, so that a
    crossfade there begins at the level at which the span does. A span shorter than two ramps has
    half of it for each.
    """
    at: list[int] = []
    gains: list[float] = []
    for span in spans:
        reach = min(ramp, (span.end - span.start) // 2)
        at += [span.start, span.start + reach, span.end - reach, span.end]
        gains += [span.left_db, span.gain_db, span.gain_db, span.right_db]
    curve = np.interp(np.arange(frames), at, gains)
    return np.asarray(10 ** (curve / 20))


def limited(samples: Samples, ceiling: float, reach: int) -> Samples:
    """The sound with what is above a sample peak turned down, and only around there.

    The gain that each frame needs, as low as the lowest within ``reach`` frames, smoothed over the
    same length: it never lets anything past the ceiling, and never jumps.
    """
    peaks = np.abs(samples).max(axis=0)
    if not peaks.size or peaks.max() <= ceiling:
        return samples
    needed = np.minimum(1.0, ceiling / np.maximum(peaks, 1e-12))
    width = 2 * reach + 1
    lowest = minimum_filter1d(needed, width, mode="nearest")
    window = np.hanning(width + 2)[1:-1]
    padded = np.pad(lowest, reach, mode="edge")
    smooth = np.convolve(padded, window / window.sum(), mode="valid")
    return np.asarray(samples * np.minimum(smooth, 1.0), dtype=np.float32)


def balanced(part: Samples, context: Samples) -> Samples:
    """Copies of one channel, weighted as the channels of their surroundings are."""
    levels = np.sqrt(np.mean(context.astype(np.float64) ** 2, axis=1, keepdims=True))
    mean = float(np.sqrt(np.mean(levels**2)))
    return part if mean < _SILENT else (part * (levels / mean)).astype(np.float32)


def is_silent(samples: Samples) -> bool:
    """Whether there is nothing to hear."""
    return float(np.abs(samples).max(initial=0.0)) < _SILENT


def is_steady(samples: Samples, rate: int) -> bool:
    """Whether the level of each tenth of a second stays within 6 dB, for half a second or more."""
    block = round(_BLOCK_S * rate)
    count = samples.shape[1] // block
    if count < _STEADY_BLOCKS:
        return False
    power = np.mean(np.square(samples[:, : count * block], dtype=np.float64), axis=0)
    levels = power.reshape(count, block).mean(axis=1)
    return bool(levels.min() > _SILENT**2 and levels.max() < levels.min() * 10**0.6)


def _crossfaded(leaving: Samples, coming: Samples) -> Samples:
    frames = leaving.shape[1]
    angle = (np.arange(frames, dtype=np.float64) + 0.5) / frames * (np.pi / 2)
    one, two = leaving.astype(np.float64), coming.astype(np.float64)
    power = math.sqrt(float(np.sum(one**2)) * float(np.sum(two**2)))
    alike = 0.0 if power <= 0 else max(0.0, float(np.sum(one * two)) / power)
    norm = np.sqrt(1.0 + alike * np.sin(2.0 * angle))
    mixed = (np.cos(angle) * one + np.sin(angle) * two) / norm
    return np.asarray(mixed, dtype=np.float32)
