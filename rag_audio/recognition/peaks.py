"""Where a sound's spectrogram peaks, on an axis of semitones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rag_audio.domain import Audio
from rag_audio.recognition.store import Numbers, Reals
from rag_audio.shaping import mono, resample

Levels = NDArray[np.float32]

RATE = 11_025
WINDOW = 1024
HOP = 128
_PADDED = 4 * WINDOW
"""So that low notes lie between close lines of the spectrum."""
LOWEST_HZ = 49.0
SEMITONES = 78
"""The axis ends at 4.4 kHz."""
STEPS = 3
"""Bands per semitone."""
_RANGE_DB = 70.0
_NEAR = (2 * round(0.07 * RATE / HOP) + 1, 2 * round(1.2 * STEPS) + 1)
"""70 ms and 1.2 semitones on either side."""
_CROWD_S, _CROWD_SEMITONES = 0.5, 8.0
_TOGETHER = 1024
"""Windows of a spectrogram that are transformed at once."""


@dataclass(frozen=True, eq=False)
class Peaks:
    """Where a spectrogram peaks.

    Attributes:
        times_s: ``[N]``, ascending.
        semitones: ``[N]`` above 49 Hz, 0…78, finer than a band.
        ranks: ``[N]``, how many peaks within half a second and two thirds of an octave are
            stronger; 0 is the strongest.
        duration_s: of the sound.
    """

    times_s: Reals
    semitones: Reals
    ranks: Numbers
    duration_s: float

    def strongest(self, rank: int) -> Peaks:
        """The peaks with fewer than ``rank`` stronger ones around them."""
        kept = self.ranks < rank
        return Peaks(self.times_s[kept], self.semitones[kept], self.ranks[kept], self.duration_s)

    def backwards(self) -> Peaks:
        """The peaks of the sound played backwards."""
        return Peaks(
            (self.duration_s - self.times_s)[::-1],
            self.semitones[::-1],
            self.ranks[::-1],
            self.duration_s,
        )


def find_peaks(sound: Audio) -> Peaks:
    """The peaks of a sound's spectrogram; none in silence or in less than a window (93 ms)."""
    samples = resample(mono(sound), RATE).samples[0]
    if samples.size < WINDOW or not np.any(np.abs(samples) > 1e-5):
        nothing = np.zeros(0)
        return Peaks(nothing, nothing, np.zeros(0, np.int64), sound.duration_s)
    levels = _levels(samples)
    frames, bands = local_maxima(levels, _NEAR)
    times = (frames + summit(levels, frames, bands, 0)) * HOP / RATE
    semitones = (bands + summit(levels, frames, bands, 1)) / STEPS
    ranks = _ranks(frames, bands, levels[frames, bands])
    order = np.lexsort((semitones, times))
    return Peaks(times[order], semitones[order], ranks[order], sound.duration_s)


def _levels(samples: Levels) -> Levels:
    """Decibels above the floor ``[frames, bands]``."""
    from scipy.fft import rfft

    framed = np.lib.stride_tricks.sliding_window_view(np.pad(samples, WINDOW // 2), WINDOW)[::HOP]
    window = np.hanning(WINDOW).astype(np.float32)
    hz = LOWEST_HZ * 2 ** (np.arange(SEMITONES * STEPS) / (12 * STEPS))
    places = hz * _PADDED / RATE
    left = places.astype(int)
    part = (places - left).astype(np.float32)
    levels = np.empty((len(framed), left.size), np.float32)
    for start in range(0, len(framed), _TOGETHER):
        piece = slice(start, start + _TOGETHER)
        power = np.abs(rfft(framed[piece] * window, _PADDED, axis=1))
        power = 20 * np.log10(power[:, : left[-1] + 2] + np.float32(1e-9))
        levels[piece] = power[:, left] * (1 - part) + power[:, left + 1] * part
    levels -= levels.max() - np.float32(_RANGE_DB)
    return np.maximum(levels, 0, out=levels)


def local_maxima(levels: Levels, reach: tuple[int, int]) -> tuple[Numbers, Numbers]:
    """Where levels ``[frames, bands]`` are the highest of a neighbourhood, and not on its edge.

    Args:
        reach: frames and bands of the neighbourhood, the place itself in its middle.

    Returns:
        Frame and band of each, ``[N]``, in order.
    """
    from scipy.ndimage import maximum_filter

    highest = maximum_filter(levels, size=reach, mode="nearest")
    frames, bands = np.nonzero((levels == highest) & (levels > 0))
    inside = (bands > 0) & (bands < levels.shape[1] - 1)
    return frames[inside].astype(np.int64), bands[inside].astype(np.int64)


def _ranks(frames: Numbers, bands: Numbers, levels: Levels) -> Numbers:
    reach, across = round(_CROWD_S * RATE / HOP), round(_CROWD_SEMITONES * STEPS)
    low = np.searchsorted(frames, frames - reach, side="left")
    high = np.searchsorted(frames, frames + reach, side="right")
    stronger = [
        int(np.count_nonzero((levels[a:b] > level) & (np.abs(bands[a:b] - band) <= across)))
        for a, b, level, band in zip(low, high, levels, bands, strict=True)
    ]
    return np.array(stronger, dtype=np.int64)


def summit(levels: Levels, frames: Numbers, bands: Numbers, axis: int) -> Reals:
    """Where between the neighbours a peak is highest, -0.5…0.5, by the parabola through three."""
    step = (1, 0) if axis == 0 else (0, 1)
    last = levels.shape[0] - 1
    before = levels[np.maximum(frames - step[0], 0), bands - step[1]].astype(np.float64)
    after = levels[np.minimum(frames + step[0], last), bands + step[1]].astype(np.float64)
    here = levels[frames, bands]
    bend = before - 2 * here + after
    summit = 0.5 * (before - after) / np.where(bend < -1e-9, bend, -1e9)
    return np.asarray(np.clip(summit, -0.5, 0.5))
