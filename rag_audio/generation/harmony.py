"""What two parts of a seed do to each other: whether their harmonies agree, and how rough they are.

A sound is reduced to its partials. Pitch classes are those of the partials (a harmonic pitch class
profile: Gómez, "Tonal Description of Polyphonic Audio …", INFORMS J. on Computing 18(3), 2006).
Roughness is the curve of Plomp and Levelt between every partial of one part and every one of the
other, as Sethares put it in numbers ("Local consonance and the relationship between timbre and
scale", JASA 94(3), 1993): what the mix has of it, less what each part has alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from rag_audio.audio.channels import fitted
from rag_audio.audio.dsp import resample
from rag_audio.audio.scores import NoteScore
from rag_audio.domain import Audio, Key

FRAME_S = 0.1
"""A harmony has a row of partials for so long."""

SAMPLE_RATE = 22_050
"""Hz: what recordings are heard at."""

_WINDOW = 4096
_AT_ONCE = 8
_HANN = np.hanning(_WINDOW)
_LOWEST_HZ, _HIGHEST_HZ = 50.0, 5000.0
_MOST_PARTIALS = 20
_FLOOR = 0.03  # of the frame's strongest partial
_SILENCE = 1e-4  # of full scale
_HARMONICS, _ROLL_OFF = 6, 0.88  # of a note of a score: those of Sethares' example

# Sethares 1993, equations 2 and 3.
_ROUGHEST, _S1, _S2, _B1, _B2 = 0.24, 0.021, 19.0, 3.5, 5.75
_PEAK = float((_B1 / _B2) ** (_B1 / (_B2 - _B1)) - (_B1 / _B2) ** (_B2 / (_B2 - _B1)))

Rows = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Harmony:
    """The partials of a sound.

    Attributes:
        hz: ``[F, P]``, a row for each tenth of a second. levels: amplitudes ``[F, P]`` ≥ 0, 0
            where a row has fewer partials.
        key: what it stands in, as most hear it; None without pitch. key_clarity: by how much it and
            its relative lead all others, see :func:`.key_profiles.key_of`.
    """

    hz: Rows
    levels: Rows
    key: Key | None = None
    key_clarity: float = 0.0

    def laid_out(
        self, duration_s: float, time_ratio: float, semitones: int, loop_s: float
    ) -> Harmony:
        """As the sound is heard once it is stretched, transposed and looped; see ``SeedPart``."""
        times = (np.arange(max(1, round(duration_s / FRAME_S))) + 0.5) * FRAME_S
        period = loop_s or self.hz.shape[0] * FRAME_S * time_ratio
        rows = np.floor(np.mod(times, period) / time_ratio / FRAME_S).astype(int)
        rows = np.minimum(rows, self.hz.shape[0] - 1)
        return Harmony(self.hz[rows] * 2 ** (semitones / 12), self.levels[rows])

    def chroma(self, bar_s: float) -> Rows:
        """Strength of the twelve pitch classes from C up in each bar, ``[bars, 12]``.

        Args:
            bar_s: length of a bar; 0.0: all of it is one.
        """
        found = self.levels > 0
        row, column = np.nonzero(found)
        pitch = 69 + 12 * np.log2(self.hz[row, column] / 440)
        level = self.levels[row, column]
        lower = np.floor(pitch)
        bar = np.floor((row + 0.5) * FRAME_S / bar_s).astype(int) if bar_s > 0 else 0 * row
        bars = int(bar.max(initial=0)) + 1
        # Between two semitones a partial belongs to both, the more the nearer (by cos²).
        near = np.cos((pitch - lower) * np.pi / 2) ** 2
        note = lower.astype(int)
        place = np.concatenate([bar * 12 + note % 12, bar * 12 + (note + 1) % 12])
        shares = np.concatenate([near * level, (1 - near) * level])
        chroma = np.bincount(place, shares, bars * 12).reshape(bars, 12)
        return chroma.astype(np.float64, copy=False)


def harmony_of(audio: Audio) -> Harmony:
    """The partials of a recording: peaks of its spectra of 186 ms, at most twenty at a time."""
    strength = _spectra(resample(fitted(audio, 1), SAMPLE_RATE).samples[0])
    loudest = strength[:, 1:-1].max(axis=1, keepdims=True)
    first, last = _peak_bins()
    strength = strength[:, first - 1 : last + 2]
    inner = strength[:, 1:-1]
    is_peak = (inner > strength[:, :-2]) & (inner >= strength[:, 2:]) & (inner > _SILENCE)
    found = np.where(is_peak & (inner > _FLOOR * loudest), inner, 0.0)
    order = _largest(found, _MOST_PARTIALS)
    levels = np.take_along_axis(found, order, axis=1)
    below, at, above = (
        np.log(np.take_along_axis(strength, order + shift, axis=1) + 1e-12) for shift in range(3)
    )
    curve = below - 2 * at + above
    offset = np.where(curve < 0, 0.5 * (below - above) / np.where(curve < 0, curve, -1.0), 0.0)
    return Harmony((order + first + np.clip(offset, -0.5, 0.5)) * SAMPLE_RATE / _WINDOW, levels)


def _spectra(mono: NDArray[np.float32]) -> Rows:
    """Amplitudes around the middle of each tenth of a second, ``[F, bins]``, 1 of full scale."""
    frames = max(1, round(mono.size / SAMPLE_RATE / FRAME_S))
    centres = ((np.arange(frames) + 0.5) * FRAME_S * SAMPLE_RATE).astype(int)
    windows = sliding_window_view(np.pad(mono, _WINDOW // 2 + 1), _WINDOW)
    found = np.empty((frames, _WINDOW // 2 + 1))
    # A few at a time stay in the processor's cache, and in memory that the process has.
    for some in np.array_split(np.arange(frames), math.ceil(frames / _AT_ONCE)):
        cut = windows[np.minimum(centres[some], mono.size)] * _HANN
        found[some] = np.abs(np.fft.rfft(cut, axis=1))
    found /= _HANN.sum() / 2
    return found


def _peak_bins() -> tuple[int, int]:
    """The first and the last bin in which a partial may lie."""
    lowest, highest = (hz * _WINDOW / SAMPLE_RATE for hz in (_LOWEST_HZ, _HIGHEST_HZ))
    return math.ceil(lowest), math.floor(highest)


def _largest(values: Rows, most: int) -> NDArray[np.intp]:
    """Columns of the largest values of each row, the largest first, of equal ones the first."""
    some = np.sort(np.argpartition(-values, most, axis=1)[:, :most], axis=1)
    order = np.argsort(-np.take_along_axis(values, some, axis=1), axis=1, kind="stable")
    return np.take_along_axis(some, order, axis=1)


def harmony_of_score(score: NoteScore, start_s: float, duration_s: float) -> Harmony:
    """The partials of a window of a score: six for each note, each at 0.88 of the one below."""
    frames = max(1, round(duration_s / FRAME_S))
    rows: list[list[tuple[float, float]]] = [[] for _ in range(frames)]
    for part in score.parts:
        for note in () if part.drum else part.sounding():
            first = max(0, round((note.start_s - start_s) / FRAME_S))
            last = min(frames, max(first + 1, round((note.end_s - start_s) / FRAME_S)))
            for row in rows[first:last] if note.end_s > start_s else ():
                row.append((440 * 2 ** ((note.pitch - 69) / 12), note.velocity / 127))
    hz, levels = (np.zeros((frames, _MOST_PARTIALS)) for _ in range(2))
    order = np.arange(_HARMONICS)
    for n, row in enumerate(rows):
        if row:
            ground, loud = np.array(row).T
            every = np.ravel(ground[:, None] * (order + 1))
            strength = np.ravel(loud[:, None] * _ROLL_OFF**order)
            best = np.argsort(-strength, kind="stable")[:_MOST_PARTIALS]
            hz[n, : best.size], levels[n, : best.size] = every[best], strength[best]
    return Harmony(hz, levels)


def disagreement(a: Rows, b: Rows) -> float:
    """How much two sounds' pitch classes differ, 0…1.

    1 less the cosine between their deviations from an even distribution, bar by bar; each bar
    counts by how much both have in it. Sounds without pitch disagree with nothing.

    Args:
        a, b: chroma ``[bars, 12]``; bars that only one of them has do not count.
    """
    bars = min(len(a), len(b))
    even_a, even_b = (x[:bars] - x[:bars].mean(axis=1, keepdims=True) for x in (a, b))
    size_a, size_b = (np.sqrt((x * x).sum(axis=1)) for x in (even_a, even_b))
    size = size_a * size_b
    if size.sum() <= 0:
        return 0.0
    cosine = (even_a * even_b).sum(axis=1) / np.where(size > 0, size, 1.0)
    counts = np.sqrt(size)
    return min(1.0, max(0.0, float(1 - (cosine * counts).sum() / counts.sum())))


def roughness(a: Harmony, b: Harmony) -> float:
    """How rough the partials of one sound are with those of another at the same time, 0…1.

    The mean of Sethares' curve over all pairs, each weighted by the product of its amplitudes; 1
    means that every pair is at the roughest distance, about a quarter of a critical band.
    """
    frames = min(len(a.hz), len(b.hz))
    total = rough = 0.0
    for start in range(0, frames, _AT_ONCE):
        rows = slice(start, min(start + _AT_ONCE, frames))
        fa, fb = a.hz[rows, :, None], b.hz[rows, None, :]
        pairs = a.levels[rows, :, None] * b.levels[rows, None, :]
        scaled = np.abs(fa - fb) * _ROUGHEST / (_S1 * np.minimum(fa, fb) + _S2)
        curve = (np.exp(-_B1 * scaled) - np.exp(-_B2 * scaled)) / _PEAK
        total += float(pairs.sum())
        rough += float((pairs * curve).sum())
    return rough / total if total > 0 else 0.0
