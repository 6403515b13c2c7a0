"""Meters of sound that comes in blocks: integrated loudness and true peak (ITU-R BS.1770-5).

What they say does not depend on the blocks, to the last bit; memory holds some seconds.
"""

from __future__ import annotations

import math

import numpy as np
import soxr
from numpy.typing import NDArray

from rag_audio.audio.layouts import ChannelLayout

Block = NDArray[np.float32]
"""``[C, T]``: a stretch of sound."""
Wide = NDArray[np.float64]

GATING_BLOCK_S = 0.4
MIN_METER_RATE = 8000
"""The weighting filters sit below 2 kHz: slower sound is measured at this rate, in Hz."""
_STEP = 0.25
_ABSOLUTE_GATE, _RELATIVE_GATE_DB, _OFFSET_DB = -70.0, 10.0, -0.691
_FRAMES_AT_ONCE = 1 << 18
_OVERSAMPLING = 4
_PEAK_BLOCK_S = 20.0
_PEAK_OVERLAP = 256


class LoudnessMeter:
    """Measures integrated, gated loudness.

    The weighting filters are those of ``pyloudnorm``, and so are the results for one and two
    channels; of more channels the low-frequency one does not count and surround counts 1.41 fold.

    Args:
        sample_rate: Hz.
        layout: of the channels.
    """

    def __init__(self, sample_rate: int, layout: ChannelLayout) -> None:
        from pyloudnorm.iirfilter import IIRfilter

        self._weights = layout.loudness_weights
        self._counted = np.flatnonzero(self._weights)
        count = self._counted.size
        self._slow = None
        if sample_rate < MIN_METER_RATE:
            self._slow = soxr.ResampleStream(sample_rate, MIN_METER_RATE, count, dtype="float64")
        self._rate = max(sample_rate, MIN_METER_RATE)
        shelf = IIRfilter(4.0, 1 / np.sqrt(2), 1500.0, self._rate, "high_shelf")
        high_pass = IIRfilter(0.0, 0.5, 38.0, self._rate, "high_pass")
        self._filters = [(one.b, one.a) for one in (shelf, high_pass)]
        self._states = [np.zeros((count, 2)) for _ in self._filters]
        self._powers: list[Wide] = []
        self._held, self._held_from, self._frames = np.zeros((count, 0)), 0, 0

    def add(self, block: NDArray[np.float32] | Wide) -> None:
        """Hear the next block ``[C, T]``, of any length."""
        for at in range(0, block.shape[1], _FRAMES_AT_ONCE):
            piece = block[self._counted, at : at + _FRAMES_AT_ONCE].astype(np.float64)
            self._hear(piece if self._slow is None else self._faster(piece))

    @property
    def loudness_lufs(self) -> float:
        """Of all that was heard, which ends here; ``-inf`` for silence and for less than 0.3 s."""
        if self._slow is not None:
            self._hear(self._faster(np.zeros((self._counted.size, 0)), is_last=True))
            self._slow = None
        duration_s = self._frames / self._rate
        count = int(np.round((duration_s - GATING_BLOCK_S) / (GATING_BLOCK_S * _STEP)) + 1)
        while len(self._powers) < count:  # the last block may be shorter
            self._measure()
        powers = np.array(self._powers[: max(0, count)]).reshape(-1, self._counted.size)
        levels = np.array([self._level(power) for power in powers])
        loud = levels >= _ABSOLUTE_GATE
        if not loud.any():
            return -math.inf
        gate = self._level(_mean(powers[loud])) - _RELATIVE_GATE_DB
        loud = (levels > gate) & (levels > _ABSOLUTE_GATE)
        return self._level(_mean(powers[loud])) if loud.any() else -math.inf

    def _faster(self, piece: Wide, *, is_last: bool = False) -> Wide:
        frames = np.array(piece.T, order="C", ndmin=2)
        made: Wide = self._slow.resample_chunk(frames, last=is_last)  # type: ignore[union-attr]
        return made.reshape(-1, self._counted.size).T

    def _hear(self, piece: Wide) -> None:
        from scipy.signal import lfilter

        if not piece.size:  # lfilter returns a state that was never written
            return
        self._frames += piece.shape[1]
        for number, (b, a) in enumerate(self._filters):
            piece, self._states[number] = lfilter(b, a, piece, zi=self._states[number])
        self._held = np.concatenate([self._held, np.square(piece)], axis=1)
        while self._edge(1.0) <= self._frames:
            self._measure()
        gone = max(0, self._edge(0.0) - self._held_from)
        self._held, self._held_from = self._held[:, gone:], self._held_from + gone

    def _measure(self) -> None:
        """The mean square of each channel in the next gating block."""
        low, high = (self._edge(part) - self._held_from for part in (0.0, 1.0))
        squares = [np.sum(channel[low:high]) for channel in self._held]
        self._powers.append(np.array(squares) * (1.0 / (GATING_BLOCK_S * self._rate)))

    def _edge(self, part: float) -> int:
        """The frame at which the next gating block begins (0) or ends (1)."""
        return int(GATING_BLOCK_S * (len(self._powers) * _STEP + part) * self._rate)

    def _level(self, powers: Wide) -> float:
        """LUFS of mean squares ``[counted channels]``."""
        summed = np.sum(self._weights[self._counted] * powers)
        return float(_OFFSET_DB + 10.0 * np.log10(summed)) if summed > 0 else -math.inf


def _mean(powers: Wide) -> Wide:
    """Over the blocks ``[N, counted channels]``, each channel summed on its own."""
    return np.array([np.mean(np.ascontiguousarray(channel)) for channel in powers.T])


class TruePeakMeter:
    """Measures the highest true peak of all channels.

    Args:
        sample_rate: Hz.
    """

    def __init__(self, sample_rate: int) -> None:
        self._rate, self._peak = sample_rate, 0.0
        self._size = round(_PEAK_BLOCK_S * sample_rate)
        self._held: Block | None = None
        self._before = 0
        """Of the frames that are held, those that were looked at."""

    def add(self, block: Block) -> None:
        """Hear the next block ``[C, T]``, of any length."""
        self._peak = max(self._peak, float(np.abs(block).max(initial=0.0)))
        held = block if self._held is None else np.concatenate([self._held, block], axis=1)
        while held.shape[1] > self._before + self._size + _PEAK_OVERLAP:
            held = self._look(held)
        self._held = held

    @property
    def peak_dbtp(self) -> float:
        """Of all that was heard, which ends here; ``-inf`` for silence."""
        if self._peak == 0.0 or self._held is None:
            return -math.inf
        while self._held.shape[1] > self._before:
            self._held = self._look(self._held)
        return 20.0 * math.log10(self._peak)

    def _look(self, held: Block) -> Block:
        """Measure the next 20 s, with a little of what is before and after them; what is left."""
        end = self._before + self._size
        piece = held[:, : end + _PEAK_OVERLAP]
        upsampled = soxr.resample(piece.T, self._rate, self._rate * _OVERSAMPLING)
        self._peak = max(self._peak, float(np.abs(upsampled).max(initial=0.0)))
        start = max(0, end - _PEAK_OVERLAP)
        self._before = end - start
        return held[:, start:]
