"""Music that is all its own, and a store of landmarks in memory: for tests of recognition."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from rag_audio.domain import Audio
from rag_audio.recognition.landmarks import Landmarks
from rag_audio.recognition.store import Postings

RATE = 22_050
Sound = NDArray[np.float32]


def tune(seed: int, seconds: float = 10.0) -> Sound:
    """Plucked notes at random times and pitches: float32 ``[T]``, peak 0.7."""
    rng = np.random.default_rng(seed)
    made = np.zeros(round(seconds * RATE))
    at = 0.05
    while at < seconds - 0.2:
        hz = 220.0 * 2 ** (int(rng.integers(0, 30)) / 12)
        t = np.arange(round(min(0.9, seconds - at) * RATE)) / RATE
        tones = sum(np.sin(2 * np.pi * hz * n * t) / n for n in (1, 2, 3))
        start = round(at * RATE)
        made[start : start + t.size] += tones * np.exp(-t / 0.2) * rng.uniform(0.5, 1.0)
        at += float(rng.uniform(0.08, 0.35))
    return (made / np.abs(made).max() * 0.7).astype(np.float32)


def sound(samples: NDArray[np.floating]) -> Audio:
    """``[T]`` or ``[C, T]`` as a sound."""
    return Audio(np.atleast_2d(samples).astype(np.float32), RATE)


class MemoryLandmarks:
    """A :class:`rag_audio.recognition.store.LandmarkStore` of dictionaries."""

    def __init__(self) -> None:
        self._kept: dict[str, Landmarks] = {}

    def put(self, landmarks: Mapping[str, Landmarks]) -> None:
        self._kept.update(landmarks)

    def drop(self, stem_ids: Iterable[str]) -> None:
        for id_ in stem_ids:
            self._kept.pop(id_, None)

    def sharing(self, hashes: NDArray[np.int64], exclude: Collection[str] = ()) -> Postings:
        asked = {int(value): n for n, value in enumerate(hashes)}
        ids = tuple(sorted(self._kept.keys() - set(exclude)))
        rows = {
            (asked[int(h)], n, int(time), int(span), int(pitch))
            for n, id_ in enumerate(ids)
            for h, time, span, pitch in zip(
                self._kept[id_].hashes,
                self._kept[id_].times_ms,
                self._kept[id_].spans_ms,
                self._kept[id_].pitches,
                strict=True,
            )
            if int(h) in asked
        }
        columns = np.array(sorted(rows), dtype=np.int64).reshape(-1, 5).T
        return Postings(*columns, stem_ids=ids)

    def load(self, stem_ids: Collection[str]) -> Mapping[str, Landmarks]:
        return {id_: one for id_, one in self._kept.items() if id_ in stem_ids}

    def ids(self) -> set[str]:
        return set(self._kept)

    def scarce(self, fewest: int) -> set[str]:
        return {id_ for id_, one in self._kept.items() if one.hashes.size < fewest}
