"""Put made sound into its place, with crossfades that keep the power.

Samples are float32 ``[C, T]``.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]

CROSSFADE_S = 0.05
_SILENT = 1e-5


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


def balanced(part: Samples, context: Samples) -> Samples:
    """Copies of one channel, weighted as the channels of their surroundings are."""
    levels = np.sqrt(np.mean(context.astype(np.float64) ** 2, axis=1, keepdims=True))
    mean = float(np.sqrt(np.mean(levels**2)))
    return part if mean < _SILENT else (part * (levels / mean)).astype(np.float32)


def is_silent(samples: Samples) -> bool:
    """Whether there is nothing to hear."""
    return float(np.abs(samples).max(initial=0.0)) < _SILENT


def _crossfaded(leaving: Samples, coming: Samples) -> Samples:
    frames = leaving.shape[1]
    angle = (np.arange(frames, dtype=np.float64) + 0.5) / frames * (np.pi / 2)
    one, two = leaving.astype(np.float64), coming.astype(np.float64)
    power = math.sqrt(float(np.sum(one**2)) * float(np.sum(two**2)))
    alike = 0.0 if power <= 0 else max(0.0, float(np.sum(one * two)) / power)
    norm = np.sqrt(1.0 + alike * np.sin(2.0 * angle))
    mixed = (np.cos(angle) * one + np.sin(angle) * two) / norm
    return np.asarray(mixed, dtype=np.float32)
