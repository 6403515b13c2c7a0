"""What can be heard in a clip: tempo, beats, key, loudness."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rag_audio.audio.channels import heard
from rag_audio.audio.constant_q import BINS_PER_OCTAVE, HOP, OCTAVES, constant_q
from rag_audio.audio.dsp import loudness_lufs, resample
from rag_audio.audio.key_profiles import MAJOR, MINOR
from rag_audio.audio.layouts import ChannelLayout
from rag_audio.audio.librosa_cache import librosa_ready
from rag_audio.domain import Audio, Key
from rag_audio.domain.music import beat_s

# Tempo and beats of sound.

Curve = NDArray[np.float64]

_RATE = 22_050
_TEMPO_HOP = 256
_WINDOW = 1024
FRAME_S = _TEMPO_HOP / _RATE
"""Seconds from one value of the onset strength to the next."""
_MIN_BPM, _MAX_BPM = 50.0, 220.0
_PRIOR_BPM, _PRIOR_OCTAVES = 115.0, 0.9
_TEMPO_MIN_SECONDS = 2.5
_MIN_CONFIDENCE = 0.15
_MIN_ONSET_DB = 0.5
_TIGHTNESS = 100.0
_HARMONICS = (1, 2, 4)
_FINER = 16
"""Lines of the onsets' spectrum for each that their number gives: between them it is linear."""


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
    if onsets.size * FRAME_S < _TEMPO_MIN_SECONDS or onsets.max(initial=0.0) < _MIN_ONSET_DB:
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
    bpm = 60.0 / (period * FRAME_S)
    return Pulse(bpm, confidence, tuple(round(float(b) * FRAME_S, 4) for b in beats))


def beat_offset_s(audio: Audio, bpm: float) -> float:
    """Seconds from the start to the first beat at a known tempo, 0…one beat; 0 without onsets.

    The onset strength is folded at the beat; where it is strongest the beats lie.
    """
    onsets = onset_strength(audio)
    period = beat_s(bpm) / FRAME_S
    if onsets.size < period or onsets.max(initial=0.0) <= 0:
        return 0.0
    bins = max(8, round(period))
    places = np.floor((np.arange(onsets.size) % period) / period * bins).astype(int) % bins
    folded = np.bincount(places, weights=onsets, minlength=bins)
    smooth = folded + 0.5 * (np.roll(folded, 1) + np.roll(folded, -1))
    return float(smooth.argmax() / bins * period * FRAME_S)


def onset_strength(audio: Audio) -> Curve:
    """Mean rise of the mel bands in dB less its slow average, one value ≥ 0 per 11.6 ms."""
    samples = resample(heard(audio), _RATE).samples[0]
    if samples.size < _WINDOW:
        return np.zeros(0)
    strength = librosa_ready().onset.onset_strength(
        y=samples, sr=_RATE, hop_length=_TEMPO_HOP, n_fft=_WINDOW, n_mels=64, fmax=8000
    )
    strength = np.asarray(strength, dtype=np.float64)
    width = min(round(1.0 / FRAME_S), strength.size)
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
    low, high = beat_s(_MAX_BPM) / FRAME_S, beat_s(_MIN_BPM) / FRAME_S
    lags = np.arange(np.ceil(low), min(np.floor(high), similarity.size / 2))
    if lags.size == 0:
        return low, 0.0
    blurred = np.convolve(similarity, (0.25, 0.5, 0.25), mode="same")
    reach = np.arange(similarity.size)
    score = np.zeros(lags.size)
    for multiple, weight in ((0.5, 0.7), (1, 1.0), (2, 0.7), (4, 1.0)):
        score += weight * np.interp(lags * multiple, reach, blurred, right=0.0)
    bpm = 60 / (lags * FRAME_S)
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
    steps = max(41, round(onsets.size / lag * 8))
    periods = lag * np.linspace(0.96, 1.04, steps | 1)
    size = _FINER * 2 ** math.ceil(math.log2(onsets.size))
    spectrum = np.abs(np.fft.rfft(onsets * np.hanning(onsets.size), size))
    strength = np.zeros(periods.size)
    for harmonic in _HARMONICS:
        strength += np.interp(harmonic * size / periods, np.arange(spectrum.size), spectrum)
    return float(periods[int(strength.argmax())])


def _track(onsets: Curve, period: float) -> NDArray[np.intp]:
    """Frames of the beats: the chain of onsets that is strong and evenly spaced."""
    scaled = onsets / max(float(onsets.std()), 1e-12)
    far, near = round(-2 * period), -round(period / 2)
    offsets = np.arange(far, near + 1)
    penalty = -_TIGHTNESS * np.log(-offsets / period) ** 2
    total = scaled.copy()
    previous = np.full(scaled.size, -1)
    for frame in range(-near, scaled.size):
        from_frame = max(0, frame + far)
        chain = total[from_frame : frame + near + 1] + penalty[from_frame - frame - far :]
        best = int(chain.argmax())
        if chain[best] > 0:
            total[frame] += chain[best]
            previous[frame] = from_frame + best
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


# Which key a distribution of pitch classes is in.

# Pop and folk lean on the lowered seventh in minor, which Albrecht and Shanahan's art music rarely
# keeps.
_MINOR_NATURAL = (
    0.22, 0.006, 0.104, 0.123, 0.008, 0.103, 0.012, 0.2, 0.072, 0.012, 0.11, 0.03,
)  # fmt: skip

_BASS_WEIGHT = 0.35
_OPENING_WEIGHT = 0.15
_CLEAR_MARGIN = 0.25
# Tuned drums correlate with some key at about 0.55, pitched music from 0.75 up.
_MIN_CORRELATION, _SURE_CORRELATION = 0.58, 0.85


def estimate_key(
    pitch_classes: ArrayLike, bass: ArrayLike | None = None, opening: ArrayLike | None = None
) -> tuple[Key | None, float]:
    """The key whose profile correlates best with a distribution, and how sure that is.

    A key and its relative share their notes; which degree the bass rests on, and which it opens
    with, decides between them.

    Args:
        pitch_classes: ``[12]`` weights ≥ 0 from C up.
        bass: the same of the lowest voice. opening: the same of its first beats.

    Returns:
        The key, and a confidence 0…1 that grows with the correlation itself and with its lead over
        the best key with another set of notes or another tonic; (None, 0) without any clear pitch.
    """
    weights = np.asarray(pitch_classes, dtype=np.float64)
    if weights.sum() <= 0 or not np.isfinite(weights).all():
        return None, 0.0
    correlation = _correlations(weights)
    score = correlation + _bass_support(bass, opening)
    best = int(score.argmax())
    fit = float(correlation[best])
    if fit < _MIN_CORRELATION:
        return None, 0.0
    others = np.delete(score, best)
    margin = float(score[best] - others.max())
    tonal = (fit - _MIN_CORRELATION) / (_SURE_CORRELATION - _MIN_CORRELATION)
    confidence = min(1.0, 0.2 + 0.8 * tonal) * min(1.0, margin / _CLEAR_MARGIN)
    return Key(best % 12, best >= 12), round(max(0.0, confidence), 4)


def key_scores(
    pitch_classes: ArrayLike, bass: ArrayLike | None = None, opening: ArrayLike | None = None
) -> NDArray[np.float64]:
    """``[24]``: what :func:`estimate_key` takes the best of, twelve major keys, then twelve minor.

    Zeros without any pitch.
    """
    weights = np.asarray(pitch_classes, dtype=np.float64)
    if weights.sum() <= 0 or not np.isfinite(weights).all():
        return np.zeros(24)
    return _correlations(weights) + _bass_support(bass, opening)


def _bass_support(bass: ArrayLike | None, opening: ArrayLike | None) -> NDArray[np.float64]:
    support = np.zeros(24)
    for extra, weight in ((bass, _BASS_WEIGHT), (opening, _OPENING_WEIGHT)):
        if extra is not None and np.sum(extra) > 0:
            support += weight * _tonic_support(np.asarray(extra, dtype=np.float64))
    return support


def _correlations(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """``[24]``: Pearson correlation with each key's profile, twelve major then twelve minor."""
    return np.array(
        [_correlate(weights, np.roll(MAJOR, tonic)) for tonic in range(12)]
        + [
            max(
                _correlate(weights, np.roll(MINOR, tonic)),
                _correlate(weights, np.roll(_MINOR_NATURAL, tonic)),
            )
            for tonic in range(12)
        ]
    )


def _correlate(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / norm if norm > 0 else 0.0


def _tonic_support(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """``[24]``: share of each tonic, the same for both modes."""
    share = weights / weights.sum()
    return np.concatenate([share, share])


_BINS_PER_SEMITONE = BINS_PER_OCTAVE // 12
_SEMITONES = 12 * OCTAVES
_BASS_SEMITONES = 27
_MIN_SECONDS = 0.5
_LOWEST_OCTAVE_S = 3.1
_OPENING_S = 1.0
SILENCE_DBFS = -70.0
"""A sound with no higher peak is silent."""
LONGEST_S = 180.0
"""What tempo and key are measured of at most: the first three minutes."""


@dataclass(frozen=True)
class Analysis:
    """What was measured.

    Attributes:
        bpm: None where no pulse was found; may be half or double of what a musician would count.
        bpm_confidence, key_confidence: 0…1.
        beats_s: seconds from the start; downbeats are not guessed.
        loudness_lufs: ``-inf`` for silence, and where only a channel for low-frequency effects
            sounds, which does not count.
        silent: nothing louder than -70 dBFS.
    """

    bpm: float | None
    bpm_confidence: float
    beats_s: tuple[float, ...]
    key: Key | None
    key_confidence: float
    loudness_lufs: float
    silent: bool


def analyse(
    audio: Audio, layout: ChannelLayout | None = None, *, tempo: bool = True, key: bool = True
) -> Analysis:
    """Measure tempo, beats, key and loudness; of sound past three minutes the first three tell.

    Clips too short for a tempo (2.5 s) or a key (0.5 s) have none.

    Args:
        layout: of the channels; None: the usual one of as many.
        tempo, key: whether they are estimated; else there is none, as where none is found.
    """
    if float(np.abs(audio.samples).max(initial=0.0)) < 10 ** (SILENCE_DBFS / 20):
        return Analysis(None, 0.0, (), None, 0.0, -math.inf, silent=True)
    pulse, found, confidence = NO_PULSE, None, 0.0
    if tempo or key:
        start = Audio(audio.samples[:, : round(LONGEST_S * audio.sample_rate)], audio.sample_rate)
        plain = resample(heard(start, layout), _RATE)
        if tempo and plain.duration_s > _MIN_SECONDS:
            pulse = find_pulse(plain)
        if key:
            found, confidence = _key(plain)
    return Analysis(
        bpm=pulse.bpm,
        bpm_confidence=pulse.confidence,
        beats_s=pulse.beats_s,
        key=found,
        key_confidence=confidence,
        loudness_lufs=loudness_lufs(audio, layout),
        silent=False,
    )


def chroma(audio: Audio) -> NDArray[np.float32]:
    """Strength of the twelve pitch classes ``[12, frames]``, from C up, 46 ms a frame.

    From a constant-Q transform, tuned to the clip, less what spreads over all pitches (drums).
    """
    return _fold(_pitches(resample(heard(audio), _RATE)))


def _key(plain: Audio) -> tuple[Key | None, float]:
    if plain.duration_s < _MIN_SECONDS:
        return None, 0.0
    pitches = _pitches(plain)
    energy = pitches.sum()
    if energy <= 0:
        return None, 0.0
    bass = _fold(pitches[:_BASS_SEMITONES])
    opening = bass[:, : max(1, round(_OPENING_S * _RATE / HOP))]
    return estimate_key(_fold(pitches).sum(axis=1), bass.sum(axis=1), opening.sum(axis=1))


def _pitches(plain: Audio) -> NDArray[np.float32]:
    """Strength of each semitone from C1 ``[84, frames]`` ≥ 0."""
    samples = plain.samples[0]
    if samples.size < _LOWEST_OCTAVE_S * _RATE:
        samples = np.pad(samples, (0, round(_LOWEST_OCTAVE_S * _RATE) - samples.size))
    strength = np.sqrt(constant_q(samples))
    floor = _running_median(strength, 4 * _BINS_PER_SEMITONE + 1)
    peaks = np.maximum(strength - floor, 0.0)
    # The bins of a semitone are centred on it: half of its first neighbour below belongs to it.
    rolled = np.roll(peaks, _BINS_PER_SEMITONE // 2, axis=0)
    rolled[: _BINS_PER_SEMITONE // 2] = 0
    return np.asarray(
        rolled.reshape(_SEMITONES, _BINS_PER_SEMITONE, -1).sum(axis=1), dtype=np.float32
    )


def _running_median(rows: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """The median of each row and its neighbours ``[R, T]``, of an odd number; the first and the
    last row go on beyond the edge.

    Of half of them and two more, the lowest and the highest cannot be the median: they make room
    for the next one, until one is left.
    """
    half = size // 2
    padded = np.pad(rows, ((half, half), (0, 0)), mode="edge")
    moved = [padded[at : at + len(rows)] for at in range(size)]
    kept, left = moved[: half + 2], moved[half + 2 :]
    while len(kept) > 2:
        for place in range(len(kept) - 1):  # the highest goes to the end
            low, high = kept[place], kept[place + 1]
            kept[place], kept[place + 1] = np.minimum(low, high), np.maximum(low, high)
        for place in range(len(kept) - 2, 0, -1):  # the lowest to the beginning
            low, high = kept[place - 1], kept[place]
            kept[place - 1], kept[place] = np.minimum(low, high), np.maximum(low, high)
        kept = [*kept[1:-1], *left[:1]]
        left = left[1:]
    return kept[0]


def _fold(pitches: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sum over octaves ``[12, frames]``."""
    octaves = -(-pitches.shape[0] // 12)
    padded = np.pad(pitches, ((0, octaves * 12 - pitches.shape[0]), (0, 0)))
    return np.asarray(padded.reshape(octaves, 12, -1).sum(axis=0), dtype=np.float32)
