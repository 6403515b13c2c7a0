"""Stems that are one recording in two files: as MP3 and WAV, or at two sample rates.

Byte-identical files are one stem already. What counts as the same recording was measured by
``benchmarks/bench_twins.py``: re-encoded copies stay above the threshold, and different hits of one
drum below it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rag_audio.domain import Stem

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Window = tuple[float, NDArray[np.float32]]
    """Start in seconds, and the embedding."""

SAME_SOUND = 0.995
"""Cosine of the embeddings of windows from the same place, at least."""

SAME_LENGTH = 0.002
"""Difference of the durations, as a share of the longer one, at most."""

_SAME_TEMPO = 0.01
_SAME_START_S = 0.05
_NEARLY = SAME_SOUND - 1e-4  # products of many vectors at once are rounded otherwise
_AT_FIRST = 64


class Recordings:
    """The recordings that a result list holds already."""

    def __init__(self) -> None:
        self._known: dict[int, list[tuple[Stem, Sequence[Window]]]] = {}
        self._vectors: NDArray[np.float32] | None = None
        self._filled = 0

    def add(self, stem: Stem, windows: Sequence[Window]) -> bool:
        """Take a stem in where it is no twin of a stem that is there; whether it was taken in.

        Args:
            windows: those of the stem that were found. Of a long stem that has none in common with
                another one, nothing is known: they are no twins.
        """
        length = round(math.log(max(stem.duration_s, 1e-3)) / math.log1p(SAME_LENGTH))
        if self._is_known_sound([vector for _, vector in windows]):
            near = [one for n in (length - 1, length, length + 1) for one in self._known.get(n, ())]
            if any(_are_twins(stem, windows, *other) for other in near):
                return False
        self._known.setdefault(length, []).append((stem, windows))
        for _, vector in windows:
            self._keep(vector)
        return True

    def _is_known_sound(self, vectors: Sequence[NDArray[np.float32]]) -> bool:
        """Whether any vector is about that of a window that is there: only then may be a twin."""
        if self._vectors is None or not vectors:
            return False
        return bool((self._vectors[: self._filled] @ np.stack(vectors).T).max() >= _NEARLY)

    def _keep(self, vector: NDArray[np.float32]) -> None:
        if self._vectors is None:
            self._vectors = np.empty((_AT_FIRST, vector.size), np.float32)
        elif self._filled == len(self._vectors):
            self._vectors = np.concatenate([self._vectors, np.empty_like(self._vectors)])
        self._vectors[self._filled] = vector
        self._filled += 1


def _are_twins(a: Stem, of_a: Sequence[Window], b: Stem, of_b: Sequence[Window]) -> bool:
    if a.kind is not b.kind or not _are_near(a.duration_s, b.duration_s, SAME_LENGTH):
        return False
    if a.bpm and b.bpm and not _are_near(a.bpm, b.bpm, _SAME_TEMPO):
        return False
    if a.key is not None and b.key is not None and a.key != b.key:
        return False
    nearness = [
        float(x @ y) for start, x in of_a for other, y in of_b if abs(start - other) < _SAME_START_S
    ]
    return bool(nearness) and min(nearness) >= SAME_SOUND


def _are_near(a: float, b: float, share: float) -> bool:
    return abs(a - b) <= share * max(a, b)
