"""The frames of MPEG audio (ISO/IEC 11172-3 and 13818-3), and what lies between them.

A file has no count of its frames that could be trusted: it is walked from frame to frame.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache

from rag_audio.audio.file_bytes import FileBytes
from rag_audio.audio.spliced_file import Piece

MOST_FRAMES = 8_000_000
"""Frames that are walked: more than two days."""
MOST_TRIES = 200_000
"""Places where a frame is looked for in data that are none: no more pieces are made of a file."""
MOST_TAGS = 10_000
_LONGEST_LYRICS = 5120
FARTHEST = 1 << 22
"""Bytes before the first frame."""

_RATES = (44_100, 48_000, 32_000)
_BITRATES = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""kbit/s by version (2.5 as 2) and layer; the index in the header counts from 1."""
_SYNC = re.compile(rb"\xff[\xe2-\xe7\xf2-\xff][\x00-\xef]", re.DOTALL)
_LEAST_IN_A_ROW = 20
"""Frames, on average, that stand in a row where other data are more than the sound."""
_COUNTED = 1
_SIZED = 2


@dataclass(frozen=True)
class FrameHeader:
    """The first four bytes of a frame.

    Attributes:
        size: bytes of the frame; 0: in free format, where the next header tells.
        frames: samples of one channel. rate: Hz.
        layer: 1…3. is_low: of MPEG-2 or 2.5, with half the side information.
        slot: bytes of padding.
        kind: what does not change within one sound.
    """

    size: int
    frames: int
    rate: int
    layer: int
    is_low: bool
    is_mono: bool
    slot: int
    kind: tuple[int, int, bool]

    @property
    def info_at(self) -> int:
        """Where a Xing or Info tag stands in a frame, behind the side information."""
        return 4 + ((9 if self.is_mono else 17) if self.is_low else (17 if self.is_mono else 32))


@lru_cache(4096)
def _parsed(word: bytes) -> FrameHeader | None:
    if len(word) < 4 or word[0] != 0xFF or word[1] & 0xE0 != 0xE0:
        return None
    version, layer = word[1] >> 3 & 3, 4 - (word[1] >> 1 & 3)
    index, rate_index = word[2] >> 4, word[2] >> 2 & 3
    if version == 1 or layer == 4 or index == 15 or rate_index == 3:
        return None
    rate = _RATES[rate_index] >> {3: 0, 2: 1, 0: 2}[version]
    is_low, is_mono = version != 3, word[3] >> 6 == 3
    slot = (word[2] >> 1 & 1) * (4 if layer == 1 else 1)
    frames = 384 if layer == 1 else 576 if layer == 3 and is_low else 1152
    size = 0
    if index:
        bits = _BITRATES[2 if is_low else 1, layer][index - 1] * 1000
        if layer == 1:
            size = 12 * bits // rate * 4 + slot
        else:
            size = frames // 8 * bits // rate + slot
    kind = (word[1] & 0xFE, rate_index, is_mono)
    return FrameHeader(size, frames, rate, layer, is_low, is_mono, slot, kind)


@dataclass
class Run:
    """Frames of one sound that follow each other.

    Attributes:
        head: its first frame's header. word: the same as bytes.
        ranges: of the file, whole frames. count: frames of sound, without the one with counts.
        info: the range of a first frame that holds counts instead of sound (Xing, Info, VBRI).
        counted: frames that a Xing or Info tag counts; None: it does not.
        free_size: bytes of a frame in free format, without padding.
    """

    head: FrameHeader
    word: bytes
    ranges: list[tuple[int, int]] = field(default_factory=list)
    count: int = 0
    info: tuple[int, int] | None = None
    counted: int | None = None
    free_size: int = 0

    @property
    def frames(self) -> int:
        """Samples of one channel, with what encoders add at the start and the end."""
        return self.count * self.head.frames

    def pieces(self, info_frame: bytes) -> list[Piece]:
        """The run as a file with right counts.

        Args:
            info_frame: the bytes of the frame with counts; empty: there is none.
        """
        ranges: list[Piece] = list(self.ranges)
        if self.head.layer != 3:
            return ranges
        if self.info is not None and self.counted is not None and info_frame:
            at = self.head.info_at
            flags = int.from_bytes(info_frame[at + 4 : at + 8], "big")
            counts = self.count.to_bytes(4, "big")
            if flags & _SIZED:
                counts += (self._bytes() + len(info_frame)).to_bytes(8, "big")[4:]
            end = at + 8 + len(counts)
            return [info_frame[: at + 8] + counts + info_frame[end:], *ranges]
        return [self._own_info(), *ranges]

    def _bytes(self) -> int:
        return sum(length for _, length in self.ranges)

    def _own_info(self) -> bytes:
        """A frame with the tag "Xing", the number of frames and of bytes."""
        size, word = self.free_size or self.head.size, bytearray(self.word)
        word[1] |= 1  # no checksum
        needed = self.head.info_at + 16
        if not self.free_size:
            word[2] &= 0xFD  # no padding
            header = _parsed(bytes(word))
            while (header is None or header.size < needed) and word[2] < 0xE0:
                word[2] += 0x10
                header = _parsed(bytes(word))
            size = 0 if header is None else header.size
        counts = _COUNTED | _SIZED
        tag = b"Xing" + counts.to_bytes(4, "big") + self.count.to_bytes(4, "big")
        tag += (self._bytes() + size).to_bytes(8, "big")[4:]
        return (bytes(word).ljust(self.head.info_at, b"\0") + tag).ljust(size, b"\0")


@dataclass
class Walk:
    """What a file of MPEG audio turned out to be.

    Attributes:
        runs: in their order. leading, skipped, trailing: bytes that are neither sound nor tags,
            before, between and behind the frames.
        is_cut: the last frame is not whole.
    """

    runs: list[Run] = field(default_factory=list)
    leading: int = 0
    skipped: int = 0
    trailing: int = 0
    is_cut: bool = False

    @property
    def is_chance(self) -> bool:
        """Other data, in which a few bytes look like frames: a program, another codec's sound."""
        ranges = [length for run in self.runs for _, length in run.ranges]
        frames = sum(run.count for run in self.runs)
        others = self.leading + self.skipped + self.trailing
        is_scattered = frames < _LEAST_IN_A_ROW * len(ranges)
        return bool(self.leading) and is_scattered and others > sum(ranges)


def tags_end(data: FileBytes, at: int = 0) -> int:
    """Where ID3v2 tags that begin at ``at`` end (id3.org, ID3v2.4.0, 3.1)."""
    for _ in range(MOST_TAGS):
        head = data[at : at + 10]
        if len(head) < 10 or head[:3] != b"ID3" or any(byte & 0x80 for byte in head[6:]):
            break
        size = 0
        for byte in head[6:]:
            size = size << 7 | byte
        at += 10 + size + (10 if head[5] & 0x10 else 0)
    return at


def sound_end(data: FileBytes) -> int:
    """Where the tags at the end of a file begin: ID3v1, its extension, Lyrics3, APEv2."""
    end = len(data)
    for _ in range(MOST_TAGS):
        before = end
        tail = data[max(0, end - 227) : end]
        if tail[-128:-125] == b"TAG":
            end -= 128
        elif len(tail) == 227 and tail.startswith(b"TAG+"):
            end -= 227
        elif tail.endswith(b"LYRICS200") and tail[-15:-9].isdigit():
            end -= 15 + int(tail[-15:-9])
        elif tail.endswith(b"LYRICSEND"):
            first = max(0, end - _LONGEST_LYRICS)  # id3.org, "Lyrics3"
            back = data[first:end].rfind(b"LYRICSBEGIN")
            end = first + back if back >= 0 else end
        elif tail[-32:-24] == b"APETAGEX":
            # Whether a header is there is seen: the flag that says so is not always true.
            end -= int.from_bytes(tail[-20:-16], "little")
            if data[end - 32 : end - 24] == b"APETAGEX":
                end -= 32
        if end < 0 or end == before:
            return before
    return end


def walk(data: FileBytes) -> Walk:
    """Go from frame to frame through a file."""
    return _Walker(data).walk()


class _Walker:
    def __init__(self, data: FileBytes) -> None:
        self.data, self.end = data, sound_end(data)
        self.found, self.tries = Walk(), MOST_TRIES
        self.run: Run | None = None

    def walk(self) -> Walk:
        at: int | None = self._behind_tags(0)
        for _ in range(MOST_FRAMES):
            if at is None:
                break
            at = self._step(at)
        self.found.runs = [run for run in self.found.runs if run.count]
        return self.found

    def _step(self, at: int) -> int | None:
        """Take the frame at a place; where the next one is to be, None: at the end."""
        run, head = self.run, _parsed(self.data[at : at + 4])
        if head is not None and run is not None and head.kind == run.head.kind:
            size = _size(head, run.free_size)
            if size and at + size <= self.end and not self._is_info(at, head):
                _add(run, at, size)
                return at + size
        return self._other(at)

    def _other(self, at: int) -> int | None:
        """What is not simply the next frame: a tag, another sound, the end, or other data."""
        if at >= self.end:
            return None
        tagged = self._tag_end(at)
        if tagged > at:
            return tagged
        start, limit = at, self.end if self.run else min(self.end, at + FARTHEST)
        while self.tries > 0 and (start := self.data.search(_SYNC, start, limit)) >= 0:
            self.tries -= 1
            head, was = _parsed(self.data[start : start + 4]), self.run
            if head is not None and (size := self._begin(start, head, start == at)):
                if not self.data.is_blank(at, start):
                    if was is None:
                        self.found.leading += start - at
                    else:
                        self.found.skipped += start - at
                return start + size
            start += 1
        self._finish(at)
        return None

    def _tag_end(self, at: int) -> int:
        """Where a tag between frames ends."""
        head = self.data[at : at + 16]
        if head[:8] == b"APETAGEX":
            return at + 32 + int.from_bytes(head[12:16], "little")
        if head[:3] == b"TAG" and self.run is not None:
            behind = self.data[at + 128 : at + 132]
            if _parsed(behind) is not None or behind[:3] == b"ID3":
                return at + 128
        return self._behind_tags(at)

    def _behind_tags(self, at: int) -> int:
        """Where ID3v2 tags end; one that claims to be longer than the file is only passed over."""
        end = tags_end(self.data, at)
        return end if end < self.end or self.end < at + 10 else at + 10

    def _finish(self, at: int) -> None:
        """What is left holds no whole frame."""
        rest, head = self.end - at, _parsed(self.data[at : at + 4])
        if self.run is None or self.data.is_blank(at, self.end):
            return
        if rest < 4 or (head is not None and head.kind == self.run.head.kind):
            self.found.is_cut = True
        else:
            self.found.trailing += rest

    def _begin(self, at: int, head: FrameHeader, is_expected: bool) -> int:
        """Take a frame that is not simply the next one, where others of its kind follow; its
        size, or 0."""
        run = self.run
        is_same = run is not None and head.kind == run.head.kind
        free = 0 if head.size else self._free_size(at, head)
        size = _size(head, free)
        if not size or at + size > self.end:
            return 0
        if not self._are_frames(at, head, free, 1 if is_same else 2, is_expected):
            return 0
        is_info = self._is_info(at, head)
        if run is None or not is_same or is_info:
            run = Run(head, self.data[at : at + 4], free_size=free)
            self.run = run
            self.found.runs.append(run)
        if is_info:
            run.info, run.counted = (at, size), self._counted(at, head)
        else:
            _add(run, at, size)
        return size

    def _are_frames(
        self, at: int, head: FrameHeader, free: int, wanted: int, is_expected: bool
    ) -> bool:
        """Whether so many frames of this kind follow, or the sound ends with them."""
        for number in range(wanted + 1):
            one = _parsed(self.data[at : at + 4])
            if one is None or one.kind != head.kind:
                ends = at + 4 > self.end or self._tag_end(at) > at
                return ends and number > (0 if is_expected else 1)
            at += _size(one, free) or len(self.data)
        return True

    def _free_size(self, at: int, head: FrameHeader) -> int:
        """Bytes of a frame in free format without padding: up to the next header like it."""
        word, start = self.data[at : at + 2], at + 24
        for _ in range(64):
            start = self.data.find(word, start, min(self.end, at + 8192))
            if start < 0:
                return 0
            one = _parsed(self.data[start : start + 4])
            if one is not None and not one.size and one.kind == head.kind:
                return start - at - head.slot
            start += 1
        return 0

    def _is_info(self, at: int, head: FrameHeader) -> bool:
        if head.layer != 3:
            return False
        tag = self.data[at + head.info_at : at + head.info_at + 4]
        return tag in (b"Xing", b"Info") or self.data[at + 36 : at + 40] == b"VBRI"

    def _counted(self, at: int, head: FrameHeader) -> int | None:
        """Frames that a Xing or Info tag counts."""
        tag = self.data[at + head.info_at : at + head.info_at + 12]
        if len(tag) < 12 or tag[:4] not in (b"Xing", b"Info"):
            return None
        flags = int.from_bytes(tag[4:8], "big")
        return int.from_bytes(tag[8:], "big") if flags & _COUNTED else None


def _size(head: FrameHeader, free_size: int) -> int:
    return head.size or (free_size + head.slot if free_size > 0 else 0)


def _add(run: Run, at: int, size: int) -> None:
    run.count += 1
    if run.ranges and sum(run.ranges[-1]) == at:
        run.ranges[-1] = (run.ranges[-1][0], run.ranges[-1][1] + size)
    else:
        run.ranges.append((at, size))
