"""Write WAV, RF64 and Wave64 files: the container here, the samples through libsndfile.

Sources: RIFF WAVE (Microsoft and IBM, 1991; ``WAVE_FORMAT_EXTENSIBLE``, Microsoft, 2001), RF64 (EBU
Tech 3306), Broadcast Wave (EBU Tech 3285), Wave64 (Sony, 2003).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from rag_audio.audio import id3, riff
from rag_audio.audio.carried_metadata import CarriedMetadata

RIFF_LIMIT = 0xFFFF_FFFF
"""A RIFF file counts its bytes in 32 bits: what is longer becomes RF64."""
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_BITS = {"PCM_16": 16, "PCM_24": 24, "FLOAT": 32}
_GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")
_DS64 = 28
_LARGE = 4096
_BEFORE = (b"bext",)
"""Chunks that stand before the sound, where recorders and players of broadcasts look for them."""


@dataclass(frozen=True)
class WaveForm:
    """The samples of a file: Hz, channels, libsndfile's name of the encoding, and which speakers
    the channels are for (0: none; None: not said)."""

    sample_rate: int
    channels: int
    subtype: str
    channel_mask: int | None = None

    @property
    def block(self) -> int:
        """Bytes of a frame."""
        return self.channels * _BITS[self.subtype] // 8

    def fmt(self) -> bytes:
        """The content of a ``fmt `` chunk."""
        bits = _BITS[self.subtype]
        tag = _FLOAT if self.subtype == "FLOAT" else _PCM
        head = b"".join(
            number.to_bytes(size, "little")
            for number, size in (
                (tag if self.channel_mask is None else _EXTENSIBLE, 2),
                (self.channels, 2),
                (self.sample_rate, 4),
                (min(self.sample_rate * self.block, riff.UNKNOWN), 4),
                (self.block, 2),
                (bits, 2),
            )
        )
        if self.channel_mask is None:
            return head
        guid = tag.to_bytes(2, "little") + _GUID_TAIL
        more = (22).to_bytes(2, "little") + bits.to_bytes(2, "little")
        return head + more + self.channel_mask.to_bytes(4, "little") + guid


class WaveContainer:
    """What stands before and behind the samples of a file that is being written.

    Args:
        file: seekable and empty; where it stands after this is where the samples begin.
        kind: ``WAV``, ``RF64`` or ``W64``. A ``WAV`` that gets too long becomes RF64.
        software: what ``ISFT`` says.
        limit: bytes from which on a ``WAV`` is too long.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(
        self,
        file: BinaryIO,
        kind: str,
        form: WaveForm,
        data: CarriedMetadata,
        software: str,
        limit: int = RIFF_LIMIT,
    ) -> None:
        self._file, self._kind, self._form, self._limit = file, kind, form, limit
        chunks = _beside(data, software)
        # Readers of Wave64, libsndfile among them, take what follows the samples for more of them.
        first = [name for name, _ in chunks] if kind == "W64" else _BEFORE
        before = [one for one in chunks if one[0] in first]
        self._behind = [one for one in chunks if one[0] not in first]
        if kind == "W64":
            self._start_wave64(before)
        else:
            self._start_riff(before)

    def close(self, frames: int) -> None:
        """Write what stands behind the samples, and every size.

        Args:
            frames: that were written; the file stands behind them.

        Raises:
            OSError: it cannot be written.
        """
        size = frames * self._form.block
        self._file.seek(self._samples + size)
        if self._kind == "W64":
            self._close_wave64(size, frames)
        else:
            self._close_riff(size, frames)

    def _start_riff(self, before: Sequence[tuple[bytes, bytes]]) -> None:
        head = b"RIFF" + bytes(4) + b"WAVE" + riff.chunk(b"JUNK", bytes(_DS64))
        # libsndfile misses what follows an odd chunk of RF64; zeros end the history in ``bext``.
        head += b"".join(riff.chunk(name, body + bytes(len(body) % 2)) for name, body in before)
        head += riff.chunk(b"fmt ", self._form.fmt())
        self._count_at = len(head) + 8
        if self._has_count:
            head += riff.chunk(b"fact", bytes(4))
        self._samples = len(head) + 8
        self._file.write(head + b"data" + bytes(4))

    @property
    def _has_count(self) -> bool:
        """Encodings other than plain integers have a ``fact`` chunk."""
        return self._form.subtype == "FLOAT"

    def _close_riff(self, size: int, frames: int) -> None:
        file = self._file
        file.write(bytes(size % 2) + b"".join(riff.chunk(*one) for one in self._behind))
        whole = file.tell() - 8
        is_long = self._kind == "RF64" or whole > self._limit

        def put(at: int, number: int, width: int = 4) -> None:
            file.seek(at)
            file.write(min(number, (1 << 8 * width) - 1).to_bytes(width, "little"))

        if self._has_count:
            put(self._count_at, frames)
        put(4, riff.UNKNOWN if is_long else whole)
        put(self._samples - 4, riff.UNKNOWN if is_long else size)
        if is_long:
            file.seek(0)
            file.write(b"RF64")
            file.seek(12)
            file.write(b"ds64")
            for n, number in enumerate((whole, size, frames)):
                put(20 + 8 * n, number, 8)
        file.seek(0, 2)

    def _start_wave64(self, before: Sequence[tuple[bytes, bytes]]) -> None:
        head = riff.WAVE64_HEAD
        for name, body in before:
            # libsndfile loses its place behind a large chunk that does not end on 8 bytes.
            padding = bytes(-len(body) % 8) if len(body) > _LARGE else b""
            head += riff.wave64_chunk(name, body + padding)
        head += riff.wave64_chunk(b"fmt ", self._form.fmt())
        self._count_at = len(head) + riff.WAVE64_CHUNK_HEAD
        if self._has_count:
            head += riff.wave64_chunk(b"fact", bytes(8))
        data = riff.wave64_chunk(b"data", b"")
        self._samples = len(head) + len(data)
        self._file.write(head + data)

    def _close_wave64(self, size: int, frames: int) -> None:
        file = self._file
        file.write(bytes(-size % 8))
        whole = file.tell()
        places = [(16, whole), (self._samples - 8, size + riff.WAVE64_CHUNK_HEAD)]
        for at, number in [*places, *([(self._count_at, frames)] if self._has_count else [])]:
            file.seek(at)
            file.write(number.to_bytes(8, "little"))
        file.seek(0, 2)


def _beside(data: CarriedMetadata, software: str) -> list[tuple[bytes, bytes]]:
    """The chunks beside the sound, in order."""
    chunks = list(data.chunks)
    if data.info:
        items = [*data.info, (b"ISFT", software.encode() + b"\0")]
        chunks.append((b"LIST", riff.list_chunk(b"INFO", items)))
    if data.frames:
        chunks.append((b"id3 ", id3.make_tag(data.frames)))
    return chunks
