"""The head of a WAV that is written to a pipe: rate, channels and speakers of 32-bit floats."""

from __future__ import annotations

import struct
from dataclasses import dataclass

HEAD_BYTES = 1 << 16
"""What stands before the samples takes no more than this."""
_FLOAT, _EXTENSIBLE = 3, 0xFFFE
_FLOAT_GUID = b"\x03\x00\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"
_EXTENSIBLE_BYTES = 40


@dataclass(frozen=True)
class PipedWave:
    """What the head says.

    Attributes:
        sample_rate: Hz. channels: how many.
        channel_mask: of WAVEFORMATEXTENSIBLE; 0: not told.
        start: the byte of the first sample.
    """

    sample_rate: int
    channels: int
    channel_mask: int
    start: int


def piped_wave(head: bytes) -> PipedWave | None:
    """The head of a WAV of 32-bit floats; None: it is none, or not all of it is there.

    Sizes of the file and of its samples are not looked at: a pipe does not know them (Microsoft,
    "Multiple channel audio data and WAVE files", 2007).
    """
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return None
    at, found = 12, None
    while at + 8 <= len(head):
        name, size = head[at : at + 4], int.from_bytes(head[at + 4 : at + 8], "little")
        if name == b"data":
            return None if found is None else PipedWave(*found, at + 8)
        if name == b"fmt ":
            found = _floats(head[at + 8 : at + 8 + size])
        at += 8 + size + size % 2
    return None


def _floats(form: bytes) -> tuple[int, int, int] | None:
    """Rate, channels and mask of 32-bit floats."""
    if len(form) < 16:
        return None
    tag, channels, rate, _, width, bits = struct.unpack("<HHIIHH", form[:16])
    mask = 0
    if tag == _EXTENSIBLE and len(form) >= _EXTENSIBLE_BYTES and form[24:40] == _FLOAT_GUID:
        tag, mask = _FLOAT, int.from_bytes(form[20:24], "little")
    if tag != _FLOAT or bits != 32 or width != 4 * channels or not rate or not channels:
        return None
    return rate, channels, mask
