"""Writing signs into sound: patchwork on the log-magnitude of an STFT.

A cell is made a little louder for + and softer for -. Bender, Gruhl, Morimoto & Lu, "Techniques for
data hiding", IBM Systems Journal 35(3/4), 1996 (patchwork); Yeo & Kim, "Modified patchwork
algorithm", IEEE Transactions on Speech and Audio Processing 11(4), 2003; Kirovski & Malvar,
"Spread-spectrum watermarking of audio signals", IEEE Transactions on Signal Processing 51(4), 2003
(chips in the log-spectrum). The grid lies at a fixed internal rate, so that the rate of the audio
does not matter, and only the change is resampled: the rest stays untouched.

Letters in shapes: C channels, T samples, K frames, B bands, F cells of a block in time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from rag_audio.watermark.grid import EDGES, FRAME, FRAMES_PER_CELL, HANN, HOP, RATE, frames

SNR_DB = 33.2
"""Ratio of the sound to the mark, within about every second and over the whole."""

Cells = NDArray[np.float32]


@dataclass(frozen=True)
class Shaping:
    """How the mark spreads over cells of different power; the ratio to the sound stays the same.

    Attributes:
        most: largest relative change of a cell's amplitude.
        slope: exponent by which weaker cells change more than stronger ones.
    """

    most: float
    slope: float


SHAPINGS = (Shaping(10 ** (4 / 20) - 1, 0.7), Shaping(10 ** (6 / 20) - 1, 0.85))
"""The first for most sound; the second, nearer to the masking threshold, where that is too weak."""

_SECOND = round(RATE / HOP)
_EMBED_FRAMES = 1500
_TINY = 1e-12
_ROOT_HANN = np.sqrt(HANN)
_COST = 2 / FRAME * 0.75
"""One-sided spectrum to energy; 0.75: what two overlapping windows leave of it."""


def mark_signal(
    signal: NDArray[np.float32],
    energy: NDArray[np.float64],
    signs: Cells,
    first_cell: int,
    shaping: Shaping = SHAPINGS[0],
) -> NDArray[np.float32]:
    """What to add to ``signal`` so that its cells carry ``signs``.

    Args:
        signal: ``[C, T]`` at :data:`RATE`.
        energy: ``[K]``: energy of each hop of the whole-band audio, all channels, at that rate.
        signs: ``[F, B]``: one block, repeated to the end. Frame k is centred on sample k · HOP.
        first_cell: cell of the block that the first sample lies in.
        shaping: where the mark goes.

    Returns:
        ``[C, T]``.
    """
    count_all = signal.shape[1] // HOP + 1
    padded = np.pad(signal, ((0, 0), (HOP, 2 * HOP)))
    change = np.zeros_like(padded)
    allowed = 0.0
    for first in range(0, count_all, _EMBED_FRAMES):
        count = min(_EMBED_FRAMES, count_all - first)
        here = slice(first * HOP, (first + count + 1) * HOP)
        spectrum = scipy.fft.rfft(frames(padded[:, here], HOP) * _ROOT_HANN, axis=-1)
        cell = np.arange(first, first + count) // FRAMES_PER_CELL + first_cell
        strength, budget = _strength(spectrum, energy[first : first + count], shaping)
        allowed += budget
        band = np.repeat(signs[cell % len(signs)] * strength, np.diff(EDGES), axis=1)
        shaped = np.zeros_like(spectrum)
        marked = slice(EDGES[0], EDGES[-1])
        shaped[..., marked] = spectrum[..., marked] * band
        pieces = scipy.fft.irfft(shaped, FRAME, axis=-1) * _ROOT_HANN
        change[:, here] += _overlap_add(pieces)
    added = float(np.sum(change.astype(np.float64) ** 2))
    if added > allowed:  # the estimate per frame is rough where the sound is gated
        change *= np.float32(np.sqrt(allowed / added))
    return change[:, HOP : HOP + signal.shape[1]]


def hop_energy(samples: NDArray[np.float32], sample_rate: int) -> NDArray[np.float64]:
    """``[K]``: energy around each frame of the grid, in terms of :data:`RATE`, all channels."""
    power = np.einsum("ct,ct->t", samples, samples, dtype=np.float64)
    total = np.concatenate(([0.0], np.cumsum(power)))
    count = samples.shape[1] * RATE // sample_rate // HOP + 2
    edges = np.rint((np.arange(count + 1) - 1) * HOP * sample_rate / RATE).astype(np.int64)
    at_edges = total[np.clip(edges, 0, len(power))]
    later = total[np.clip(edges + round(2 * HOP * sample_rate / RATE), 0, len(power))]
    around: NDArray[np.float64] = (later - at_edges) / 2 * RATE / sample_rate
    return around


def _strength(
    spectrum: NDArray[np.complex64], energy: NDArray[np.float64], shaping: Shaping
) -> tuple[Cells, float]:
    """``[K, B]``: relative change of amplitude that each cell can hide; the energy that may take.

    Weak cells bear more than strong ones (the power law stands in for masking: a change spreads
    evenly under the louder sound around it), and within about a second the change stays a fixed
    ratio below the sound.
    """
    power = np.sum(spectrum.real**2 + spectrum.imag**2, axis=0).astype(np.float64)
    cells = np.add.reduceat(power[:, : EDGES[-1]], EDGES[:-1], axis=1)
    density = cells / np.diff(EDGES)
    around = uniform_filter1d(uniform_filter1d(density, 3, axis=0), 3, axis=1)
    around = np.maximum(around, 0) + _TINY
    shape = (around / around.mean(axis=1, keepdims=True)) ** -shaping.slope
    cost = cells * _COST
    budget = _around(energy) * 10 ** (-SNR_DB / 10)
    low, high = np.full(len(cells), -5.0), np.full(len(cells), 1.0)
    for _ in range(12):
        level = (low + high) / 2
        change = np.minimum(shaping.most, 10 ** level[:, None] * shape)
        fits = _around((change**2 * cost).sum(axis=1)) <= budget
        low, high = np.where(fits, level, low), np.where(fits, high, level)
    strength = np.minimum(shaping.most, 10 ** low[:, None] * shape).astype(np.float32)
    return strength, float((energy * 10 ** (-SNR_DB / 10)).sum())


def _around(values: NDArray[np.float64]) -> NDArray[np.float64]:
    # A running sum may leave a rounding error below zero after loud passages.
    mean: NDArray[np.float64] = uniform_filter1d(values, _SECOND, axis=0, mode="nearest")
    return np.maximum(mean, 0.0)


def _overlap_add(pieces: NDArray[np.float32]) -> NDArray[np.float32]:
    """``[C, K, FRAME]`` at HOP = FRAME / 2 → ``[C, (K + 1) · HOP]``."""
    channels, count, _ = pieces.shape
    summed = np.zeros((channels, count + 1, HOP), np.float32)
    summed[:, :-1] += pieces[:, :, :HOP]
    summed[:, 1:] += pieces[:, :, HOP:]
    return summed.reshape(channels, -1)
