"""The pages of an Ogg file (RFC 3533), and which of them hold the sound.

A file may hold several streams at once (multiplexed), and several sounds one after the other
(chained): each of these begins with pages of its own that are marked as first ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from rag_audio.audio.file_bytes import FileBytes
from rag_audio.audio.spliced_file import Piece

MOST_PAGES = 1_000_000
MOST_LINKS = 10_000
_HEAD = 27
_FIRST, _LAST = 2, 4
_NO_GRANULE = (1 << 64) - 1
_MOST_IN_PAGE = 1 << 21
"""Samples: 255 packets, of 4096 in Vorbis, of 120 ms in Opus."""
_OPUS_RATE = 48_000
_FARTHEST = (1 << 63) - 1


@dataclass
class Link:
    """One sound of a file.

    Attributes:
        codec: ``vorbis``, ``opus``, ``flac`` or ``speex``; empty: no sound that is known.
        serial: of its stream. rate: Hz, of the granule positions. skip: samples before the sound.
        ranges: of the file, whole pages. bodies: of FLAC, the same without their heads.
        granule: position of the last page on which a packet ends, -1: it has none; before: the
            highest one before it.
        last: the range of that last page.
        is_ended: there is a page that is marked as the last one. lost: pages that are missing.
        streams: that are there at once.
    """

    codec: str = ""
    serial: int = -1
    rate: int = 0
    skip: int = 0
    ranges: list[tuple[int, int]] = field(default_factory=list)
    bodies: list[tuple[int, int]] = field(default_factory=list)
    granule: int = 0
    before: int = 0
    last: tuple[int, int] = (0, 0)
    is_ended: bool = False
    lost: int = 0
    streams: int = 0
    _sequence: int = -1

    @property
    def frames(self) -> int:
        """Samples of one channel by the last granule position that can be true."""
        return max(0, (self.before if self.has_odd_end else self.granule) - self.skip)

    @property
    def has_odd_end(self) -> bool:
        """Whether the last page claims a position that does not follow from the one before."""
        return not 0 <= self.granule - self.before <= _MOST_IN_PAGE

    def pieces(self, data: FileBytes) -> list[Piece]:
        """The pages as a file of one stream, the last one with a position that lets all of it be
        decoded."""
        if not self.has_odd_end:
            return list(self.ranges)
        start, length = self.last
        page = bytearray(data[start : start + length])
        page[6:14] = min(self.before + _MOST_IN_PAGE, _FARTHEST).to_bytes(8, "little")
        page[22:26] = bytes(4)
        page[22:26] = _checksum(bytes(page)).to_bytes(4, "little")
        made: list[Piece] = []
        for one in self.ranges:
            if one[0] <= start < sum(one):
                behind = start + length
                made += [(one[0], start - one[0]), bytes(page), (behind, sum(one) - behind)]
            else:
                made.append(one)
        return made


@dataclass
class OggFile:
    """What an Ogg file holds.

    Attributes:
        links: its sounds, in their order. skipped: bytes between pages that belong to none.
        is_cut: the last page is not whole.
    """

    links: list[Link] = field(default_factory=list)
    skipped: int = 0
    is_cut: bool = False


def walk(data: FileBytes) -> OggFile:
    """Go from page to page through a file."""
    found, link, at = OggFile(), Link(), 0
    starts = False
    for _ in range(MOST_PAGES):
        head = data[at : at + _HEAD]
        if len(head) < _HEAD or head[:5] != b"OggS\0":
            behind = data.find(b"OggS\0", at + 1)
            if behind < 0:
                rest = len(data) - at
                found.is_cut |= head[:4] == b"OggS"
                found.skipped += 0 if found.is_cut or data.is_blank(at, len(data)) else rest
                break
            found.skipped += behind - at
            at = behind
            continue
        sizes = data[at + _HEAD : at + _HEAD + head[26]]
        length = _HEAD + len(sizes) + sum(sizes)
        if len(sizes) < head[26] or at + length > len(data):
            # A page that claims more than there is may be none: others may follow.
            if (behind := data.find(b"OggS\0", at + 4)) < 0:
                found.is_cut = True
                break
            found.skipped += behind - at
            at = behind
            continue
        if head[5] & _FIRST:
            if not starts:
                if len(found.links) == MOST_LINKS:
                    break
                link, starts = Link(), True
                found.links.append(link)
            _begin_stream(link, head, data[at + _HEAD + len(sizes) : at + length])
        else:
            starts = False
        if int.from_bytes(head[14:18], "little") == link.serial:
            ends = any(size < 255 for size in sizes)
            _take(link, head, at, length, body=_HEAD + len(sizes), ends_packet=ends)
        at += length
    found.links = [one for one in found.links if one.codec]
    return found


def _begin_stream(link: Link, head: bytes, body: bytes) -> None:
    """The first packet of a stream names its codec (RFC 7845, 5.1; Vorbis I, 4.2; Ogg FLAC)."""
    link.streams += 1
    if link.codec:
        return
    serial = int.from_bytes(head[14:18], "little")
    if body[:7] == b"\x01vorbis" and len(body) >= 16:
        link.codec, link.rate = "vorbis", int.from_bytes(body[12:16], "little")
    elif body[:8] == b"OpusHead" and len(body) >= 12:
        link.codec, link.rate, link.skip = "opus", _OPUS_RATE, int.from_bytes(body[10:12], "little")
    elif body[:5] == b"\x7fFLAC" and len(body) >= 51:
        link.codec, link.rate = "flac", int.from_bytes(body[27:30], "big") >> 4
    elif body[:8] == b"Speex   ":
        link.codec, link.rate = "speex", int.from_bytes(body[36:40], "little")
    else:
        return
    link.serial = serial


def _take(link: Link, head: bytes, at: int, length: int, *, body: int, ends_packet: bool) -> None:
    sequence, granule = int.from_bytes(head[18:22], "little"), int.from_bytes(head[6:14], "little")
    link.lost += max(0, sequence - link._sequence - 1)
    link._sequence = sequence
    if granule != _NO_GRANULE or ends_packet:
        link.before = max(link.before, link.granule)
        link.granule = -1 if granule == _NO_GRANULE else granule
        link.last = (at, length)
    link.is_ended |= bool(head[5] & _LAST)
    _extend(link.ranges, at, length)
    if link.codec == "flac":
        # In the first page nine bytes of the mapping stand before the stream's own marker.
        skip = body + (9 if head[5] & _FIRST else 0)
        _extend(link.bodies, at + skip, length - skip)


def _extend(ranges: list[tuple[int, int]], at: int, length: int) -> None:
    if ranges and sum(ranges[-1]) == at:
        ranges[-1] = (ranges[-1][0], ranges[-1][1] + length)
    else:
        ranges.append((at, length))


def _table() -> list[int]:
    made = []
    for value in range(256):
        value <<= 24
        for _ in range(8):
            value = (value << 1 ^ 0x04C11DB7 if value & 0x80000000 else value << 1) & 0xFFFFFFFF
        made.append(value)
    return made


_TABLE = _table()


def _checksum(page: bytes) -> int:
    """RFC 3533, 6: polynomial 0x04c11db7, nothing reflected, starting at 0."""
    value = 0
    for byte in page:
        value = value << 8 & 0xFFFFFFFF ^ _TABLE[value >> 24 ^ byte]
    return value
