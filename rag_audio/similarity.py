"""Whether one sound holds a copy of another."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rag_audio.compiled import librosa_ready
from rag_audio.domain import Audio
from rag_audio.shaping import mono, resample

Features = NDArray[np.float64]

_RATE = 16_000
_WINDOW = 1024
_HOP = 256
_BANDS = 64
_LOW_HZ, _HIGH_HZ = 60.0, 6000.0
_RANGE_DB = 35.0
_UNRELATED = 0.45
_MIN_SECONDS = 0.25
_SMOOTHING_S = 0.5
_BLUR = 3


def copy_distance(a: Audio, b: Audio) -> float:
    """How far ``b`` is from holding a time-aligned copy of ``a``: 0 is a copy, about 1 unrelated.

    Both become log-mel spectrograms (64 bands from 60 Hz to 6 kHz, 16 ms a frame), floored 35 dB
    below their maximum. From each band its own running mean is taken: gain, equaliser and the
    common shape of music go, what begins and ends when and at which pitch stays. The shorter one
    is then slid over the longer one, and the best normalised cross-correlation ρ over all lags
    (each window of the longer one normalised by its own energy) gives the distance
    ``min(1, (1 - ρ) / (1 - 0.45))``; ρ ≤ 0.45 is what unrelated music of one tempo reaches.

    Gain, resampling, MP3 and a shift in time leave it near 0; so does added sound in proportion to
    its level. It does not see through time-stretch or transposition. Silence, and clips shorter
    than a quarter second, are copies of nothing.
    """
    first, second = _features(a), _features(b)
    if first is None or second is None:
        return 1.0
    short, long = sorted((first, second), key=lambda features: features.shape[1])
    nearest = float(_correlations(short, long).max(initial=0.0))
    return float(np.clip((1.0 - nearest) / (1.0 - _UNRELATED), 0.0, 1.0))


def _features(audio: Audio) -> Features | None:
    """``[M, frames]``; None when there is nothing to compare."""
    sound = resample(mono(audio), _RATE).samples[0]
    if sound.size < _MIN_SECONDS * _RATE or not np.any(np.abs(sound) > 1e-6):
        return None
    sound = sound / np.abs(sound).max()
    framed = np.lib.stride_tricks.sliding_window_view(np.pad(sound, _WINDOW // 2), _WINDOW)[::_HOP]
    power = np.abs(np.fft.rfft(framed * np.hanning(_WINDOW).astype(np.float32), axis=1)) ** 2
    bank = librosa_ready().filters.mel(
        sr=_RATE, n_fft=_WINDOW, n_mels=_BANDS, fmin=_LOW_HZ, fmax=_HIGH_HZ
    )
    mel = bank @ power.T
    decibels = 10 * np.log10(np.maximum(mel, mel.max() * 10 ** (-_RANGE_DB / 10)))
    width = min(round(_SMOOTHING_S * _RATE / _HOP), decibels.shape[1])
    changes = decibels - _running_mean(decibels, width)
    return _running_mean(changes, _BLUR)  # so that a shift of half a frame does not matter


def _running_mean(rows: NDArray[Any], width: int) -> Features:
    from scipy.ndimage import uniform_filter1d

    return np.asarray(uniform_filter1d(rows.astype(np.float64), width, axis=1, mode="nearest"))


def _correlations(short: Features, long: Features) -> NDArray[np.float64]:
    """ρ at every lag at which ``short`` lies wholly within ``long``."""
    from scipy.signal import fftconvolve

    lags = long.shape[1] - short.shape[1] + 1
    products = fftconvolve(long, short[:, ::-1], mode="valid", axes=1).sum(axis=0)[:lags]
    energy = np.concatenate([[0.0], np.cumsum((long**2).sum(axis=0))])
    there = energy[short.shape[1] :] - energy[: energy.size - short.shape[1]]
    norm = np.sqrt(np.maximum(there[:lags], 0.0) * float((short**2).sum()))
    floor = 1e-6 * max(float(norm.max(initial=0.0)), 1e-12)
    return np.asarray(products / np.maximum(norm, floor))
