"""Recordings that are there in two files, and what is compared to tell them."""

from __future__ import annotations

import numpy as np
import pytest

from rag_audio.domain import Stem, StemKind
from rag_audio.retrieval import twins
from rag_audio.retrieval.twins import SAME_SOUND, Recordings

D = 48


def stem(number: int, duration_s: float = 10.0) -> Stem:
    return Stem(f"{number:064x}", "lib", f"{number}.wav", StemKind.AUDIO, "l", duration_s)


def unit(rng: np.random.Generator) -> np.ndarray:
    vector = rng.standard_normal(D)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def near(vector: np.ndarray, cosine: float, rng: np.random.Generator) -> np.ndarray:
    other = rng.standard_normal(D)
    other -= (other @ vector) * vector
    turned = cosine * vector + np.sqrt(1 - cosine**2) * other / np.linalg.norm(other)
    return turned.astype(np.float32)


def test_a_copy_is_known_among_many_and_what_only_resembles_one_is_not() -> None:
    rng = np.random.default_rng(1)
    known = [unit(rng) for _ in range(150)]
    recordings = Recordings()
    for number, vector in enumerate(known):
        assert recordings.add(stem(number), [(0.0, vector), (5.0, near(vector, 0.5, rng))])
    for number in (0, 70, 149):
        copy, alike = (near(known[number], SAME_SOUND + by, rng) for by in (0.003, -0.003))
        assert not recordings.add(stem(1000 + number), [(0.0, copy)])
        assert recordings.add(stem(2000 + number, 12.0), [(0.0, copy)])
        assert recordings.add(stem(3000 + number), [(0.0, alike)])
        assert recordings.add(stem(4000 + number), [(2.0, copy)])
    assert recordings.add(stem(9000), [])


def test_stems_of_one_length_that_sound_different_are_not_compared_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared = []
    monkeypatch.setattr(twins, "_are_twins", lambda *asked: bool(compared.append(asked)))
    rng, recordings = np.random.default_rng(2), Recordings()
    assert all(recordings.add(stem(n), [(0.0, unit(rng))]) for n in range(100))
    assert compared == []
