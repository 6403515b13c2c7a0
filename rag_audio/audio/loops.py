"""Whether a clip is a loop: how well its length is a whole number of beats.

A loop repeats seamlessly, so that its onsets lie on a grid that divides its length. In the spectrum
of the onset strength over exactly its length the energy then lies at multiples of the number of
beats: the share of it there, less what would lie there by chance, tells a loop from other sounds,
and how many beats it holds. Length divided by beats is a tempo far more exact than what can be
tracked in two seconds of sound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rag_audio.audio.analysis import FRAME_S, Curve, onset_strength
from rag_audio.audio.channels import heard
from rag_audio.audio.dsp import resample
from rag_audio.audio.layouts import ChannelLayout
from rag_audio.domain import Audio

_RATE = 22_050
SHORTEST_LOOP_S, LONGEST_LOOP_S = 0.85, 30.0
"""What is shorter or longer is not looked at."""
_SLOWEST_BPM, _FASTEST_BPM = 55.0, 210.0
_BEATS = (2, 4, 8, 16, 32, 64, 3, 6, 12, 24, 48)
_POINTS = 4096
_AROUND = 4096
"""Samples of the other end that are put before and after the clip: it is heard as a loop."""
_APART_S = 0.05
_MIN_RISE_DB = 1.5

# Log odds against no loop at all, fitted by maximum likelihood to 395 clips of
# benchmarks/loop_material.py (split "train", and real samples).
_PER_LIFT = 6.0
_PRIOR_BPM, _PRIOR_OCTAVES = 124.0, 0.39
_TERNARY, _ANY = -2.0, -2.1


@dataclass(frozen=True)
class LoopFit:
    """The number of beats that fits a clip best.

    Attributes:
        beats: ≥ 2. bpm: 60 · beats / length, 55…210.
        share: how probable this number is, 0…1, if the clip is a loop.
        log_odds: that the clip is a loop, natural logarithm, of its sound alone.
    """

    beats: int
    bpm: float
    share: float
    log_odds: float

    def probability(self, hint: float = 0.0) -> float:
        """How probable it is that the clip is a loop, 0…1.

        Args:
            hint: what is known besides, added to the log odds.
        """
        return _logistic(self.log_odds + hint)


@dataclass(frozen=True)
class Rhythm:
    """What the onsets of a clip tell.

    Attributes:
        onsets: how many sounds begin in it, ≥ 1.
        loop: None where it is too short or too long for one.
    """

    onsets: int
    loop: LoopFit | None


def find_rhythm(audio: Audio, layout: ChannelLayout | None = None) -> Rhythm:
    """The onsets of a clip and its fit as a loop.

    Args:
        layout: of the channels; None: the usual one of as many.
    """
    plain = resample(heard(audio, layout), _RATE).samples
    around = np.pad(plain, ((0, 0), (_AROUND, _AROUND)), mode="wrap" if plain.size else "constant")
    strength = onset_strength(Audio(around, _RATE))
    times = np.arange(strength.size) * FRAME_S - _AROUND / _RATE
    fits = SHORTEST_LOOP_S <= audio.duration_s < LONGEST_LOOP_S
    return Rhythm(
        _count(strength, times, audio.duration_s),
        _fit(strength, times, audio.duration_s) if fits else None,
    )


def _count(strength: Curve, times: Curve, duration_s: float) -> int:
    """Rises of at least 1.5 dB after the beginning, each the highest of 140 ms, and the first."""
    highest = np.lib.stride_tricks.sliding_window_view(np.pad(strength, 6), 13).max(axis=1)
    inside = (times > _APART_S) & (times < duration_s - _APART_S)
    return 1 + int(np.count_nonzero(inside & (strength >= _MIN_RISE_DB) & (strength == highest)))


def _fit(strength: Curve, times: Curve, duration_s: float) -> LoopFit | None:
    grid = np.arange(_POINTS) * (duration_s / _POINTS)
    curve = np.sqrt(np.interp(grid, times, strength))
    power = np.square(np.abs(np.fft.rfft(curve - curve.mean())))
    beats = [n for n in _BEATS if _SLOWEST_BPM <= 60 * n / duration_s <= _FASTEST_BPM]
    if not beats or power.sum() <= 0:
        return None
    scores = np.array([_score(power, n, 60 * n / duration_s) for n in beats])
    best = int(scores.argmax())
    total = float(np.logaddexp.reduce(scores))
    share = math.exp(float(scores[best]) - total)
    return LoopFit(beats[best], 60 * beats[best] / duration_s, share, total)


def _score(power: Curve, beats: int, bpm: float) -> float:
    """Log odds of a loop of so many beats against no loop."""
    octaves = math.log2(bpm / _PRIOR_BPM) / _PRIOR_OCTAVES
    fit = _lift(power, beats) + _lift(power, 2 * beats)
    return _PER_LIFT * fit - 0.5 * octaves**2 + _ANY + (_TERNARY if beats % 3 == 0 else 0.0)


def _lift(power: Curve, parts: int) -> float:
    """The share of energy at multiples of a frequency, 0 as by chance … 1."""
    share = float(power[parts::parts].sum() / power.sum())
    return max(0.0, (share - 1 / parts) / (1 - 1 / parts))


def _logistic(value: float) -> float:
    return 1.0 / (1.0 + math.exp(-value))
