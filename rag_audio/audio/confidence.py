"""How probable it is that a measured tempo or key is right.

What :func:`.analyse` calls confidence grows with it, but is none. The logistic functions here were
fitted by maximum likelihood to 239 and 242 renders of benchmarks/loop_material.py (split "train");
benchmarks/bench_tempo_key.py shows how often what they state holds for others.
"""

from __future__ import annotations

import math

_LONG_S = 16.0
_CLEAR_LEAD = 0.4


def tempo_confidence(bpm: float | None, correlation: float) -> float:
    """How probable it is that a tracked tempo is within 2 % of the one that is meant, 0…1.

    Half or double of it is the most frequent error, and grows likely away from 115 bpm.

    Args:
        bpm, correlation: as :func:`.analyse` gives a tempo and its confidence.
    """
    if bpm is None:
        return 0.0
    octaves = math.log2(bpm / 115.0)
    return _logistic(0.3 + 1.8 * correlation - min(4.0 * octaves**2, 1.9))


def key_confidence(lead: float, duration_s: float) -> float:
    """How probable it is that a key is the one that is meant, 0…1.

    A bar or two seldom tell a key from its neighbours. Drums and noise, which have none, show by a
    small lead.

    Args:
        lead: what :func:`.analyse` gives as the key's confidence.
    """
    octaves = math.log2(min(max(duration_s, 0.5), _LONG_S))
    return min(1.0, lead / _CLEAR_LEAD) * _logistic(-2.2 + 1.8 * lead + 0.6 * octaves)


def _logistic(value: float) -> float:
    return 1.0 / (1.0 + math.exp(-value))
