"""What can be measured of a finished sound, so that a model that goes wrong is seen in a graph."""

from __future__ import annotations

import math

import numpy as np

from rag_audio import audio as sound
from rag_audio.domain import Audio
from rag_audio.hearing import heard

_FRAME = 2048
_SILENT_DB = -60.0
_CLIPPED = 0.999


def quality(audio: Audio) -> dict[str, float | None]:
    """Loudness and spectrum of a sound.

    Returns:
        ``lufs`` (ITU-R BS.1770) and ``true_peak_dbtp``; ``silence``: share of frames of 2048
        samples below -60 dBFS RMS; ``clipping``: share of samples at full scale;
        ``centroid_hz``: mean of the frames' spectral centroids, weighted by power; ``flatness``:
        mean of the frames' geometric over arithmetic mean of power, 0…1. None: it is silent.
    """
    mono = heard(audio).samples[0].astype(np.float64)
    count = max(1, mono.size // _FRAME)
    frames = np.resize(mono, count * _FRAME).reshape(count, _FRAME)
    rms = np.sqrt(np.mean(frames**2, axis=1))
    loud = rms > 10 ** (_SILENT_DB / 20)
    found: dict[str, float | None] = {
        "lufs": _finite(sound.loudness_lufs(audio)),
        "true_peak_dbtp": _finite(sound.true_peak_dbtp(audio)),
        "silence": float(1.0 - loud.mean()),
        "clipping": float(np.mean(np.abs(audio.samples) >= _CLIPPED)),
        "centroid_hz": None,
        "flatness": None,
    }
    if not loud.any():
        return found
    power = np.abs(np.fft.rfft(frames[loud] * np.hanning(_FRAME), axis=1)) ** 2 + 1e-20
    hz = np.fft.rfftfreq(_FRAME, 1 / audio.sample_rate)
    found["centroid_hz"] = float((power * hz).sum() / power.sum())
    flat = np.exp(np.mean(np.log(power), axis=1)) / power.mean(axis=1)
    found["flatness"] = float(flat.mean())
    return found


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
