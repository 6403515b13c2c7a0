"""What two parts of a seed do to each other: whether their harmonies agree, and how rough they are.

A sound is reduced to its partials. Pitch classes are those of the partials (a harmonic pitch class
profile: Gómez, "Tonal Description of Polyphonic Audio …", INFORMS J. on Computing 18(3), 2006).
Roughness is the curve of Plomp and Levelt between every partial of one part and every one of the
other, as Sethares put it in numbers ("Local consonance and the relationship between timbre and
scale", JASA 94(3), 1993): what the mix has of it, less what each part has alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
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
        chroma = np.zeros((int(bar.max(initial=0)) + 1, 12))
        # Between two semitones a partial belongs to both, the more the nearer (by cos²).
        near = np.cos((pitch - lower) * np.pi / 2) ** 2
        for step, share in ((0, near), (1, 1 - near)):
            np.add.at(chroma, (bar, (lower.astype(int) + step) % 12), share * level)
        return chroma


def harmony_of(audio: Audio) -> Harmony:
    """The partials of a recording: peaks of its spectra of 186 ms, at most twenty at a time."""
    mono = resample(fitted(audio, 1), SAMPLE_RATE).samples[0]
    frames = max(1, round(mono.size / SAMPLE_RATE / FRAME_S))
    centres = ((np.arange(frames) + 0.5) * FRAME_S * SAMPLE_RATE).astype(int)
    padded = np.pad(mono, _WINDOW // 2 + 1)
    window = np.hanning(_WINDOW)
    cut = np.stack([padded[centre : centre + _WINDOW] for centre in centres]) * window
    strength = np.abs(np.fft.rfft(cut, axis=1)) / (window.sum() / 2)
    bins = np.arange(strength.shape[1]) * SAMPLE_RATE / _WINDOW
    inner = strength[:, 1:-1]
    is_peak = (inner > strength[:, :-2]) & (inner >= strength[:, 2:]) & (inner > _SILENCE)
    is_peak &= (bins[1:-1] >= _LOWEST_HZ) & (bins[1:-1] <= _HIGHEST_HZ)
    is_peak &= inner > _FLOOR * inner.max(axis=1, keepdims=True)
    found = np.where(is_peak, inner, 0.0)
    order = np.argsort(-found, axis=1, kind="stable")[:, :_MOST_PARTIALS]
    levels = np.take_along_axis(found, order, axis=1)
    below, at, above = (
        np.log(np.take_along_axis(strength, order + shift, axis=1) + 1e-12) for shift in range(3)
    )
    curve = below - 2 * at + above
    offset = np.where(curve < 0, 0.5 * (below - above) / np.where(curve < 0, curve, -1.0), 0.0)
    return Harmony((order + 1 + np.clip(offset, -0.5, 0.5)) * SAMPLE_RATE / _WINDOW, levels)


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
    size = np.linalg.norm(even_a, axis=1) * np.linalg.norm(even_b, axis=1)
    if size.sum() <= 0:
        return 0.0
    cosine = np.sum(even_a * even_b, axis=1) / np.where(size > 0, size, 1.0)
    counts = np.sqrt(size)
    return float(np.clip(1 - np.average(cosine, weights=counts), 0.0, 1.0))


def roughness(a: Harmony, b: Harmony) -> float:
    """How rough the partials of one sound are with those of another at the same time, 0…1.

    The mean of Sethares' curve over all pairs, each weighted by the product of its amplitudes; 1
    means that every pair is at the roughest distance, about a quarter of a critical band.
    """
    frames = min(len(a.hz), len(b.hz))
    total = rough = 0.0
    for fa, la, fb, lb in zip(
        a.hz[:frames], a.levels[:frames], b.hz[:frames], b.levels[:frames], strict=True
    ):
        pairs = la[:, None] * lb[None]
        apart = np.abs(fa[:, None] - fb[None])
        scaled = apart * _ROUGHEST / (_S1 * np.minimum(fa[:, None], fb[None]) + _S2)
        curve = (np.exp(-_B1 * scaled) - np.exp(-_B2 * scaled)) / _PEAK
        total += float(pairs.sum())
        rough += float((pairs * curve).sum())
    return rough / total if total > 0 else 0.0
