"""Sound to mark: small pieces of music and noise, synthesised, the same on every run."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rag_audio.domain import Audio

Samples = NDArray[np.float64]


def band(seconds: float = 12.0, rate: int = 44_100, channels: int = 2, seed: int = 0) -> Audio:
    """Chords and drums."""
    rng = np.random.default_rng(seed)
    parts = [chords(seconds, rate, rng) + 0.8 * drums(seconds, rate, rng) for _ in range(channels)]
    return _audio(np.stack(parts), rate)


def pad(seconds: float = 12.0, rate: int = 44_100, channels: int = 2, seed: int = 0) -> Audio:
    """Held chords alone: tonal and sparse."""
    rng = np.random.default_rng(seed)
    return _audio(np.stack([chords(seconds, rate, rng) for _ in range(channels)]), rate)


def noise(seconds: float = 12.0, rate: int = 44_100, channels: int = 2, seed: int = 0) -> Audio:
    """White noise: what an untrained model makes."""
    return _audio(np.random.default_rng(seed).standard_normal((channels, _n(seconds, rate))), rate)


def beat(seconds: float = 12.0, rate: int = 44_100, channels: int = 2, seed: int = 0) -> Audio:
    """Drums alone, dry, with gaps."""
    rng = np.random.default_rng(seed)
    return _audio(np.stack([drums(seconds, rate, rng)] * channels), rate)


def chords(seconds: float, rate: int, rng: np.random.Generator) -> Samples:
    made = np.zeros(_n(seconds, rate))
    bar = 2.4
    voicings = ((57, 60, 64, 69), (53, 57, 60, 65), (48, 55, 60, 64), (55, 59, 62, 67))
    for i in range(int(seconds / bar) + 1):
        here = made[_n(i * bar, rate) : _n((i + 1) * bar, rate)]
        t = np.arange(len(here)) / rate
        for pitch in voicings[i % 4]:
            for partial in range(1, 13):
                hz = 440 * 2 ** ((pitch - 69) / 12) * partial
                if hz < 0.45 * rate:
                    level = np.exp(-0.25 * t * partial) * np.minimum(t / 0.01, 1) / partial**1.2
                    here += 0.12 * level * np.sin(2 * np.pi * hz * t + rng.uniform(0, 6.28))
    return made


def drums(seconds: float, rate: int, rng: np.random.Generator) -> Samples:
    made = np.zeros(_n(seconds, rate))
    for i in range(int(seconds / 0.3) + 1):
        here = made[_n(i * 0.3, rate) :][: rate // 4]
        t = np.arange(len(here)) / rate
        hiss = rng.standard_normal(len(here))
        here += 0.15 * np.diff(hiss, prepend=0.0) * np.exp(-t / 0.03)
        if i % 4 == 0:
            here += 0.8 * np.sin(2 * np.pi * 55 * t) * np.exp(-t / 0.1)
        if i % 4 == 2:
            here += 0.3 * hiss * np.exp(-t / 0.08)
            here += 0.3 * np.sin(2 * np.pi * 190 * t) * np.exp(-t / 0.06)
    return made


def snr_db(before: Audio, after: Audio) -> float:
    """Ratio of the sound to what was added to it."""
    added = after.samples.astype(np.float64) - before.samples
    return float(10 * np.log10(np.sum(before.samples.astype(np.float64) ** 2) / np.sum(added**2)))


def crop(audio: Audio, start_s: float, seconds: float) -> Audio:
    first = _n(start_s, audio.sample_rate)
    length = _n(seconds, audio.sample_rate)
    return Audio(np.ascontiguousarray(audio.samples[:, first : first + length]), audio.sample_rate)


def _audio(samples: Samples, rate: int) -> Audio:
    return Audio((0.7 * samples / np.abs(samples).max()).astype(np.float32), rate)


def _n(seconds: float, rate: int) -> int:
    return round(seconds * rate)


def organ(seconds: float = 30.0, rate: int = 44_100, channels: int = 2, seed: int = 0) -> Audio:
    """Sustained chords without attack or decay: most of the spectrum is empty."""
    rng = np.random.default_rng(seed)
    made = np.zeros(_n(seconds, rate))
    for i in range(int(seconds / 3) + 1):
        here = made[_n(i * 3, rate) : _n((i + 1) * 3, rate)]
        t = np.arange(len(here)) / rate
        fade = np.minimum(1, np.minimum(t, t[::-1]) / 0.05) if len(t) else t
        for pitch in rng.choice(np.arange(45, 70), 4, replace=False):
            for partial in (1, 2, 3, 4, 6, 8):
                hz = 440 * 2 ** ((pitch - 69) / 12) * partial
                here += 0.08 / partial * fade * np.sin(2 * np.pi * hz * t + rng.uniform(0, 6.28))
    return _audio(np.stack([made] * channels), rate)
