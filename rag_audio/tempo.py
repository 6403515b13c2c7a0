"""Tempo and beats of sound."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rag_audio.compiled import librosa_ready
from rag_audio.domain import Audio
from rag_audio.hearing import heard
from rag_audio.metre import beat_s
from rag_audio.shaping import resample

Curve = NDArray[np.float64]

_RATE = 22_050
_HOP = 256
_WINDOW = 1024
_FRAME_S = _HOP / _RATE
_MIN_BPM, _MAX_BPM = 50.0, 220.0
_PRIOR_BPM, _PRIOR_OCTAVES = 115.0, 0.9
_MIN_SECONDS = 2.5
_MIN_CONFIDENCE = 0.15
_MIN_ONSET_DB = 0.5
_TIGHTNESS = 100.0
_HARMONICS = (1, 2, 4)


@dataclass(frozen=True)
class Pulse:
    """A tempo with its confidence 0…1, and the beats in seconds; bpm None: no pulse was found."""

    bpm: float | None
    confidence: float
    beats_s: tuple[float, ...]


NO_PULSE = Pulse(None, 0.0, ())


def find_pulse(audio: Audio) -> Pulse:
    """The tempo between 50 and 220 bpm, and its beats.

    The autocorrelation of the onset strength, weighed by a log-normal prior about 115 bpm, gives
    the tempo; its value at that lag the confidence. Beats are tracked by dynamic programming
    (Ellis, "Beat tracking by dynamic programming", J. New Music Research 36, 2007); a line fitted
    through them refines the tempo beyond the resolution of the frames.
    """
    onsets = onset_strength(audio)
    if onsets.size * _FRAME_S < _MIN_SECONDS or onsets.max(initial=0.0) < _MIN_ONSET_DB:
        return NO_PULSE
    similarity = _autocorrelation(onsets)
    lag, confidence = _best_lag(similarity)
    if confidence < _MIN_CONFIDENCE:
        return NO_PULSE
    period = _refine_period(onsets, lag)
    beats = _track(onsets, period)
    fitted = _fit_period(beats, period)
    if fitted is not None:
        period = fitted
    bpm = 60.0 / (period * _FRAME_S)
    return Pulse(bpm, confidence, tuple(round(float(b) * _FRAME_S, 4) for b in beats))


def beat_offset_s(audio: Audio, bpm: float) -> float:
    """Seconds from the start to the first beat at a known tempo, 0…one beat; 0 without onsets.

    The onset strength is folded at the beat; where it is strongest the beats lie.
    """
    onsets = onset_strength(audio)
    period = beat_s(bpm) / _FRAME_S
    if onsets.size < period or onsets.max(initial=0.0) <= 0:
        return 0.0
    bins = max(8, round(period))
    places = np.floor((np.arange(onsets.size) % period) / period * bins).astype(int) % bins
    folded = np.bincount(places, weights=onsets, minlength=bins)
    smooth = folded + 0.5 * (np.roll(folded, 1) + np.roll(folded, -1))
    return float(smooth.argmax() / bins * period * _FRAME_S)


def onset_strength(audio: Audio) -> Curve:
    """Mean rise of the mel bands in dB less its slow average, one value ≥ 0 per 11.6 ms."""
    samples = resample(heard(audio), _RATE).samples[0]
    if samples.size < _WINDOW:
        return np.zeros(0)
    strength = librosa_ready().onset.onset_strength(
        y=samples, sr=_RATE, hop_length=_HOP, n_fft=_WINDOW, n_mels=64, fmax=8000
    )
    strength = np.asarray(strength, dtype=np.float64)
    width = min(round(1.0 / _FRAME_S), strength.size)
    slow = np.convolve(strength, np.ones(width) / width, mode="same")
    return np.maximum(strength - slow, 0.0)


def _autocorrelation(onsets: Curve) -> Curve:
    """Normalised so that lag 0 is 1 and shorter overlaps are not at a disadvantage."""
    centred = onsets - onsets.mean()
    spectrum = np.fft.rfft(centred, 2 * centred.size)
    raw = np.fft.irfft(np.abs(spectrum) ** 2)[: centred.size]
    overlap = np.arange(centred.size, 0, -1) / centred.size
    biased = raw / max(raw[0], 1e-12)
    return np.asarray(biased / np.maximum(overlap, 0.5))


def _best_lag(similarity: Curve) -> tuple[float, float]:
    """The lag in frames, and the correlation 0…1 that it, its double or its fourfold reach."""
    low, high = beat_s(_MAX_BPM) / _FRAME_S, beat_s(_MIN_BPM) / _FRAME_S
    lags = np.arange(np.ceil(low), min(np.floor(high), similarity.size / 2))
    if lags.size == 0:
        return low, 0.0
    blurred = np.convolve(similarity, (0.25, 0.5, 0.25), mode="same")
    reach = np.arange(similarity.size)
    score = np.zeros(lags.size)
    for multiple, weight in ((0.5, 0.7), (1, 1.0), (2, 0.7), (4, 1.0)):
        score += weight * np.interp(lags * multiple, reach, blurred, right=0.0)
    bpm = 60 / (lags * _FRAME_S)
    prior = np.exp(-0.5 * (np.log2(bpm / _PRIOR_BPM) / _PRIOR_OCTAVES) ** 2)
    best = int((np.maximum(score, 0.0) * prior).argmax())
    around = max(
        similarity[max(1, round(lags[best] * m) - 2) : round(lags[best] * m) + 3].max(initial=0.0)
        for m in (1, 2, 4)
        if m == 1 or lags[best] * m <= similarity.size / 2
    )
    return float(lags[best]), float(np.clip(around, 0.0, 1.0))


def _refine_period(onsets: Curve, lag: float) -> float:
    """The period within 4 % of ``lag`` whose harmonics are strongest in the onsets' spectrum."""
    frames = np.arange(onsets.size)
    shaped = onsets * np.hanning(onsets.size)
    steps = max(41, round(onsets.size / lag * 8))
    periods = lag * np.linspace(0.96, 1.04, steps | 1)
    strength = np.zeros(periods.size)
    for i, period in enumerate(periods):
        for harmonic in _HARMONICS:
            turn = np.exp(-2j * np.pi * harmonic / period * frames)
            strength[i] += abs(np.dot(shaped, turn))
    return float(periods[int(strength.argmax())])


def _track(onsets: Curve, period: float) -> NDArray[np.intp]:
    """Frames of the beats: the chain of onsets that is strong and evenly spaced."""
    scaled = onsets / max(float(onsets.std()), 1e-12)
    far, near = round(-2 * period), -round(period / 2)
    offsets = np.arange(far, near + 1)
    penalty = -_TIGHTNESS * np.log(-offsets / period) ** 2
    total = scaled.copy()
    previous = np.full(scaled.size, -1)
    for frame in range(scaled.size):
        from_frames = frame + offsets
        usable = from_frames >= 0
        if not usable.any():
            continue
        chain = total[from_frames[usable]] + penalty[usable]
        best = int(chain.argmax())
        if chain[best] > 0:
            total[frame] += chain[best]
            previous[frame] = from_frames[usable][best]
    last = round(scaled.size - period)
    at = max(0, last) + int(total[max(0, last) :].argmax())
    beats = []
    while at >= 0:
        beats.append(at)
        at = int(previous[at])
    return np.array(beats[::-1], dtype=np.intp)


def _fit_period(beats: NDArray[np.intp], period: float) -> float | None:
    """Slope of the line through the beats, strays left out; None with too few of them."""
    if beats.size < 6:
        return None
    steps = np.maximum(1, np.rint(np.diff(beats) / period))
    number = np.concatenate([[0], np.cumsum(steps)])
    keep = np.ones(beats.size, dtype=bool)
    slope, start = period, float(beats[0])
    for _ in range(3):
        slope, start = np.polyfit(number[keep], beats[keep], 1)
        stray = np.abs(beats - (start + slope * number))
        keep = stray <= max(2.0, 2.5 * float(np.median(stray)))
        if keep.sum() < 6:
            return None
    return float(slope) if abs(slope / period - 1) < 0.03 else None
