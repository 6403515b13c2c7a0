"""The files of an archive, written below a folder, each compared with the manifest."""

from __future__ import annotations

import os
import tarfile
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import IO, Any

from rag_audio.pipeline import home_files
from rag_audio.pipeline.earlier_archives import fetch
from rag_audio.pipeline.home_files import BadArchive, Filed, Listing
from rag_audio.storage.archives import members, opened

ROOT = "home"
"""The folder of an archive that a home's files are in."""
PIECE = 2**20
"""Bytes that are read at once."""
_ZEROS = bytes(PIECE)
_SYNCS = 32


@dataclass(frozen=True)
class Done:
    """How far an archive is: files and bytes, and how many there were when it was begun."""

    files: int
    size: int
    all_files: int
    all_size: int


OnProgress = Callable[[Done], None]


def unpack(
    archive: Path,
    draft: Path,
    found: Listing,
    on_progress: OnProgress | None,
    earlier: tuple[Path, ...],
) -> dict[str, Any]:
    """Write the files below ``draft`` and list them; the head of the archive's manifest."""
    manifest: dict[str, Any] | None = None
    size = archive.stat().st_size
    with _Files(draft) as files, closing(Listing(draft.parent)) as left_out:
        with opened(archive) as tar:

            def tell() -> None:
                if on_progress is not None:
                    # The number of files is not known yet: the manifest comes last.
                    on_progress(Done(found.files, _position(tar), 0, size))

            for member in members(tar):
                tell()
                if manifest is not None:
                    raise BadArchive(f"{member.name!r} follows the manifest")
                source = tar.extractfile(member) if member.isreg() else None
                if source is None:
                    raise BadArchive(f"{member.name!r} is a link, a folder or a device")
                if member.name in home_files.CHECKS:
                    check = home_files.CHECKS[member.name]
                    manifest = check(source, member.size, found, left_out)
                    continue
                name = _inside(member.name)
                found.add(Filed(name, *files.put(name, source, tell)))
        if manifest is None:
            raise BadArchive("it has no manifest: it breaks off, or is no backup")
        if left_out.files:

            def put(name: str, source: IO[bytes]) -> str:
                return files.put(name, source, lambda: None)[1]

            for one in left_out:
                _inside(f"{ROOT}/{one.name}")
            fetch(archive, manifest, left_out, earlier, put, files.remove)
            for one in left_out:
                found.add(one)
                if on_progress is not None:
                    on_progress(Done(found.files, size, 0, size))
    return manifest


def _position(tar: tarfile.TarFile) -> int:
    return tar.offset


class _Files:
    """Writes files below a folder; all are on the disk when the block ends.

    Files are synced many at once: one by one, each would wait for a write of its own.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._last = folder, folder
        self._syncing: deque[Future[None]] = deque()
        self._threads = ThreadPoolExecutor(_SYNCS)

    def __enter__(self) -> _Files:
        return self

    def __exit__(self, *error: object) -> None:
        try:
            while self._syncing and error == (None, None, None):
                self._syncing.popleft().result()
        finally:
            self._threads.shutdown(cancel_futures=True)

    def put(self, name: str, source: IO[bytes], tell: Callable[[], None]) -> tuple[int, str]:
        """Write a file; its size and SHA-256."""
        target = self._folder / name
        try:
            if target.parent != self._last:  # Most files follow one of the same folder.
                target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._last = target.parent
            made = _copy(source, target, tell)
        except (FileExistsError, NotADirectoryError) as error:
            how = "there twice" if target.is_file() else "a file and a folder"
            raise BadArchive(f"{f'{ROOT}/{name}'!r} is {how}") from error
        self._syncing.append(self._threads.submit(_sync, target))
        if len(self._syncing) > 2 * _SYNCS:
            self._syncing.popleft().result()
        return made

    def remove(self, name: str) -> None:
        """Take a file away again."""
        while self._syncing:
            self._syncing.popleft().result()
        (self._folder / name).unlink()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _inside(name: str) -> str:
    """The name below ``home/``; one that could lead anywhere else is refused."""
    path = PurePosixPath(name)
    plain = path.parts[:1] == (ROOT,) and len(path.parts) > 1 and ".." not in path.parts
    if not plain or str(path) != name or "\\" in name or "\x00" in name:
        raise BadArchive(f"{name!r} leads out of the home")
    return str(path.relative_to(ROOT))


def _copy(source: IO[bytes], target: Path, tell: Callable[[], None]) -> tuple[int, str]:
    """Write a file; zeros become holes, of which the files of an index consist for the most."""
    digest, size, is_hole = sha256(), 0, False
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        while piece := source.read(PIECE):
            digest.update(piece)
            tell()
            size += len(piece)
            is_hole = piece == _ZEROS
            if is_hole:
                file.seek(size)
            else:
                file.write(piece)
        if is_hole:  # Else the file has this size already.
            file.truncate(size)
    return size, digest.hexdigest()
