"""The pitch of one voice over time.

YIN (de Cheveigné & Kawahara, "YIN, a fundamental frequency estimator for speech and music",
JASA 111(4), 2002): the lag at which a sound is most like itself, by the cumulative mean
normalised difference (eq. 8) with parabolic interpolation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rag_audio.domain import Audio
from rag_audio.hearing import heard
from rag_audio.shaping import resample

HOP_S = 0.01
LOWEST_HZ, HIGHEST_HZ = 65.0, 2500.0
_RATE = 22_050
_WINDOW = 1024
_LONGEST = 344  # ⌈rate / lowest⌉, and room to interpolate
_SHORTEST = 8
_THRESHOLD, _ABOVE_BEST = 0.2, 0.1
_FRAMES_AT_ONCE = 2000
_SILENCE = 1e-10

Curve = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PitchTrack:
    """What was heard every :data:`HOP_S`, from the beginning.

    Attributes:
        semitones: ``[frames]``, MIDI pitch with cents as fractions; the best guess throughout.
        aperiodicity: ``[frames]``, 0 for a periodic sound, about 1 for noise.
        level_db: ``[frames]``, RMS in dBFS.
    """

    semitones: Curve
    aperiodicity: Curve
    level_db: Curve


def track_pitch(audio: Audio) -> PitchTrack:
    """The pitch of a voice between 65 and 2500 Hz, in windows of 46 ms; of what is heard in
    one channel (:func:`rag_audio.hearing.heard`).

    Windows are centred on their time. An empty sound has no frames.
    """
    wave = resample(heard(audio), _RATE).samples[0].astype(np.float64)
    frames = round(wave.size / (_RATE * HOP_S))
    size = _WINDOW + _LONGEST
    padded = np.pad(wave, (size // 2, size))
    starts = np.round(np.arange(frames) * HOP_S * _RATE).astype(int)
    windows = np.lib.stride_tricks.sliding_window_view(padded, size)
    found = [
        _hear(windows[starts[at : at + _FRAMES_AT_ONCE]])
        for at in range(0, frames, _FRAMES_AT_ONCE)
    ]
    if not found:
        return PitchTrack(np.zeros(0), np.zeros(0), np.zeros(0))
    return PitchTrack(*(np.concatenate(curve) for curve in zip(*found, strict=True)))


def _hear(windows: NDArray[np.float64]) -> tuple[Curve, Curve, Curve]:
    """Semitones, aperiodicity and level of windows ``[frames, window + longest lag]``."""
    normalised = _difference(windows)
    lag, aperiodicity = _best_lag(normalised)
    middle = windows[:, _LONGEST // 2 : _LONGEST // 2 + _WINDOW]
    power = np.mean(np.square(middle), axis=1)
    quiet = power < _SILENCE
    semitones = 69.0 + 12.0 * np.log2(_RATE / lag / 440.0)
    return semitones, np.where(quiet, 1.0, aperiodicity), 10 * np.log10(power + _SILENCE)


def _difference(windows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cumulative mean normalised difference ``[frames, lags]``, by way of the correlation."""
    size = 1 << (windows.shape[1] - 1).bit_length()
    spectra = np.fft.rfft(windows, size)
    heads = np.fft.rfft(windows[:, :_WINDOW], size)
    alike = np.fft.irfft(spectra * heads.conj(), size)[:, :_LONGEST]
    total = np.concatenate(
        [np.zeros((len(windows), 1)), np.cumsum(np.square(windows), axis=1)], axis=1
    )
    energy = total[:, _WINDOW : _WINDOW + _LONGEST] - total[:, :_LONGEST]
    apart = np.maximum(energy[:, :1] + energy - 2.0 * alike, 0.0)
    apart[:, 0] = 0.0
    mean = np.cumsum(apart, axis=1) / np.maximum(np.arange(_LONGEST), 1)
    return np.asarray(apart / np.maximum(mean, _SILENCE))


def _best_lag(normalised: NDArray[np.float64]) -> tuple[Curve, Curve]:
    """The first dip that is nearly as deep as the deepest, and how deep it is.

    A period fits as often as one likes: multiples of it dip as deep. A strong overtone dips
    earlier, but not as deep.
    """
    inner = normalised[:, _SHORTEST:-1]
    dips = (inner < normalised[:, _SHORTEST - 1 : -2]) & (inner <= normalised[:, _SHORTEST + 1 :])
    depth = np.where(dips, inner, np.inf)
    deepest = depth.min(axis=1)
    enough = np.minimum(_THRESHOLD, deepest + _ABOVE_BEST)
    first = (depth <= np.maximum(enough, deepest)[:, None]).argmax(axis=1) + _SHORTEST
    rows = np.arange(len(normalised))
    before, at, after = (normalised[rows, first + step] for step in (-1, 0, 1))
    bend = before - 2.0 * at + after
    shift = np.where(bend > 0, (before - after) / np.where(bend > 0, 2.0 * bend, 1.0), 0.0)
    lag = first + np.clip(shift, -1.0, 1.0)
    return lag, np.where(np.isfinite(deepest), np.minimum(at, 1.0), 1.0)
