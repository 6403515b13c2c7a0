"""An embedder without weights, for tests of what stands on embeddings."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rag_audio.audio.channels import heard
from rag_audio.audio.dsp import resample
from rag_audio.domain import Audio
from rag_audio.errors import InvalidInput


class FakeEmbedder:
    """Band levels for sound, hashed words for text; implements ``ports.Embedder``.

    Args:
        space: id of its space, to play another model.
    """

    def __init__(self, space: str = "fake-1") -> None:
        self.space = space
        self.name = "fake"
        self.dimension = 16
        self.sample_rate = 16_000
        self.window_s = 10.0
        self.untrained = True
        self.text_weight = 0.05

    def embed_audio(self, clips: Sequence[Audio]) -> NDArray[np.float32]:
        """Levels of 15 bands over the first window, and one constant."""
        return self._unit([self._levels(clip) for clip in clips])

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Words fall into dimensions by their hash."""
        rows = []
        for text in texts:
            row = np.zeros(self.dimension)
            row[-1] = 1.0
            for word in text.lower().split():
                row[hashlib.sha256(word.encode()).digest()[0] % (self.dimension - 1)] += 1.0
            rows.append(row)
        return self._unit(rows)

    def _levels(self, clip: Audio) -> NDArray[np.float64]:
        if clip.frames == 0 or not np.isfinite(clip.samples).all():
            raise InvalidInput("clip has no samples, or some that are not finite")
        sound = resample(heard(clip), self.sample_rate).samples[0]
        sound = sound[: round(self.window_s * self.sample_rate)]
        power = np.abs(np.fft.rfft(sound, max(64, sound.size))) ** 2 / max(1, sound.size)
        edges = np.geomspace(1, power.size, self.dimension).astype(int)
        levels = [np.sqrt(power[low : max(low + 1, high)].mean()) for low, high in _pairs(edges)]
        return np.array([*levels, 1.0])

    def _unit(self, rows: Sequence[NDArray[np.float64]]) -> NDArray[np.float32]:
        table = np.array(rows, dtype=np.float64).reshape(-1, self.dimension)
        return (table / np.linalg.norm(table, axis=1, keepdims=True)).astype(np.float32)


def _pairs(edges: NDArray[np.int64]) -> list[tuple[int, int]]:
    return [(int(low), int(high)) for low, high in pairwise(edges)]
