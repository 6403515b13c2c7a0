"""Samples as 24-bit integers, and the hash of a sound over them."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rag_audio.audio.headers import format_of
from rag_audio.domain import Audio
from rag_audio.errors import InvalidInput

PCM24 = np.float32(1 << 23)
_BLOCK = 1 << 18


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


# Sound above full scale: files of floats hold it, files of integers would clip it.
#
# Nothing is clipped when a file is written: :func:`.save` refuses what its encoding
# cannot hold, and whoever writes a user's sound lowers it first (:func:`fit`) and says so.


@dataclass(frozen=True)
class Excess:
    """How much of a sound is above full scale: samples, and dB of the highest; 0 and 0: none."""

    samples: int = 0
    peak_db: float = 0.0

    def __bool__(self) -> bool:
        return self.samples > 0

    def __str__(self) -> str:
        noun = "sample" if self.samples == 1 else "samples"
        return f"{self.samples} {noun} up to {self.peak_db:.2g} dB above full scale"


def excess_of(audio: Audio) -> Excess:
    """What of a sound is above full scale, which is 1.0."""
    over = int(np.count_nonzero(np.abs(audio.samples) > 1.0))
    if not over:
        return Excess()
    return Excess(over, 20.0 * math.log10(float(np.abs(audio.samples).max())))


def is_clipped_by(path: str | Path, subtype: str | None) -> bool:
    """Whether a file of this name and encoding ends at full scale; see ``formats.format_of``.

    Raises:
        InvalidInput: there is no such kind of file.
    """
    return format_of(path, subtype)[1].startswith("PCM")


def fit(audio: Audio, path: str | Path, subtype: str | None) -> tuple[Audio, Excess]:
    """The sound, lowered by one gain to full scale where the file would clip it.

    Returns:
        The sound, and what was above full scale where it was lowered for that.
    """
    excess = excess_of(audio)
    if not excess or not is_clipped_by(path, subtype):
        return audio, Excess()
    lowered = audio.samples / np.abs(audio.samples).max()
    return Audio(lowered.astype(np.float32), audio.sample_rate), excess


def require_fit(audio: Audio, path: Path, subtype: str | None) -> None:
    """Refuse a sound that the file would clip.

    Raises:
        InvalidInput: it would; the message counts the samples.
    """
    if not is_clipped_by(path, subtype):
        return
    excess = excess_of(audio)
    if excess:
        raise InvalidInput(
            f"cannot write {path.name} as {format_of(path, subtype)[1]}: it would clip {excess}",
            hint="lower the sound, or write a .wav of floats (subtype 32f)",
        )
