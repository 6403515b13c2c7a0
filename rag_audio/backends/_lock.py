"""A lock file that names its holder. The kernel frees it when the holder dies, however it dies."""

from __future__ import annotations

import fcntl
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from rag_audio.errors import BackendUnavailable


class IndexLock:
    """Holds ``path`` exclusively (``flock``) until :meth:`release`.

    Args:
        path: the lock file; its folder must exist.
        what: how to call the locked thing in an error.

    Raises:
        BackendUnavailable: another process, or this one, holds it; the message names the holder.
    """

    def __init__(self, path: Path, what: str) -> None:
        try:
            self._file: TextIO | None = path.open("a+", encoding="utf-8")
        except OSError as error:
            raise BackendUnavailable(
                f"{what} cannot be locked: {error}", hint="check that its folder is writable"
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = _holder(self._file)
            self._file.close()
            raise BackendUnavailable(
                f"{what} is in use by {holder}",
                hint="wait for it or end it; one process at a time can hold the embedded index "
                "(several need a Qdrant server: RAG_AUDIO_QDRANT_URL)",
            ) from error
        _write(self._file, _self())

    def release(self) -> None:
        """Free the lock; a second call does nothing."""
        if self._file is None:
            return
        _write(self._file, None)
        fcntl.flock(self._file, fcntl.LOCK_UN)
        self._file.close()
        self._file = None


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
