"""The bytes of a file by their offsets, in bounded memory."""

from __future__ import annotations

import io
import re
from pathlib import Path
from types import TracebackType
from typing import Self

_BLOCK = 1 << 18


class FileBytes:
    """A file that is looked into like ``bytes``: slices, :meth:`find`, :meth:`search`.

    A memory map would end the process where the file is cut while it is read; here it just ends.

    Args:
        file: its path, or an open one, which is closed with this one.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, file: Path | io.RawIOBase) -> None:
        self._file = file.open("rb", buffering=0) if isinstance(file, Path) else file
        self._size = self._file.seek(0, 2)
        self._start, self._held = 0, b""

    def __len__(self) -> int:
        return self._size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def __getitem__(self, part: slice) -> bytes:
        """At most 256 KiB from an offset on; fewer at the end, none outside."""
        start, stop = part.start or 0, part.stop
        if start < 0:
            return b""
        inside = start - self._start
        if inside < 0 or stop - self._start > len(self._held):
            self._load(start)
            inside = 0
        return self._held[inside : stop - self._start]

    def _load(self, start: int) -> None:
        try:
            self._file.seek(start)
            self._held = self._file.read(_BLOCK) or b""
        except (OSError, OverflowError):
            self._held = b""
        self._start = start

    def search(self, pattern: re.Pattern[bytes], start: int, limit: int) -> int:
        """Where a pattern of at most 64 bytes is found first; -1: nowhere."""
        limit = min(limit, self._size)
        while start < limit:
            if not self._start <= start < self._start + len(self._held) - 64:
                self._load(start)
            match = pattern.search(self._held, start - self._start, limit - self._start)
            if match is not None:
                return self._start + match.start()
            end = self._start + len(self._held)
            if end >= limit or not self._held:
                return -1
            start = max(start + 1, end - 64)
        return -1

    def find(self, wanted: bytes, start: int, limit: int | None = None) -> int:
        """Where bytes, at most 64, are found first; -1: nowhere."""
        return self.search(
            re.compile(re.escape(wanted)), start, self._size if limit is None else limit
        )

    def is_blank(self, start: int, stop: int) -> bool:
        """Whether there are only zeros, as far as the first 256 KiB tell."""
        return not self[start : min(stop, start + _BLOCK)].strip(b"\0")
