"""Where the sound of a WAV lies (RIFF, RIFX, RF64, BW64 and Wave64), by what follows and not by the
sizes that its header claims.

Sources: Microsoft and IBM, "Multimedia Programming Interface" (1991); EBU Tech 3306 (RF64); ITU-R
BS.2088 (BW64); Sony, "Wave64" (2003).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rag_audio.audio.file_bytes import FileBytes
from rag_audio.audio.spliced_file import Piece

MOST_CHUNKS = 10_000
_WRAP = 1 << 32
_UNKNOWN = 0xFFFFFFFF
_STREAMED = 0x7FFFFF00
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


@dataclass(frozen=True)
class WavSound:
    """Where a WAV's sound lies.

    Attributes:
        form: the body of its ``fmt `` chunk.
        start, size: bytes of the sound that are there.
        claimed: bytes that the header claims; None: it says that it does not know.
        is_whole: it is as the header claims, and the header is as decoders expect it.
        order: of the bytes of numbers: ``big`` in RIFX.
    """

    form: bytes
    start: int
    size: int
    claimed: int | None
    is_whole: bool
    order: Literal["little", "big"] = "little"

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
    def _align(self) -> int:
        return self._number(12, 14)

    @property
    def frames(self) -> int | None:
        """Samples of each channel; None: the format does not say."""
        wide = self._number(2, 4) * ((self._number(14, 16) + 7) // 8)
        return self.size // wide if self.is_pcm and wide and wide == self._align else None

    def pieces(self) -> list[Piece]:
        """The sound as a WAV with right sizes."""
        size = self.size - self.size % self._align if self.is_pcm and self._align else self.size
        chunks = _chunk(b"fmt ", self.form, self.order)
        if size + len(chunks) + 100 < _STREAMED or self.order == "big":
            whole = min(4 + len(chunks) + 8 + size, _UNKNOWN).to_bytes(4, self.order)
            head = (b"RIFX" if self.order == "big" else b"RIFF") + whole + b"WAVE" + chunks
            return [
                head + b"data" + min(size, _UNKNOWN).to_bytes(4, self.order),
                (self.start, size),
            ]
        sizes = (4 + 36 + len(chunks) + 8 + size, size, size // max(1, self._align))
        long = b"".join(value.to_bytes(8, "little") for value in sizes) + bytes(4)
        head = b"RF64\xff\xff\xff\xffWAVE" + _chunk(b"ds64", long) + chunks
        return [head + b"data\xff\xff\xff\xff", (self.start, size)]


def _chunk(name: bytes, body: bytes, order: Literal["little", "big"] = "little") -> bytes:
    return name + len(body).to_bytes(4, order) + body + b"\0" * (len(body) % 2)


def _is_wav(head: bytes) -> bool:
    return head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:] == b"WAVE"


def next_file(data: FileBytes, wav: WavSound) -> int | None:
    """Where another WAV begins behind the sound of one; None: there is none."""
    end = wav.start + wav.size
    for at in (end, end + 1):
        if _is_wav(data[at : at + 12]):
            return at
    return None


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

    def find(self) -> WavSound | None:
        """Go through the chunks before and, where the format is missing, behind the sound."""
        at, found = 12, None
        for _ in range(MOST_CHUNKS):
            head = self.data[at : at + 8]
            if len(head) < 8:
                break
            name, size = head[:4], int.from_bytes(head[4:], self.order)
            start = at + 8
            if name == b"fmt " and not self.form:
                self.form = self.data[start : start + min(size, 4096)]
            elif name == b"ds64":
                self.long_size = int.from_bytes(self.data[start + 8 : start + 16], "little")
            elif name == b"data" and found is None:
                found = self._sound(start, size)
                self.is_odd |= not self.form
                size = found[1]
            if found is not None and self.form:
                break
            at = self._next(start, size)
        if found is None:
            found = self._found_anywhere()
        if found is None or not self.form:
            return None
        start, size, claimed, is_whole = found
        return WavSound(self.form, start, size, claimed, is_whole and not self.is_odd, self.order)

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
            if self.data[place : place + 4] in _BEHIND or self._are_chunks(place):
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
        first = max(start + least, self.end - _TAIL)
        tail = self.data[first : self.end]
        places = sorted(at for name in _BEHIND for at in _all(tail, name))
        places = [at for at in places if self._are_chunks(first + at)][:1]
        return (first + places[0] if places else self.end) - start


def _all(tail: bytes, name: bytes) -> list[int]:
    found: list[int] = []
    at = tail.find(name)
    while at >= 0 and len(found) < 64:
        found.append(at)
        at = tail.find(name, at + 1)
    return found


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
