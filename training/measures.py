"""What evaluation counts: readings of tempo, key and instrument, distances, intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rag_audio.audio.analysis import Analysis
from rag_audio.audio.librosa_cache import librosa_ready
from rag_audio.domain import Audio, Key
from training.palette import DRUM_NAMES, DRUMS, TONES

TEMPO_TOLERANCE = 0.04
Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Figure:
    """A mean with its 95 % bootstrap interval over ``n`` items."""

    mean: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.mean:.2f} [{self.low:.2f}, {self.high:.2f}], n={self.n}"


def figure(values: Sequence[float] | Array, seed: int = 0) -> Figure:
    """Mean and interval; of nothing, not a number."""
    data = np.asarray(values, dtype=np.float64)
    if data.size == 0:
        return Figure(float("nan"), float("nan"), float("nan"), 0)
    rng = np.random.default_rng(seed)
    means = data[rng.integers(0, data.size, (1000, data.size))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Figure(float(data.mean()), float(low), float(high), int(data.size))


def tempo_right(read: Analysis, bpm: float) -> bool:
    """The tempo read is the asked one, its half or its double, within 4 %."""
    if read.bpm is None:
        return False
    return any(abs(read.bpm / (bpm * octave) - 1) <= TEMPO_TOLERANCE for octave in (0.5, 1.0, 2.0))


def key_right(read: Analysis, key: Key) -> bool:
    """The key read is the asked one or its relative."""
    return read.key is not None and read.key in (key, key.relative())


class FamilyJudge:
    """Names the instrument family of a single stem by its nearest caption (zero-shot)."""

    def __init__(self, embedder: Any, families: Sequence[str]) -> None:
        self.families = tuple(families)
        self._embedder = embedder
        vectors = []
        for family in self.families:
            made = embedder.embed_text(_family_lines(family))
            mean = np.asarray(made).mean(axis=0)
            vectors.append(mean / np.linalg.norm(mean))
        self._vectors = np.stack(vectors)

    def __call__(self, sounds: Sequence[Audio]) -> list[str]:
        """One family per sound."""
        scores = np.asarray(self._embedder.embed_audio(list(sounds))) @ self._vectors.T
        return [self.families[index] for index in scores.argmax(axis=1)]


def _family_lines(family: str) -> list[str]:
    if family == DRUMS:
        return list(DRUM_NAMES)
    names = {name for tone in TONES.values() if tone.family == family for name in tone.names[:2]}
    roles = ("bass line",) if family == "bass" else ("chords", "melody", "arpeggio")
    return [f"{name} {role}" for name in sorted(names) for role in roles]


def recall(text: Array, sound: Array, depth: int) -> list[float]:
    """Per text, whether its own sound is among the ``depth`` nearest; rows belong together."""
    scores = np.asarray(text) @ np.asarray(sound).T
    own = np.diagonal(scores)[:, None]
    return [float(rank < depth) for rank in (scores > own).sum(axis=1)]


def frechet(a: Array, b: Array) -> float:
    """Fréchet distance of two sets of vectors as Gaussians with shrunken covariances."""
    from scipy.linalg import sqrtm

    covariances = []
    for rows in (a, b):
        made = np.cov(np.asarray(rows, dtype=np.float64), rowvar=False)
        covariances.append(made + 1e-4 * np.trace(made) / len(made) * np.eye(len(made)))
    shift = np.square(np.mean(a, axis=0) - np.mean(b, axis=0)).sum()
    root = np.real(sqrtm(covariances[0] @ covariances[1]))
    return float(shift + np.trace(covariances[0] + covariances[1] - 2 * root))


def describe_sound(sound: Audio) -> Array:
    """A fixed description without learning: mean and spread of 32 mel bands and of their flux."""
    wave = sound.samples.mean(axis=0)
    mel = librosa_ready().feature.melspectrogram(y=wave, sr=sound.sample_rate, n_mels=32)
    levels = np.log10(np.maximum(mel, 1e-8))
    flux = np.abs(np.diff(levels, axis=1))
    return np.concatenate([levels.mean(1), levels.std(1), flux.mean(1)])


def log_mel_distance(a: Audio, b: Audio) -> float:
    """Mean absolute difference of 64-band mel spectrograms in decibels, above -80 dB."""
    librosa = librosa_ready()
    size = min(a.frames, b.frames)
    levels = []
    for sound in (a, b):
        wave = sound.samples[:, :size].mean(axis=0)
        mel = librosa.feature.melspectrogram(y=wave, sr=sound.sample_rate, n_mels=64)
        levels.append(10 * np.log10(np.maximum(mel, 1e-8)))
    return float(np.abs(levels[0] - levels[1]).mean())
