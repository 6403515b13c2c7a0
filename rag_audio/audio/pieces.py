"""Sound that comes in blocks, put together to pieces of one length."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rag_audio.audio.channels import Block


@dataclass(frozen=True, eq=False)
class Piece:
    """A stretch of a sound, with some of what is around it.

    Attributes:
        samples: ``[C, T]``, with what is around it.
        first: the frame of the sound that the samples begin with.
        start, end: the frames of the sound that the stretch goes from and to.
        is_last: nothing comes after it.
    """

    samples: Block
    first: int
    start: int
    end: int
    is_last: bool

    @property
    def alone(self) -> Block:
        """The samples ``[C, T]`` without what is around them."""
        return self.samples[:, self.start - self.first : self.end - self.first]


class Pieces:
    """Gives stretches of ``size`` frames, one after the other, without gaps; the last one is up to
    as long as two.

    Args:
        size: frames, ≥ 1.
        around: frames that are given beside a stretch before and after it, where there are some.
        use: is called with each piece, whose samples it must not keep as they are.
    """

    def __init__(self, size: int, around: int, use: Callable[[Piece], None]) -> None:
        self._size, self._around, self._use = size, around, use
        self._blocks: list[Block] = []
        self._held = self._first = self._start = 0

    def add(self, block: Block) -> None:
        """Take the next block ``[C, T]``, of any length."""
        self._blocks.append(block)
        self._held += block.shape[1]
        while self._first + self._held >= self._start + 2 * self._size + self._around:
            self._give(self._start + self._size, is_last=False)

    def end(self) -> None:
        """Nothing comes any more: give what is left."""
        if self._first + self._held > self._start:
            self._give(self._first + self._held, is_last=True)

    def _give(self, end: int, *, is_last: bool) -> None:
        held = np.concatenate(self._blocks, axis=1) if len(self._blocks) > 1 else self._blocks[0]
        samples = held[:, : end + self._around - self._first]
        self._use(Piece(samples, self._first, self._start, end, is_last))
        first = max(self._first, end - self._around)
        rest = np.ascontiguousarray(held[:, first - self._first :])
        self._blocks, self._held, self._first, self._start = [rest], rest.shape[1], first, end
