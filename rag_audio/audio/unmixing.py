"""The independent components of a sound's channels.

Channels that are sums of sources with a fixed gain each (an instantaneous linear mix) are
undone by independent component analysis: the channels are made uncorrelated, then turned until
their sums are as far from Gaussian as can be (Hyvärinen, "Fast and robust fixed-point
algorithms for independent component analysis", IEEE Trans. Neural Networks 10(3), 1999). Music
is sparse in time and frequency, so what is turned are the bins of a short-time Fourier
transform, and what is made least is the sum of their magnitudes (Zibulevsky & Pearlmutter,
"Blind source separation by sparse decomposition in a signal dictionary", Neural Computation
13(4), 2001). Two dimensions have one angle, which is found on a fan of angles rather than by
descent: the answer is deterministic. More dimensions are turned pair by pair (Jacobi rotations:
Comon, "Independent component analysis, a new concept?", Signal Processing 36, 1994).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Bins = NDArray[np.complex64]
"""``[C, N]``: points of the channels' spectra."""
Matrix = NDArray[np.float64]

_WINDOW_S = 0.064
_LOW_HZ, _HIGH_HZ = 60.0, 6000.0
_MOST_FRAMES = 400
_MOST_POINTS = 80_000
"""Over all channels."""
_FLOOR = 1e-5
"""Directions with less than this share of the power (-50 dB) are noise of the format."""
_ANGLES, _FINER = 24, 3
_SWEEPS, _STILL = 4, 0.02


def unmixing(samples: NDArray[np.float32], sample_rate: int) -> Matrix:
    """Weights ``[K, C]`` by which the channels are summed to their K ≤ C components.

    Each component has the level that it has in the channel where it is loudest; the loudest comes
    first. Fewer than C are given where some channels are sums of the others. Of long sound at most
    400 windows of 64 ms are looked at, evenly spread.

    Args:
        samples: ``[C, T]``. sample_rate: Hz.
    """
    points = _points(samples, sample_rate)
    channels = len(samples)
    if points.shape[1] < 2 * channels:
        return np.zeros((0, channels))
    covariance = np.real(points @ points.conj().T).astype(np.float64) / points.shape[1]
    values, vectors = np.linalg.eigh(covariance)
    kept = values > _FLOOR * max(float(values[-1]), 1e-30)
    whiten = (vectors[:, kept] / np.sqrt(values[kept])).T
    turned = _turned(whiten.astype(np.float32) @ points) @ whiten
    mixing = np.linalg.pinv(turned)
    loudest = np.abs(mixing).argmax(axis=0)
    gains = mixing[loudest, np.arange(len(turned))]  # also lets no sign be arbitrary
    order = np.argsort(-np.abs(gains), kind="stable")
    return np.asarray((turned * gains[:, None])[order])


def _points(samples: NDArray[np.float32], sample_rate: int) -> Bins:
    """The loudest bins from 60 Hz to 6 kHz, each frequency brought to the same mean power."""
    from scipy.fft import rfft

    size = 1 << max(4, round(np.log2(_WINDOW_S * sample_rate)))
    if samples.shape[1] < size:
        samples = np.pad(samples, ((0, 0), (0, size - samples.shape[1])))
    count = min(_MOST_FRAMES, 1 + (samples.shape[1] - size) // (size // 2))
    starts = np.linspace(0, samples.shape[1] - size, count).astype(int)
    framed = np.lib.stride_tricks.sliding_window_view(samples, size, axis=1)[:, starts]
    low, high = (int(hz * size / sample_rate) for hz in (_LOW_HZ, _HIGH_HZ))
    spectra = rfft(framed * np.hanning(size).astype(np.float32), axis=2)
    spectra = spectra[:, :, low : max(high, low + 1) + 1]
    power = (np.square(spectra.real) + np.square(spectra.imag)).sum(axis=0)
    level = power.mean(axis=0)
    level += 1e-4 * max(float(level.max(initial=0.0)), 1e-20)
    spectra = spectra / np.sqrt(level)
    flat = (power / level).ravel()
    most = min(_MOST_POINTS // len(samples), flat.size)
    loudest = np.sort(np.argpartition(-flat, most - 1)[:most]) if most else np.arange(0)
    return np.ascontiguousarray(spectra.reshape(len(samples), -1)[:, loudest])


def _turned(white: Bins) -> Matrix:
    """The rotation ``[K, K]`` after which the sum of magnitudes is least."""
    count = len(white)
    rotation = np.eye(count)
    for _ in range(_SWEEPS if count > 2 else 1):
        furthest = 0.0
        for i in range(count - 1):
            for j in range(i + 1, count):
                turn = _turn(white[i], white[j])
                rotation[[i, j]] = turn @ rotation[[i, j]]
                white[[i, j]] = turn.astype(np.float32) @ white[[i, j]]
                furthest = max(furthest, min(abs(turn[0, 0]), abs(turn[0, 1])))
        if furthest < _STILL:
            break
    return rotation


def _turn(first: Bins, second: Bins) -> Matrix:
    """The rotation of two dimensions, within a quarter turn; the rest is order and sign."""
    a, b = (np.square(one.real) + np.square(one.imag) for one in (first, second))
    both = 2.0 * (first.real * second.real + first.imag * second.imag)

    def spread(angle: float) -> float:
        c, s = np.cos(angle), np.sin(angle)
        cross = np.float32(c * s) * both
        one = np.float32(c * c) * a + np.float32(s * s) * b + cross
        other = np.float32(s * s) * a + np.float32(c * c) * b - cross
        return float(np.sqrt(np.maximum(one, 0)).sum() + np.sqrt(np.maximum(other, 0)).sum())

    step = np.pi / 2 / _ANGLES
    best = min((n * step for n in range(_ANGLES)), key=spread)
    for _ in range(_FINER):
        step /= 3
        best = min((best + n * step for n in (-2, -1, 0, 1, 2)), key=spread)
    c, s = np.cos(best), np.sin(best)
    return np.array([[c, s], [-s, c]])
