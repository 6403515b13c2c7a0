"""Local copies of blobs that lie elsewhere, for what reads files only: decoders, signers.

A copy stays until others need its room. Whoever uses one has a name of its own for it, so that it
may be removed meanwhile.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rag_audio.storage.files import remove_if_unlocked
from rag_audio.storage.locks import lock_file

_USE = "use-"
_FRESH_S = 60.0
_LOCK = "lock"
_LEFT = 0.9
"""Of the room, where it was too small: else every further copy would have the folder looked at."""
_SHARING = 8
"""Processes that are thought to add copies at once."""
_PARTS = 64
"""... each of which may exceed the room by such a part of it."""


class LocalCopies:
    """A folder of copies, which several processes share.

    Args:
        folder: made when it is needed, private to its owner.
        max_bytes: what is kept at most, about; a single larger copy is kept while it is used.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder, self._max_bytes = folder, max_bytes
        self._unlooked = 0  # bytes that may be added before the folder is looked at again

    @contextmanager
    def work(self) -> Iterator[Path]:
        """A private empty folder during the block; one of a killed process goes later."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder = Path(tempfile.mkdtemp(prefix=_USE, dir=self._folder))
        try:
            with (folder / _LOCK).open("x") as lock:
                lock_file(lock)
                inside = folder / "files"
                inside.mkdir()
                yield inside
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def lease(self, id_: str, name: str, fetch: Callable[[Path], str]) -> Iterator[Path]:
        """A copy during the block, under a name.

        Args:
            id_: of the content. fetch: writes it to a file and returns the id of what it wrote.
        """
        with self.work() as folder:
            path, kept = folder / name, self._folder / id_
            if not _linked(kept, path):
                kept = self._folder / fetch(path)
                self._keep(path, kept)
            yield path

    def _keep(self, path: Path, kept: Path) -> None:
        """Let a copy be found by others; where the file system has no links, it is not."""
        path.chmod(0o600)
        with suppress(OSError):
            kept.hardlink_to(path)
        self._unlooked -= path.stat().st_size
        if self._unlooked <= 0:
            self._unlooked = max(self._make_room() // _SHARING, self._max_bytes // _PARTS)

    def _make_room(self) -> int:
        """Remove the oldest copies where there are too many; bytes that there is room for then."""
        found = []
        for path in self._folder.iterdir():
            if path.name.startswith(_USE):
                _remove_leftover(path)
                continue
            with suppress(FileNotFoundError):
                status = path.stat()
                found.append((status.st_mtime, status.st_size, path))
        total = sum(size for _, size, _ in found)
        left = self._max_bytes if total <= self._max_bytes else self._max_bytes * _LEFT
        for _, size, path in sorted(found):
            if total <= left:
                break
            path.unlink(missing_ok=True)
            total -= size
        return max(0, self._max_bytes - total)


def _linked(kept: Path, path: Path) -> bool:
    try:
        path.hardlink_to(kept)
        os.utime(kept)
    except FileNotFoundError:
        return path.exists()
    except OSError:
        return False
    return True


def _remove_leftover(folder: Path) -> None:
    """Remove the folder of a process that has ended; one just made is not locked yet."""
    with suppress(OSError):
        if time.time() - folder.stat().st_mtime < _FRESH_S:
            return
        if not (folder / _LOCK).exists() or remove_if_unlocked(folder / _LOCK):
            shutil.rmtree(folder, ignore_errors=True)
