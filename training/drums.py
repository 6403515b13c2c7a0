"""Our own drum kit: General MIDI percussion notes from oscillators and shaped noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from scipy.signal import butter, sosfilt

if TYPE_CHECKING:
    from training.synthesis import Signal

DRUM_RATE = 32000
"""Hz; hats and cymbals want the treble."""

_SQUARES = (205.3, 304.4, 369.6, 522.7, 540.0, 800.0)
"""Frequencies in Hz of the six square waves behind a metallic hat."""


def _time(duration_s: float) -> Signal:
    return np.arange(round(duration_s * DRUM_RATE)) / DRUM_RATE


def _noise(duration_s: float, seed: int, low: float, high: float) -> Signal:
    white = np.random.default_rng(seed).standard_normal(round(duration_s * DRUM_RATE))
    top = min(high, 0.48 * DRUM_RATE)
    band = butter(2, [low, top], "bandpass", fs=DRUM_RATE, output="sos")
    filtered = sosfilt(band, white)
    return np.asarray(filtered / np.std(filtered))


def _swept(duration_s: float, start: float, end: float, sweep_s: float, decay_s: float) -> Signal:
    """A sine that falls from ``start`` to ``end`` Hz."""
    t = _time(duration_s)
    phase = 2 * np.pi * (end * t + (start - end) * sweep_s * (1 - np.exp(-t / sweep_s)))
    return np.asarray(np.sin(phase) * np.exp(-t / decay_s))


def kick(start: float, end: float, decay_s: float, click: float, seed: int = 1) -> Signal:
    """A swept sine with a click; frequencies in Hz."""
    t = _time(0.42)
    body = np.tanh(1.8 * _swept(0.42, start, end, 0.025, decay_s))
    return np.asarray(body + click * _noise(0.42, seed, 900, 7000) * np.exp(-t / 0.004))


def snare(tone: float, noise_s: float, snap: float, seed: int = 2) -> Signal:
    """A shell of two modes and its wires."""
    t = _time(0.3)
    shell = _swept(0.3, tone * 1.5, tone, 0.012, 0.07)
    shell += 0.5 * _swept(0.3, tone * 2.4, tone * 1.72, 0.01, 0.05)
    wires = _noise(0.3, seed, 1100, 11000) * np.exp(-t / noise_s)
    return np.asarray(shell + snap * wires)


def clap(seed: int = 3) -> Signal:
    """Three bursts and a tail."""
    t = _time(0.3)
    bursts = sum(np.where(t >= d, np.exp(-(t - d) / 0.006), 0.0) for d in (0.0, 0.011, 0.022))
    tail = np.where(t >= 0.03, np.exp(-(t - 0.03) / 0.06), 0.0)
    return np.asarray(_noise(0.3, seed, 800, 4500) * (bursts + 0.8 * tail))


def metal(duration_s: float, decay_s: float, low: float, ring: float, seed: int = 4) -> Signal:
    """Hats and cymbals: six detuned square waves and noise, high-passed."""
    t = _time(duration_s)
    squares = sum(np.sign(np.sin(2 * np.pi * f * 1.9 * t + f)) for f in _SQUARES) / 6
    high = butter(4, low, "highpass", fs=DRUM_RATE, output="sos")
    sound = ring * squares + _noise(duration_s, seed, low * 0.8, 15000) * 0.35
    return np.asarray(sosfilt(high, sound) * np.exp(-t / decay_s) * np.minimum(1, t / 0.0006))


def cymbal(duration_s: float, decay_s: float, stick: float, seed: int = 5) -> Signal:
    """A wash of many inharmonic partials under noise; ``stick`` is the ping's level."""
    t = _time(duration_s)
    rng = np.random.default_rng(seed)
    wash = _noise(duration_s, seed, 2500, 15000) * np.exp(-t / decay_s)
    frequencies = rng.uniform(600, 9000, 24)
    lives = decay_s * rng.uniform(0.3, 1.2, 24)
    ring = np.sum(
        np.sin(2 * np.pi * frequencies[:, None] * t + frequencies[:, None])
        * np.exp(-t / lives[:, None]),
        axis=0,
    )
    ping = stick * np.sin(2 * np.pi * 3300 * t) * np.exp(-t / 0.02)
    return np.asarray(wash * 0.5 + 0.12 * ring + ping)


def tom(frequency: float) -> Signal:
    """A skin tuned to ``frequency`` Hz."""
    t = _time(0.4)
    skin = _swept(0.4, frequency * 1.6, frequency, 0.03, 0.13)
    return np.asarray(skin + 0.12 * _noise(0.4, 6, 300, 4000) * np.exp(-t / 0.02))


def blocks(*pitches: float, decay_s: float = 0.03) -> Signal:
    """Wood blocks, claves, cowbells, agogos, triangles: a few short sines."""
    t = _time(min(0.5, 6 * decay_s))
    return np.asarray(sum(np.sin(2 * np.pi * f * t) for f in pitches) * np.exp(-t / decay_s))


def shaken(duration_s: float, rise_s: float, decay_s: float, low: float, seed: int) -> Signal:
    """Noise that swells and dies: shakers, tambourines, cabasa."""
    t = _time(duration_s)
    shape = np.minimum(1, t / rise_s) * np.exp(-np.maximum(0, t - rise_s) / decay_s)
    return np.asarray(_noise(duration_s, seed, low, 14000) * shape)


def hand_drum(frequency: float, decay_s: float, slap: float, seed: int = 7) -> Signal:
    """Bongos and congas: a skin of ``frequency`` Hz and the slap on it."""
    t = _time(0.3)
    skin = _swept(0.3, frequency * 1.25, frequency, 0.01, decay_s)
    skin += 0.35 * _swept(0.3, frequency * 2.2, frequency * 2.1, 0.01, decay_s * 0.5)
    return np.asarray(skin + slap * _noise(0.3, seed, 1200, 6000) * np.exp(-t / 0.008))


DRUMS: dict[int, tuple[str, float, Callable[[], Signal]]] = {
    35: ("acoustic bass drum", 0.0, lambda: kick(120, 46, 0.14, 0.2)),
    36: ("bass drum", 0.0, lambda: kick(210, 52, 0.11, 0.4)),
    37: ("side stick", 0.1, lambda: blocks(1650, 2470, 410, decay_s=0.012)),
    38: ("snare", 0.0, lambda: snare(185, 0.075, 0.75)),
    39: ("clap", -0.08, lambda: clap()),
    40: ("electric snare", 0.0, lambda: snare(230, 0.055, 1.0, seed=12)),
    41: ("low floor tom", -0.3, lambda: tom(78)),
    42: ("closed hat", 0.15, lambda: metal(0.09, 0.022, 6500, 1.0)),
    43: ("high floor tom", -0.2, lambda: tom(95)),
    44: ("pedal hat", 0.15, lambda: metal(0.11, 0.03, 5200, 0.8, seed=14)),
    45: ("low tom", -0.1, lambda: tom(118)),
    46: ("open hat", 0.15, lambda: metal(0.45, 0.16, 6000, 1.0, seed=15)),
    47: ("low-mid tom", 0.05, lambda: tom(142)),
    48: ("high-mid tom", 0.15, lambda: tom(170)),
    49: ("crash", -0.2, lambda: cymbal(0.85, 0.33, 0.0)),
    50: ("high tom", 0.25, lambda: tom(205)),
    51: ("ride", 0.25, lambda: cymbal(0.6, 0.2, 0.8, seed=16)),
    53: ("ride bell", 0.25, lambda: blocks(3150, 4480, 5620, decay_s=0.08)),
    54: ("tambourine", -0.2, lambda: shaken(0.22, 0.004, 0.06, 6000, 18)),
    56: ("cowbell", 0.2, lambda: blocks(562, 845, 1690, decay_s=0.05)),
    60: ("high bongo", 0.2, lambda: hand_drum(420, 0.05, 0.15)),
    61: ("low bongo", 0.2, lambda: hand_drum(310, 0.06, 0.12)),
    62: ("muted conga", -0.2, lambda: hand_drum(330, 0.025, 0.35)),
    63: ("open conga", -0.2, lambda: hand_drum(245, 0.09, 0.1)),
    64: ("low conga", -0.2, lambda: hand_drum(182, 0.1, 0.1)),
    67: ("high agogo", 0.25, lambda: blocks(1250, 1870, decay_s=0.06)),
    68: ("low agogo", 0.25, lambda: blocks(930, 1400, decay_s=0.06)),
    69: ("cabasa", -0.25, lambda: shaken(0.12, 0.02, 0.03, 5500, 19)),
    70: ("shaker", 0.25, lambda: shaken(0.1, 0.03, 0.02, 4500, 20)),
    75: ("claves", 0.15, lambda: blocks(2490, decay_s=0.03)),
    76: ("high wood block", 0.15, lambda: blocks(1720, 2600, decay_s=0.022)),
    77: ("low wood block", 0.15, lambda: blocks(1130, 1740, decay_s=0.025)),
    80: ("muted triangle", 0.2, lambda: blocks(5210, 7730, decay_s=0.04)),
    81: ("open triangle", 0.2, lambda: blocks(5210, 7730, 9410, decay_s=0.16)),
}
"""General MIDI note → name, pan (-0.5…0.5), maker. Notes that lack borrow a neighbour's sound."""

BORROWED: dict[int, int] = {
    27: 75, 28: 39, 29: 70, 30: 69, 31: 37, 32: 75, 33: 76, 34: 53, 52: 49, 55: 49, 57: 49, 58: 54,
    59: 51, 65: 60, 66: 61, 71: 81, 72: 81, 73: 69, 74: 69, 78: 62, 79: 63, 82: 70, 83: 54, 84: 81,
    85: 75, 86: 41, 87: 35,
}  # fmt: skip
"""Other percussion notes of General MIDI (and level 2) → the note whose sound they use."""
