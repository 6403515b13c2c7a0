"""Reading large files of others piece by piece: compressed or not, an archive or not.

Whatever a file holds, the memory it takes is bounded: lines, headers of archives and what a
compressed file may grow to are. Each file is read once; its SHA-256 is worked out on the way.
"""

from __future__ import annotations

import bz2
import lzma
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from rag_audio.errors import InvalidInput

PIECE = 2**20
MAX_LINE = 64 * 2**20
"""Bytes of a line; that of an artist with all its relations takes a few million."""
_MOST_GROWTH = 200
_GROWTH_FROM = 256 * 2**20
"""A compressed file may become this large whatever its size, and ``_MOST_GROWTH`` times as large as
it is: dumps of a database grow less than 20 times."""
_XZ_MEMORY = 512 * 2**20
_BLOCK = 512
_MAX_NAME = 2**16
_DECODERS: dict[bytes, Callable[[], Any]] = {
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ\x00": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY),
}
OnBytes = Callable[[int], None]


class Expanded:
    """A file's bytes, decompressed where it is compressed with bzip2 or xz.

    Attributes:
        path: the file. size: its bytes, as it lies there.
        on_bytes: told how many bytes of the file were read by now.
    """

    def __init__(self, path: Path, on_bytes: OnBytes | None = None) -> None:
        self.path = path
        self.on_bytes = on_bytes
        self._hash = sha256()
        self._taken = self._made = 0
        try:
            self._file = path.open("rb")
            self.size = path.stat().st_size
        except OSError as error:
            raise _unreadable(path, error) from error
        self._pieces = self._expand()
        self._rest = b""

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read(self, count: int) -> bytes:
        """At most so many bytes; none at the end.

        Raises:
            InvalidInput: the file cannot be read or decompressed.
        """
        if not self._rest:
            self._rest = next(self._pieces, b"")
        taken, self._rest = self._rest[:count], self._rest[count:]
        return taken

    def peek(self, count: int) -> bytes:
        """The next bytes, which are read again afterwards; fewer at the end."""
        while len(self._rest) < count:
            piece = next(self._pieces, b"")
            if not piece:
                break
            self._rest += piece
        return self._rest[:count]

    def digest(self) -> str:
        """SHA-256 of the whole file as it lies there; what was not read yet is read for it."""
        while self._raw():
            pass
        return self._hash.hexdigest()

    def _raw(self) -> bytes:
        try:
            piece = self._file.read(PIECE)
        except OSError as error:
            raise _unreadable(self.path, error) from error
        self._hash.update(piece)
        self._taken += len(piece)
        if self.on_bytes is not None and piece:
            self.on_bytes(self._taken)
        return piece

    def _expand(self) -> Iterator[bytes]:
        piece = self._raw()
        make = next((made for magic, made in _DECODERS.items() if piece.startswith(magic)), None)
        if make is None:
            while piece:
                yield piece
                piece = self._raw()
            return
        try:
            while piece:  # several compressed streams may stand one after another
                decoder = make()
                while not decoder.eof:
                    if decoder.needs_input and not (piece := piece or self._raw()):
                        raise InvalidInput(
                            f"{self.path} ends before its content does", hint="download it again"
                        )
                    made = decoder.decompress(piece if decoder.needs_input else b"", PIECE)
                    piece = b""
                    self._check_growth(len(made))
                    if made:
                        yield made
                piece = decoder.unused_data.lstrip(b"\0") or self._raw()
        except (OSError, EOFError, lzma.LZMAError, MemoryError) as error:
            raise InvalidInput(
                f"{self.path} cannot be decompressed: {error}", hint="download it again"
            ) from error

    def _check_growth(self, more: int) -> None:
        self._made += more
        if self._made > max(_GROWTH_FROM, _MOST_GROWTH * self._taken):
            raise InvalidInput(
                f"{self.path} expands to more than {_MOST_GROWTH} times its size",
                hint="no dump of a database does: take it from its publisher again",
            )


def is_tar(head: bytes) -> bool:
    """Whether a file that begins so (512 bytes) is a tar archive."""
    return head[257:262] == b"ustar"


def members(source: Expanded) -> Iterator[tuple[str, Iterator[bytes]]]:
    """The regular files of a tar archive, in its order: name, and bytes that must be read first.

    Raises:
        InvalidInput: it is cut off, or is none.
    """
    name = ""
    while True:
        header = _exactly(source, _BLOCK)
        if not header.strip(b"\0"):
            return
        if not is_tar(header):
            raise InvalidInput(f"{source.path} is a damaged archive", hint="download it again")
        size, kind = _size(header, source.path), header[156:157]
        padding = -size % _BLOCK
        if kind in b"LKxg":  # long names, and remarks about the next file
            if size > _MAX_NAME:
                raise InvalidInput(f"{source.path}: a name of {size} bytes is in the archive")
            text = _exactly(source, size)
            name = text.rstrip(b"\0").decode("utf-8", "replace") if kind == b"L" else name
            _exactly(source, padding)
            continue
        own = header[:100].rstrip(b"\0").decode("utf-8", "replace")
        pieces = _some(source, size)
        if kind in b"0\0":
            yield name or own, pieces
        name = ""
        for _ in pieces:  # what nobody wanted
            pass
        _exactly(source, padding)


def lines(pieces: Iterator[bytes], what: str) -> Iterator[tuple[int, bytes]]:
    """Each line with its number, from 1, without its end; the last one needs no end.

    Args:
        what: is read, for messages.

    Raises:
        InvalidInput: a line is longer than :data:`MAX_LINE`.
    """
    number, rest = 1, b""
    for piece in pieces:
        whole = (rest + piece).split(b"\n")
        rest = whole.pop()
        for line in whole:
            yield number, line
            number += 1
        if len(rest) > MAX_LINE:
            raise InvalidInput(
                f"{what}, line {number}: longer than {MAX_LINE // 2**20} MiB",
                hint="it is not a list of artists",
            )
    if rest:
        yield number, rest


def pieces_of(source: Expanded) -> Iterator[bytes]:
    """All that is left of a file."""
    return iter(lambda: source.read(PIECE), b"")


def _some(source: Expanded, size: int) -> Iterator[bytes]:
    while size:
        piece = source.read(min(size, PIECE))
        if not piece:
            raise InvalidInput(
                f"{source.path} ends before its content does", hint="download it again"
            )
        size -= len(piece)
        yield piece


def _exactly(source: Expanded, size: int) -> bytes:
    return b"".join(_some(source, size))


def _size(header: bytes, path: Path) -> int:
    field = header[124:136]
    if field[0] & 0x80:  # more than 8 GiB, as GNU tar writes it
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    try:
        return int(field.strip(b" \0") or b"0", 8)
    except ValueError as error:
        raise InvalidInput(f"{path} is a damaged archive", hint="download it again") from error


def _unreadable(path: Path, error: OSError) -> InvalidInput:
    return InvalidInput(f"{path} cannot be read: {error.strerror or error}")
