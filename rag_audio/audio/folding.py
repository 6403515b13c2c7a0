"""Sound that is converted while it is read: fewer channels first, then a lower rate.

Whatever a file's channels, rate and length, only a block of it is in memory at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import soxr

from rag_audio.audio.channels import Block, downmix_gains, loses
from rag_audio.audio.dsp import to_channels
from rag_audio.audio.layouts import ChannelLayout
from rag_audio.domain import Audio

__all__ = ["Balance", "Block", "Fold", "folded", "joined"]


class Fold:
    """Converts sound that comes in blocks.

    The result is that of :func:`rag_audio.audio.dsp.to_channels` and then
    :func:`rag_audio.audio.dsp.resample`, whatever the blocks, to within rounding.

    Args:
        rate: Hz of what comes. to_rate: Hz of what goes.
        channels: of what goes.
        picked: in place of a downmix, the channels that are kept, by number from 0.
        layout: of the channels that come; None: the usual one of as many.
    """

    def __init__(
        self,
        rate: int,
        *,
        to_rate: int,
        channels: int,
        picked: Sequence[int] | None = None,
        layout: ChannelLayout | None = None,
    ) -> None:
        self.channels, self.to_rate = channels, to_rate
        self._rate, self._picked, self._layout = rate, picked, layout
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
        return to_channels(Audio(block, self._rate), self.channels, self._layout).samples

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
    """How much power each channel of a sound has, and whether a downmix keeps it.

    Args:
        channels: of the sound. to: of the downmix.
        layout: of the sound's channels; None: the usual one of as many.
    """

    def __init__(self, channels: int, to: int = 2, layout: ChannelLayout | None = None) -> None:
        self._products = np.zeros((channels, channels))
        self._gains = downmix_gains(channels, to, layout)

    def add(self, block: Block) -> None:
        """Count a block."""
        wide = block.astype(np.float64)
        self._products += wide @ wide.T

    @property
    def is_lost(self) -> bool:
        """Whether the downmix lost the sound: channels cancel each other, or only one sounds that
        is left out of it, as the low-frequency one is."""
        return loses(self._gains, self._products)

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
            balance.add(block)
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
