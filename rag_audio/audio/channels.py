"""Mixes of the channels of a sound: by which it is compared, and which one channel stands for it.

The mean of the channels loses what lies in them with opposite polarity: of L = s + n and R = n - s
only n is left. Sounds are therefore compared by all their views, and where a single channel is
wanted, it is the mean only as long as the mean keeps the sound.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np
import soxr
from numpy.typing import NDArray

from rag_audio.audio.dsp import to_channels
from rag_audio.domain import Audio
from rag_audio.errors import InvalidInput

# The independent components of a sound's channels.
#
# Channels that are sums of sources with a fixed gain each (an instantaneous linear mix) are
# undone by independent component analysis: the channels are made uncorrelated, then turned until
# their sums are as far from Gaussian as can be (Hyvärinen, "Fast and robust fixed-point
# algorithms for independent component analysis", IEEE Trans. Neural Networks 10(3), 1999). Music
# is sparse in time and frequency, so what is turned are the bins of a short-time Fourier
# transform, and what is made least is the sum of their magnitudes (Zibulevsky & Pearlmutter,
# "Blind source separation by sparse decomposition in a signal dictionary", Neural Computation
# 13(4), 2001). Two dimensions have one angle, which is found on a fan of angles rather than by
# descent: the answer is deterministic. More dimensions are turned pair by pair (Jacobi rotations:
# Comon, "Independent component analysis, a new concept?", Signal Processing 36, 1994).

Bins = NDArray[np.complex64]
"""``[C, N]``: points of the channels' spectra."""
Matrix = NDArray[np.float64]

_WINDOW_S = 0.064
_LOW_HZ, _HIGH_HZ = 60.0, 6000.0
_MOST_FRAMES = 400
_MOST_POINTS = 80_000
"""Over all channels."""
_FLOOR = 1e-5
"""Directions with less than this share of the power (-50 dB) are noise of the format."""
_ANGLES, _FINER = 24, 3
_SWEEPS, _STILL = 4, 0.02


def unmixing(samples: NDArray[np.float32], sample_rate: int) -> Matrix:
    """Weights ``[K, C]`` by which the channels are summed to their K ≤ C components.

    Each component has the level that it has in the channel where it is loudest; the loudest comes
    first. Fewer than C are given where some channels are sums of the others. Of long sound at most
    400 windows of 64 ms are looked at, evenly spread.

    Args:
        samples: ``[C, T]``. sample_rate: Hz.
    """
    points = _points(samples, sample_rate)
    channels = len(samples)
    if points.shape[1] < 2 * channels:
        return np.zeros((0, channels))
    covariance = np.real(points @ points.conj().T).astype(np.float64) / points.shape[1]
    values, vectors = np.linalg.eigh(covariance)
    kept = values > _FLOOR * max(float(values[-1]), 1e-30)
    whiten = (vectors[:, kept] / np.sqrt(values[kept])).T
    turned = _turned(whiten.astype(np.float32) @ points) @ whiten
    mixing = np.linalg.pinv(turned)
    loudest = np.abs(mixing).argmax(axis=0)
    gains = mixing[loudest, np.arange(len(turned))]  # also lets no sign be arbitrary
    order = np.argsort(-np.abs(gains), kind="stable")
    return np.asarray((turned * gains[:, None])[order])


def _points(samples: NDArray[np.float32], sample_rate: int) -> Bins:
    """The loudest bins from 60 Hz to 6 kHz, each frequency brought to the same mean power."""
    from scipy.fft import rfft

    size = 1 << max(4, round(np.log2(_WINDOW_S * sample_rate)))
    if samples.shape[1] < size:
        samples = np.pad(samples, ((0, 0), (0, size - samples.shape[1])))
    count = min(_MOST_FRAMES, 1 + (samples.shape[1] - size) // (size // 2))
    starts = np.linspace(0, samples.shape[1] - size, count).astype(int)
    framed = np.lib.stride_tricks.sliding_window_view(samples, size, axis=1)[:, starts]
    low, high = (int(hz * size / sample_rate) for hz in (_LOW_HZ, _HIGH_HZ))
    spectra = rfft(framed * np.hanning(size).astype(np.float32), axis=2)
    spectra = spectra[:, :, low : max(high, low + 1) + 1]
    power = (np.square(spectra.real) + np.square(spectra.imag)).sum(axis=0)
    level = power.mean(axis=0)
    level += 1e-4 * max(float(level.max(initial=0.0)), 1e-20)
    spectra = spectra / np.sqrt(level)
    flat = (power / level).ravel()
    most = min(_MOST_POINTS // len(samples), flat.size)
    loudest = np.sort(np.argpartition(-flat, most - 1)[:most]) if most else np.arange(0)
    return np.ascontiguousarray(spectra.reshape(len(samples), -1)[:, loudest])


def _turned(white: Bins) -> Matrix:
    """The rotation ``[K, K]`` after which the sum of magnitudes is least."""
    count = len(white)
    rotation = np.eye(count)
    for _ in range(_SWEEPS if count > 2 else 1):
        furthest = 0.0
        for i in range(count - 1):
            for j in range(i + 1, count):
                turn = _turn(white[i], white[j])
                rotation[[i, j]] = turn @ rotation[[i, j]]
                white[[i, j]] = turn.astype(np.float32) @ white[[i, j]]
                furthest = max(furthest, min(abs(turn[0, 0]), abs(turn[0, 1])))
        if furthest < _STILL:
            break
    return rotation


def _turn(first: Bins, second: Bins) -> Matrix:
    """The rotation of two dimensions, within a quarter turn; the rest is order and sign."""
    a, b = (np.square(one.real) + np.square(one.imag) for one in (first, second))
    both = 2.0 * (first.real * second.real + first.imag * second.imag)

    def spread(angle: float) -> float:
        c, s = np.cos(angle), np.sin(angle)
        cross = np.float32(c * s) * both
        one = np.float32(c * c) * a + np.float32(s * s) * b + cross
        other = np.float32(s * s) * a + np.float32(c * c) * b - cross
        return float(np.sqrt(np.maximum(one, 0)).sum() + np.sqrt(np.maximum(other, 0)).sum())

    step = np.pi / 2 / _ANGLES
    best = min((n * step for n in range(_ANGLES)), key=spread)
    for _ in range(_FINER):
        step /= 3
        best = min((best + n * step for n in (-2, -1, 0, 1, 2)), key=spread)
    c, s = np.cos(best), np.sin(best)
    return np.array([[c, s], [-s, c]])


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
_CLEARLY = 1.25
_FRAMES_AT_ONCE = 1 << 18
_BLOCK_S, _FADE_S = 2.0, 0.05


def views(audio: Audio) -> list[Audio]:
    """The sounds of one channel that another sound has to be compared with, ``[1, T]`` each.

    The first is the mean of the channels, where that is not silent; then come the independent
    components of the channels (what undoes an instantaneous linear mix of as many sources as
    channels: :func:`unmixing`), half the difference of left and right, and each channel.
    Those 40 dB below the loudest one are left out, and those that are another one up to gain and
    sign (|correlation| over 0.98; 0.995 for a component). So mono, and stereo that is all but
    mono, has one view; stereo has at most six, more channels have at most twelve. Silence and
    sound of no length have their mean.

    The same sound has the same views; the time is linear in its length.

    Raises:
        InvalidInput: samples are not finite, or there are more than eight channels.
    """
    if audio.channels == 1 or audio.frames == 0:
        return [audio if audio.channels == 1 else _summed(audio, _mean(audio.channels))]
    covariance = _covariance(audio.samples)
    if not np.isfinite(covariance).all():
        raise InvalidInput("the sound has samples that are not finite (NaN or infinite)")
    plain = [_mean(audio.channels), _side(audio.channels), *np.eye(audio.channels)]
    candidates = [(weights, _SAME) for weights in plain]
    if _is_of_several(covariance):
        parts = unmixing(audio.samples, audio.sample_rate)
        candidates[1:1] = [(weights, _SAME_PART) for weights in parts]
    kept = _distinct(candidates, covariance)
    return [_summed(audio, weights) for weights in kept[:_MAX_VIEWS]]


def heard(audio: Audio) -> Audio:
    """The sound as one channel, ``[1, T]``: the mean of the channels, where that keeps the sound.

    In stretches of two seconds in which the channels cancel each other (the mean has less than a
    fifth of the power that the mean of unrelated channels has; of two channels of one level this
    is a correlation below -0.8) it is half the difference of left and right, or a single channel
    where that has more of the sound. Sound without such stretches is exactly the mean.
    """
    if audio.channels == 1 or audio.frames == 0:
        return audio if audio.channels == 1 else _summed(audio, _mean(audio.channels))
    size = max(1, round(_BLOCK_S * audio.sample_rate))
    count = max(1, round(audio.frames / size))
    edges = np.linspace(0, audio.frames, count + 1).astype(int)
    powers = [_covariance(audio.samples[:, a:b]) for a, b in pairwise(edges)]
    loudest = max(float(np.trace(power)) for power in powers)
    chosen = [_best(power, audio.channels, _SILENT * loudest) for power in powers]
    mean = _summed(audio, _mean(audio.channels))
    if all(weights is None for weights in chosen):
        return mean
    made = mean.samples.copy()
    for start, end, weights in _runs(chosen, edges):
        fade = min(round(_FADE_S * audio.sample_rate), end - start)
        first, last = max(0, start - fade), min(audio.frames, end + fade)
        share = np.ones(last - first, np.float32)
        share[: start - first] = np.linspace(0, 1, start - first, dtype=np.float32)
        share[last - first - (last - end) :] = np.linspace(1, 0, last - end, dtype=np.float32)
        other = weights.astype(np.float32) @ audio.samples[:, first:last]
        made[0, first:last] += share * (other - made[0, first:last])
    return Audio(made, audio.sample_rate)


def fitted(audio: Audio, n: int) -> Audio:
    """The audio with ``n`` channels as :func:`.to_channels` makes them, save where
    that loses it: one channel is :func:`heard`, and two are the two loudest where the channels of a
    downmix cancel each other.

    Raises:
        InvalidInput: ``n`` or the audio's own count is not in 1…8.
    """
    if n == 1:
        return heard(to_channels(audio, audio.channels))
    mixed = to_channels(audio, n)
    if n != 2 or audio.channels <= 2:
        return mixed
    covariance = _covariance(audio.samples)
    if not cancels(downmix_gains(audio.channels, 2), covariance):
        return mixed
    loudest = np.sort(np.argsort(-np.diag(covariance), kind="stable")[:2])
    return Audio(np.ascontiguousarray(audio.samples[loudest]), audio.sample_rate)


def downmix_gains(channels: int, n: int) -> NDArray[np.float64]:
    """``[n, channels]``: the gains of :func:`rag_audio.audio.dsp.to_channels`."""
    alone = Audio(np.eye(channels, dtype=np.float32), 48_000)
    return np.asarray(to_channels(alone, n).samples, dtype=np.float64)


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


def _best(covariance: NDArray[np.float64], channels: int, silence: float) -> Weights | None:
    """What to hear in place of the mean; None where that has the sound, or there is none."""
    total = float(np.trace(covariance))
    if total <= max(silence, _INAUDIBLE) or not cancels(_mean(channels)[None], covariance):
        return None
    best = _side(channels)
    for weights in np.eye(channels):
        if _power(weights, covariance) > _CLEARLY * _power(best, covariance):
            best = weights
    return best


def _is_of_several(covariance: NDArray[np.float64]) -> bool:
    """Whether the channels are not one sound with different gains."""
    values = np.linalg.eigvalsh(covariance)
    return float(values[-2]) > max(_ONE * float(values[-1]), _INAUDIBLE)


def _mean(channels: int) -> Weights:
    return np.full(channels, 1.0 / channels)


def _side(channels: int) -> Weights:
    """Half the difference of left and right of the stereo downmix."""
    left, right = downmix_gains(channels, 2)
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
        return to_channels(audio, 1)
    made = weights.astype(np.float32)[None] @ audio.samples
    return Audio(np.ascontiguousarray(made, dtype=np.float32), audio.sample_rate)


# Sound that is converted while it is read: fewer channels first, then a lower rate.
#
# Whatever a file's channels, rate and length, only a block of it is in memory at a time.

Block = NDArray[np.float32]
"""``[C, T]``: a stretch of sound."""

_LOST_SHARE = 0.01
"""A downmix with less than this share of the loudest channel's power has lost the sound."""


class Fold:
    """Converts sound that comes in blocks.

    The result is that of :func:`rag_audio.audio.dsp.to_channels` and then
    :func:`rag_audio.audio.dsp.resample`, whatever the blocks, to within rounding.

    Args:
        rate: Hz of what comes. to_rate: Hz of what goes.
        channels: of what goes.
        picked: in place of a downmix, the channels that are kept, by number from 0.
    """

    def __init__(
        self, rate: int, *, to_rate: int, channels: int, picked: Sequence[int] | None = None
    ) -> None:
        self.channels, self.to_rate = channels, to_rate
        self._rate, self._picked = rate, picked
        self._came = self._went = 0
        self._last: Block = np.zeros((channels, 1), np.float32)
        self._stream = None
        if rate != to_rate:
            self._stream = soxr.ResampleStream(
                rate, to_rate, channels, dtype="float32", quality="HQ"
            )

    def mix(self, block: Block) -> Block:
        """A block with the wanted channels, at its own rate."""
        if self._picked is not None:
            return np.ascontiguousarray(block[list(self._picked)])
        return to_channels(Audio(block, self._rate), self.channels).samples

    def resample(self, mixed: Block, *, is_last: bool = False) -> Block:
        """What is ready at the wanted rate; with ``is_last`` all that is left of the sound."""
        if self._stream is None:
            return mixed
        self._came += mixed.shape[1]
        frames = np.array(mixed.T, order="C", ndmin=2)
        made = self._stream.resample_chunk(frames, last=is_last).reshape(-1, self.channels).T
        if made.shape[1]:
            self._last = made[:, -1:]
        if is_last:
            wanted = round(self._came * self.to_rate / self._rate) - self._went
            missing = np.repeat(self._last, max(0, wanted - made.shape[1]), axis=1)
            made = np.concatenate([made[:, : max(0, wanted)], missing], axis=1)
        self._went += made.shape[1]
        return np.ascontiguousarray(made, dtype=np.float32)


class Balance:
    """How much power each channel of a sound has, and its downmix."""

    def __init__(self, channels: int) -> None:
        self._products, self._mixed, self._to = np.zeros((channels, channels)), 0.0, channels

    def add(self, block: Block, mixed: Block) -> None:
        """Count a block, and what it was mixed to."""
        wide = block.astype(np.float64)
        self._products += wide @ wide.T
        self._to = len(mixed)
        self._mixed += float(np.square(mixed, dtype=np.float64).sum(axis=1).max(initial=0.0))

    @property
    def is_lost(self) -> bool:
        """Whether the downmix lost the sound: channels cancel each other, or only one sounds that
        is left out of it, as the low-frequency one is."""
        if self._mixed < _LOST_SHARE * float(np.diag(self._products).max(initial=0.0)):
            return True
        return cancels(downmix_gains(len(self._products), self._to), self._products)

    def loudest(self, count: int) -> tuple[int, ...]:
        """The loudest channels, in their order."""
        return tuple(
            sorted(int(c) for c in np.argsort(-np.diag(self._products), kind="stable")[:count])
        )


def folded(blocks: Iterable[Block], fold: Fold, balance: Balance | None = None) -> Iterator[Block]:
    """Blocks as a :class:`Fold` makes them; the balance counts them on their way."""
    for block in blocks:
        mixed = fold.mix(block)
        if balance is not None:
            balance.add(block, mixed)
        yield fold.resample(mixed)
    yield fold.resample(np.zeros((fold.channels, 0), np.float32), is_last=True)


def joined(blocks: list[Block], channels: int) -> Block:
    """Blocks one after the other; the list is emptied on the way, so that memory holds the sound
    hardly more than once."""
    whole = np.empty((channels, sum(block.shape[1] for block in blocks)), np.float32)
    at = 0
    blocks.reverse()
    while blocks:
        block = blocks.pop()
        whole[:, at : at + block.shape[1]] = block
        at += block.shape[1]
    return whole
