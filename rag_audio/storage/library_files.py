"""Files of a library, in a folder or at a URL that :func:`.open_url` takes.

The indexer lists and reads a library through :class:`LibraryFiles`; whatever plays a stem later
opens its :data:`StoredFile`. Of a URL both read local copies, which are kept under the objects'
versions.
"""

from __future__ import annotations

import atexit
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from rag_audio.domain.songs import split_song
from rag_audio.errors import BackendError, BackendUnavailable, RagAudioError, UnreadableFile
from rag_audio.storage.blobs import BlobInfo, BlobMissing, every, require_key
from rag_audio.storage.fsspec_blobs import FsspecBlobs, open_url

_LONGEST_NAME = 255
"""Bytes; a local copy has the object's name."""
_HINT = "the library's place must be reachable from here, with what the AWS_… variables say"
_SPECIAL = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def is_url(place: str) -> bool:
    """Whether a library lies at a URL; else in a folder."""
    return "://" in place


@dataclass(frozen=True)
class CopyRoom:
    """Where local copies are kept.

    Attributes:
        folder: made when it is needed. max_bytes: at most, about.
    """

    folder: Path
    max_bytes: int


@dataclass(frozen=True)
class LocalFile:
    """A file that can be read while somebody holds it.

    Attributes:
        path: of a song in a score, the file's path with the song's number.
        version: of a copy, names the object and its version; empty: it is no copy.
        size, state: of a copy, as :class:`LibraryEntry` has them.
    """

    path: Path
    version: str = ""
    size: int = 0
    state: int = 0


@dataclass(frozen=True)
class BlobFile:
    """An object of a library at a URL, which any process can open.

    Attributes:
        place: the library's URL.
        keys: the first one that is there is meant.
        room: where copies are kept; None: a folder of the process, which keeps none.
    """

    place: str
    keys: tuple[str, ...]
    room: CopyRoom | None = None

    def __str__(self) -> str:
        return f"{self.place}/{self.keys[0]}"

    @contextmanager
    def local(self) -> Iterator[LocalFile]:
        """A copy during the block.

        Raises:
            BlobMissing: there is none. BackendUnavailable: it cannot be fetched now.
        """
        with ExitStack() as stack:
            with _failing_as_unavailable(self.place):
                store = _store(self.place, self.room)
                key, song = self._found(store)
                path, info = stack.enter_context(store.copied(key))
            path = path if song == 1 else path.with_name(f"{path.name}#{song}")
            version = f"{self.place}\0{info.key}\0{info.version}"
            yield LocalFile(path, version, info.size, state_of_version(info.version))

    def _found(self, store: FsspecBlobs) -> tuple[str, int]:
        """The object, and the song of it that is meant."""
        for key in self.keys:
            file, song = split_song(key)
            if len(self.keys) == 1 and song == 1:
                return key, 1  # it is asked for anyway when it is fetched
            if store.stat(key) is not None:
                return key, 1
            if song > 1 and store.stat(file) is not None:
                return file, song
        raise BlobMissing(f"there is no {self.keys[0]} in {self.place}")


StoredFile = Path | BlobFile
"""Where a stem's bytes lie: a file of this machine, or an object."""


@contextmanager
def local_file(file: StoredFile) -> Iterator[LocalFile]:
    """A file of this machine as it is, or a copy of an object.

    Raises:
        BlobMissing, BackendUnavailable: see :meth:`BlobFile.local`.
    """
    if isinstance(file, Path):
        yield LocalFile(file)
        return
    with file.local() as copy:
        yield copy


@dataclass(frozen=True)
class LibraryEntry:
    """What lies at a path of a library.

    Attributes:
        size: bytes.
        state: another number after each change: the time of the last one in ns, of an object a
            number that stands for its version.
        fault: why it is neither a file nor a folder that is looked into.
    """

    size: int = 0
    state: int = 0
    is_folder: bool = False
    fault: str = ""


class LibraryFiles(Protocol):
    """Files below a library's root. Paths are POSIX paths relative to it; the root is empty.

    Every method raises BackendUnavailable where the place cannot be reached.

    Attributes:
        place: the absolute folder or URL: for people, and for the catalogue.
        folder: the folder that it is; None: it is none.
    """

    place: str

    @property
    def folder(self) -> Path | None: ...

    def listing(self, folder: str) -> Iterable[tuple[str, bool]]:
        """Names in a folder, and whether each is a folder itself, and no link to one.

        Raises:
            OSError: it cannot be read.
        """
        ...

    def entry(self, path: str) -> LibraryEntry:
        """What lies there.

        Raises:
            OSError: it cannot be looked at.
        """
        ...

    def strays(self) -> Iterable[tuple[str, str]]:
        """What lies there and is in no listing, with the reason."""
        ...

    def files_below(self, folder: str) -> int:
        """How many files a folder holds, and folders in it."""
        ...

    def head(self, path: str, count: int) -> bytes:
        """The first bytes of a file; empty where it cannot be read."""
        ...

    def local(self, path: str) -> AbstractContextManager[Path]:
        """The file during the block, or a path where none is; a song's has the song's number."""
        ...

    def file(self, path: str) -> StoredFile:
        """The file for another process, or for later."""
        ...


class FolderFiles:
    """A folder of this machine.

    Args:
        folder: absolute.
    """

    def __init__(self, folder: Path) -> None:
        self.folder: Path | None = folder
        self.place = str(folder)
        self._folder, self._base = folder, os.path.realpath(folder)

    def listing(self, folder: str) -> list[tuple[str, bool]]:
        with os.scandir(Path(self._base, folder)) as entries:
            return [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]

    def entry(self, path: str) -> LibraryEntry:
        full = Path(self._base, path)
        status = full.lstat()
        if stat.S_ISLNK(status.st_mode):
            target = os.path.realpath(full, strict=True)
            status = Path(target).stat()
            fault = _link_fault(self._base, target, status.st_mode)
            if fault is not None:
                return LibraryEntry(fault=fault)
        if stat.S_ISDIR(status.st_mode):
            return LibraryEntry(is_folder=True)
        if stat.S_ISREG(status.st_mode):
            return LibraryEntry(status.st_size, status.st_mtime_ns)
        what = _SPECIAL.get(stat.S_IFMT(status.st_mode), "no regular file")
        return LibraryEntry(fault=f"it is {what}, not a regular file")

    def strays(self) -> Iterable[tuple[str, str]]:
        return ()

    def files_below(self, folder: str) -> int:
        return sum(len(names) for _, _, names in os.walk(Path(self._base, folder)))

    def head(self, path: str, count: int) -> bytes:
        try:
            with Path(self._folder, path).open("rb") as file:
                return file.read(count)
        except OSError:
            return b""

    @contextmanager
    def local(self, path: str) -> Iterator[Path]:
        yield self._folder / path

    def file(self, path: str) -> StoredFile:
        return self._folder / path


def _link_fault(base: str, target: str, mode: int) -> str | None:
    if os.path.commonpath((base, target)) != base:
        return "the link leads out of the library"
    if stat.S_ISDIR(mode):
        return "a link to a folder is not followed; what it holds is indexed where it lies"
    return None


class BlobLibrary:
    """Objects below a URL. They are listed once, when a listing is first asked for.

    Args:
        room: see :class:`BlobFile`.
    """

    folder: Path | None = None

    def __init__(self, place: str, room: CopyRoom | None) -> None:
        self._store = _store(place, room)
        self.place, self._room = place, room
        self._listed: _Listing | None = None

    def listing(self, folder: str) -> list[tuple[str, bool]]:
        found = self._tree.folders.get(folder, {})
        return [(name, info is None) for name, info in found.items()]

    def entry(self, path: str) -> LibraryEntry:
        info = self._tree.info(path)
        if info is None:
            return LibraryEntry(is_folder=True)
        return LibraryEntry(info.size, state_of_version(info.version))

    def strays(self) -> Iterable[tuple[str, str]]:
        return self._tree.strays

    def files_below(self, folder: str) -> int:
        return self._tree.count(folder)

    def head(self, path: str, count: int) -> bytes:
        try:
            with _failing_as_unavailable(self.place):
                info = self._tree.info(path)
                return b"" if info is None else self._store.beginning(info, count)
        except (BlobMissing, KeyError):
            return b""

    @contextmanager
    def local(self, path: str) -> Iterator[Path]:
        with ExitStack() as stack:
            try:
                copy = stack.enter_context(self.file(path).local()).path
            except BlobMissing:
                copy = Path(stack.enter_context(tempfile.TemporaryDirectory()), Path(path).name)
            yield copy

    def file(self, path: str) -> BlobFile:
        return BlobFile(self.place, (path,), self._room)

    @property
    def _tree(self) -> _Listing:
        if self._listed is None:
            with _failing_as_unavailable(self.place):
                self._listed = _Listing(every(self._store))
        return self._listed


class _Listing:
    """Objects as a tree of folders.

    Attributes:
        folders: what lies in each folder, by name; None is a folder.
        strays: keys that no file can have as its path, with the reason.
    """

    def __init__(self, infos: Iterable[BlobInfo]) -> None:
        self.folders: dict[str, dict[str, BlobInfo | None]] = {"": {}}
        self.strays: list[tuple[str, str]] = []
        for info in infos:
            fault = _key_fault(info.key)
            if fault is None:
                self._put(info)
            else:
                self.strays.append((info.key, fault))

    def _put(self, info: BlobInfo) -> None:
        folder, _, name = info.key.rpartition("/")
        self._make(folder)
        if name in self.folders[folder]:
            self.strays.append((info.key, _TWICE))
        else:
            self.folders[folder][name] = info

    def _make(self, folder: str) -> None:
        while folder not in self.folders:
            self.folders[folder] = {}
            above, _, name = folder.rpartition("/")
            self._make(above)
            if self.folders[above].get(name) is not None:
                self.strays.append((folder, _TWICE))
            self.folders[above][name] = None

    def info(self, path: str) -> BlobInfo | None:
        """The object at a path; None: a folder.

        Raises:
            KeyError: there is nothing.
        """
        folder, _, name = path.rpartition("/")
        return self.folders[folder][name]

    def count(self, folder: str) -> int:
        """Objects in a folder and those in it."""
        inside = self.folders.get(folder, {})
        below = (f"{folder}/{name}" for name, info in inside.items() if info is None)
        return sum(info is not None for info in inside.values()) + sum(map(self.count, below))


_TWICE = "other keys go on from it as from a folder: give it another name"


def _key_fault(key: str) -> str | None:
    try:
        require_key(key)
        key.encode()
    except (RagAudioError, UnicodeEncodeError):
        return "its key is no path of a file"
    if max(len(part.encode()) for part in key.split("/")) > _LONGEST_NAME:
        return f"its name is longer than {_LONGEST_NAME} bytes"
    return None


def state_of_version(version: str) -> int:
    """A number of 63 bits that stands for an object's version, as a file's time does."""
    return int.from_bytes(sha256(version.encode()).digest()[:8], "big") >> 1


def open_library(place: str | Path, room: CopyRoom | None = None) -> LibraryFiles:
    """The files of the library in a folder or at a URL; nothing is asked yet.

    Args:
        room: see :class:`BlobFile`.

    Raises:
        ConfigError: it is no URL that can be used, or a package for it is missing.
    """
    if isinstance(place, Path) or not is_url(place):
        return FolderFiles(Path(place))
    return BlobLibrary(place.rstrip("/"), room)


def stored_file(root: str, paths: Sequence[str], room: CopyRoom | None) -> StoredFile:
    """A file of a library by its possible paths, the likeliest first.

    Args:
        root: the library's folder on this machine, or its URL.
    """
    if is_url(root):
        return BlobFile(root, tuple(paths), room)
    places = [Path(root, path) for path in paths]
    return next((place for place in places if is_there(place)), places[0])


def has_object(place: str, key: str, room: CopyRoom | None) -> bool:
    """Whether there is an object at a URL; not where that cannot be asked."""
    try:
        return _store(place, room).stat(key) is not None
    except RagAudioError:
        return False


def is_there(place: Path) -> bool:
    """Whether a file lies there, or the one that holds the song of that path."""
    return place.is_file() or Path(split_song(str(place))[0]).is_file()


@lru_cache(maxsize=32)
def _store(place: str, room: CopyRoom | None) -> FsspecBlobs:
    if room is None:
        room = CopyRoom(_passing_folder(), 0)
    return open_url(place, room.folder, room.max_bytes, hint=_HINT)


@lru_cache(maxsize=1)
def _passing_folder() -> Path:
    """A folder of this process."""
    folder = tempfile.mkdtemp(prefix="rag-audio-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


@contextmanager
def _failing_as_unavailable(place: str) -> Iterator[None]:
    """What goes wrong while a file is fetched is no fault of the file, unless it is not there."""
    try:
        yield
    except (UnreadableFile, BackendError):
        raise
    except RagAudioError as error:
        raise BackendUnavailable(error.message, error.hint) from error
    except OSError as error:
        raise BackendUnavailable(
            f"files of {place} cannot be copied to this machine: {error.strerror or error}",
            hint="RAG_AUDIO_FILES_CACHE_MB says how much of them is kept, in the home's copies",
        ) from error
