"""A copy of the embedded index's folder, made while nobody writes to it."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from rag_audio.backends._index_wire import SOCKET
from rag_audio.errors import InvalidInput
from rag_audio.locks import LOCK, QUEUE

_PIECE = 2**20
_SPARE_BYTES = 32 * 2**20
_PASSING = (LOCK, QUEUE, SOCKET)


def copy_folder(source: Path, target: Path) -> None:
    """Copy the index in ``source`` to ``target``; holes stay holes, since most of it is holes.

    Files that the shard's log prepares for later (``tmp-…``) are left out.

    Raises:
        InvalidInput: ``target`` is there already, or there is no room for it.
    """
    needed = sum(path.lstat().st_blocks * 512 for path in _files(source)) + _SPARE_BYTES
    free = shutil.disk_usage(target.parent).free
    if free < needed:
        raise InvalidInput(
            f"a copy of the index needs {needed / 1e6:.0f} MB at {target.parent}, where "
            f"{free / 1e6:.0f} MB are free",
            hint="make room on the disk",
        )
    try:
        target.mkdir(mode=0o700)
    except FileExistsError as error:
        raise InvalidInput(f"{target} is there already") from error
    for path in _files(source):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _copy(path, copy)


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        is_passing = path.parent == folder and path.name in _PASSING
        if path.name.startswith("tmp-") or is_passing or path.is_symlink():
            continue
        if path.is_file():
            yield path


def _copy(source: Path, target: Path) -> None:
    with source.open("rb", buffering=0) as old, target.open("xb", buffering=0) as new:
        reading, writing = old.fileno(), new.fileno()
        size, place = os.fstat(reading).st_size, 0
        os.truncate(writing, size)
        while place < size:
            try:
                place = os.lseek(reading, place, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:
                    return  # Nothing but a hole is left.
                raise
            end = os.lseek(reading, place, os.SEEK_HOLE)
            while place < end:
                piece = os.pread(reading, min(_PIECE, end - place), place)
                if not piece:
                    raise OSError(errno.EIO, "it was cut while it was copied", str(source))
                place += os.pwrite(writing, piece, place)
