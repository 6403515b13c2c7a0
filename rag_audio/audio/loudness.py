"""How loud sound is: integrated loudness and true peak by ITU-R BS.1770."""

from __future__ import annotations

import math

import numpy as np
import soxr

from rag_audio.domain import Audio

_BLOCK_S = 0.4
_METER_CHANNELS = 5
_METER_MIN_RATE = 8000
_OVERSAMPLING = 4
_PEAK_BLOCK_S = 20.0
_PEAK_OVERLAP = 256


def loudness_lufs(audio: Audio) -> float:
    """Integrated loudness in LUFS (ITU-R BS.1770-4, gated); ``-inf`` for silence.

    A clip shorter than one 0.4 s gating block is repeated to fill it: its loudness is that of the
    sound going on. More than five channels are measured as five: the meter knows no more.
    """
    import pyloudnorm

    samples = audio.samples[:_METER_CHANNELS].astype(np.float64)
    if samples.size == 0 or not np.any(samples):
        return -math.inf
    rate = audio.sample_rate
    if rate < _METER_MIN_RATE:  # the weighting filters sit below 2 kHz
        samples = soxr.resample(samples.T, rate, _METER_MIN_RATE).T
        rate = _METER_MIN_RATE
    block = math.ceil(_BLOCK_S * rate) + 1
    if samples.shape[1] < block:
        samples = np.tile(samples, (1, -(-block // samples.shape[1])))
    with np.errstate(divide="ignore", invalid="ignore"):
        measured = float(pyloudnorm.Meter(rate, block_size=_BLOCK_S).integrated_loudness(samples.T))
    return measured if math.isfinite(measured) else -math.inf


def true_peak_dbtp(audio: Audio) -> float:
    """True peak over all channels in dBTP (BS.1770-4 annex 2, 4 × oversampling).

    ``-inf`` for silence.
    """
    peak = float(np.abs(audio.samples).max(initial=0.0))
    if peak == 0.0:
        return -math.inf
    block = round(_PEAK_BLOCK_S * audio.sample_rate)
    for start in range(0, audio.frames, block):
        piece = audio.samples[:, max(0, start - _PEAK_OVERLAP) : start + block + _PEAK_OVERLAP]
        upsampled = soxr.resample(piece.T, audio.sample_rate, audio.sample_rate * _OVERSAMPLING)
        peak = max(peak, float(np.abs(upsampled).max(initial=0.0)))
    return 20.0 * math.log10(peak)


def normalize_loudness(audio: Audio, target_lufs: float, max_true_peak_dbtp: float = -1.0) -> Audio:
    """The audio at ``target_lufs`` by one gain; less gain where the true peak would pass its limit.

    Silence comes back unchanged.
    """
    measured = loudness_lufs(audio)
    if math.isinf(measured):
        return audio
    gain_db = min(target_lufs - measured, max_true_peak_dbtp - true_peak_dbtp(audio))
    return Audio((audio.samples * 10 ** (gain_db / 20)).astype(np.float32), audio.sample_rate)


def limit_peak(audio: Audio, max_true_peak_dbtp: float = -1.0) -> Audio:
    """The audio turned down, by one gain, until its true peak fits; unchanged where it does."""
    over_db = true_peak_dbtp(audio) - max_true_peak_dbtp
    if not over_db > 0:
        return audio
    return Audio((audio.samples * 10 ** (-over_db / 20)).astype(np.float32), audio.sample_rate)
