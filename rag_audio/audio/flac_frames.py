"""Where a FLAC stream's sound ends (RFC 9639), told by its last frame and not by its header."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rag_audio.audio.file_bytes import FileBytes
from rag_audio.audio.spliced_file import Piece

MARKER = b"fLaC"
STREAM = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22", re.DOTALL)
_SYNC = re.compile(rb"\xff[\xf8\xf9][\x10-\xff]", re.DOTALL)
"""Of a frame; a size of code 0 is reserved."""
_TAIL = 1 << 17
_MOST_TRIES = 4096
_MOST_STREAMS = 1000
_PROBE = 1 << 16
_FARTHEST_S = 120
_INFO = 42
"""Bytes of the marker and the block with the stream's form."""


@dataclass(frozen=True)
class FlacStream:
    """One stream of a file.

    Attributes:
        start, stop: its range of the file. rate: Hz. channels: 1…8.
        total: samples of a channel, as its header says; 0: unknown.
        block: samples of a frame, where frames and not samples are counted.
        frames: samples up to the end of its last frame; None: its last bytes are no whole frame.
    """

    start: int
    stop: int
    rate: int
    channels: int
    total: int
    block: int
    frames: int | None

    def header(self, data: FileBytes) -> bytes:
        """The first bytes with the total "unknown"."""
        head = bytearray(data[self.start : self.start + _INFO])
        if len(head) < _INFO:
            return bytes(head)
        head[21] &= 0xF0
        head[22:26] = bytes(4)
        return bytes(head)


def streams(data: FileBytes, start: int) -> list[FlacStream]:
    """The streams that follow each other in a file, from an offset on."""
    starts = [start]
    while len(starts) < _MOST_STREAMS:
        at = data.search(STREAM, starts[-1] + _INFO, len(data))
        if at < 0:
            break
        starts.append(at)
    stops = [*starts[1:], len(data)]
    return [_stream(data, first, stop) for first, stop in zip(starts, stops, strict=True)]


def _stream(data: FileBytes, start: int, stop: int) -> FlacStream:
    head = data[start : start + _INFO]
    if len(head) < _INFO:
        return FlacStream(start, stop, 0, 0, 0, 0, None)
    block = int.from_bytes(head[10:12], "big")
    form = int.from_bytes(head[18:26], "big")
    rate, channels = form >> 44, (form >> 41 & 7) + 1
    end = _sound_end(data, start, stop)
    frames = _last_sample(data, max(start + _INFO, end - _TAIL), end, block)
    return FlacStream(start, stop, rate, channels, form & (1 << 36) - 1, block, frames)


def frame_from(data: FileBytes, sample: int, rate: int) -> tuple[int, int] | None:
    """Where the first frame begins that begins at a sample or behind it, and at which.

    Args:
        data: a stream from its marker on. rate: Hz.
    """
    block = int.from_bytes(data[10:12], "big")
    low, high = _INFO, len(data)
    while high - low > _PROBE:
        middle = (low + high) // 2
        found = _next_frame(data, middle, block)
        if found is None or found[1] >= sample:
            high = middle
        else:
            low = middle
    at = low
    for _ in range(_MOST_TRIES):
        found = _next_frame(data, at, block)
        if found is None:
            return None
        # What is far ahead is no frame: other data may look like one.
        if sample <= found[1] < sample + _FARTHEST_S * rate:
            return found
        at = found[0] + 1
    return None


def lone_header(header: Piece) -> bytes:
    """A stream's first bytes, made to be followed by frames at once."""
    made = bytearray(header if isinstance(header, bytes) else b"")
    made[4:5] = b"\x80"
    return bytes(made)


def _next_frame(data: FileBytes, at: int, block: int) -> tuple[int, int] | None:
    for _ in range(_MOST_TRIES):
        at = data.search(_SYNC, at, len(data))
        if at < 0:
            return None
        head = data[at : at + 16]
        begin = _frame_range(head, block)
        if begin is not None:
            return at, begin[0]
        at += 1
    return None


def _sound_end(data: FileBytes, start: int, stop: int) -> int:
    """Without an ID3v1 tag, which some programs append."""
    return stop - 128 if data[stop - 128 : stop - 125] == b"TAG" and stop - 128 > start else stop


def _last_sample(data: FileBytes, start: int, end: int, block: int) -> int | None:
    """Sample behind the last frame, where that is whole."""
    tail = data[start:end]
    found = [match.start() for match in _SYNC.finditer(tail)][-_MOST_TRIES:]
    for at in reversed(found):
        parsed = _frame_range(tail[at : at + 16], block)
        if parsed is not None and _crc16(tail[at:]) == 0:
            return parsed[1]
    return None


def _frame_range(head: bytes, block: int) -> tuple[int, int] | None:
    """The first sample of a frame and the one behind it, by its header (RFC 9639, 9.1); None: it
    is none."""
    if len(head) < 6 or head[2] < 0x10 or head[3] & 1 or head[3] >> 4 > 10:
        return None
    number, at = _coded_number(head)
    if at == 0:
        return None
    code = head[2] >> 4
    size = 0
    if code == 1:
        size = 192
    elif code < 6:
        size = 576 << code - 2
    elif code >= 8:
        size = 256 << code - 8
    elif code == 6:
        size, at = head[at] + 1 if at < len(head) else 0, at + 1
    else:
        size, at = int.from_bytes(head[at : at + 2], "big") + 1, at + 2
    at += {12: 1, 13: 2, 14: 2}.get(head[2] & 15, 0)
    if at >= len(head) or _crc8(head[:at]) != head[at] or size <= 0:
        return None
    # A stream of frames of one size counts frames, others count samples.
    first = number if head[1] & 1 else number * (block or size)
    return first, first + size


def _coded_number(head: bytes) -> tuple[int, int]:
    """A number coded like a UTF-8 character, and where it ends; 0: it is none."""
    first = head[4]
    if first < 0x80:
        return first, 5
    length = 0
    while first & 0x80 >> length and length < 8:
        length += 1
    if not 2 <= length <= 7 or len(head) < 4 + length:
        return 0, 0
    number = first & (0x7F >> length)
    for byte in head[5 : 4 + length]:
        if byte >> 6 != 2:
            return 0, 0
        number = number << 6 | byte & 0x3F
    return number, 4 + length


def _crc_table(polynomial: int, bits: int) -> tuple[int, ...]:
    top, mask, made = 1 << bits - 1, (1 << bits) - 1, []
    for value in range(256):
        value <<= bits - 8
        for _ in range(8):
            value = (value << 1 ^ polynomial if value & top else value << 1) & mask
        made.append(value)
    return tuple(made)


_CRC8, _CRC16 = _crc_table(0x07, 8), _crc_table(0x8005, 16)


def _crc8(data: bytes) -> int:
    value = 0
    for byte in data:
        value = _CRC8[value ^ byte]
    return value


def _crc16(data: bytes) -> int:
    value, table = 0, _CRC16
    for byte in data:
        value = value << 8 & 0xFFFF ^ table[value >> 8 ^ byte]
    return value
