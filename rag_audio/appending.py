"""Log files that many processes append lines to, rotated by size, private to their owner."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rag_audio.locks import lock_file

PRIVATE = 0o600
_TRIES = 100


class LineLog:
    """Appends whole lines to a file, under a lock that the kernel frees with its holder.

    A line that would make the file longer than ``max_bytes`` goes into a new one: ``log`` becomes
    ``log.1``, that one ``log.2``, and so on; of more than ``files`` the oldest is removed. No
    line is lost or cut by that, whoever else appends at that moment. What is not a plain file (a
    device, a pipe, a link) is never renamed.

    Args:
        path: the newest file; its folder must exist.
        max_bytes: of one file; a single longer line gets a file of its own.
        files: that are kept, the newest included; at least 1.
    """

    def __init__(self, path: Path, max_bytes: int, files: int) -> None:
        self.path, self._max_bytes, self._files = path, max_bytes, max(1, files)

    def append(self, line: str) -> None:
        """Write a line and its end.

        Raises:
            OSError: it cannot be written; nothing of it then stands in the file.
        """
        data = line.encode("utf-8", "backslashreplace") + b"\n"
        for _ in range(_TRIES):
            with _locked(self.path) as handle:
                if not _is(handle, self.path):
                    continue  # Another process renamed it before the lock was had.
                size = os.fstat(handle).st_size
                if size and size + len(data) > self._max_bytes and _is_plain(self.path):
                    self._rotate()
                    continue
                _write(handle, data, size)
                return
        raise OSError(f"{str(self.path)!r} is renamed again and again")

    def check(self) -> None:
        """Make the file if it is not there.

        Raises:
            OSError: it cannot be written.
        """
        with _locked(self.path):
            return

    def _rotate(self) -> None:
        """Make room for a new file; the lock on the present one is held."""
        if self._files == 1:
            self.path.unlink()
            return
        for number in range(self._files - 1, 1, -1):
            older = self._numbered(number - 1)
            if older.exists():
                older.replace(self._numbered(number))
        self.path.replace(self._numbered(1))

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    handle = os.open(path, flags, PRIVATE)
    try:
        if stat.S_ISREG(os.fstat(handle).st_mode):
            lock_file(handle)
        yield handle
    finally:
        os.close(handle)


def _is(handle: int, path: Path) -> bool:
    """Whether an open file still has its name."""
    try:
        named = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(handle), named)


def _is_plain(path: Path) -> bool:
    return stat.S_ISREG(path.lstat().st_mode)


def _write(handle: int, data: bytes, size: int) -> None:
    """Write all of it, or put the file back to the ``size`` that it had."""
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[os.write(handle, rest) :]
    except OSError:
        if stat.S_ISREG(os.fstat(handle).st_mode):
            os.ftruncate(handle, size)
        raise
