"""How a seam sounds beside the rest of its piece: steps between samples, rise of the high band."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rag_audio.domain import Audio

FRAME, HOP = 1024, 256
HIGH_HZ = 4000.0
REACH_S = 0.1
"""A seam is what lies so near to it: its crossfade, and a window of the spectrum."""


@dataclass(frozen=True)
class SeamMeasure:
    """The largest at the seams over the largest elsewhere: at most 1 where no seam stands out.

    Attributes:
        step: of the differences between neighbouring samples.
        flux: of the summed rises of magnitudes from 4 kHz upwards, from one window to the next.
        level_db: largest step of the level of 0.4 s across a seam. level_elsewhere_db: elsewhere.
    """

    step: float
    flux: float
    level_db: float
    level_elsewhere_db: float


def measure_seams(audio: Audio, seams_s: Sequence[float]) -> SeamMeasure:
    """Hold the seams of a piece against the rest of it."""
    steps = np.abs(np.diff(audio.samples, axis=1)).max(axis=0)
    flux = high_flux(audio)
    levels = level_steps_db(audio)
    rate = audio.sample_rate
    at_step = _near(steps.size, rate, 0.5, seams_s)
    at_flux = _near(flux.size, rate / HOP, FRAME / HOP / 2 + 0.5, seams_s)
    at_level = _near(levels.size, 1 / LEVEL_HOP_S, LEVEL_S / LEVEL_HOP_S, seams_s)
    return SeamMeasure(
        _ratio(steps, at_step),
        _ratio(flux, at_flux),
        float(levels[at_level].max(initial=0.0)),
        float(levels[~at_level].max(initial=0.0)),
    )


def high_flux(audio: Audio) -> NDArray[np.float64]:
    """Half-wave rectified spectral flux above 4 kHz, ``[windows - 1]``, all channels summed."""
    window = np.hanning(FRAME)
    first = round(HIGH_HZ / audio.sample_rate * FRAME)
    total = np.zeros(max(0, (audio.frames - FRAME) // HOP))
    for channel in audio.samples.astype(np.float64):
        frames = np.lib.stride_tricks.sliding_window_view(channel, FRAME)[::HOP] * window
        size = np.abs(np.fft.rfft(frames, axis=1))[:, first:]
        total += np.maximum(np.diff(size, axis=0), 0.0).sum(axis=1)[: total.size]
    return total


LEVEL_S, LEVEL_HOP_S = 0.4, 0.1


def level_steps_db(audio: Audio) -> NDArray[np.float64]:
    """|dB| from the 0.4 s before to the 0.4 s after each tenth of a second, from 0.4 s on."""
    block = round(LEVEL_HOP_S * audio.sample_rate)
    count = audio.frames // block
    power = np.mean(np.square(audio.samples, dtype=np.float64), axis=0)[: count * block]
    blocks = power.reshape(count, block).mean(axis=1)
    wide = round(LEVEL_S / LEVEL_HOP_S)
    sums = np.convolve(blocks, np.ones(wide), "valid") + 1e-10
    return np.abs(10 * np.log10(sums[wide:] / sums[:-wide]))


def _near(
    count: int, per_second: float, offset: float, seams_s: Sequence[float]
) -> NDArray[np.bool_]:
    times = (np.arange(count) + offset) / per_second
    near = np.zeros(count, dtype=bool)
    for seam in seams_s:
        near |= np.abs(times - seam) <= REACH_S
    return near


def _ratio(values: NDArray[np.floating], near: NDArray[np.bool_]) -> float:
    elsewhere = float(values[~near].max(initial=0.0))
    return float(values[near].max(initial=0.0)) / max(elsewhere, 1e-9)
