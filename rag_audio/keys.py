"""Which key a distribution of pitch classes is in."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rag_audio.domain import Key

# Albrecht & Shanahan, "The use of large corpora to train a new type of key-finding algorithm",
# Music Perception 31(1), 2013, table 2: tonic first.
_MAJOR = (0.238, 0.006, 0.111, 0.006, 0.137, 0.094, 0.016, 0.214, 0.009, 0.080, 0.008, 0.081)
_MINOR = (0.220, 0.006, 0.104, 0.123, 0.019, 0.103, 0.012, 0.214, 0.062, 0.022, 0.061, 0.052)
# Pop and folk lean on the lowered seventh in minor, which that corpus of art music rarely keeps.
_MINOR_NATURAL = (
    0.220,
    0.006,
    0.104,
    0.123,
    0.008,
    0.103,
    0.012,
    0.200,
    0.072,
    0.012,
    0.110,
    0.030,
)

_BASS_WEIGHT = 0.35
_OPENING_WEIGHT = 0.15
_CLEAR_MARGIN = 0.25
# Tuned drums correlate with some key at about 0.55, pitched music from 0.75 up.
_MIN_CORRELATION, _SURE_CORRELATION = 0.58, 0.85


def estimate_key(
    pitch_classes: ArrayLike, bass: ArrayLike | None = None, opening: ArrayLike | None = None
) -> tuple[Key | None, float]:
    """The key whose profile correlates best with a distribution, and how sure that is.

    A key and its relative share their notes; which degree the bass rests on, and which it opens
    with, decides between them.

    Args:
        pitch_classes: ``[12]`` weights ≥ 0 from C up.
        bass: the same of the lowest voice. opening: the same of its first beats.

    Returns:
        The key, and a confidence 0…1 that grows with the correlation itself and with its lead over
        the best key with another set of notes or another tonic; (None, 0) without any clear pitch.
    """
    weights = np.asarray(pitch_classes, dtype=np.float64)
    if weights.sum() <= 0 or not np.isfinite(weights).all():
        return None, 0.0
    correlation = _correlations(weights)
    score = correlation.copy()
    for extra, weight in ((bass, _BASS_WEIGHT), (opening, _OPENING_WEIGHT)):
        if extra is not None and np.sum(extra) > 0:
            score += weight * _tonic_support(np.asarray(extra, dtype=np.float64))
    best = int(score.argmax())
    fit = float(correlation[best])
    if fit < _MIN_CORRELATION:
        return None, 0.0
    others = np.delete(score, best)
    margin = float(score[best] - others.max())
    tonal = (fit - _MIN_CORRELATION) / (_SURE_CORRELATION - _MIN_CORRELATION)
    confidence = min(1.0, 0.2 + 0.8 * tonal) * min(1.0, margin / _CLEAR_MARGIN)
    return Key(best % 12, best >= 12), round(max(0.0, confidence), 4)


def _correlations(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """``[24]``: Pearson correlation with each key's profile, twelve major then twelve minor."""
    return np.array(
        [_correlate(weights, np.roll(_MAJOR, tonic)) for tonic in range(12)]
        + [
            max(
                _correlate(weights, np.roll(_MINOR, tonic)),
                _correlate(weights, np.roll(_MINOR_NATURAL, tonic)),
            )
            for tonic in range(12)
        ]
    )


def _correlate(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / norm if norm > 0 else 0.0


def _tonic_support(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """``[24]``: share of each tonic, the same for both modes."""
    share = weights / weights.sum()
    return np.concatenate([share, share])
