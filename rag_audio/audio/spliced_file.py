"""A file made of parts of another one and of bytes of our own, read as if it were a file."""

from __future__ import annotations

import io
import os
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

Piece = bytes | tuple[int, int]
"""Bytes, or the offset and length of a range of the real file."""


class SplicedFile(io.RawIOBase):
    """Pieces one behind the other, read-only and seekable; what cannot be read ends the file.

    Args:
        path: the real file.
        extra: zeros behind the pieces, for decoders that estimate how much sound there is by the
            size of the file.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path, pieces: Sequence[Piece], extra: int = 0) -> None:
        self._pieces = [piece for piece in pieces if _length(piece)]
        self._ends = list(accumulate(map(_length, self._pieces)))
        self._size = (self._ends[-1] if self._ends else 0) + extra
        self.extra = extra
        self._at = 0
        self._file = path.open("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """As many bytes as there are: decoders take fewer than they asked for as the end."""
        target, filled = memoryview(buffer).cast("B"), 0
        while filled < len(target):
            number = bisect_right(self._ends, self._at)
            if number == len(self._pieces):
                count = min(len(target) - filled, self._size - self._at)
                if count > 0:
                    target[filled : filled + count] = bytes(count)
                    filled, self._at = filled + count, self._at + count
                break
            got = self._read_piece(number, target[filled:])
            if got == 0:
                break
            filled += got
            self._at += got
        return filled

    def _read_piece(self, number: int, target: memoryview) -> int:
        piece = self._pieces[number]
        left = self._ends[number] - self._at
        inside, count = _length(piece) - left, min(left, len(target))
        if isinstance(piece, bytes):
            target[:count] = piece[inside : inside + count]
            return count
        try:
            self._file.seek(piece[0] + inside)
            return self._file.readinto(target[:count]) or 0
        except OSError:
            return 0

    def close(self) -> None:
        self._file.close()
        super().close()


def _length(piece: Piece) -> int:
    return len(piece) if isinstance(piece, bytes) else piece[1]


def cut_before(pieces: Sequence[Piece], offset: int) -> list[Piece]:
    """The pieces without the first ``offset`` bytes of what they make."""
    made: list[Piece] = []
    for piece in pieces:
        size = _length(piece)
        gone, offset = min(offset, size), max(0, offset - size)
        if isinstance(piece, bytes):
            made.append(piece[gone:])
        else:
            made.append((piece[0] + gone, size - gone))
    return made


def moved(pieces: Sequence[Piece], offset: int) -> tuple[Piece, ...]:
    """Pieces of a range of a file, as pieces of the file itself, where the range begins there."""
    return tuple(
        piece if isinstance(piece, bytes) else (piece[0] + offset, piece[1]) for piece in pieces
    )
