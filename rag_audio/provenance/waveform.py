"""Whether a sound holds the waveform of another one, though louder sounds lie over it.

Landmarks of a spectrogram go where speech or other music covers them; the waveform does not. The
generalised cross-correlation with phase transform (Knapp and Carter, "The generalized correlation
method for estimation of time delay", IEEE Transactions on Acoustics, Speech, and Signal Processing
24(4), 1976) of two unrelated sounds is noise; where one holds the other, it has a peak at their
delay. It sees through gain, filters, codecs and mixing, and not through another speed or pitch.

Where the place is known, the magnitude of the complex coherence over time (Carter, "Coherence and
time delay estimation", Proceedings of the IEEE 75(2), 1987) tells a damaged copy from a sound that
was made of the same material: filters and noise leave the loudest points of a spectrogram in
step with those of the original.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rag_audio.audio import mono, resample
from rag_audio.domain import Audio
from rag_audio.hearing import views

HOLDS, UNRELATED = 40.0, 9.0
"""Peak over RMS of the correlation from which on a sound holds another one, and below which it does
not; between them it is not said. Other outputs of one model reach 37, outputs 12 dB under another
one have 40 or more (``benchmarks/bench_fingerprint.py``); those of the same references have as much
as copies, so that it is asked only of sound that is no other output.
"""
_RATE = 11_025
_LOW_HZ, _HIGH_HZ = 80.0, 5000.0
_WINDOW_S, _STEP_S = 8.0, 4.0
_QUIET = 0.05
"""Windows whose RMS is below this share of the loudest one's say nothing."""
_TINY = 1e-12
_NEAR_S, _LEAST_S = 0.1, 1.0
_FRAME, _LOUDEST, _FEWEST_POINTS = 2048, 0.1, 5
_GATE_S, _GATED = 0.01, 1e-3


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
    from scipy.fft import irfft, next_fast_len, rfft

    wanted, sound = _prepared(whole), _prepared(heard)
    windows = _windows(sound)
    size = next_fast_len(wanted.size + round(_WINDOW_S * _RATE), real=True)
    spectrum = np.conj(rfft(wanted, size))
    hz = np.arange(spectrum.size) * _RATE / size
    audible = (hz > _LOW_HZ) & (hz < _HIGH_HZ)
    loudest = max((_rms(window) for _, window in windows), default=0.0)
    found = []
    for start, window in windows:
        peak = 0.0
        if _rms(window) > max(_QUIET * loudest, _TINY):
            product = rfft(window, size) * spectrum
            phases = np.where(audible, product / (np.abs(product) + _TINY), 0.0)
            correlation = irfft(phases, size)
            peak = float(np.abs(correlation).max()) / max(_rms(correlation), _TINY)
        found.append(Heard(start / _RATE, (start + window.size) / _RATE, peak))
    return found


def peak_in_waveform(whole: Audio, heard: Audio) -> float:
    """The clearest of :func:`waveform_in`."""
    return max((one.peak for one in waveform_in(whole, heard)), default=0.0)


def coherence(whole: Audio, heard: Audio, offset_s: float) -> float:
    """How far the loudest points of a sound's spectrogram keep step with another sound's, 0…1.

    The tenth of all points in which both have most energy counts. Per frequency, the phases between
    both sounds may differ by anything, and not over time. Where ``heard`` is silent, as in a sound
    that was gated, nothing is compared.

    Args:
        whole, heard: where they have several channels, the likest of their :func:`views` count.
        offset_s: where in ``whole`` the other sound begins, right to 0.1 s; negative: before it.

    Returns:
        0 where they overlap by less than a second.
    """
    sounds = [_prepared(view) for view in views(heard)]
    masters = [_prepared(view) for view in views(whole)]
    return max(_in_step(master, sound, offset_s) for master in masters for sound in sounds)


def _in_step(whole: NDArray[np.float32], heard: NDArray[np.float32], offset_s: float) -> float:
    from scipy.ndimage import maximum_filter1d

    start = round(offset_s * _RATE)
    before, skipped = max(0, start), max(0, -start)
    length = min(whole.size - before, heard.size - skipped)
    if length < _LEAST_S * _RATE:
        return 0.0
    delay = _delay(whole[before : before + length], heard[skipped : skipped + length])
    before, skipped = before + max(0, -delay), skipped + max(0, delay)
    length -= abs(delay)
    mine, theirs = whole[before : before + length], heard[skipped : skipped + length]
    sounding = maximum_filter1d(np.abs(theirs), round(_GATE_S * _RATE))
    mine = np.where(sounding > _GATED * sounding.max(initial=0.0), mine, np.float32(0.0))
    product = _points(mine) * np.conj(_points(theirs))
    size = np.abs(product)
    loud = size >= max(float(np.quantile(size, 1.0 - _LOUDEST)), _TINY)
    kept = loud.sum(axis=0) >= _FEWEST_POINTS
    both = np.where(loud, product, 0.0)[:, kept]
    energy = float(np.abs(both).sum())
    return float(np.abs(both.sum(axis=0)).sum()) / energy if energy > _TINY else 0.0


def _delay(mine: NDArray[np.float32], theirs: NDArray[np.float32]) -> int:
    """By how many samples the second of two sounds comes later, within a tenth of a second."""
    from scipy.fft import irfft, next_fast_len, rfft

    size = next_fast_len(mine.size + round(_NEAR_S * _RATE), real=True)
    product = rfft(theirs, size) * np.conj(rfft(mine, size))
    correlation = np.abs(irfft(product / (np.abs(product) + _TINY), size))
    near = round(_NEAR_S * _RATE)
    around = np.concatenate([correlation[-near:], correlation[: near + 1]])
    return int(around.argmax()) - near


def _points(samples: NDArray[np.float32]) -> NDArray[np.complex64]:
    """``[frames, bins]`` of the spectrogram, 80 Hz to 5 kHz."""
    from scipy.fft import rfft

    framed = np.lib.stride_tricks.sliding_window_view(samples, _FRAME)[:: _FRAME // 4]
    bins = slice(round(_LOW_HZ * _FRAME / _RATE), round(_HIGH_HZ * _FRAME / _RATE))
    window = np.hanning(_FRAME).astype(np.float32)
    made: NDArray[np.complex64] = rfft(framed * window, axis=1)[:, bins]
    return made


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
