"""Files that appear whole or not at all: drafts under a hidden name, renamed when they are done.

A draft is called ``.NAME.<16 hex digits>`` and stands in the folder of its target, so that the
rename is atomic; backups pass over such names.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import file_digest
from pathlib import Path

from rag_audio.errors import InvalidInput
from rag_audio.locks import lock_file, lock_if_free

PRIVATE, PUBLIC = 0o600, 0o644
"""Modes of files: for their owner alone; for all to read."""


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
    _sync(draft)
    draft.replace(target)
    _sync(target.parent)


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
            _sync(draft)
            with suppress(FileExistsError):
                path.hardlink_to(draft)
            _sync(path.parent)
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


def _sync(path: Path) -> None:
    """Bring a file to the disk, or the names in a folder."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
