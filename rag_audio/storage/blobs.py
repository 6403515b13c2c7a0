"""Files by keys, wherever they lie: the port of blob stores, and the store that is a folder.

A key is a relative path with ``/`` between its parts, such as ``masters/12.wav``. What is not a
folder is reached through fsspec, see :mod:`.fsspec_blobs`.
"""

from __future__ import annotations

import io
import os
import re
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from rag_audio.errors import BackendUnavailable, InvalidInput, UnreadableFile
from rag_audio.storage.files import PRIVATE, put_in_place, sync

PAGE = 1000
"""Keys of one page of a listing, as long as that of S3 is."""
ReadAt = Callable[[int, int], bytes]
"""Reads so many bytes at most from an offset on."""
_DRAFT = re.compile(r"\..+\.[0-9a-f]{16}(\.part(\.[^.]+)?)?")


@dataclass(frozen=True)
class BlobInfo:
    """What a store knows of a blob without reading it.

    Attributes:
        size: bytes.
        version: another one after each change of the content: an ETag, or what a file system
            knows. Not comparable between stores.
        modified: seconds since 1970, when it was written.
    """

    key: str
    size: int
    version: str
    modified: float


class BlobMissing(UnreadableFile):
    """There is no blob of that key."""


class BlobExists(InvalidInput):
    """There is a blob of that key already, and it was not to be replaced."""


class BlobStore(Protocol):
    """Files by keys; several threads may use it at once.

    Every method raises InvalidInput for what is no key, and BackendUnavailable where the store
    cannot be reached or refuses.

    Attributes:
        place: the folder or URL, for people.
        folder: the folder that it is; None: blobs are no files here until they are copied.
        is_paged: whether a page costs no more than itself, else as much as the whole listing.
    """

    place: str
    is_paged: bool

    @property
    def folder(self) -> Path | None: ...

    def put(self, key: str, source: Path | bytes, *, new: bool = False) -> None:
        """Store a file or bytes: readers see the old blob or all of the new one. Durable then.

        Args:
            new: never replace a blob.

        Raises:
            BlobExists: there is one already. UnreadableFile: the file cannot be read.
        """
        ...

    def writing(self, key: str, *, new: bool = False) -> AbstractContextManager[Path]:
        """An empty local file with the key's ending; what is in it after the block is stored as
        :meth:`put` does, and nothing if the block raises."""
        ...

    def open(self, key: str, start: int = 0, length: int | None = None) -> BinaryIO:
        """The bytes from ``start`` on, of which no more are read than asked for.

        Args:
            length: bytes at most; None: to the end. A range past the end is shorter, or empty.

        Raises:
            BlobMissing: there is none.
        """
        ...

    def stat(self, key: str) -> BlobInfo | None:
        """What is known of a blob; None: there is none."""
        ...

    def local(self, key: str) -> AbstractContextManager[Path]:
        """A file with the blob's content and name during the block, to be read only.

        Raises:
            BlobMissing: there is none.
        """
        ...

    def page(self, prefix: str = "", after: str = "", limit: int = PAGE) -> list[BlobInfo]:
        """At most ``limit`` blobs whose keys begin with ``prefix`` and are greater than ``after``,
        in the order of code points; fewer, and only then: there are no more."""
        ...

    def delete(self, key: str) -> None:
        """Remove a blob, which need not be there."""
        ...

    def copy(self, key: str, target: str) -> None:
        """Copy a blob within the store, over what is there.

        Raises:
            BlobMissing: there is none.
        """
        ...


def every(store: BlobStore, prefix: str = "") -> Iterator[BlobInfo]:
    """All blobs whose keys begin with ``prefix``, page by page; some may be added or removed
    meanwhile."""
    after, limit = "", PAGE if store.is_paged else sys.maxsize
    while found := store.page(prefix, after, limit):
        yield from found
        after = found[-1].key
        if len(found) < limit:
            return


def require_key(key: str) -> str:
    """A key as it is.

    Raises:
        InvalidInput: it is none.
    """
    parts = key.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\0" in key or "\\" in key:
        raise InvalidInput(f"{key!r} is no key of a file", hint="such as masters/12.wav")
    return key


class FolderBlobs:
    """A folder, made when something is first put into it, private to its owner.

    A key is the name of a file below it. Links in it are followed, as when a folder is mounted.
    """

    def __init__(self, folder: Path) -> None:
        self.folder: Path = folder
        self.place, self.is_paged = str(folder), True

    def put(self, key: str, source: Path | bytes, *, new: bool = False) -> None:
        if isinstance(source, Path):
            require_readable(source)
        with self.writing(key, new=new) as draft, _translated(self.place):
            if isinstance(source, bytes):
                draft.write_bytes(source)
            else:
                shutil.copyfile(source, draft)

    @contextmanager
    def writing(self, key: str, *, new: bool = False) -> Iterator[Path]:
        target = self._path(key)
        with _translated(self.place):
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = target.with_name(draft_of(target.name))
        try:
            with _translated(self.place):
                os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE))
            yield draft
            with _translated(self.place):
                draft.chmod(PRIVATE)
                _place_new(draft, target, key) if new else put_in_place(draft, target)
        finally:
            draft.unlink(missing_ok=True)

    def open(self, key: str, start: int = 0, length: int | None = None) -> BinaryIO:
        path = self._path(key)
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            size = os.fstat(handle).st_size
        except (FileNotFoundError, NotADirectoryError) as error:
            raise missing(key, self.place) from error
        except OSError as error:
            raise unavailable(self.place, error.strerror or str(error)) from error
        if not path.is_file():
            os.close(handle)
            raise missing(key, self.place)

        def read(at: int, count: int) -> bytes:
            with _translated(self.place):
                return os.pread(handle, count, at)

        return as_file(read, size, start, length, lambda: os.close(handle))

    def stat(self, key: str) -> BlobInfo | None:
        with _translated(self.place):
            return _info(key, self._path(key))

    @contextmanager
    def local(self, key: str) -> Iterator[Path]:
        path = self._path(key)
        if self.stat(key) is None:
            raise missing(key, self.place)
        yield path

    def page(self, prefix: str = "", after: str = "", limit: int = PAGE) -> list[BlobInfo]:
        found: list[BlobInfo] = []
        within = prefix.rpartition("/")[0]
        within = require_key(within) if within else ""
        with _translated(self.place):
            for key, path in _walk(self.folder / within, f"{within}/" if within else "", after):
                if not key.startswith(prefix):
                    if key > prefix:
                        break
                    continue
                info = _info(key, path) if key > after else None
                if info is not None:
                    found.append(info)
                    if len(found) >= limit:
                        break
        return found

    def delete(self, key: str) -> None:
        with _translated(self.place):
            self._path(key).unlink(missing_ok=True)

    def copy(self, key: str, target: str) -> None:
        with self.local(key) as path:
            self.put(target, path)

    def _path(self, key: str) -> Path:
        return self.folder / require_key(key)


def draft_of(name: str) -> str:
    """A hidden name for a file while it is written, with the ending of its own."""
    ending = Path(name).suffix
    return f".{name.removesuffix(ending)}.{secrets.token_hex(8)}.part{ending}"


def require_readable(source: Path) -> None:
    """Let a file pass that can be read.

    Raises:
        UnreadableFile: it cannot.
    """
    try:
        with source.open("rb"):
            return
    except OSError as error:
        raise UnreadableFile(f"{source} cannot be read: {error.strerror or error}") from error


def missing(key: str, place: str) -> BlobMissing:
    """The error that says so."""
    return BlobMissing(f"there is no {key} in {place}")


def _place_new(draft: Path, target: Path, key: str) -> None:
    sync(draft)
    try:
        target.hardlink_to(draft)
    except FileExistsError as error:
        raise BlobExists(f"{target.parent} holds a file {Path(key).name} already") from error
    sync(target.parent)


def _info(key: str, path: Path) -> BlobInfo | None:
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not path.is_file():
        return None
    version = f"{found.st_mtime_ns:x}-{found.st_size:x}-{found.st_ino:x}"
    return BlobInfo(key, found.st_size, version, found.st_mtime)


def _walk(folder: Path, before: str, after: str) -> Iterator[tuple[str, Path]]:
    """Files below a folder in the order of their keys, without folders that end before
    ``after``."""
    try:
        with os.scandir(folder) as entries:
            # A folder's keys continue with a slash, which is after "-" and "." in the order.
            names = sorted(entry.name + "/" * entry.is_dir() for entry in entries)
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names:
        key = before + name
        if not name.endswith("/"):
            if not _DRAFT.fullmatch(name):
                yield key, folder / name
        elif key > after or after.startswith(key):
            yield from _walk(folder / name[:-1], key, after)


class _Range(io.RawIOBase):
    """Bytes ``start`` to ``end`` of what ``read(at, count)`` reads, as a file."""

    def __init__(self, read: ReadAt, start: int, end: int, close: Callable[[], None]) -> None:
        self._read, self._start, self._end, self._close = read, start, end, close
        self._at = start

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = min(len(buffer), self._end - self._at)
        piece = self._read(self._at, count) if count > 0 else b""
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        bases = {os.SEEK_SET: self._start, os.SEEK_CUR: self._at, os.SEEK_END: self._end}
        self._at = max(self._start, bases[whence] + offset)
        return self.tell()

    def tell(self) -> int:
        return self._at - self._start

    def close(self) -> None:
        if not self.closed:
            self._close()
        super().close()


def as_file(
    read: ReadAt,
    size: int,
    start: int,
    length: int | None,
    close: Callable[[], None] = lambda: None,
    buffer: int = io.DEFAULT_BUFFER_SIZE,
) -> BinaryIO:
    """A range of a blob of so many bytes as a file that reads ahead by ``buffer`` bytes."""
    begin = min(max(0, start), size)
    end = size if length is None else min(size, begin + max(0, length))
    return io.BufferedReader(_Range(read, begin, end, close), buffer)


@contextmanager
def _translated(place: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise unavailable(place, error.strerror or str(error)) from error


def unavailable(place: str, why: str, hint: str = "") -> BackendUnavailable:
    """The error of a store that cannot be used now.

    Args:
        hint: what would help, of a store that is not that of a home's files.
    """
    return BackendUnavailable(
        f"files in {place} cannot be used: {why}",
        hint=hint or "RAG_AUDIO_FILES names the place; `rag-audio doctor` tries it",
        public="the files are away",
    )
