"""The chunks of WAV, RF64, Wave64 and AIFF files: where they are, and how a WAV is put together.

Nothing here decodes sound, and nothing trusts a size: a chunk ends where the file ends.

Sources: RIFF (IBM and Microsoft, "Multimedia Programming Interface and Data Specifications 1.0",
1991), IFF (Electronic Arts, "EA IFF 85"), RF64 and BW64 (EBU Tech 3306; ITU-R BS.2088), Wave64
("Sony Pictures Digital Wave64", 2003).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import BinaryIO, Literal

from rag_audio.errors import UnreadableFile

ByteOrder = Literal["little", "big"]

MOST_CHUNKS = 10_000
"""Files that programs write have a few dozen."""
UNKNOWN = 0xFFFFFFFF
"""A size that says "see ``ds64``" in RF64, and "not known" in files that were written to a pipe."""

_LITTLE = (b"RIFF", b"RF64", b"BW64")
_BIG = (b"RIFX", b"FORM")
_MOST_LONG_SIZES = 1000
_W64_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")
"""What follows the four letters in the GUID of nearly every Wave64 chunk."""
_W64_RIFF = b"riff" + bytes.fromhex("2e91cf11a5d628db04c10000")
_W64_LIST = b"list" + bytes.fromhex("2f91cf11a5d628db04c10000")
WAVE64_CHUNK_HEAD = 24
WAVE64_HEAD = _W64_RIFF + bytes(8) + b"wave" + _W64_TAIL
"""How a Wave64 file begins; its size is not in it yet."""


@dataclass(frozen=True)
class Chunk:
    """A chunk of a file.

    Attributes:
        name: four letters, as the file has them; of a Wave64 chunk the letters of its GUID.
        start: the byte where its content begins.
        claimed: bytes of content that the file says; of RF64 with ``ds64`` applied.
        size: bytes of content that are there, 0…claimed.
    """

    name: bytes
    start: int
    claimed: int
    size: int

    @property
    def is_cut(self) -> bool:
        """Whether the file ends before the chunk does."""
        return self.size < self.claimed


@dataclass(frozen=True)
class ChunkList:
    """The chunks of a file, in its order.

    Attributes:
        container: ``RIFF``, ``RIFX``, ``RF64``, ``BW64``, ``W64`` or ``FORM``.
        form: what it holds: ``WAVE``, ``AIFF``, ``AIFC``, ``RMID``…
        chunks: as they follow one another; those inside of a LIST stand in its content.
        notices: what is odd, one line each, without the file's name.
    """

    container: str
    form: str
    chunks: tuple[Chunk, ...]
    notices: tuple[str, ...] = ()

    @property
    def is_big_endian(self) -> bool:
        """Whether numbers in the chunks begin with their highest byte."""
        return self.container in ("RIFX", "FORM")

    def find(self, name: bytes) -> Chunk | None:
        """The first chunk of that name; None: there is none."""
        return next((chunk for chunk in self.chunks if chunk.name == name), None)


def walk(file: BinaryIO, most: int = MOST_CHUNKS) -> ChunkList | None:
    """The chunks of a seekable file; None: it does not begin as one of these containers.

    Only heads are read. What follows a chunk of impossible name is not chunks any more: the list
    ends there, with a notice.

    Raises:
        UnreadableFile: there are more than ``most`` chunks.
        OSError: it cannot be read.
    """
    length = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(40)
    if head[:16] == _W64_RIFF and head[24:28] == b"wave":
        return _Walk(file, length, most).wave64()
    if len(head) < 12 or head[:4] not in _LITTLE + _BIG:
        return None
    return _Walk(file, length, most).riff(head)


def walk_on(
    file: BinaryIO, at: int, *, is_big_endian: bool = False, most: int = MOST_CHUNKS
) -> tuple[Chunk, ...]:
    """The chunks of a RIFF or RIFX file from a place on, where one begins or its padding.

    Raises:
        UnreadableFile, OSError: as :func:`walk`.
    """
    length = file.seek(0, os.SEEK_END)
    file.seek(at)
    head = file.read(5)
    if len(head) == 5 and not (head[0] and _is_name(head[:4])) and _is_name(head[1:]):
        at += 1
    head = (b"RIFX" if is_big_endian else b"RIFF") + bytes(8)
    return _Walk(file, length, most).riff(head, at).chunks


@dataclass
class _Walk:
    file: BinaryIO
    length: int
    most: int
    found: list[Chunk] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    def riff(self, head: bytes, at: int = 12) -> ChunkList:
        order: ByteOrder = "big" if head[:4] in _BIG else "little"
        container = head[:4].decode("ascii")
        long_sizes: dict[bytes, list[int]] = {}
        while at + 8 <= self.length:
            at = self._unpadded(at)
            self.file.seek(at)
            start = self.file.read(8)
            name, claimed = start[:4], int.from_bytes(start[4:], order)
            if not self._goes_on(name, at):
                break
            if claimed == UNKNOWN and long_sizes.get(name):
                claimed = long_sizes[name].pop(0)
            self._add(name, at + 8, claimed)
            if name == b"ds64" and container in ("RF64", "BW64") and not long_sizes:
                long_sizes = _long_sizes(self.file.read(min(claimed, 28 + 12 * _MOST_LONG_SIZES)))
            at += 8 + claimed + claimed % 2
        return self._list(container, _letters(head[8:12]))

    def _unpadded(self, at: int) -> int:
        """Where the next chunk begins: some writers leave out the byte after an odd chunk."""
        if not self.found or self.found[-1].claimed % 2 == 0:
            return at
        self.file.seek(at - 1)
        five = self.file.read(5)
        return at - 1 if five[0] and _is_name(five[:4]) and not _is_name(five[1:]) else at

    def wave64(self) -> ChunkList:
        at = 40
        while at + WAVE64_CHUNK_HEAD <= self.length:
            self.file.seek(at)
            start = self.file.read(WAVE64_CHUNK_HEAD)
            name, whole = start[:4], int.from_bytes(start[16:], "little")
            if not self._goes_on(name, at):
                break
            if whole < WAVE64_CHUNK_HEAD:
                self.notices.append(f"the chunk at byte {at} says that it is {whole} bytes long")
                break
            self._add(name, at + WAVE64_CHUNK_HEAD, whole - WAVE64_CHUNK_HEAD)
            at += -(-whole // 8) * 8
        return self._list("W64", "WAVE")

    def _goes_on(self, name: bytes, at: int) -> bool:
        if len(self.found) >= self.most:
            raise UnreadableFile(
                f"the file has more than {self.most:,} data chunks besides its sound",
                hint="export it anew without them",
            )
        if _is_name(name):
            return True
        if any(name):  # zeros are what recorders leave of space that they reserved
            self.notices.append(f"what follows byte {at} is not a chunk: left out")
        return False

    def _add(self, name: bytes, start: int, claimed: int) -> None:
        there = max(0, min(claimed, self.length - start))
        self.found.append(Chunk(name, start, claimed, there))
        if there < claimed and claimed != UNKNOWN:
            self.notices.append(
                f"the chunk {_letters(name)!r} breaks off: {there} of {claimed} bytes are there"
            )

    def _list(self, container: str, form: str) -> ChunkList:
        return ChunkList(container, form, tuple(self.found), tuple(self.notices))


def content(file: BinaryIO, chunk: Chunk, most: int) -> bytes:
    """What a chunk holds, at most ``most`` bytes of it.

    Raises:
        OSError: it cannot be read.
    """
    file.seek(chunk.start)
    return file.read(min(chunk.size, most))


def listed(body: bytes, order: ByteOrder = "little") -> list[tuple[bytes, bytes]] | None:
    """Names and contents of the chunks in a LIST, its type not included; None: they do not fit.

    Args:
        body: from the first of those chunks on.
    """
    found: list[tuple[bytes, bytes]] = []
    at = 0
    while at + 8 <= len(body):
        size = int.from_bytes(body[at + 4 : at + 8], order)
        if size > len(body) - at - 8 or len(found) >= MOST_CHUNKS:
            return None
        found.append((body[at : at + 4], body[at + 8 : at + 8 + size]))
        at += 8 + size + size % 2
    return None if any(body[at:]) else found


def chunk(name: bytes, body: bytes) -> bytes:
    """A chunk of a little-endian RIFF file, with its padding byte."""
    return name + len(body).to_bytes(4, "little") + body + b"\0" * (len(body) % 2)


def list_chunk(kind: bytes, items: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The content of a LIST chunk, such as ``INFO`` or ``adtl``."""
    return kind + b"".join(chunk(name, body) for name, body in items)


def wave64_chunk(name: bytes, body: bytes) -> bytes:
    """A chunk of a Wave64 file; a LIST has a GUID of its own."""
    guid = _W64_LIST if name == b"LIST" else name + _W64_TAIL
    whole = WAVE64_CHUNK_HEAD + len(body)
    return guid + whole.to_bytes(8, "little") + body + bytes(-whole % 8)


def _long_sizes(body: bytes) -> dict[bytes, list[int]]:
    """Sizes of chunks past 4 GB: ``ds64`` holds those of the file, of ``data``, the samples, and a
    table of names and sizes (EBU Tech 3306, section 3)."""
    if len(body) < 16:
        return {}
    sizes = {b"data": [int.from_bytes(body[8:16], "little")]}
    count = min(int.from_bytes(body[24:28], "little"), _MOST_LONG_SIZES)
    for at in range(28, 28 + 12 * count, 12):
        entry = body[at : at + 12]
        if len(entry) == 12:
            sizes.setdefault(entry[:4], []).append(int.from_bytes(entry[4:], "little"))
    return sizes


def _is_name(name: bytes) -> bool:
    return all(32 <= letter < 127 for letter in name)


def _letters(name: bytes) -> str:
    return name.decode("latin-1").rstrip()
