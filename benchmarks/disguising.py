"""Ways to disguise a sound, by name: what people do to hide where it came from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt

from rag_audio.audio.dsp import mono, resample, stretch
from rag_audio.audio.reading import load
from rag_audio.audio.writing import save
from rag_audio.domain import Audio

Disguise = Callable[[Audio], Audio]
SAME_SPEED = (
    "none",
    "MP3 64 kbit/s",
    "low-passed at 1 kHz",
    "noise 6 dB below",
    "noise as loud",
    "gated, 2 Hz",
    "gated, 8 Hz",
)


def disguises(folder: Path) -> dict[str, Disguise]:
    """Every kind, by name.

    Args:
        folder: for files that are written and read.
    """

    def mp3(sound: Audio) -> Audio:
        save(sound, folder / "copy.mp3", bitrate_kbps=64)
        return load(folder / "copy.mp3")

    return {
        "none": lambda sound: sound,
        "MP3 64 kbit/s": mp3,
        "opposite polarity beside louder sound": lambda s: _mixed(s, ((1.0, 1.5), (-1.0, 1.5))),
        "mixed into both channels": lambda s: _mixed(s, ((0.4, 1.0), (-0.35, 0.9))),
        "low-passed at 1 kHz": lambda s: _filtered(s, "low", 1000.0),
        "high-passed at 1 kHz": lambda s: _filtered(s, "high", 1000.0),
        "noise 6 dB below": lambda s: _noisy(s, 0.5),
        "noise as loud": lambda s: _noisy(s, 1.0),
        "gated, 2 Hz": lambda s: _gated(s, 2.0),
        "gated, 4 Hz": lambda s: _gated(s, 4.0),
        "gated, 8 Hz": lambda s: _gated(s, 8.0),
        "backwards": _backwards,
        "backwards, 3 % faster": lambda s: _faster(_backwards(s), 1.03),
        "played 4 % faster": lambda s: _faster(s, 1.04),
        "played 10 % slower": lambda s: _faster(s, 0.9),
        "tempo x 1.05": lambda s: stretch(s, 1 / 1.05, 0),
        "pitch +2 semitones": lambda s: stretch(s, 1.0, 2),
        "pitch +3 semitones": lambda s: stretch(s, 1.0, 3),
    }


def under(sound: Audio, other: Audio, db: float) -> Audio:
    """A sound with another one laid over it that is so many decibels louder."""
    frames = min(sound.frames, other.frames)
    below, above = sound.samples[:, :frames], other.samples[:, :frames]
    gain = np.float32(_level(below) / _level(above) * 10 ** (db / 20))
    return _made(below + gain * above, sound.sample_rate)


def _mixed(sound: Audio, gains: tuple[tuple[float, float], tuple[float, float]]) -> Audio:
    """The mean of the channels and as loud a sound of chords, mixed into two channels."""
    own = mono(sound).samples[0].astype(np.float64)
    t = np.arange(own.size) / sound.sample_rate
    chord = np.zeros(own.size)
    for beat in range(int(t[-1] / 0.4) + 1):
        since = t - 0.4 * beat
        hz = 220.0 * 2 ** (((beat * 7) % 12) / 12)
        tone = sum(np.sin(2 * np.pi * hz * k * since) / k for k in (1, 2, 3, 4))
        chord += np.where(since >= 0, np.exp(-4.0 * np.maximum(since, 0)), 0.0) * tone
    chord *= _level(own) / _level(chord)
    return _made(np.array(gains) @ np.stack([own, chord]), sound.sample_rate)


def _filtered(sound: Audio, kind: str, hz: float) -> Audio:
    sections = butter(6, hz, kind, fs=sound.sample_rate, output="sos")
    return _made(sosfilt(sections, sound.samples), sound.sample_rate)


def _noisy(sound: Audio, share: float) -> Audio:
    noise = np.random.default_rng(3).standard_normal(sound.samples.shape)
    return _made(sound.samples + share * _level(sound.samples) * noise, sound.sample_rate)


def _gated(sound: Audio, hz: float) -> Audio:
    on = (np.arange(sound.frames) * hz / sound.sample_rate) % 1 < 0.5
    return _made(sound.samples * on, sound.sample_rate)


def _backwards(sound: Audio) -> Audio:
    return _made(sound.samples[:, ::-1], sound.sample_rate)


def _faster(sound: Audio, ratio: float) -> Audio:
    return _made(resample(sound, round(sound.sample_rate / ratio)).samples, sound.sample_rate)


def _level(samples: NDArray[np.floating]) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) + 1e-12


def _made(samples: NDArray[np.floating], rate: int) -> Audio:
    return Audio(np.ascontiguousarray(samples, dtype=np.float32), rate)
