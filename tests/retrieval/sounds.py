"""Small sounds to be recognised, and a store that holds them in memory."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from rag_audio.domain import Audio
from rag_audio.domain.landmarks import Landmarks, Numbers, Postings

RATE = 22_050


class MemoryStore:
    """A :class:`rag_audio.domain.landmarks.LandmarkStore`."""

    def __init__(self, landmarks: Mapping[str, Landmarks]) -> None:
        self._landmarks = dict(landmarks)
        self._ids = tuple(self._landmarks)

    def sharing(self, hashes: Numbers, exclude: Collection[str] = ()) -> Postings:
        columns: list[list[Numbers]] = []
        for number, one in enumerate(self._landmarks.values()):
            at = np.searchsorted(hashes, one.hashes)
            known = at < hashes.size
            known[known] = hashes[at[known]] == one.hashes[known]
            if self._ids[number] not in exclude:
                stems = np.full(int(known.sum()), number, np.int64)
                kept = (one.times_ms[known], one.spans_ms[known], one.pitches[known])
                columns.append([at[known], stems, *kept])
        if not columns:
            nothing = np.zeros(0, np.int64)
            return Postings(nothing, nothing, nothing, nothing, nothing, self._ids)
        return Postings(*(np.concatenate(rows) for rows in zip(*columns, strict=True)), self._ids)

    def load(self, stem_ids: Collection[str]) -> Mapping[str, Landmarks]:
        return {one: self._landmarks[one] for one in stem_ids if one in self._landmarks}


def melody(seed: int, duration_s: float = 8.0, notes_per_s: float = 5.0) -> Audio:
    """Plucked notes of random pitch at random times."""
    rng = np.random.default_rng(seed)
    sound = np.zeros(round(duration_s * RATE), np.float32)
    for start in np.sort(rng.uniform(0, duration_s - 0.3, round(duration_s * notes_per_s))):
        hz = 110.0 * 2 ** (rng.integers(0, 36) / 12)
        seconds = np.arange(round(0.6 * RATE)) / RATE
        note = sum(
            np.sin(2 * np.pi * hz * k * seconds) * np.exp(-seconds * 5 * k) / k for k in (1, 2, 3)
        )
        at = round(start * RATE)
        length = min(note.size, sound.size - at)
        sound[at : at + length] += rng.uniform(0.3, 1.0) * note[:length]
    return _audio(sound)


def drums(seed: int, beat_s: float, duration_s: float, jitter_s: float = 0.01) -> Audio:
    """One pattern played by one kit: the seed is the hand that plays it."""
    rng, kit = np.random.default_rng(seed), np.random.default_rng(99)
    seconds = np.arange(round(0.25 * RATE)) / RATE
    kick = np.sin(2 * np.pi * (50 * seconds + 8 * (1 - np.exp(-seconds * 40))))
    hits = {
        "kick": kick * np.exp(-seconds * 12),
        "snare": kit.standard_normal(seconds.size) * np.exp(-seconds * 20),
        "hat": np.diff(kit.standard_normal(seconds.size + 1)) * np.exp(-seconds * 60),
    }
    sound = np.zeros(round(duration_s * RATE) + 2 * seconds.size, np.float32)
    for step in range(int(duration_s / beat_s * 4)):
        names = ["hat"] if step % 2 == 0 else []
        names += ["kick"] if step % 16 in (0, 7, 10) else []
        names += ["snare"] if step % 8 == 4 else []
        for name in names:
            start = max(0.0, step * beat_s / 4 + rng.normal(0, jitter_s))
            at = round(start * RATE)
            sound[at : at + seconds.size] += rng.uniform(0.5, 0.8) * hits[name]
    return _audio(sound[: round(duration_s * RATE)])


def _audio(sound: np.ndarray[tuple[int], np.dtype[np.float32]]) -> Audio:
    return Audio((0.8 * sound / np.abs(sound).max())[None].astype(np.float32), RATE)
