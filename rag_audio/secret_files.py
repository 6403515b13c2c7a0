"""Small files that only their owner may read, written whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PRIVATE, PUBLIC = 0o600, 0o644


def create_once(path: Path, make: Callable[[], bytes], mode: int = PRIVATE) -> bytes:
    """Write what ``make`` gives to a file that is not there yet, and return what stands in it.

    Of several processes that do so at once the first one wins, and all get its content.

    Raises:
        OSError: it cannot be written or read.
    """
    if not path.exists():
        with _draft(path, make(), mode) as draft:
            with suppress(FileExistsError):
                path.hardlink_to(draft)
            _sync_folder(path.parent)
    return path.read_bytes()


def replace(path: Path, content: bytes, mode: int = PRIVATE) -> None:
    """Write a file, or put a new one in the place of the old: readers see either, never a part.

    Raises:
        OSError: it cannot be written.
    """
    with _draft(path, content, mode) as draft:
        draft.replace(path)
        _sync_folder(path.parent)


@contextmanager
def _draft(path: Path, content: bytes, mode: int) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """A new name is durable only once its folder is."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
