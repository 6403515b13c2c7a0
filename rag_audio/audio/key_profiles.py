"""The key that several published profiles of keys agree on.

How far a tone belongs to a key was asked of listeners and counted in scores, and each answer names
other keys for music that is not plain. Music that stands clearly in a key by the mean of them is
heard in it by most, whoever reads it.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rag_audio.domain import Key

Rows = NDArray[np.float64]

# Major and minor, tonic first: Krumhansl & Kessler, "Tracing the dynamic changes in perceived tonal
# organization", Psychological Review 89(4), 1982; Temperley, "The Cognition of Basic Musical
# Structures", 2001; Albrecht & Shanahan, "The use of large corpora to train a new type of
# key-finding algorithm", Music Perception 31(1), 2013, table 2.
MAJOR = (0.238, 0.006, 0.111, 0.006, 0.137, 0.094, 0.016, 0.214, 0.009, 0.080, 0.008, 0.081)
MINOR = (0.220, 0.006, 0.104, 0.123, 0.019, 0.103, 0.012, 0.214, 0.062, 0.022, 0.061, 0.052)
_PROFILES = (
    (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
    (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
    (5.0, 2.0, 3.5, 2.0, 4.5, 4.0, 2.0, 4.5, 2.0, 3.5, 1.5, 4.0),
    (5.0, 2.0, 3.5, 4.5, 2.0, 4.0, 2.0, 4.5, 3.5, 2.0, 1.5, 4.0),
    MAJOR,
    MINOR,
)
_OVERTONES = ((0, 0), (1, 0), (2, 7), (3, 0), (4, 4), (5, 7))
"""The first six partials and the pitch class of each above its tone."""
_ROLL_OFF = 0.88

CLEAR_KEY = 0.15
"""By this much the best pair of relative keys leads where most readers name it; see
``benchmarks/bench_key_clarity.py``."""

KNOWN_KEY = 0.06
"""Here more than half of them do."""


def profile_scores(pitch_classes: ArrayLike) -> Rows:
    """``[..., 24]``: how far distributions ``[..., 12]`` are those of each key, twelve major, then
    twelve minor: the mean of the correlations with three profiles. 0 where nothing sounds.
    """
    centred = np.asarray(pitch_classes, dtype=np.float64)
    centred = centred - centred.mean(axis=-1, keepdims=True)
    size = np.linalg.norm(centred, axis=-1, keepdims=True)
    scores: Rows = (centred / np.where(size > 1e-12, size, 1.0)) @ _templates().T
    return np.asarray(scores.reshape(*scores.shape[:-1], -1, 24).mean(axis=-2))


def with_overtones(tones: ArrayLike) -> Rows:
    """What of the pitch classes sounds where tones ``[..., 12]`` with six partials are played."""
    plain = np.asarray(tones, dtype=np.float64)
    partials = [_ROLL_OFF**n * np.roll(plain, above, axis=-1) for n, above in _OVERTONES]
    return np.asarray(np.sum(partials, axis=0))


def key_of(scores: ArrayLike) -> tuple[Key | None, float]:
    """The key with the best of 24 scores, among those of the best pair of relative keys.

    Returns:
        The key, and by how much its pair leads the next; (None, 0) where nothing sounds.
    """
    found = np.asarray(scores, dtype=np.float64)
    if not np.ptp(found) > 0:
        return None, 0.0
    tonic = int(_pairs(found).argmax())
    relative = (tonic + 9) % 12
    key = Key(relative, True) if found[12 + relative] > found[tonic] else Key(tonic, False)
    return key, float(clarity(found))


def clarity(scores: ArrayLike) -> Rows:
    """By how much the best pair of relative keys leads the next, ``[...]`` of ``[..., 24]``."""
    ordered = np.sort(_pairs(np.asarray(scores, dtype=np.float64)), axis=-1)
    return np.asarray(ordered[..., -1] - ordered[..., -2])


def _pairs(scores: Rows) -> Rows:
    """The better of each major key and its relative minor, ``[..., 12]``."""
    return np.maximum(scores[..., :12], np.roll(scores[..., 12:], 3, axis=-1))


@cache
def _templates() -> Rows:
    """``[72, 12]``: the profiles of each of three sets, centred and of length 1."""
    rows = np.array([np.roll(profile, tonic) for profile in _PROFILES for tonic in range(12)])
    rows = rows - rows.mean(axis=1, keepdims=True)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))
