"""What is made under a hidden name beside its place until it is whole, and what killed runs left.

A draft is called ``.NAME.<16 hex digits>`` and locked (``flock``) for as long as somebody works on
it, so that drafts which nobody holds can be told from those that others are writing.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def draft_file(target: Path) -> Iterator[Path]:
    """A private empty file beside ``target``, gone at the end unless it was renamed.

    Those that killed runs left beside it are removed.

    Raises:
        OSError: it cannot be made.
    """

    def make(draft: Path) -> int:
        return os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)

    draft, handle = _made(target, make)
    try:
        _remove_leftovers(target, draft)
        yield draft
    finally:
        os.close(handle)
        draft.unlink(missing_ok=True)


@contextmanager
def draft_folder(target: Path) -> Iterator[Path]:
    """The same with a private folder."""

    def make(draft: Path) -> int:
        draft.mkdir(mode=0o700)
        return os.open(draft, os.O_RDONLY | os.O_DIRECTORY)

    draft, handle = _made(target, make)
    try:
        _remove_leftovers(target, draft)
        yield draft
    finally:
        os.close(handle)
        shutil.rmtree(draft, ignore_errors=True)


def _made(target: Path, make: Callable[[Path], int]) -> tuple[Path, int]:
    """A locked draft; one that somebody took for a leftover before it was locked is made anew."""
    while True:
        draft = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
        try:
            handle = make(draft)
            fcntl.flock(handle, fcntl.LOCK_EX)
        except FileNotFoundError:
            if not target.parent.is_dir():
                raise
            continue
        if draft.exists():
            return draft, handle
        os.close(handle)


def _remove_leftovers(target: Path, mine: Path) -> None:
    """Remove drafts of ``target`` that nobody holds. A failure leaves them: it is only tidying."""
    pattern = re.compile(re.escape(f".{target.name}.") + "[0-9a-f]{16}")
    for path in target.parent.iterdir():
        if path == mine or path.is_symlink() or pattern.fullmatch(path.name) is None:
            continue
        with suppress(OSError):
            handle = os.open(path, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                elif path.is_file():
                    path.unlink(missing_ok=True)
            finally:
                os.close(handle)
