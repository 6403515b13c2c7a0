"""Fast effects for the corpus: EQ, saturation, room, compression, width; float32 ``[2, T]``."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy import fft
from scipy.signal import lfilter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.score import Voice

    Stereo = NDArray[np.float32]

_ROLE_DB = {
    "drums": -17.0, "bass": -18.5, "chords": -22.0, "arpeggio": -22.5, "melody": -19.0, "pad": -24.0
}  # fmt: skip
"""Level of a role in a mix, dB RMS while it sounds."""


def _active_rms(sound: Stereo, rate: int) -> float:
    """RMS of the louder half of 50 ms frames."""
    hop = max(1, rate // 20)
    mono = sound.mean(0)
    whole = len(mono) // hop * hop
    frames = np.sqrt(np.mean(mono[:whole].reshape(-1, hop) ** 2, axis=1) + 1e-14)
    return float(np.sqrt(np.mean(np.sort(frames)[len(frames) // 2 :] ** 2)))


def tilt(sound: Stereo, rate: int, corner_hz: float, low_db: float, high_db: float) -> Stereo:
    """Shelves below and above a corner: a first-order split, each half with its own gain."""
    a = float(np.exp(-2 * np.pi * corner_hz / rate))
    feed, back = np.array([1 - a], np.float32), np.array([1, -a], np.float32)
    low = lfilter(feed, back, sound, axis=1)
    gain_low, gain_high = (np.float32(10 ** (db / 20)) for db in (low_db, high_db))
    return np.asarray(gain_low * low + gain_high * (sound - low), np.float32)


def placed(
    sound: Stereo, voice: Voice, rate: int, rng: np.random.Generator, *, treat: bool
) -> Stereo:
    """A voice, ``[1 or 2, T]``, at its place in the mix; ``treat`` varies level and colour."""
    rms = _active_rms(sound, rate)
    if rms < 1e-6:
        return np.zeros((2, sound.shape[1]), np.float32)
    wanted = _ROLE_DB[voice.role] + voice.gain_db
    wanted += float(rng.normal(0, 1.5)) if treat else 0.0
    sound = sound * np.float32(10 ** (wanted / 20) / rms)
    if treat and rng.random() < 0.5:
        corner = float(rng.choice([300.0, 800.0, 2000.0]))
        sound = tilt(sound, rate, corner, float(rng.normal(0, 2.0)), float(rng.normal(0, 2.5)))
    angle = (1 + voice.pan) * np.pi / 4
    left, right = np.sqrt(2) * np.cos(angle), np.sqrt(2) * np.sin(angle)
    return np.asarray(sound * np.array([[left], [right]], np.float32), np.float32)


@lru_cache(maxsize=64)
def _room_spectrum(
    rate: int, size: int, kind: int, length: int
) -> tuple[NDArray[np.complex64], int]:
    """Spectra of a stereo room: noise that decays faster at high frequencies. ``kind`` 0…5."""
    decay_s = (0.25, 0.4, 0.6, 0.9, 1.3, 1.8)[kind]
    rng = np.random.default_rng([77, kind])
    frames = min(round(decay_s * 1.2 * rate), size - length)
    t = np.arange(frames) / rate
    noise = rng.standard_normal((2, frames))
    a = float(np.exp(-2 * np.pi * (5500.0 - 600.0 * kind) / rate))
    dark = lfilter([1 - a], [1, -a], noise, axis=1)
    shape = 10 ** (-3 * t / decay_s) * np.minimum(1, t / 0.008)
    room = dark * shape
    room /= np.sqrt((room**2).sum(1, keepdims=True))
    return fft.rfft(room.astype(np.float32), size, axis=1).astype(np.complex64), frames


def reverberated(sound: Stereo, rate: int, kind: int, level: float) -> Stereo:
    """Add a room, fed with the mono sum, at a level relative to the dry sound's energy."""
    length = sound.shape[1]
    size = fft.next_fast_len(length + round(1.2 * 1.3 * rate), real=True)
    spectrum, _ = _room_spectrum(rate, size, min(kind, 4), length)
    send = fft.rfft(sound.mean(0), size)
    wet = fft.irfft(send[None] * spectrum, size, axis=1)[:, :length]
    return np.asarray(sound + np.float32(level) * wet, np.float32)


def compressed(sound: Stereo, rate: int, threshold_db: float, ratio: float) -> Stereo:
    """Feed-forward compression on 5 ms frames: attack one frame, release some 120 ms."""
    hop = max(1, rate // 200)
    frames = sound.shape[1] // hop
    power = np.mean(sound[:, : frames * hop].reshape(2, frames, hop) ** 2, axis=(0, 2))
    over = np.maximum(0.0, 10 * np.log10(power + 1e-10) - threshold_db)
    release = float(np.exp(-1 / 24))
    held = np.empty_like(over)
    last = 0.0
    for k, value in enumerate(over.tolist()):
        last = value if value > last else release * last + (1 - release) * value
        held[k] = last
    gain = 10 ** (-held * (1 - 1 / ratio) / 20)
    curve = np.interp(np.arange(sound.shape[1]), (np.arange(frames) + 0.5) * hop, gain)
    return np.asarray(sound * curve.astype(np.float32), np.float32)


def widened(sound: Stereo, width: float) -> Stereo:
    """Scale the difference of the channels; 0 is mono, 1 unchanged."""
    middle, side = (sound[0] + sound[1]) / 2, (sound[0] - sound[1]) / 2 * np.float32(width)
    return np.stack([middle + side, middle - side])


def mastered(
    mix: Stereo, rate: int, rng: np.random.Generator, *, room: float, drive: float
) -> Stereo:
    """What happens to the whole mix: room, tone, glue, saturation, width."""
    if room > 0 and rng.random() < 0.75:
        kind = int(np.clip(round(room * 5 + rng.normal(0, 0.8)), 0, 4))
        mix = reverberated(mix, rate, kind, float(rng.uniform(0.1, 0.25) + 0.35 * room))
    if rng.random() < 0.5:
        mix = tilt(mix, rate, 900.0, float(rng.normal(0, 1.5)), float(rng.normal(0, 2.0)))
    if rng.random() < 0.5:
        mix = compressed(mix, rate, float(rng.uniform(-24, -14)), float(rng.uniform(1.5, 4)))
    if rng.random() < 0.2 + drive:
        push = np.float32(rng.uniform(1.0, 2.0 + 4 * drive))
        peak = np.float32(max(1e-6, float(np.abs(mix).max())))
        mix = np.tanh(mix / peak * push) * peak
    if rng.random() < 0.4:
        mix = widened(mix, float(rng.uniform(0.5, 1.5)))
    return mix


def levelled(mix: Stereo, rng: np.random.Generator | None) -> Stereo:
    """Bring the RMS to -20…-13 dB (-17 without ``rng``), the peak to at most 0.97."""
    wanted = -17.0 if rng is None else float(rng.uniform(-20, -13))
    rms = float(np.sqrt(np.mean(mix**2)))
    peak = float(np.abs(mix).max())
    if peak < 1e-6:
        return mix
    gain = min(10 ** (wanted / 20) / rms, 0.97 / peak)
    return np.asarray(mix * np.float32(gain), np.float32)
