"""Strength of the pitches of a sound: a constant-Q transform whose filters are made once.

An octave below, at half the sample rate, the same filters fit: those of one octave serve for all
(Brown and Puckette, "An efficient algorithm for the calculation of a constant Q transform", J.
Acoust. Soc. Am. 92, 1992). ``librosa.cqt`` makes the filters of every octave anew for each sound,
which takes several times as long as using them; what it gives differs by less than a few percent.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import soxr
from numpy.typing import NDArray

from rag_audio.audio.librosa_cache import librosa_ready

RATE = 22_050
"""Hz of the sound."""
HOP = 1024
"""Samples from one frame to the next."""
OCTAVES, BINS_PER_OCTAVE = 7, 36
_TOP_HZ = 2093.0045
"""C7, the lowest note of the highest octave."""
_FFT = 1024
_TUNINGS = 20
"""Steps of tuning per semitone: filters are made for at most so many."""
_TUNING_FFT = 4096
_SMALL = 1e-3
"""Of a filter's largest line: what is below it is left out."""

Matrix = NDArray[np.complex64]


def constant_q(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Magnitudes ``[252, frames]`` from C1 up, three bins a semitone, tuned to the sound within 2.5
    cents; a frame every 1024 samples, the first about sample 0.

    Args:
        samples: ``[T]`` at 22,050 Hz, at least 4096 of them.
    """
    librosa = librosa_ready()
    tuning = librosa.estimate_tuning(y=samples, sr=RATE, n_fft=_TUNING_FFT, hop_length=_TUNING_FFT)
    first, filters = _filters(round(float(tuning) * _TUNINGS))
    octaves = []
    for octave in range(OCTAVES):
        padded = np.pad(samples, _FFT // 2)
        framed = np.lib.stride_tricks.sliding_window_view(padded, _FFT)[:: HOP >> octave]
        spectra = _rfft(framed)[:, first : first + filters.shape[1]]
        octaves.append(np.abs(filters @ spectra.T) * np.float32(2 ** (octave / 2)))
        samples = soxr.resample(samples, 2, 1, quality="HQ")
    frames = min(one.shape[1] for one in octaves)
    return np.concatenate([one[:, :frames] for one in reversed(octaves)])


def _rfft(framed: NDArray[np.float32]) -> Matrix:
    from scipy.fft import rfft

    return np.asarray(rfft(framed, axis=1), np.complex64)


@lru_cache(maxsize=_TUNINGS + 1)
def _filters(tuning: int) -> tuple[int, Matrix]:
    """The first line of a spectrum of 1024 samples that is used, and weights ``[36, lines]``.

    Args:
        tuning: in twentieths of a semitone.
    """
    steps = np.arange(BINS_PER_OCTAVE) / BINS_PER_OCTAVE + tuning / (12 * _TUNINGS)
    waves, lengths = librosa_ready().filters.wavelet(
        freqs=_TOP_HZ * 2.0**steps, sr=RATE, window="hann", norm=1, pad_fft=True
    )
    room = _FFT - waves.shape[1]
    lines = np.fft.fft(np.pad(waves, ((0, 0), (room // 2, room - room // 2))))[:, : _FFT // 2 + 1]
    lines *= (np.sqrt(lengths) / _FFT)[:, None]
    used = np.flatnonzero(np.abs(lines).max(axis=0) > _SMALL * np.abs(lines).max())
    return int(used[0]), np.conj(lines[:, used[0] : used[-1] + 1]).astype(np.complex64)
