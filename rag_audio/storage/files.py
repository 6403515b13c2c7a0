"""Files that appear whole or not at all: drafts under a hidden name, renamed when they are done.

A draft is called ``.NAME.<16 hex digits>`` and stands in the folder of its target, so that the
rename is atomic; backups pass over such names.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import file_digest
from pathlib import Path

from rag_audio.errors import InvalidInput, UnreadableFile
from rag_audio.storage.locks import lock_file, lock_if_free

PRIVATE, PUBLIC = 0o600, 0o644
"""Modes of files: for their owner alone; for all to read."""


def require_content(path: Path) -> None:
    """Let a file pass that is there and holds something.

    Raises:
        UnreadableFile: it cannot be looked at, is no file or is empty.
    """
    try:
        if not path.exists():
            raise UnreadableFile(f"there is no file {path}")
        if not path.is_file():
            raise UnreadableFile(f"{path} is not a file")
        size = path.stat().st_size
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UnreadableFile(f"{str(path)!r} cannot be read: {why}") from error
    if size == 0:
        raise UnreadableFile(f"{path} is empty")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hex digits.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


@contextmanager
def atomic_write(target: Path, mode: int = 0o666) -> Iterator[Path]:
    """An empty draft, which takes the place of ``target`` at the end of the block.

    Readers see the old file or the new one, never a part; what returns is on the disk. Where the
    block raises, the old file stays and the draft goes.

    Args:
        mode: permissions of the new file, lessened by the umask.

    Raises:
        OSError: it cannot be written.
    """
    draft = _draft_name(target)
    try:
        os.close(_create(draft, mode))
        yield draft
        put_in_place(draft, target)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def export(target: Path) -> Iterator[Path]:
    """As :func:`atomic_write`, for a place that a user chose.

    Raises:
        InvalidInput: it cannot be written there.
    """
    try:
        with atomic_write(target) as draft:
            yield draft
    except OSError as error:
        raise InvalidInput(
            f"cannot write {target}: {error.strerror or error}", hint="choose another place"
        ) from error


def put_in_place(draft: Path, target: Path) -> None:
    """Bring a draft to the disk and give it the name of its target, which is durable then.

    Raises:
        OSError: it cannot be written.
    """
    sync(draft)
    draft.replace(target)
    sync(target.parent)


def write_bytes(path: Path, content: bytes, mode: int = PRIVATE) -> None:
    """Write a small file atomically; its folder is made if it is missing, private to its owner.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with atomic_write(path, mode) as draft:
        draft.write_bytes(content)


def create_once(path: Path, make: Callable[[], bytes], mode: int = PRIVATE) -> bytes:
    """Write what ``make`` returns to a file that is not there yet, and return what the file holds.

    Of several processes that do so at once the first one wins, and all get its content.

    Raises:
        OSError: it cannot be written or read.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = _draft_name(path)
        try:
            with os.fdopen(_create(draft, mode), "wb") as file:
                file.write(make())
            sync(draft)
            with suppress(FileExistsError):
                path.hardlink_to(draft)
            sync(path.parent)
        finally:
            draft.unlink(missing_ok=True)
    return path.read_bytes()


@contextmanager
def draft_file(target: Path) -> Iterator[Path]:
    """A private empty file beside ``target``, gone at the end unless it was renamed.

    It is locked (``flock``) until then; those that killed runs left beside it are removed.

    Raises:
        OSError: it cannot be made.
    """
    with _locked_draft(target, lambda draft: _create(draft, PRIVATE)) as draft:
        yield draft


@contextmanager
def draft_folder(target: Path) -> Iterator[Path]:
    """As :func:`draft_file`, a folder."""

    def make(draft: Path) -> int:
        draft.mkdir(mode=0o700)
        return os.open(draft, os.O_RDONLY | os.O_DIRECTORY)

    with _locked_draft(target, make) as draft:
        yield draft


def remove_if_unlocked(path: Path) -> bool:
    """Remove a file or folder that no process holds a lock on; False: one does, or it stays.

    Whoever made it has ended then, however it did. A link is left alone.
    """
    with lock_if_free(path) as is_free, suppress(OSError):
        if is_free:
            _remove(path)
            return True
    return False


@contextmanager
def _locked_draft(target: Path, make: Callable[[Path], int]) -> Iterator[Path]:
    draft, handle = _made(target, make)
    try:
        _remove_leftovers(target)
        yield draft
    finally:
        os.close(handle)
        _remove(draft)


def _made(target: Path, make: Callable[[Path], int]) -> tuple[Path, int]:
    """A locked draft; one that was taken for a leftover before it was locked is made anew."""
    while True:
        draft = _draft_name(target)
        try:
            handle = make(draft)
            lock_file(handle)
        except FileNotFoundError:
            if not target.parent.is_dir():
                raise
            continue
        if draft.exists():
            return draft, handle
        os.close(handle)


def _remove_leftovers(target: Path) -> None:
    """Remove drafts of ``target`` that no process holds. A failure leaves them: it only tidies."""
    pattern = re.compile(re.escape(f".{target.name}.") + "[0-9a-f]{16}")
    for path in target.parent.iterdir():
        if pattern.fullmatch(path.name):
            remove_if_unlocked(path)


def _draft_name(target: Path) -> Path:
    return target.with_name(f".{target.name}.{secrets.token_hex(8)}")


def _create(path: Path, mode: int) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Bring a file to the disk, or the names in a folder."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# Log files that many processes append lines to, rotated by size, private to their owner.

LOG_MODE = 0o600
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
            OSError: it cannot be written; the file then holds nothing of it.
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
    handle = os.open(path, flags, LOG_MODE)
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
