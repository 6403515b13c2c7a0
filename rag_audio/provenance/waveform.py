"""Whether a sound holds the waveform of another one, though louder sounds lie over it.

Landmarks of a spectrogram go where speech or other music covers them; the waveform does not. The
generalised cross-correlation with phase transform (Knapp and Carter, "The generalized correlation
method for estimation of time delay", IEEE Transactions on Acoustics, Speech, and Signal Processing
24(4), 1976) of two unrelated sounds is noise; where one holds the other, it has a peak at their
delay. It sees through gain, filters, codecs and mixing, and not through another speed or pitch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from rag_audio.audio import mono, resample
from rag_audio.domain import Audio

HOLDS, UNRELATED = 25.0, 9.0
"""Peak over RMS of the correlation from which on a sound holds another one, and below which it does
not; between them it is not said. Chosen on some 90 mixes, medleys and moved marks of the demo
library; no benchmark prints them yet.
"""
_RATE = 11_025
_LOW_HZ, _HIGH_HZ = 80.0, 5000.0
_WINDOW_S, _STEP_S = 8.0, 4.0
_QUIET = 0.05
"""Windows whose RMS is below this share of the loudest one's say nothing."""
_TINY = 1e-12


@dataclass(frozen=True)
class Heard:
    """A window of a sound: from where to where, and how clearly another sound's waveform is in it.

    Attributes:
        peak: over the RMS of the correlation; 0 in silence.
    """

    start_s: float
    end_s: float
    peak: float


def waveform_in(whole: Audio, heard: Audio) -> list[Heard]:
    """How clearly a sound's waveform is in each 8 s of another, which lie half over each other.

    Args:
        whole: the sound that is looked for, all of it. heard: any length.
    """
    wanted, sound = _prepared(whole), _prepared(heard)
    windows = _windows(sound)
    size = scipy.fft.next_fast_len(wanted.size + round(_WINDOW_S * _RATE), real=True)
    spectrum = np.conj(scipy.fft.rfft(wanted, size))
    hz = np.arange(spectrum.size) * _RATE / size
    audible = (hz > _LOW_HZ) & (hz < _HIGH_HZ)
    loudest = max((_rms(window) for _, window in windows), default=0.0)
    found = []
    for start, window in windows:
        peak = 0.0
        if _rms(window) > max(_QUIET * loudest, _TINY):
            product = scipy.fft.rfft(window, size) * spectrum
            phases = np.where(audible, product / (np.abs(product) + _TINY), 0.0)
            correlation = scipy.fft.irfft(phases, size)
            peak = float(np.abs(correlation).max()) / max(_rms(correlation), _TINY)
        found.append(Heard(start / _RATE, (start + window.size) / _RATE, peak))
    return found


def peak_in_waveform(whole: Audio, heard: Audio) -> float:
    """The clearest of :func:`waveform_in`."""
    return max((one.peak for one in waveform_in(whole, heard)), default=0.0)


def _rms(samples: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean(np.square(samples)))) if samples.size else 0.0


def _prepared(audio: Audio) -> NDArray[np.float32]:
    made: NDArray[np.float32] = resample(mono(audio), _RATE).samples[0]
    return made


def _windows(sound: NDArray[np.float32]) -> list[tuple[int, NDArray[np.float32]]]:
    """Pieces of 8 s and their starts, half over each other; the last ends with the sound."""
    length, step = round(_WINDOW_S * _RATE), round(_STEP_S * _RATE)
    last = max(0, sound.size - length)
    return [(at, sound[at : at + length]) for at in (*range(0, last, step), last)]
