"""The files that uploads are decoded to: a cache with a bound, on a disk that has to keep room.

What is in use is leased by a lock on its document, which every process of the home respects; what
is being written has its room promised to it beforehand.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from rag_audio.locks import lock_file, lock_if_free

LEAST_BYTES = 1 << 20
"""With less room than this nothing is decoded."""
_SOUND, _DOCUMENT, _DRAFT = ".f32", ".json", ".tmp"
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class Files:
    """Of one upload.

    Attributes:
        sound: interleaved float32, little endian. document: JSON.
    """

    sound: Path
    document: Path

    @property
    def bytes(self) -> int:
        return sum(_size(file) for file in (self.sound, self.document))


@dataclass(frozen=True)
class Writing(Files):
    """Files that are being written. most_bytes: that they may take, both together."""

    most_bytes: int


class DecodedFiles:
    """Keeps the files of uploads by their ids.

    Args:
        folder: on the disk whose room counts.
        most_bytes: that are kept, those that are being written included. What was not used longest
            goes first, save what is in use.
        spare_bytes: of the disk that are left free.
        patience_s: who finds too little room waits so long for others that are writing.
    """

    def __init__(
        self, folder: Path, most_bytes: int, spare_bytes: int, patience_s: float = 30.0
    ) -> None:
        self._folder, self._most, self._spare = folder, most_bytes, spare_bytes
        self._patience_s = patience_s
        self._changed = threading.Condition()
        self._writing: list[Writing] = []

    def of(self, id_: str) -> Files:
        """The files of an upload, there or not."""
        return Files(self._folder / f"{id_}{_SOUND}", self._folder / f"{id_}{_DOCUMENT}")

    @contextmanager
    def lease(self, id_: str) -> Iterator[bool]:
        """Keep what there is of an upload during the block; False: there is nothing to keep."""
        files = self.of(id_)
        try:
            handle = os.open(files.document, _OPEN)
        except FileNotFoundError:
            yield False
            return
        try:
            lock_file(handle, shared=True)
            with suppress(FileNotFoundError):
                os.utime(files.document)
            yield _is_at(handle, files.document) and files.sound.exists()
        finally:
            os.close(handle)

    @contextmanager
    def writing(self, id_: str, wanted: int, in_use: ExitStack | None = None) -> Iterator[Writing]:
        """New files for an upload, which are kept at the end of the block if nothing was raised.

        Args:
            wanted: bytes that they may take; fewer are promised where the disk has less room.
            in_use: is given a lease of the new files, so that they do not go at once where all else
                is in use.

        Raises:
            OSError: ``ENOSPC``: the disk has no room for them.
        """
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = secrets.token_hex(4)
        sound, document = (
            self._folder / f".{id_}{kind}.{part}{_DRAFT}" for kind in (_SOUND, _DOCUMENT)
        )
        made = self._promised(sound, document, wanted)
        try:
            for draft in (sound, document):
                draft.touch(mode=0o600)
            yield made
            with self._changed:
                files = self.of(id_)
                sound.replace(files.sound)
                document.replace(files.document)
                if in_use is not None:
                    in_use.enter_context(self.lease(id_))
        finally:
            for draft in (sound, document):
                draft.unlink(missing_ok=True)
            with self._changed:
                self._writing.remove(made)
                self._evict(self._most - self._promises())
                self._changed.notify_all()

    def require_room(self, size: int) -> None:
        """Raise as :meth:`writing` where the disk has no room for so many bytes of another file."""
        with self._changed:
            if self._room(size) < size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def drop(self, id_: str) -> None:
        """Forget what was made of an upload."""
        files = self.of(id_)
        files.document.unlink(missing_ok=True)
        files.sound.unlink(missing_ok=True)

    def _promised(self, sound: Path, document: Path, wanted: int) -> Writing:
        until = time.monotonic() + self._patience_s
        with self._changed:
            while True:
                room = min(wanted, self._room(wanted))
                left_s = until - time.monotonic()
                if room == wanted or not self._writing or left_s <= 0:
                    break
                self._changed.wait(left_s)
            if room < min(wanted, LEAST_BYTES):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            made = Writing(sound, document, room)
            self._writing.append(made)
            self._evict(self._most - self._promises())
            return made

    def _promises(self) -> int:
        return sum(one.most_bytes for one in self._writing)

    def _room(self, wanted: int) -> int:
        """Bytes of the disk that nobody was promised; what is kept makes way where it has to."""
        pending = sum(max(0, one.most_bytes - one.bytes) for one in self._writing)
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        room = shutil.disk_usage(self._folder).free - self._spare - pending
        return room if room >= wanted else room + self._free(wanted - room)

    def _evict(self, most: int) -> None:
        """Let go of what is more than ``most`` bytes."""
        self._free(sum(size for _, size, _ in self._kept()) - most)

    def _free(self, wanted: int) -> int:
        """Remove what was not used longest until so many bytes went; how many that were."""
        freed = 0
        for _, size, id_ in sorted(self._kept()) if wanted > 0 else ():
            if freed >= wanted:
                break
            if self._removed(id_):
                freed += size
        return freed

    def _kept(self) -> list[tuple[float, int, str]]:
        """When each upload's files were used, their bytes, and its id."""
        ids = {file.stem for file in self._folder.glob("[0-9a-f]*.*")}
        found = []
        for files, id_ in ((self.of(id_), id_) for id_ in ids):
            used = max(_used(files.sound), _used(files.document))
            found.append((used, files.bytes, id_))
        return found

    def _removed(self, id_: str) -> bool:
        """Remove what is kept of an upload; False: somebody uses it."""
        document = self.of(id_).document
        with lock_if_free(document) as is_free:
            if is_free or not document.exists():
                self.drop(id_)
                return True
        return False


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def _used(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except FileNotFoundError:
        return 0.0
