"""A lock file that names its holder. The kernel frees it when the holder dies, however it dies.

Whoever waits for it stands in a queue of one place, ``queue.lock`` beside it: a holder that looks
(:func:`is_wanted`) sees that somebody waits, and cannot have it again before the one who waits.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from rag_audio.errors import BackendUnavailable

LOCK, QUEUE = "lock", "queue.lock"
"""Their names in the index's folder; they stay when an index is removed."""
WAIT_S = 30.0
"""How long somebody waits for another process that holds the index."""
SAY_AFTER_S = 1.0
_POLL_S = 0.02
_log = logging.getLogger("rag_audio.index")
"""Unlike structlog's, its warnings go to stderr where nobody configured anything."""


class IndexLock:
    """Holds ``path`` exclusively (``flock``) until :meth:`release`.

    Args:
        path: the lock file; its folder must exist.
        what: how to call the locked thing in an error.

    Raises:
        BackendUnavailable: another process, or this one, holds it; the message names the holder.
    """

    def __init__(self, path: Path, what: str) -> None:
        file = _opened(path, what)
        if not _locked(file):
            holder = _holder(file)
            file.close()
            raise BackendUnavailable(
                f"{what} is in use by {holder}",
                hint="wait for it or end it; one process at a time can hold the embedded index "
                "(several need a Qdrant server: RAG_AUDIO_QDRANT_URL)",
            )
        self._file: TextIO | None = file
        _write(file, _self())

    def release(self) -> None:
        """Free the lock; a second call does nothing."""
        if self._file is None:
            return
        _write(self._file, None)
        fcntl.flock(self._file, fcntl.LOCK_UN)
        self._file.close()
        self._file = None


def wait_for_lock(
    folder: Path, is_served: Callable[[], bool], wait_s: float | None = None
) -> IndexLock | None:
    """The lock of an index as soon as whoever has it lets go; waiting is said once, as a warning.

    Args:
        folder: the index's, which must exist.
        is_served: whether the holder lets others to the index, so that waiting makes no sense.
        wait_s: seconds at most; ``WAIT_S`` by default.

    Returns:
        The lock; None: it is served.

    Raises:
        BackendUnavailable: the time is up, or it cannot be locked; the message names the holder.
    """
    what = f"the index at {folder}"
    end = time.monotonic() + (WAIT_S if wait_s is None else wait_s)
    say_at: float | None = time.monotonic() + SAY_AFTER_S
    with _opened(folder / QUEUE, what) as queue:
        is_next = False
        try:
            while True:
                is_next = is_next or _locked(queue)
                try:
                    # Not before those who came first; the last try is there to name the holder.
                    if is_next or time.monotonic() >= end:
                        return IndexLock(folder / LOCK, what)
                except BackendUnavailable as error:
                    if is_served():
                        return None
                    if time.monotonic() >= end:
                        raise
                    if say_at is not None and time.monotonic() >= say_at:
                        _log.warning("waiting: %s", error.message)
                        say_at = None
                time.sleep(_POLL_S)
        finally:
            # A process that was forked meanwhile has the file open too.
            fcntl.flock(queue, fcntl.LOCK_UN)


def is_wanted(folder: Path) -> bool:
    """Whether somebody waits for the lock of the index in a folder."""
    try:
        with (folder / QUEUE).open("a+", encoding="utf-8") as queue:
            free = _locked(queue)
            fcntl.flock(queue, fcntl.LOCK_UN)
            return not free
    except OSError:
        return False


def _opened(path: Path, what: str) -> TextIO:
    try:
        return path.open("a+", encoding="utf-8")
    except OSError as error:
        raise BackendUnavailable(
            f"{what} cannot be locked: {error}", hint="check that its folder is writable"
        ) from error


def _locked(file: TextIO) -> bool:
    """Try to lock a file; closing it frees the lock."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _self() -> dict[str, object]:
    """Who this process is. Arguments past the command's name may hold a prompt: left out."""
    program = Path(sys.argv[0]).name if sys.argv and sys.argv[0] else "python"
    verb = sys.argv[1] if len(sys.argv) > 1 and sys.argv[1].isalpha() else ""
    return {
        "pid": os.getpid(),
        "command": f"{program} {verb}".strip(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _write(file: TextIO, document: dict[str, object] | None) -> None:
    file.seek(0)
    file.truncate()
    if document is not None:
        file.write(json.dumps(document))
    file.flush()


def _holder(file: TextIO) -> str:
    """The holder as it wrote itself down; it may be between locking and writing."""
    try:
        file.seek(0)
        holder = json.loads(file.read())
        return f"pid {holder['pid']} ({holder['command']}), since {holder['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
