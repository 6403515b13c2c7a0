"""Whether one sound holds a copy of another."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rag_audio.audio.channels import views
from rag_audio.audio.dsp import mel_filters, resample
from rag_audio.domain import Audio

Features = NDArray[np.float64]
Spectra = NDArray[np.complex128]

_RATE = 16_000
_WINDOW = 1024
_HOP = 256
_BANDS = 64
_LOW_HZ, _HIGH_HZ = 60.0, 6000.0
_RANGE_DB = 35.0
_UNRELATED = 0.45
_ONE_SPECTRUM = 0.85
"""Share of a view's changes that are those of one spectrum: of a hi-hat alone 0.88 and more, of
drum kits 0.5 to 0.75, of music 0.2 to 0.6."""
_MIN_SECONDS = 0.25
_SMOOTHING_S = 0.5
_BLUR = 3
_FRAMES_AT_ONCE = 256
_LAGS_AT_ONCE = 2048


def copy_distance(a: Audio, b: Audio) -> float:
    """How far ``b`` is from holding a time-aligned copy of ``a``: 0 is a copy, about 1 unrelated.

    All views of one sound (:func:`.views`: mean, difference and independent
    components of the channels, and each channel) are compared with all of the other; the nearest
    two count. Each becomes a log-mel spectrogram (64 bands from 60 Hz to 6 kHz, 16 ms a frame),
    floored 35 dB below its maximum. From each band its own running mean is taken: gain, equaliser
    and the common shape of music go, what begins and ends when and at which pitch stays. The
    shorter one is then slid over the longer one, and the best normalised cross-correlation ρ over
    all lags (each window of the longer one normalised by its own energy) gives the distance
    ``min(1, (1 - ρ) / (1 - 0.45))``; ρ ≤ 0.45 is what unrelated music of one tempo reaches.

    Two views that are both only a part of their sounds count where neither is one spectrum that
    comes and goes: apart from the rest, the hi-hats of two recordings are alike.

    Gain, polarity, the mix of the channels, resampling, MP3 and a shift in time leave it near 0; so
    does added sound in proportion to its level. It does not see through time-stretch or
    transposition. Silence, and clips shorter than a quarter second, are copies of nothing.

    Raises:
        InvalidInput: samples are not finite.
    """
    return sketch(a).distance(sketch(b))


@dataclass(frozen=True, eq=False)
class Sketch:
    """What of a sound is compared; for one that is compared with several.

    Attributes:
        features: of each of its views ``[M, frames]``; none where there is nothing to compare.
        rich: whether each of them is more than one spectrum that comes and goes.
    """

    features: tuple[Features, ...]
    rich: tuple[bool, ...]

    def distance(self, other: Sketch) -> float:
        """As :func:`copy_distance`."""
        if not self.features or not other.features:
            return 1.0
        short, long = sorted((self, other), key=lambda one: one.features[0].shape[1])
        return float(np.clip((1.0 - _nearest(short, long)) / (1.0 - _UNRELATED), 0.0, 1.0))


def sketch(audio: Audio) -> Sketch:
    """What of a sound is compared.

    Raises:
        InvalidInput: samples are not finite.
    """
    made = (_features(view) for view in views(audio))
    found = tuple(features for features in made if features is not None)
    return Sketch(found, tuple(_is_rich(features) for features in found))


def _is_rich(features: Features) -> bool:
    """Whether one spectrum, louder and softer, leaves more than a part of the features."""
    values = np.linalg.eigvalsh(features @ features.T)
    return float(values[-1]) < _ONE_SPECTRUM * float(values.sum())


def _features(view: Audio) -> Features | None:
    """``[M, frames]``; None when there is nothing to compare."""
    sound = resample(view, _RATE).samples[0]
    if sound.size < _MIN_SECONDS * _RATE or not np.any(np.abs(sound) > 1e-6):
        return None
    sound = sound / np.abs(sound).max()
    framed = np.lib.stride_tricks.sliding_window_view(np.pad(sound, _WINDOW // 2), _WINDOW)[::_HOP]
    parts = [
        _mel_power(framed[at : at + _FRAMES_AT_ONCE])
        for at in range(0, len(framed), _FRAMES_AT_ONCE)
    ]
    mel = np.concatenate(parts, axis=1)
    decibels = 10 * np.log10(np.maximum(mel, mel.max() * 10 ** (-_RANGE_DB / 10)))
    width = min(round(_SMOOTHING_S * _RATE / _HOP), decibels.shape[1])
    changes = decibels - _running_mean(decibels, width)
    return _running_mean(changes, _BLUR)  # so that a shift of half a frame does not matter


def _mel_power(framed: NDArray[np.float32]) -> NDArray[np.float32]:
    """``[M, frames]`` of windows ``[frames, samples]``."""
    from scipy.fft import rfft

    spectra = rfft(framed * np.hanning(_WINDOW).astype(np.float32), axis=1)
    return np.asarray(_bank() @ (np.square(spectra.real) + np.square(spectra.imag)).T)


@cache
def _bank() -> NDArray[np.float32]:
    return mel_filters(_RATE, _WINDOW, _BANDS, _LOW_HZ, _HIGH_HZ)


def _running_mean(rows: NDArray[Any], width: int) -> Features:
    from scipy.ndimage import uniform_filter1d

    return np.asarray(uniform_filter1d(rows.astype(np.float64), width, axis=1, mode="nearest"))


def _nearest(short: Sketch, long: Sketch) -> float:
    """The best ρ of any two views that count, over all lags at which one lies within the other.

    The longer one is taken in stretches, so that memory and time stay in proportion to it.
    """
    from scipy.fft import next_fast_len, rfft

    frames, whole = short.features[0].shape[1], long.features[0].shape[1]
    lags = whole - frames + 1
    step = min(lags, max(3 * frames, _LAGS_AT_ONCE))
    size = next_fast_len(step + frames - 1, real=True)
    sought = [(rfft(one, size, axis=1).conj(), np.sqrt((one**2).sum())) for one in short.features]
    # Stretches of the longer one that are next to silent correlate with anything.
    norms = [_norms(one, frames) for one in long.features]
    best = 0.0
    for start in range(0, lags, step):
        count = min(step, lags - start)
        for i, (one, norm) in enumerate(zip(long.features, norms, strict=True)):
            spectra = rfft(one[:, start : start + count + frames - 1], size, axis=1)
            floor = max(1e-6 * float(norm.max()), 1e-12)
            there = np.maximum(norm[start : start + count], floor)
            for j, (other, level) in enumerate(sought):
                if i == 0 or j == 0 or (long.rich[i] and short.rich[j]):
                    best = max(best, _best_lag(spectra, other, there * level, size))
    return best


def _best_lag(spectra: Spectra, other: Spectra, norm: NDArray[np.float64], size: int) -> float:
    from scipy.fft import irfft

    products = irfft(np.einsum("mf,mf->f", spectra, other), size)[: norm.size]
    return float((products / np.maximum(norm, 1e-18)).max())


def _norms(long: Features, frames: int) -> NDArray[np.float64]:
    """The norm of each window of so many frames."""
    energy = np.concatenate([[0.0], np.cumsum((long**2).sum(axis=0))])
    return np.asarray(np.sqrt(np.maximum(energy[frames:] - energy[:-frames], 0.0)))
