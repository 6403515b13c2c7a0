"""Mark sound of any length: piece by piece, so that memory does not grow with it.

Pieces begin on blocks of the mark (:data:`.BLOCK_S`), so that it goes on from one piece to the next
as if it were put into the whole; each is marked together with a block on either side, of which
nothing is used, so that no piece has an edge.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np

from rag_audio.audio.channels import Block
from rag_audio.domain import Audio
from rag_audio.domain.ports import Mark, Watermarker
from rag_audio.watermark.grid import BLOCK_S
from rag_audio.watermark.quality import noise_to_mask_db

_BLOCKS, _FEWEST_BLOCKS, _REST_BLOCKS = 10, 2, 3
_MOST_SAMPLES = 1 << 24
_MEASURED = 10
"""Of so many pieces one is measured for what it masks."""


class LongMarking:
    """The marking of one sound that comes in blocks.

    Attributes:
        is_marked: some of what went so far carries the mark; silence does not.
    """

    def __init__(
        self, watermarker: Watermarker, mark: Mark, sample_rate: int, channels: int
    ) -> None:
        self._watermarker, self._mark = watermarker, mark
        self._rate, self._channels = sample_rate, channels
        fit = int(_MOST_SAMPLES / (channels * sample_rate * BLOCK_S)) - 2
        self._blocks = min(_BLOCKS, max(_FEWEST_BLOCKS, fit))
        self.is_marked = False
        self._power = self._noise = 0.0
        self._ratios: list[tuple[float, int]] = []

    def marked(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """The sound ``[C, T]`` with the mark, of the same length; in other blocks."""
        held, first, number = np.zeros((self._channels, 0), np.float32), 0, 0
        waiting: list[Block] = []
        count = 0
        for block in blocks:
            waiting.append(block)
            count += block.shape[1]
            # What is left behind the last whole piece is long enough to hold the mark.
            if first + held.shape[1] + count < self._edge(number + 1, _REST_BLOCKS):
                continue
            held, waiting, count = np.concatenate([held, *waiting], axis=1), [], 0
            while first + held.shape[1] >= self._edge(number + 1, _REST_BLOCKS):
                yield self._piece(held[:, : self._edge(number + 1, 1) - first], first, number)
                number += 1
                before = self._edge(number, -1)
                held, first = held[:, before - first :], before
        held = np.concatenate([held, *waiting], axis=1)
        yield self._piece(held, first, number, is_last=True)

    def _edge(self, number: int, blocks: int = 0) -> int:
        """The frame at which a piece begins, or some blocks of the mark from there; not below 0."""
        return max(0, round((number * self._blocks + blocks) * BLOCK_S * self._rate))

    def _piece(self, heard: Block, first: int, number: int, *, is_last: bool = False) -> Block:
        start = self._edge(number) - first
        end = heard.shape[1] if is_last else self._edge(number + 1) - first
        before = Audio(np.ascontiguousarray(heard[:, start:end]), self._rate)
        made = self._watermarker.embed(Audio(np.ascontiguousarray(heard), self._rate), self._mark)
        if made is None:
            self._power += float(np.sum(np.square(before.samples, dtype=np.float64)))
            return before.samples
        self.is_marked = True
        after = Audio(np.ascontiguousarray(made.samples[:, start:end]), self._rate)
        self._measure(before, after, number)
        return after.samples

    def _measure(self, before: Audio, after: Audio, number: int) -> None:
        added = after.samples.astype(np.float64) - before.samples
        self._noise += float(np.sum(added**2))
        self._power += float(np.sum(np.square(before.samples, dtype=np.float64)))
        if number % _MEASURED == 0 or not self._ratios:
            ratio_db = noise_to_mask_db(before, after)
            if math.isfinite(ratio_db):
                self._ratios.append((10 ** (ratio_db / 10), before.frames))

    @property
    def snr_db(self) -> float:
        """Ratio of the sound to the mark, as :func:`.snr_db` has it."""
        if self._noise == 0.0:
            return math.inf
        return 10.0 * math.log10(max(self._power, 1e-30) / self._noise)

    @property
    def noise_to_mask_db(self) -> float:
        """As :func:`.noise_to_mask_db`, of one piece in ten."""
        frames = sum(count for _, count in self._ratios)
        if not frames:
            return -math.inf
        return 10.0 * math.log10(sum(ratio * count for ratio, count in self._ratios) / frames)
