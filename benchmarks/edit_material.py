"""What the benchmark of edits works on, and how it counts: clips, melodies, intervals."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from rag_audio.audio import midi
from rag_audio.audio.dsp import to_channels
from rag_audio.domain import Audio
from rag_audio.domain.music import COMMON, bar_s
from rag_audio.resources import data_dir
from tests.pipeline.editing.sounds import pad_sound

HELD = (
    ("tessan-oryk/tidewater-pad", "warm pad, sustained chords"),
    ("tessan-oryk/tidewater-cello", "cello, long notes"),
    ("velda-quarn/sodium-light-organ", "organ, sustained chords"),
    ("harbour-steps-sound/salt-market-horns", "horns, long notes"),
)
SONGS = (
    ("velda-quarn/last-tram", "deep house, electric piano", 122),
    ("copperhill-junction-players/brass-ticket", "funk, slap bass, brass", 104),
    ("mirko-adelune/attic-rain", "lo-fi hip hop, electric piano", 78),
    ("kestrel-ninefold/ninth-gate", "drum and bass, jungle", 172),
    ("velda-quarn/glass-corridor", "techno, saw lead", 130),
    ("mirko-adelune/paper-moths", "lo-fi hip hop, nylon guitar", 84),
)
RATES = (24_000, 44_100, 48_000)


def sustained_clips(count: int, duration_s: float = 10.0) -> Iterator[tuple[str, Audio, str]]:
    """(name, sound, words): of five, three held synthetic chords and two stems of held notes."""
    for i in range(count):
        rate, channels = RATES[i % 3], 1 + i % 2
        if i % 5 < 3:
            sound = pad_sound(duration_s, rate, channels, seed=i)
            yield f"chord {i}, {rate} Hz, {channels} ch", sound, "warm pad, sustained chords"
            continue
        name, words = HELD[(i // 2) % len(HELD)]
        played = midi.render(
            data_dir("demo") / f"{name}.mid", sample_rate=rate, start_s=4.0, duration_s=duration_s
        )
        yield (
            f"{name.split('/')[1]}, {rate} Hz, {channels} ch",
            to_channels(played, channels),
            words,
        )


def song(name: str, bpm: float, bars: int = 8, sample_rate: int = 44_100) -> Audio:
    """The first bars of a demo arrangement, stereo."""
    return midi.render(
        data_dir("demo") / f"{name}.mid",
        sample_rate=sample_rate,
        duration_s=bars * bar_s(bpm, COMMON),
    )


Contour = NDArray[np.float64]
MELODY_RATE = 44_100


def melody(number: int, duration_s: float = 8.0) -> tuple[Audio, Contour]:
    """A hummed (even numbers) or whistled (odd) tune, and its pitch in Hz every 10 ms, 0: a rest.

    Notes of a major scale, half a second to a second and a half, with glides, a little vibrato and
    breath. A hum has the harmonics of a closed mouth; a whistle lies two octaves higher, alone.
    """
    rng = np.random.default_rng(number)
    whistled = number % 2 == 1
    root = 130.8 * 2 ** (rng.integers(0, 8) / 12) * (4 if whistled else 1)
    scale = np.array([0, 2, 4, 5, 7, 9, 11, 12])
    frames = round(duration_s * 100)
    cents, voice = np.zeros(frames), np.zeros(frames)
    at, step = 0, int(rng.integers(0, 8))
    while at < frames:
        length = int(rng.choice([50, 75, 100, 150]))
        step = int(np.clip(step + rng.integers(-2, 3), 0, 7))
        cents[at : at + length] = 100 * scale[step]
        voice[at : at + max(10, length - 8)] = 1.0
        at += length
    cents = np.convolve(np.pad(cents, 3, "edge"), np.ones(7) / 7, "valid")
    cents += 12 * np.sin(2 * np.pi * 5.5 * np.arange(frames) / 100)
    hz = root * 2 ** (cents / 1200)
    t = np.arange(round(duration_s * MELODY_RATE)) / MELODY_RATE
    phase = 2 * np.pi * np.cumsum(np.interp(t, np.arange(frames) / 100, hz)) / MELODY_RATE
    loud = np.interp(t, np.arange(frames) / 100, np.convolve(voice, np.ones(5) / 5, "same"))
    strengths = [1.0] if whistled else [1.0, 0.5, 0.2, 0.1, 0.04]
    wave = sum(a * np.sin((k + 1) * phase) for k, a in enumerate(strengths)) * loud
    wave = wave + 0.01 * rng.standard_normal(t.size) * loud
    wave = 0.1 * wave / np.sqrt(np.mean(wave**2))
    return Audio(wave[None].astype(np.float32), MELODY_RATE), np.where(voice > 0, hz, 0.0)


def wilson(hits: int, tries: int, z: float = 1.96) -> tuple[float, float]:
    """Bounds of a share, 95 % (Wilson 1927)."""
    if tries == 0:
        return 0.0, 1.0
    p = hits / tries
    middle = (p + z * z / (2 * tries)) / (1 + z * z / tries)
    half = z * math.sqrt(p * (1 - p) / tries + z * z / (4 * tries * tries)) / (1 + z * z / tries)
    return max(0.0, middle - half), min(1.0, middle + half)


def mean_bounds(values: Sequence[float], draws: int = 2000) -> tuple[float, float]:
    """Bounds of a mean, 95 % (percentile bootstrap)."""
    rng = np.random.default_rng(0)
    found = np.asarray(values, dtype=float)
    means = found[rng.integers(0, found.size, (draws, found.size))].mean(axis=1)
    return float(np.percentile(means, 2.5)), float(np.percentile(means, 97.5))


def row(*cells: object) -> str:
    """A line of a Markdown table."""
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Mean with its bounds, as text."""
    low, high = mean_bounds(values)
    return f"{np.mean(values):.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def share(hits: int, tries: int) -> str:
    """Hits of tries with the bounds of their share, as text."""
    low, high = wilson(hits, tries)
    return f"{hits} of {tries} [{100 * low:.0f} %, {100 * high:.0f} %]"
