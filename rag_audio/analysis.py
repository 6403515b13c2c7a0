"""What can be heard in a clip: tempo, beats, key, loudness."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rag_audio.compiled import librosa_ready
from rag_audio.domain import Audio, Key
from rag_audio.hearing import heard
from rag_audio.keys import estimate_key
from rag_audio.loudness import loudness_lufs, true_peak_dbtp
from rag_audio.shaping import resample
from rag_audio.similarity import copy_distance
from rag_audio.tempo import NO_PULSE, find_pulse

__all__ = ["Analysis", "analyse", "chroma", "copy_distance"]

_RATE = 22_050
_HOP = 1024
_BINS_PER_SEMITONE = 3
_SEMITONES = 84
_LOWEST_HZ = 32.703  # C1
_BASS_SEMITONES = 27
_MIN_SECONDS = 0.5
_LOWEST_OCTAVE_S = 3.1
_OPENING_S = 1.0
_SILENCE_DBFS = -70.0
_LONGEST_S = 180.0


@dataclass(frozen=True)
class Analysis:
    """What was measured.

    Attributes:
        bpm: None where no pulse was found; may be half or double of what a musician would count.
        bpm_confidence, key_confidence: 0…1.
        beats_s: seconds from the start; downbeats are not guessed.
        loudness_lufs, true_peak_dbtp: ``-inf`` for silence.
        silent: nothing louder than -70 dBFS.
    """

    bpm: float | None
    bpm_confidence: float
    beats_s: tuple[float, ...]
    key: Key | None
    key_confidence: float
    loudness_lufs: float
    true_peak_dbtp: float
    silent: bool


def analyse(audio: Audio) -> Analysis:
    """Measure tempo, beats, key and loudness; of sound past three minutes the first three tell.

    Clips too short for a tempo (2.5 s) or a key (0.5 s) have none.
    """
    peak_dbtp = true_peak_dbtp(audio)
    if peak_dbtp < _SILENCE_DBFS:
        return Analysis(None, 0.0, (), None, 0.0, -math.inf, peak_dbtp, silent=True)
    start = Audio(audio.samples[:, : round(_LONGEST_S * audio.sample_rate)], audio.sample_rate)
    plain = resample(heard(start), _RATE)
    pulse = find_pulse(plain) if plain.duration_s > _MIN_SECONDS else NO_PULSE
    key, key_confidence = _key(plain)
    return Analysis(
        bpm=pulse.bpm,
        bpm_confidence=pulse.confidence,
        beats_s=pulse.beats_s,
        key=key,
        key_confidence=key_confidence,
        loudness_lufs=loudness_lufs(audio),
        true_peak_dbtp=peak_dbtp,
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
    opening = bass[:, : max(1, round(_OPENING_S * _RATE / _HOP))]
    return estimate_key(_fold(pitches).sum(axis=1), bass.sum(axis=1), opening.sum(axis=1))


def _pitches(plain: Audio) -> NDArray[np.float32]:
    """Strength of each semitone from C1 ``[84, frames]`` ≥ 0."""
    from scipy.ndimage import median_filter

    librosa = librosa_ready()
    samples = plain.samples[0]
    if samples.size < _LOWEST_OCTAVE_S * _RATE:
        samples = np.pad(samples, (0, round(_LOWEST_OCTAVE_S * _RATE) - samples.size))
    tuning = float(librosa.estimate_tuning(y=samples, sr=_RATE, n_fft=4096))
    bins = librosa.cqt(
        samples,
        sr=_RATE,
        hop_length=_HOP,
        fmin=_LOWEST_HZ,
        n_bins=_SEMITONES * _BINS_PER_SEMITONE,
        bins_per_octave=12 * _BINS_PER_SEMITONE,
        tuning=tuning * _BINS_PER_SEMITONE,
    )
    strength = np.sqrt(np.abs(bins))
    floor = median_filter(strength, size=(4 * _BINS_PER_SEMITONE + 1, 1), mode="nearest")
    peaks = np.maximum(strength - floor, 0.0)
    # The bins of a semitone are centred on it: half of its first neighbour below belongs to it.
    rolled = np.roll(peaks, _BINS_PER_SEMITONE // 2, axis=0)
    rolled[: _BINS_PER_SEMITONE // 2] = 0
    return np.asarray(
        rolled.reshape(_SEMITONES, _BINS_PER_SEMITONE, -1).sum(axis=1), dtype=np.float32
    )


def _fold(pitches: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sum over octaves ``[12, frames]``."""
    octaves = -(-pitches.shape[0] // 12)
    padded = np.pad(pitches, ((0, octaves * 12 - pitches.shape[0]), (0, 0)))
    return np.asarray(padded.reshape(octaves, 12, -1).sum(axis=0), dtype=np.float32)
