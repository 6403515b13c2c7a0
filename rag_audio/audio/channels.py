"""Mixes of the channels of a sound: by which it is compared, and which one channel stands for it.

The mean of the channels loses what lies in them with opposite polarity: of L = s + n and R = n - s
only n is left. Sounds are therefore compared by all their views, and where a single channel is
wanted, it is the mean (or the downmix of more than two channels) only as long as that keeps the
sound.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rag_audio.audio.dsp import mono, to_channels
from rag_audio.audio.layouts import ChannelLayout, usual_layout
from rag_audio.audio.unmixing import unmixing
from rag_audio.domain import Audio
from rag_audio.errors import InvalidInput

Block = NDArray[np.float32]
"""``[C, T]``: a stretch of sound."""
Weights = NDArray[np.float64]
"""``[C]``: the gains by which channels are summed to one."""

_MAX_VIEWS = 12
_SILENT = 1e-4
"""Power below this share of the loudest view (-40 dB) is silence."""
_ONE = 1e-5
"""Channels whose differences have less than this share of the power (-50 dB) have one content."""
_INAUDIBLE = 1e-10
_SAME, _SAME_PART = 0.98, 0.995
"""A view that correlates more than this with another is left out; an independent component is the
purest that there is of a source, and is kept for less."""
_LOST = 0.2
"""The mean has lost a sound where its power is below this share of what it has when the channels
are unrelated."""
_LOST_SHARE = 0.01
"""A fold with less than this share of the loudest channel's power has lost the sound."""
_CLEARLY = 1.25
_FRAMES_AT_ONCE = 1 << 18
_BLOCK_S, _FADE_S = 2.0, 0.05


def views(audio: Audio, layout: ChannelLayout | None = None) -> list[Audio]:
    """The sounds of one channel that another sound has to be compared with, ``[1, T]`` each.

    The first is the channels folded to one (:func:`.mono`: the mean of two, of more the downmix by
    their layout), where that is not silent; then come the independent
    components of the channels (what undoes an instantaneous linear mix of as many sources as
    channels: :func:`unmixing`), half the difference of left and right, and each channel.
    Those 40 dB below the loudest one are left out, and those that are another one up to gain and
    sign (|correlation| over 0.98; 0.995 for a component). So mono, and stereo that is all but
    mono, has one view; stereo has at most six, more channels have at most twelve. Silence and
    sound of no length have their fold.

    The same sound has the same views; the time is linear in its length.

    Args:
        layout: of the channels; None: the usual one of as many.

    Raises:
        InvalidInput: samples are not finite, or there are more than eight channels.
    """
    if audio.channels == 1 or audio.frames == 0:
        return [mono(audio, layout)]
    layout = layout or usual_layout(audio.channels)
    covariance = _covariance(audio.samples)
    if not np.isfinite(covariance).all():
        raise InvalidInput("the sound has samples that are not finite (NaN or infinite)")
    plain = [layout.mono_gains, _side(audio.channels, layout), *np.eye(audio.channels)]
    candidates = [(weights, _SAME) for weights in plain]
    if _is_of_several(covariance):
        parts = unmixing(audio.samples, audio.sample_rate)
        candidates[1:1] = [(weights, _SAME_PART) for weights in parts]
    kept = _distinct(candidates, covariance)
    return [_summed(audio, weights) for weights in kept[:_MAX_VIEWS]]


def heard(audio: Audio, layout: ChannelLayout | None = None) -> Audio:
    """The sound as one channel, ``[1, T]``: folded as :func:`.mono` does, where that keeps it.

    In stretches of two seconds in which the channels cancel each other (the fold has less than a
    fifth of the power that the fold of unrelated channels has; of two channels of one level this
    is a correlation below -0.8), or in which only a channel sounds that is left out, it is half the
    difference of left and right, or a single channel where that has more of the sound. Sound
    without such stretches is exactly the fold.

    Args:
        layout: of the channels; None: the usual one of as many.
    """
    if audio.channels == 1 or audio.frames == 0:
        return mono(audio, layout)
    layout = layout or usual_layout(audio.channels)
    size = max(1, round(_BLOCK_S * audio.sample_rate))
    count = max(1, round(audio.frames / size))
    edges = np.linspace(0, audio.frames, count + 1).astype(int)
    powers = [_covariance(audio.samples[:, a:b]) for a, b in pairwise(edges)]
    loudest = max(float(np.trace(power)) for power in powers)
    chosen = [_best(power, layout, _SILENT * loudest) for power in powers]
    plain = mono(audio, layout)
    if all(weights is None for weights in chosen):
        return plain
    made = plain.samples.copy()
    for start, end, weights in _runs(chosen, edges):
        fade = min(round(_FADE_S * audio.sample_rate), end - start)
        first, last = max(0, start - fade), min(audio.frames, end + fade)
        share = np.ones(last - first, np.float32)
        share[: start - first] = np.linspace(0, 1, start - first, dtype=np.float32)
        share[last - first - (last - end) :] = np.linspace(1, 0, last - end, dtype=np.float32)
        other = weights.astype(np.float32) @ audio.samples[:, first:last]
        made[0, first:last] += share * (other - made[0, first:last])
    return Audio(made, audio.sample_rate)


def fitted(audio: Audio, n: int, layout: ChannelLayout | None = None) -> Audio:
    """The audio with ``n`` channels as :func:`.to_channels` makes them, save where
    that loses it: one channel is :func:`heard`, and two are the two loudest where the channels of a
    downmix cancel each other, or only one sounds that is left out of it.

    Args:
        layout: of the audio's channels; None: the usual one of as many.

    Raises:
        InvalidInput: ``n`` or the audio's own count is not in 1…8.
    """
    if n == 1:
        return heard(to_channels(audio, audio.channels), layout)
    mixed = to_channels(audio, n, layout)
    if n != 2 or audio.channels <= 2:
        return mixed
    covariance = _covariance(audio.samples)
    if not loses(downmix_gains(audio.channels, 2, layout), covariance):
        return mixed
    loudest = np.sort(np.argsort(-np.diag(covariance), kind="stable")[:2])
    return Audio(np.ascontiguousarray(audio.samples[loudest]), audio.sample_rate)


def downmix_gains(
    channels: int, n: int, layout: ChannelLayout | None = None
) -> NDArray[np.float64]:
    """``[n, channels]``: the gains of :func:`rag_audio.audio.dsp.to_channels`."""
    alone = Audio(np.eye(channels, dtype=np.float32), 48_000)
    return np.asarray(to_channels(alone, n, layout).samples, dtype=np.float64)


def loses(gains: NDArray[np.float64], covariance: NDArray[np.float64]) -> bool:
    """Whether the sound of channels is lost where they are summed with these gains: they cancel
    each other, or only one sounds that is left out, as the low-frequency one is.

    Args:
        gains: ``[n, C]``. covariance: ``[C, C]``, mean or summed products of the channels.
    """
    loudest_sum = float(np.diag(gains @ covariance @ gains.T).max(initial=0.0))
    if loudest_sum < _LOST_SHARE * float(np.diag(covariance).max(initial=0.0)):
        return True
    return cancels(gains, covariance)


def cancels(gains: NDArray[np.float64], covariance: NDArray[np.float64]) -> bool:
    """Whether channels that are summed with these gains cancel each other: the power of the sums
    is below a fifth of what it would be if the channels were unrelated.

    Args:
        gains: ``[n, C]``. covariance: ``[C, C]``, mean or summed products of the channels.
    """
    unrelated = float((np.square(gains) @ np.diag(covariance)).sum())
    return float(np.trace(gains @ covariance @ gains.T)) < _LOST * unrelated


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


def _best(covariance: NDArray[np.float64], layout: ChannelLayout, silence: float) -> Weights | None:
    """What to hear in place of the fold; None where that has the sound, or there is none."""
    total, channels = float(np.trace(covariance)), len(covariance)
    if total <= max(silence, _INAUDIBLE) or not loses(layout.mono_gains[None], covariance):
        return None
    best = _side(channels, layout)
    for weights in np.eye(channels):
        if _power(weights, covariance) > _CLEARLY * _power(best, covariance):
            best = weights
    return best


def _is_of_several(covariance: NDArray[np.float64]) -> bool:
    """Whether the channels are not one sound with different gains."""
    values = np.linalg.eigvalsh(covariance)
    return float(values[-2]) > max(_ONE * float(values[-1]), _INAUDIBLE)


def _side(channels: int, layout: ChannelLayout) -> Weights:
    """Half the difference of left and right of the stereo downmix."""
    left, right = downmix_gains(channels, 2, layout)
    return np.asarray((left - right) / 2)


def _covariance(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """``[C, C]``: mean products of the channels."""
    total = np.zeros((len(samples), len(samples)))
    for at in range(0, samples.shape[1], _FRAMES_AT_ONCE):
        block = samples[:, at : at + _FRAMES_AT_ONCE].astype(np.float64)
        total += block @ block.T
    return total / max(1, samples.shape[1])


def _power(weights: Weights, covariance: NDArray[np.float64]) -> float:
    return max(0.0, float(weights @ covariance @ weights))


def _distinct(
    candidates: list[tuple[Weights, float]], covariance: NDArray[np.float64]
) -> list[Weights]:
    """Those that are not silent and not one that stands before them, each by its own bound; the
    first where all are silent."""
    powers = [_power(weights, covariance) for weights, _ in candidates]
    floor = max(_SILENT * max(powers), _INAUDIBLE)
    kept: list[tuple[Weights, float]] = []
    for (weights, same), power in zip(candidates, powers, strict=True):
        if power >= floor and all(
            abs(float(weights @ covariance @ other)) < same * np.sqrt(power * there)
            for other, there in kept
        ):
            kept.append((weights, power))
    return [weights for weights, _ in kept] or [candidates[0][0]]


def _summed(audio: Audio, weights: Weights) -> Audio:
    if np.allclose(weights, weights[0], rtol=1e-12):  # exactly what dsp.mono makes
        mean = audio.samples.mean(axis=0, keepdims=True, dtype=np.float32)
        return Audio(mean, audio.sample_rate)
    made = weights.astype(np.float32)[None] @ audio.samples
    return Audio(np.ascontiguousarray(made, dtype=np.float32), audio.sample_rate)
