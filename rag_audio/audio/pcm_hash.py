"""Samples as 24-bit integers, and the hash of a sound over them."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

_BLOCK = 1 << 16

PCM24 = np.float32(1 << 23)


def pcm24(
    samples: np.ndarray[tuple[int, int], np.dtype[np.float32]],
) -> np.ndarray[tuple[int, int], np.dtype[np.int32]]:
    """Samples ``[C, T]`` as interleaved integers ``[T, C]``, -2^23…2^23-1."""
    # A power of two: exact in float32, as is what it is rounded to.
    scaled = np.rint(samples.T * PCM24)
    return np.ascontiguousarray(np.clip(scaled, -PCM24, PCM24 - 1).astype(np.int32))


class PcmHash:
    """The hash of a sound that comes in blocks: rate, channels and 24-bit samples.

    Attributes:
        frames: that came.
    """

    def __init__(self, sample_rate: int, channels: int) -> None:
        self.frames = 0
        self._digest = hashlib.sha256(f"pcm24 {sample_rate} {channels}\n".encode())

    def add(self, samples: np.ndarray[Any, np.dtype[np.float32]]) -> None:
        """The next samples ``[C, T]``."""
        self.frames += samples.shape[1]
        for start in range(0, samples.shape[1], _BLOCK):
            self._digest.update(pcm24(samples[:, start : start + _BLOCK]).astype("<i4").tobytes())

    def hexdigest(self) -> str:
        """Of all that came, hex."""
        return self._digest.hexdigest()
