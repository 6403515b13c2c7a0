"""Sound for contract tests, the same on every run, and how to expect an error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from rag_audio.domain import Audio


@contextmanager
def refused(error: type[Exception], why: str) -> Iterator[None]:
    """Expects an error.

    Args:
        why: what must be refused; told where it is not.
    """
    try:
        yield
    except error:
        return
    raise AssertionError(f"{why} must raise {error.__name__}")


def noise(seconds: float, rate: int = 44_100, channels: int = 1, seed: int = 0) -> Audio:
    """White noise of RMS 0.1, at least one sample."""
    rng = np.random.default_rng(seed)
    shape = (channels, max(1, int(seconds * rate)))
    return Audio((0.1 * rng.standard_normal(shape)).astype(np.float32), rate)


def tune(duration_s: float, sample_rate: int = 16_000, channels: int = 2, seed: int = 0) -> Audio:
    """Decaying notes of random pitch: something with a beginning, a middle and an end."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(duration_s * sample_rate)) / sample_rate
    wave = np.zeros_like(t)
    for start in np.arange(0, duration_s, 0.25):
        pitch = 110 * 2 ** (rng.integers(0, 36) / 12)
        age = np.maximum(t - start, 0)
        wave += (t >= start) * np.exp(-age * 12) * np.sin(2 * np.pi * pitch * age)
    samples = np.stack([wave * gain for gain in np.linspace(0.5, 0.3, channels)])
    return Audio(samples.astype(np.float32), sample_rate)


def band(seconds: float = 12.0, rate: int = 44_100, channels: int = 2, seed: int = 0) -> Audio:
    """Chords with harmonics over hits of noise: enough in every band to carry a mark."""
    rng = np.random.default_rng(seed)
    rows = np.stack([_chords_and_hits(round(seconds * rate), rate, rng) for _ in range(channels)])
    return Audio((0.5 * rows / np.abs(rows).max()).astype(np.float32), rate)


def _chords_and_hits(frames: int, rate: int, rng: np.random.Generator) -> NDArray[np.float64]:
    wave = np.zeros(frames)
    for start in range(0, frames, round(2.4 * rate)):
        here = wave[start : start + round(2.4 * rate)]
        age = np.arange(here.size) / rate
        for pitch in rng.integers(48, 72, 4):
            for partial in range(1, 13):
                hz = 440 * 2 ** ((pitch - 69) / 12) * partial
                if hz < 0.45 * rate:
                    level = np.exp(-0.25 * age * partial) / partial**1.2
                    here += 0.12 * level * np.sin(2 * np.pi * hz * age)
    for start in range(0, frames, round(0.3 * rate)):
        here = wave[start : start + round(0.3 * rate)]
        age = np.arange(here.size) / rate
        here += 0.2 * np.exp(-age / 0.05) * rng.standard_normal(here.size)
    return wave


def difference(a: Audio, b: Audio) -> float:
    """RMS of the difference over the RMS of the first."""
    gap = np.sqrt(np.mean((a.samples - b.samples) ** 2))
    return float(gap / np.sqrt(np.mean(a.samples**2)))
