"""What there is to be heard in the channels of a sound.

The mean of the channels loses what lies in them with opposite polarity: of L = s + n and R = n - s
only n is left. Sounds are therefore compared by all their views, and where a single channel is
wanted, it is the mean only as long as the mean keeps the sound.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from rag_audio.domain import Audio
from rag_audio.shaping import to_channels
from rag_audio.unmixing import unmixing

Weights = NDArray[np.float64]
"""``[C]``: the gains by which channels are summed to one."""

MAX_VIEWS = {1: 1, 2: 6}
"""How many views a sound of so many channels has at most; of more channels it is twelve."""

_MAX_VIEWS = 12
_SILENT = 1e-4
"""Power below this share of the loudest view (-40 dB) is silence."""
_INAUDIBLE = 1e-10
_SAME = 0.98
"""Views that correlate more than this are one."""
_LOST = 0.2
"""The mean has lost a sound where its power is below this share of what it has when the channels
are unrelated."""
_CLEARLY = 1.25
_BLOCK_S, _FADE_S = 2.0, 0.05


def views(audio: Audio) -> list[Audio]:
    """The sounds of one channel that another sound has to be compared with, ``[1, T]`` each.

    The first is the mean of the channels, where that is not silent; then come half the difference
    of left and right, the independent components of the channels (what undoes an instantaneous
    linear mix of as many sources as channels: :mod:`rag_audio.unmixing`), and each channel. Those
    40 dB below the loudest one are left out, and those that are another one up to gain and sign
    (|correlation| over 0.98). So mono, and stereo that is all but mono, has one view; stereo has at
    most six, more channels have at most twelve. Silence and sound of no length have themselves.

    The same sound has the same views; the time is linear in its length.
    """
    if audio.channels == 1 or audio.frames == 0:
        return [audio if audio.channels == 1 else _summed(audio, _mean(audio.channels))]
    covariance = _covariance(audio.samples)
    kept = _distinct(_simple(audio.channels), covariance)
    if len(kept) > 1:
        parts = list(unmixing(audio.samples, audio.sample_rate))
        mean, *others = _simple(audio.channels)
        side = others[:1] if audio.channels == 2 else [_side(audio.channels)]
        kept = _distinct([mean, *side, *parts, *others], covariance)
    limit = MAX_VIEWS.get(audio.channels, _MAX_VIEWS)
    return [_summed(audio, weights) for weights in kept[:limit]]


def heard(audio: Audio) -> Audio:
    """The sound as one channel, ``[1, T]``: the mean of the channels, where that keeps the sound.

    In stretches of two seconds in which the channels cancel each other (the mean has less than a
    fifth of the power that the mean of unrelated channels has; in stereo this is a correlation
    below -0.8) it is half the difference of left and right, or a single channel where that has
    more of the sound. Sound without such stretches is exactly the mean.
    """
    if audio.channels == 1 or audio.frames == 0:
        return audio if audio.channels == 1 else _summed(audio, _mean(audio.channels))
    size = max(1, round(_BLOCK_S * audio.sample_rate))
    count = max(1, round(audio.frames / size))
    edges = np.linspace(0, audio.frames, count + 1).astype(int)
    powers = [_covariance(audio.samples[:, a:b]) for a, b in zip(edges, edges[1:], strict=False)]
    loudest = max(float(np.trace(power)) for power in powers)
    chosen = [_best(power, audio.channels, _SILENT * loudest) for power in powers]
    made = _summed(audio, _mean(audio.channels)).samples.copy()
    for start, end, weights in _runs(chosen, edges):
        fade = min(round(_FADE_S * audio.sample_rate), end - start)
        first, last = max(0, start - fade), min(audio.frames, end + fade)
        share = np.ones(last - first, np.float32)
        share[: start - first] = np.linspace(0, 1, start - first, dtype=np.float32)
        share[last - first - (last - end) :] = np.linspace(1, 0, last - end, dtype=np.float32)
        other = weights.astype(np.float32) @ audio.samples[:, first:last]
        made[0, first:last] += share * (other - made[0, first:last])
    return Audio(made, audio.sample_rate)


def _runs(
    chosen: list[Weights | None], edges: NDArray[np.int_]
) -> Iterator[tuple[int, int, Weights]]:
    """Stretches of blocks that are not the mean but one and the same sum, from and to a frame."""
    at = 0
    while at < len(chosen):
        weights, end = chosen[at], at + 1
        if weights is not None:
            while end < len(chosen) and _is(chosen[end], weights):
                end += 1
            yield int(edges[at]), int(edges[end]), weights
        at = end


def _is(one: Weights | None, other: Weights) -> bool:
    return one is not None and np.array_equal(one, other)


def _best(covariance: NDArray[np.float64], channels: int, silence: float) -> Weights | None:
    """What to hear in place of the mean; None where that has the sound, or there is none."""
    total = float(np.trace(covariance))
    mean, *others = _simple(channels)
    if total <= max(silence, _INAUDIBLE) or _power(mean, covariance) >= (
        _LOST * total / channels**2
    ):
        return None
    best = _side(channels)
    for weights in others:
        if _power(weights, covariance) > _CLEARLY * _power(best, covariance):
            best = weights
    return best


def _simple(channels: int) -> list[Weights]:
    """The mean; of stereo half the difference; each channel."""
    each = list(np.eye(channels))
    return [_mean(channels), *([_side(2)] if channels == 2 else []), *each]


def _mean(channels: int) -> Weights:
    return np.full(channels, 1.0 / channels)


def _side(channels: int) -> Weights:
    """Half the difference of left and right of the stereo downmix."""
    left, right = to_channels(Audio(np.eye(channels, dtype=np.float32), 48_000), 2).samples
    return np.asarray((left - right) / 2, dtype=np.float64)


def _covariance(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """``[C, C]``: mean products of the channels."""
    return np.asarray(samples @ samples.T, dtype=np.float64) / max(1, samples.shape[1])


def _power(weights: Weights, covariance: NDArray[np.float64]) -> float:
    return max(0.0, float(weights @ covariance @ weights))


def _distinct(candidates: list[Weights], covariance: NDArray[np.float64]) -> list[Weights]:
    """Those that are not silent and not one that stands before them; the first where all are."""
    powers = [_power(weights, covariance) for weights in candidates]
    floor = max(_SILENT * max(powers), _INAUDIBLE)
    kept: list[tuple[Weights, float]] = []
    for weights, power in zip(candidates, powers, strict=True):
        if power >= floor and all(
            abs(float(weights @ covariance @ other)) < _SAME * np.sqrt(power * there)
            for other, there in kept
        ):
            kept.append((weights, power))
    return [weights for weights, _ in kept] or candidates[:1]


def _summed(audio: Audio, weights: Weights) -> Audio:
    if np.allclose(weights, weights[0], rtol=1e-12):  # exactly what shaping.mono makes
        return to_channels(audio, 1)
    made = weights.astype(np.float32)[None] @ audio.samples
    return Audio(np.ascontiguousarray(made, dtype=np.float32), audio.sample_rate)
