"""The comment packet of an Ogg file: read, and put into a file in place of its own.

Sources: Ogg (RFC 3533), Vorbis I (section 5), Ogg Opus (RFC 7845, section 5.2), FLAC in Ogg
(RFC 9639, section 10.1).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from rag_audio.errors import UnreadableFile

MOST_BYTES = 64 << 20
"""Header packets are not read beyond this; covers are in them."""
_HEAD = 27
_CAPTURE = b"OggS"
_CONTINUED = 0x01
_MOST_SEGMENTS = 255
_NO_POSITION = (1 << 64) - 1
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))

_HEADERS = ((b"\x01vorbis", 3), (b"OpusHead", 2))
"""How the first packet of a codec begins, and how many header packets it has."""
_COMMENTS = (b"\x03vorbis", b"OpusTags")


@dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
        head: its first 27 bytes. lacing: one byte for each segment. body: the segments.
    """

    head: bytes
    lacing: bytes
    body: bytes

    @property
    def serial(self) -> bytes:
        """Which logical stream it belongs to."""
        return self.head[14:18]

    @property
    def number(self) -> int:
        """Its place in that stream, from 0."""
        return int.from_bytes(self.head[18:22], "little")

    def written(self, number: int) -> bytes:
        """The page's bytes with another place in the stream."""
        head = self.head[:18] + (number & 0xFFFFFFFF).to_bytes(4, "little")
        return _sealed(head + bytes(4) + self.head[26:27] + self.lacing + self.body)


def pages(file: BinaryIO) -> Iterator[Page]:
    """The pages from where the file stands until the first thing that is none."""
    while len(head := file.read(_HEAD)) == _HEAD and head[:4] == _CAPTURE:
        lacing = file.read(head[26])
        body = file.read(sum(lacing))
        if len(lacing) < head[26] or len(body) < sum(lacing):
            return
        yield Page(head, lacing, body)


def read_comment_packet(file: BinaryIO) -> bytes | None:
    """The comments of a file's first stream, without framing; None: there are none to be read.

    Raises:
        OSError: it cannot be read.
    """
    file.seek(0)
    packets = _packets(pages(file))
    first = next(packets, b"")
    if not any(first.startswith(begin) for begin, _ in _HEADERS):
        return next(packets, b"")[4:] or None if first.startswith(b"\x7fFLAC") else None
    packet = next(packets, b"")
    for begin in _COMMENTS:
        if packet.startswith(begin):
            return packet[len(begin) :]
    return None


def put_comments(source: BinaryIO, target: BinaryIO, comments: bytes) -> None:
    """Copy a file of one Vorbis or Opus stream with another comment packet.

    Args:
        comments: as :func:`.make_comments` makes them.

    Raises:
        UnreadableFile: the file is not such a stream.
        OSError: it cannot be read or written.
    """
    source.seek(0)
    stream = pages(source)
    first = next(stream, None)
    begin, count = next(
        ((begin, count) for begin, count in _HEADERS if first and first.body.startswith(begin)),
        (b"", 0),
    )
    if first is None or not count:
        raise UnreadableFile("the file is neither Ogg Vorbis nor Ogg Opus")
    headers: list[bytes] = []
    read = 0
    for packet, at_end_of_page in _packets_of_pages(stream):
        headers.append(packet)
        read += len(packet)
        if len(headers) == count - 1:
            if not at_end_of_page:
                raise UnreadableFile("sound begins within the pages of the header")
            break
    if len(headers) != count - 1:
        raise UnreadableFile("the file ends within its header")
    is_vorbis = begin == _HEADERS[0][0]
    headers[0] = (_COMMENTS[0] + comments + b"\x01") if is_vorbis else _COMMENTS[1] + comments
    target.write(first.written(0))
    number = 1
    for page in _paged(headers, first.serial):
        target.write(page.written(number))
        number += 1
    for page in stream:
        target.write(page.written(number))
        number += 1


def _packets(stream: Iterator[Page]) -> Iterator[bytes]:
    return (packet for packet, _ in _packets_of_pages(stream))


def _packets_of_pages(stream: Iterator[Page]) -> Iterator[tuple[bytes, bool]]:
    """Packets, and whether each one ends a page; of the first logical stream only."""
    serial: bytes | None = None
    parts: list[bytes] = []
    held = 0
    for page in stream:
        if serial is None:
            serial = page.serial
        if page.serial != serial:
            continue
        at = 0
        for n, size in enumerate(page.lacing):
            parts.append(page.body[at : at + size])
            at, held = at + size, held + size
            if held > MOST_BYTES:
                return
            if size < _MOST_SEGMENTS:
                yield b"".join(parts), n == len(page.lacing) - 1
                parts, held = [], 0


def _paged(packets: list[bytes], serial: bytes) -> Iterator[Page]:
    """Header packets on pages of their own; where no packet ends on a page, it has no position."""
    lacing: list[int] = []
    for packet in packets:
        lacing += [_MOST_SEGMENTS] * (len(packet) // _MOST_SEGMENTS)
        lacing.append(len(packet) % _MOST_SEGMENTS)
    body = b"".join(packets)
    at, continued = 0, False
    for first in range(0, len(lacing), _MOST_SEGMENTS):
        segments = bytes(lacing[first : first + _MOST_SEGMENTS])
        size = sum(segments)
        ends = any(one < _MOST_SEGMENTS for one in segments)
        position = (0 if ends else _NO_POSITION).to_bytes(8, "little")
        flags = bytes([_CONTINUED if continued else 0])
        head = _CAPTURE + b"\0" + flags + position + serial + bytes(8) + bytes([len(segments)])
        yield Page(head, segments, body[at : at + size])
        at, continued = at + size, segments[-1] == _MOST_SEGMENTS


def _sealed(page: bytes) -> bytes:
    """A page with its checksum: CRC-32 of 0x04C11DB7, unreflected, from 0 (RFC 3533, section 6).

    That of zlib has the same polynomial, with the bits of bytes and result the other way round.
    """
    value = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    checksum = int(f"{value:032b}"[::-1], 2)
    return page[:22] + checksum.to_bytes(4, "little") + page[26:]
