"""Put made sound into its place, with crossfades that keep the power.

Samples are float32 ``[C, T]``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rag_audio.audio.dsp import loudness_lufs
from rag_audio.domain import Audio

Samples = NDArray[np.float32]

CROSSFADE_S = 0.05
_SILENT = 1e-5


def splice(piece: Samples, made: Samples, start: int, end: int, fade: int) -> None:
    """Put ``made[:, start:end]`` into ``piece``, in place, with crossfades outside of it.

    The crossfades take up to ``fade`` frames before ``start`` and after ``end``, and nothing
    beyond them changes, not by a bit. Their gains are cos and sin, divided by √(1 + r·sin 2θ) with
    r ≥ 0 the correlation of the two sounds there, so that the power stays whether they are alike
    (r = 1: equal gain) or not (r = 0: equal power).

    Args:
        made: of the same shape as ``piece``.
    """
    before = min(fade, start)
    if before:
        where = slice(start - before, start)
        piece[:, where] = _crossfaded(piece[:, where], made[:, where])
    after = min(fade, piece.shape[1] - end)
    if after:
        where = slice(end, end + after)
        piece[:, where] = _crossfaded(made[:, where], piece[:, where])
    piece[:, start:end] = made[:, start:end]


def balanced(part: Samples, context: Samples) -> Samples:
    """Copies of one channel, weighted as the channels of their surroundings are."""
    levels = np.sqrt(np.mean(context.astype(np.float64) ** 2, axis=1, keepdims=True))
    mean = float(np.sqrt(np.mean(levels**2)))
    return part if mean < _SILENT else (part * (levels / mean)).astype(np.float32)


def is_silent(samples: Samples) -> bool:
    """Whether there is nothing to hear."""
    return float(np.abs(samples).max(initial=0.0)) < _SILENT


def _crossfaded(leaving: Samples, coming: Samples) -> Samples:
    frames = leaving.shape[1]
    angle = (np.arange(frames, dtype=np.float64) + 0.5) / frames * (np.pi / 2)
    one, two = leaving.astype(np.float64), coming.astype(np.float64)
    power = math.sqrt(float(np.sum(one**2)) * float(np.sum(two**2)))
    alike = 0.0 if power <= 0 else max(0.0, float(np.sum(one * two)) / power)
    norm = np.sqrt(1.0 + alike * np.sin(2.0 * angle))
    mixed = (np.cos(angle) * one + np.sin(angle) * two) / norm
    return np.asarray(mixed, dtype=np.float32)


# The level of made sound: as a whole that of the piece, at each seam that of what stands there.
#
# Samples are float32 ``[C, T]``. A window gets one gain in its middle, led over two seconds to
# the gains of its edges. Beside rhythmic sound an edge is levelled by the bar, and little: music
# has its own dynamics. Beside steady sound the level of each 50 ms is held until half a second
# inside.


Factors = NDArray[np.float64]

MOST_GAIN_DB, MOST_EDGE_DB = 18.0, 6.0
NEAR_S, MOST_NEAR_S = 1.0, 3.0
"""How much on either side of a seam is levelled: a bar, within these seconds."""
RAMP_S = 2.0
FOLLOW_S, FOLLOW_WINDOW_S, FOLLOW_DB = 0.5, 0.05, 15.0
HIGH_HZ, BURST_S = 2000.0, 0.01
BELOW, HIGH_BELOW = 0.9, 0.8
LIMITER_S = 0.005
PEAK = 10 ** (-1.5 / 20)
_BLOCK_S, _STEADY_BLOCKS, _STEADY_DB = 0.1, 5, 6.0


@dataclass(frozen=True, eq=False)
class Edge:
    """One end of a span.

    Attributes:
        at: frame of the window.
        inward: 1 where the span follows, -1 where it ends here.
        beyond: what stands on the other side, the nearest first; empty where nothing does.
    """

    at: int
    inward: int
    beyond: Samples


def near_frames(bar_s: float, rate: int) -> int:
    """How much is heard on either side of a seam."""
    return round(min(max(bar_s, NEAR_S), MOST_NEAR_S) * rate)


def level_window(
    made: Audio,
    spans: Sequence[tuple[Edge, Edge]],
    target_lufs: float,
    near: int,
    ceiling: float,
) -> Audio:
    """A window at the level of the piece that its spans go into.

    Args:
        spans: the two edges of what is used. target_lufs: of all that is used; not finite: as is.
        near: from :func:`near_frames`. ceiling: sample peak of what stands around it; past -1.5
            dBFS, or past this where it is higher, peaks are turned down.
    """
    used = np.concatenate([made.samples[:, one.at : two.at] for one, two in spans], axis=1)
    main_db = gain_to(loudness_lufs(Audio(used, made.sample_rate)), target_lufs)
    nodes: list[tuple[int, float]] = []
    for one, two in spans:
        inside = made.samples[:, one.at : two.at]
        reach = min(round(RAMP_S * made.sample_rate), inside.shape[1] // 2)
        nodes += [
            (one.at, _edge_db(one, inside[:, :near], main_db, made.sample_rate)),
            (one.at + reach, main_db),
            (two.at - reach, main_db),
            (two.at, _edge_db(two, inside[:, ::-1][:, :near], main_db, made.sample_rate)),
        ]
    factors = led(made.frames, nodes)
    louder = np.asarray(made.samples * factors, dtype=np.float32)
    for edge in (edge for span in spans for edge in span):
        hold(louder, edge, made.sample_rate)
    peak = max(PEAK, ceiling)
    return Audio(limited(louder, peak, round(LIMITER_S * made.sample_rate)), made.sample_rate)


def gain_to(heard_lufs: float, target_lufs: float) -> float:
    """Decibels from one loudness to another, at most ±18; 0 where either is silence."""
    if not (math.isfinite(heard_lufs) and math.isfinite(target_lufs)):
        return 0.0
    return max(-MOST_GAIN_DB, min(MOST_GAIN_DB, target_lufs - heard_lufs))


def led(frames: int, nodes: Iterable[tuple[int, float]]) -> Factors:
    """Factors ``[frames]`` through (frame, decibels), linear in decibels; level outside of them."""
    at, gains = zip(*nodes, strict=True)
    return np.asarray(10 ** (np.interp(np.arange(frames), at, gains) / 20))


def hold(samples: Samples, edge: Edge, rate: int) -> None:
    """Hold the sound near an edge at the level of steady sound beyond it, in place.

    The level of 50 ms is brought to 0.9 of that by at most ±15 dB: wholly in the crossfade, less
    and less over half a second inside. The band above 2 kHz, where an attack is heard, is after
    that turned down, in 10 ms, to 0.8 of what is beyond. So neither a note that dies away before
    the edge nor an attack upon it makes a hole or a bump in what is held. Beside other sound
    everything stays as it is.
    """
    if not is_steady(edge.beyond, rate):
        return
    reach, fade = round(FOLLOW_S * rate), round(CROSSFADE_S * rate)
    low, high = (fade, reach) if edge.inward > 0 else (reach, fade)
    first = max(0, edge.at - low)
    where = slice(first, edge.at + high)
    part = samples[:, where].astype(np.float64)
    depth = (np.arange(first, first + part.shape[1]) - edge.at) * edge.inward / reach
    weight = 0.5 + 0.5 * np.cos(np.pi * np.clip(depth, 0.0, 1.0))
    most = 10 ** (FOLLOW_DB / 20)
    wanted = BELOW * _rms(edge.beyond) / _running_rms(part, round(FOLLOW_WINDOW_S * rate))
    part *= np.clip(wanted, 1 / most, most) ** weight
    if rate > 2.5 * HIGH_HZ:
        bright = _high_band(part, rate)
        there = HIGH_BELOW * _rms(_high_band(edge.beyond.astype(np.float64), rate))
        wanted = there / _running_rms(bright, round(BURST_S * rate))
        part += bright * (np.minimum(1.0, wanted) ** weight - 1.0)
    samples[:, where] = part


def limited(samples: Samples, ceiling: float, reach: int) -> Samples:
    """The sound with what is above a sample peak turned down, and only around there.

    The gain that each frame needs, as low as the lowest within ``reach`` frames, smoothed over the
    same length: it never lets anything past the ceiling, and never jumps.
    """
    from scipy.ndimage import minimum_filter1d

    peaks = np.abs(samples).max(axis=0)
    if not peaks.size or peaks.max() <= ceiling:
        return samples
    needed = np.minimum(1.0, ceiling / np.maximum(peaks, 1e-12))
    width = 2 * reach + 1
    lowest = minimum_filter1d(needed, width, mode="nearest")
    window = np.hanning(width + 2)[1:-1]
    smooth = np.convolve(np.pad(lowest, reach, mode="edge"), window / window.sum(), mode="valid")
    return np.asarray(samples * np.minimum(smooth, 1.0), dtype=np.float32)


def is_steady(samples: Samples, rate: int) -> bool:
    """Whether the level of each tenth of a second stays within 6 dB, for half a second or more."""
    block = round(_BLOCK_S * rate)
    count = samples.shape[1] // block
    if count < _STEADY_BLOCKS:
        return False
    power = np.mean(np.square(samples[:, : count * block], dtype=np.float64), axis=0)
    levels = power.reshape(count, block).mean(axis=1)
    return bool(levels.min() > 1e-10 and levels.max() < levels.min() * 10 ** (_STEADY_DB / 10))


def _rms(samples: Samples | Factors) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def _running_rms(samples: Factors, window: int) -> Factors:
    """RMS over all channels and ``window`` frames around each frame, never 0."""
    from scipy.ndimage import uniform_filter1d

    power = np.mean(np.square(samples), axis=0)
    smooth = uniform_filter1d(power, max(1, window), mode="nearest")
    return np.asarray(np.maximum(np.sqrt(np.maximum(smooth, 0.0)), 1e-12))


def _high_band(samples: Factors, rate: int) -> Factors:
    """What lies above 2 kHz, without delay."""
    from scipy.signal import butter, sosfiltfilt

    sections = butter(4, HIGH_HZ, "highpass", fs=rate, output="sos")
    return np.asarray(sosfiltfilt(sections, samples, axis=1))


def _edge_db(edge: Edge, here: Samples, main_db: float, rate: int) -> float:
    """The gain at an edge; ``here``: the made sound that is nearest to it."""
    if is_silent(edge.beyond) or is_silent(here):
        return main_db
    levels = [loudness_lufs(Audio(sound, rate)) for sound in (here, edge.beyond)]
    if not all(map(math.isfinite, levels)):
        return main_db
    return max(main_db - MOST_EDGE_DB, min(main_db + MOST_EDGE_DB, gain_to(*levels)))
