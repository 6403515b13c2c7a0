"""Sustained sounds without edges of their own, so that a seam would show."""

from __future__ import annotations

import numpy as np

from rag_audio.domain import Audio


def pad_sound(duration_s: float, sample_rate: int, channels: int = 1, seed: int = 0) -> Audio:
    """A held chord with slow beating and a little breath, about -20 dBFS."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(duration_s * sample_rate)) / sample_rate
    root = 110 * 2 ** (rng.integers(0, 12) / 12)
    wave = np.zeros((channels, t.size))
    for interval in (0, 3 + int(rng.integers(0, 2)), 7, 12, 19):
        for channel in range(channels):
            hz = root * 2 ** (interval / 12) * (1 + rng.normal() * 1e-3)
            slow = 1 + 0.3 * np.sin(2 * np.pi * rng.uniform(0.1, 0.4) * t + rng.uniform(0, 6))
            wave[channel] += slow * np.sin(2 * np.pi * hz * t + rng.uniform(0, 6))
    wave += 0.02 * rng.standard_normal(wave.shape)
    return Audio((wave * 0.1 / np.sqrt(np.mean(wave**2))).astype(np.float32), sample_rate)
