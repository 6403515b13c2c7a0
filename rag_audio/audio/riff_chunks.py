"""Where the sound of a WAV lies (RIFF, RIFX, RF64, BW64 and Wave64), by what follows and not by the
sizes that its header claims.

Sources: Microsoft and IBM, "Multimedia Programming Interface" (1991); EBU Tech 3306 (RF64); ITU-R
BS.2088 (BW64); Sony, "Wave64" (2003).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

from rag_audio.audio.file_bytes import FileBytes
from rag_audio.audio.spliced_file import Piece

MOST_CHUNKS = 10_000
_WRAP = 1 << 32
_UNKNOWN = 0xFFFFFFFF
_STREAMED = 0x7FFFFF00
_EXTENSIBLE, _PCM, _FLOAT = b"\xfe\xff", 1, 3
_GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")
FILES = (b"RIFF", b"RIFX", b"RF64", b"BW64")
"""How a WAV begins."""
_TAIL = 1 << 18
_NEXT_TO_NOTHING = 1024
_W64_TAIL = b"\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"
_W64_TAILS = (_W64_TAIL, b"\x2f\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00")
_W64 = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
#: Chunks that programs write behind the sound.
_BEHIND = (
    b"LIST", b"id3 ", b"ID3 ", b"bext", b"cue ", b"smpl", b"inst", b"acid", b"iXML", b"_PMX",
    b"axml", b"chna", b"fact", b"PEAK", b"JUNK", b"junk", b"PAD ", b"FLLR", b"cart", b"afsp",
    b"DISP", b"levl", b"umid", b"plst", b"strc", b"LGWV", b"ResU", b"MD5 ", b"minf", b"elm1",
    b"regn", b"DGDA", b"SAUR", b"CDif", b"TRKN", b"Cr8r", b"tlst", b"SNDM", b"IDVX",
)  # fmt: skip

_NAMES_BEHIND = re.compile(b"|".join(map(re.escape, _BEHIND)))
_FARTHEST_TAIL, _MOST_TRIES = 8 << 20, 2000
"""Chunks behind sound of unknown length are looked for in so many bytes: tags may hold a cover."""


@dataclass(frozen=True)
class WavSound:
    """Where a WAV's sound lies.

    Attributes:
        form: the body of its ``fmt `` chunk.
        start, size: bytes of the sound that are there, in its first chunk.
        claimed: bytes that the headers claim; None: they say that they do not know.
        is_whole: it is as the header claims, and the header is as decoders expect it.
        more: start and size of the sound in further ``data`` chunks.
        has_gaps: there are chunks that stand for silence (``slnt``) between them.
        is_guessed: its format does not say how the samples are encoded; it is taken for the usual.
        next_file: where another WAV begins behind the chunks of this one; None: there is none.
        order: of the bytes of numbers: ``big`` in RIFX.
    """

    form: bytes
    start: int
    size: int
    claimed: int | None
    is_whole: bool
    more: tuple[tuple[int, int], ...] = ()
    has_gaps: bool = False
    next_file: int | None = None
    is_guessed: bool = False
    order: Literal["little", "big"] = "little"

    def moved(self, by: int) -> WavSound:
        """The same, so many bytes further on in a file."""
        return replace(
            self,
            start=self.start + by,
            more=tuple((at + by, size) for at, size in self.more),
            next_file=None if self.next_file is None else self.next_file + by,
        )

    @property
    def end(self) -> int:
        """The byte behind the last of the sound."""
        return sum(self.more[-1]) if self.more else self.start + self.size

    @property
    def whole_size(self) -> int:
        """Bytes of the sound in all chunks."""
        return self.size + sum(size for _, size in self.more)

    @property
    def is_mpeg(self) -> bool:
        """Whether it is MPEG audio with a header of its own."""
        return self._tag in (0x50, 0x55)

    @property
    def is_pcm(self) -> bool:
        """Whether each frame has the same number of bytes, and is a sample of each channel."""
        return self._tag in (1, 3, 6, 7)

    @property
    def _tag(self) -> int:
        tag = self._number(0, 2)
        return self._number(24, 26) if tag == 0xFFFE else tag

    def _number(self, start: int, stop: int) -> int:
        return int.from_bytes(self.form[start:stop], self.order)

    @property
    def bytes_per_s(self) -> int:
        """As the format says; 0: it does not."""
        return self._number(4, 8) * self._align if self.is_pcm else self._number(8, 12)

    @property
    def encoding(self) -> str:
        """Such as ``24-bit PCM``."""
        return f"{self._number(14, 16)}-bit {'floats' if self._tag == _FLOAT else 'PCM'}"

    @property
    def _align(self) -> int:
        return self._number(12, 14)

    @property
    def frames(self) -> int | None:
        """Samples of each channel; None: the format does not say."""
        wide = self._number(2, 4) * ((self._number(14, 16) + 7) // 8)
        return self.whole_size // wide if self.is_pcm and wide and wide == self._align else None

    def pieces(self) -> list[Piece]:
        """The sound as a WAV with right sizes."""
        align = self._align if self.is_pcm and self._align else 1
        ranges = [
            (at, there - there % align) for at, there in ((self.start, self.size), *self.more)
        ]
        size = sum(there for _, there in ranges)
        chunks = _chunk(b"fmt ", self.form, self.order)
        if size + len(chunks) + 100 < _STREAMED or self.order == "big":
            whole = min(4 + len(chunks) + 8 + size, _UNKNOWN).to_bytes(4, self.order)
            head = (b"RIFX" if self.order == "big" else b"RIFF") + whole + b"WAVE" + chunks
            return [head + b"data" + min(size, _UNKNOWN).to_bytes(4, self.order), *ranges]
        sizes = (4 + 36 + len(chunks) + 8 + size, size, size // max(1, self._align))
        long = b"".join(value.to_bytes(8, "little") for value in sizes) + bytes(4)
        head = b"RF64\xff\xff\xff\xffWAVE" + _chunk(b"ds64", long) + chunks
        return [head + b"data\xff\xff\xff\xff", *ranges]


def _chunk(name: bytes, body: bytes, order: Literal["little", "big"] = "little") -> bytes:
    return name + len(body).to_bytes(4, order) + body + b"\0" * (len(body) % 2)


def _completed(form: bytes) -> bytes:
    """The body of a ``fmt `` chunk; where an extensible one breaks off or leaves the encoding
    blank, it is that of integers, or of floats where so much is said."""
    said, tail = int.from_bytes(form[24:26], "little"), form[26:40]
    is_blank = not any(tail) or (len(form) < 40 and _GUID_TAIL.startswith(tail))
    if form[:2] != _EXTENSIBLE or len(form) < 16 or not is_blank:
        return form
    bits = form[14:16]
    if not said and int.from_bytes(bits, "little") in (8, 16, 24):
        said = _PCM
    if said not in (_PCM, _FLOAT):
        return form
    tag = said.to_bytes(2, "little")
    if len(form) < 24:
        return tag + form[2:16]
    return form[:16] + b"\x16\0" + bits + form[20:24] + tag + _GUID_TAIL


def _is_wav(head: bytes) -> bool:
    return head[:4] in FILES and head[8:] == b"WAVE"


def next_file(data: FileBytes, wav: WavSound) -> int | None:
    """Where another WAV begins behind the sound of one; None: there is none."""
    for at in (wav.end, wav.end + 1):
        if _is_wav(data[at : at + 12]):
            return at
    return wav.next_file


_MOST_BEFORE = 1 << 16
_WAV = rb"(?:RIFF|RIFX|RF64|BW64).{4}WAVE"
_BEGINS = re.compile(rb"FORM.{4}AIF[FC]|" + _WAV, re.DOTALL)
WAV = re.compile(_WAV, re.DOTALL)
"""Its first twelve bytes."""


def begins_at(data: FileBytes) -> int:
    """Where a WAV or AIFF begins behind other data (tags, a MacBinary header, those of a download)
    and goes on to the end of the file; 0: at the beginning, or nowhere."""
    at = data.search(_BEGINS, 0, min(len(data), _MOST_BEFORE))
    if at <= 0:
        return 0
    is_big = data[at : at + 4] in (b"FORM", b"RIFX")
    order: Literal["little", "big"] = "big" if is_big else "little"
    left = len(data) - at - 8 - int.from_bytes(data[at + 4 : at + 8], order)
    return at if -1 <= left < _NEXT_TO_NOTHING else 0


def find_sound(data: FileBytes) -> WavSound | None:
    """Where the sound of a WAV lies; None: it is none, or has no ``fmt `` or no sound."""
    head = data[0:40]
    if _is_wav(head[:12]):
        return _Riff(data, head[:4]).find()
    if head[:16] == _W64 and head[24:28] == b"wave":
        return _wave64(data)
    return None


class _Riff:
    def __init__(self, data: FileBytes, name: bytes) -> None:
        self.data, self.end = data, len(data)
        self.form = b""
        self.long_size: int | None = None
        self.is_odd = name == b"BW64"
        self.order: Literal["little", "big"] = "big" if name == b"RIFX" else "little"
        self.more: list[tuple[int, int]] = []
        self.has_gaps = False
        self.next_file: int | None = None

    def find(self) -> WavSound | None:
        """Go through the chunks before and, where the format is missing, behind the sound."""
        at, found = 12, None
        for _ in range(MOST_CHUNKS):
            head = self.data[at : at + 8]
            if len(head) < 8:
                break
            name, size = head[:4], int.from_bytes(head[4:], self.order)
            start = at + 8
            if found is not None and (not _is_name(name) or name in FILES):
                self.next_file = at if _is_wav(self.data[at : at + 12]) else None
                break
            if name == b"LIST" and self.data[start : start + 4] == b"wavl":
                self.is_odd, at = True, start + 4
                continue
            if name == b"fmt " and not self.form:
                self.form = self.data[start : start + min(size, 4096)]
            elif name == b"ds64":
                self.long_size = int.from_bytes(self.data[start + 8 : start + 16], "little")
            elif name == b"data" and found is None:
                found = self._sound(start, size)
                self.is_odd |= not self.form
                size = found[1]
            elif name == b"data" and found is not None:
                begin, _, claimed, _ = found
                there = self._sound(start, size)
                self.more.append(there[:2])
                size = there[1]
                sum_ = None if claimed is None or there[2] is None else claimed + there[2]
                found = begin, found[1], sum_, False
            self.has_gaps |= name == b"slnt"
            at = self._next(start, size)
        if found is None:
            found = self._found_anywhere()
        if found is None or not self.form:
            return None
        start, size, claimed, is_whole = found
        form = _completed(self.form) if self.order == "little" else self.form
        self.is_odd |= form != self.form
        more = tuple(one for one in self.more if one[1])
        is_whole &= not (self.is_odd or more or self.has_gaps)
        return WavSound(
            form, start, size, claimed, is_whole, more, self.has_gaps, self.next_file,
            form != self.form, self.order,
        )  # fmt: skip

    def _found_anywhere(self) -> tuple[int, int, int | None, bool] | None:
        """Where a chunk before the sound claims more than there is: the chunks by their names."""
        self.is_odd = True
        form = self.data.find(b"fmt ", 12, _TAIL)
        if form >= 0 and not self.form:
            size = int.from_bytes(self.data[form + 4 : form + 8], self.order)
            self.form = self.data[form + 8 : form + 8 + min(size, 4096)]
        at = self.data.find(b"data", max(12, form), _TAIL)
        if at < 0 or at + 8 > self.end:
            return None
        return self._sound(at + 8, int.from_bytes(self.data[at + 4 : at + 8], self.order))

    def _next(self, start: int, size: int) -> int:
        """Where the next chunk begins; the byte of padding behind an odd one may be missing."""
        end = start + size + size % 2
        is_aligned = size % 2 == 0 or _is_name(self.data[end : end + 4])
        if not is_aligned and _is_name(self.data[end - 1 : end + 3]):
            self.is_odd = True
            return end - 1
        return end

    def _sound(self, start: int, size: int) -> tuple[int, int, int | None, bool]:
        """The bytes of sound that are there, those that are claimed, and whether these agree."""
        there = self.end - start
        said = size if self.long_size is None or size != _UNKNOWN else self.long_size
        if said in (_UNKNOWN, (1 << 64) - 1):
            return start, self._size(start, 0), None, False
        if said <= there and self._is_right(start + said):
            return start, said, said, self.long_size is None or size == _UNKNOWN
        if said > there:
            real = self._size(start, 0)
            return start, real, said, False
        return start, self._size(start, said), said, False

    def _is_right(self, at: int) -> bool:
        """Whether sound may end at a place: other chunks follow, tags, or next to nothing."""
        if self.end - at < _NEXT_TO_NOTHING or self.data[at : at + 3] in (b"ID3", b"TAG"):
            return True
        for place in (at, at + 1):
            if self.data[place : place + 4] in (*_BEHIND, b"data") or self._are_chunks(place):
                return True
            if _is_wav(self.data[place : place + 12]):
                return True
        return self.end - at <= _TAIL and self.data.is_blank(at, self.end)

    def _are_chunks(self, at: int) -> bool:
        """Whether chunks follow each other from a place up to the end of the file."""
        for number in range(MOST_CHUNKS):
            head = self.data[at : at + 8]
            if len(head) < 8:
                return number > 0
            if not _is_name(head[:4]):
                return False
            size = int.from_bytes(head[4:], self.order)
            if at + 8 + size > self.end:
                return False
            at += 8 + size + size % 2
            if size % 2 and not _is_name(self.data[at : at + 4]):
                at -= _is_name(self.data[at - 1 : at + 3])
        return False

    def _size(self, start: int, least: int) -> int:
        """Bytes of sound from a place on, of which at least so many are sure: up to the chunks at
        the end of the file, or to the end."""
        size = least + _WRAP
        while least and start + size < self.end:
            if self._are_chunks(start + size + size % 2):
                return size
            size += _WRAP
        at = max(start + least, self.end - _FARTHEST_TAIL)
        for _ in range(_MOST_TRIES):
            at = self.data.search(_NAMES_BEHIND, at, self.end)
            if at < 0:
                break
            if self._are_chunks(at):
                return at - start
            at += 1
        return self.end - start


def _is_name(name: bytes) -> bool:
    return len(name) == 4 and all(0x20 <= byte < 0x7F for byte in name)


def _wave64(data: FileBytes) -> WavSound | None:
    """Chunks with names of 16 bytes and sizes of 8, which count the head of 24; each begins at a
    multiple of 8."""
    at, form = 40, b""
    for _ in range(MOST_CHUNKS):
        head = data[at : at + 24]
        if len(head) < 24:
            break
        size = int.from_bytes(head[16:], "little")
        if head[:4] == b"fmt ":
            form = data[at + 24 : at + min(size, 4096)]
        elif head[:4] == b"data" and head[4:16] == _W64_TAIL:
            start, there = at + 24, len(data) - at - 24
            claimed = None if size in (0, 24, (1 << 64) - 1) else size - 24
            if not form:
                return None
            if claimed is None or claimed > there:
                return WavSound(form, start, there, claimed, False)
            end = start + claimed + -claimed % 8
            is_right = there - claimed < _NEXT_TO_NOTHING or data.is_blank(end, len(data))
            is_right |= data[end + 4 : end + 16] in _W64_TAILS
            return WavSound(form, start, claimed if is_right else there, claimed, is_right)
        at += max(24, size + -size % 8)
    return None
