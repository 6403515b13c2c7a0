"""Locks between processes: of files, of the embedded index, and of names in the database.

All end with the process that holds them, however it dies: the kernel frees ``flock``, the server
frees the advisory locks of a transaction.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import IO, TYPE_CHECKING, TextIO

from rag_audio.errors import BackendUnavailable

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

LOCK, QUEUE, SOCKET = "lock", "queue.lock", "serve.sock"
"""In the index's folder: lock files, which stay when an index is removed, and its socket."""
WAIT_S = 30.0
"""How long to wait for another process that holds the index."""
SAY_AFTER_S = 1.0
_POLL_S = 0.02
_log = logging.getLogger("rag_audio.index")
"""Unlike structlog's, its warnings go to stderr without any configuration."""
_held_in_memory: set[tuple[int, str]] = set()
_guard = threading.Lock()


def lock_file(file: int | IO[bytes] | IO[str], *, shared: bool = False) -> None:
    """Lock an open file (``flock``), waiting for others; closing it frees the lock.

    Args:
        shared: let others lock it so as well.
    """
    fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)


def try_lock(file: int | IO[bytes] | IO[str]) -> bool:
    """Lock an open file exclusively without waiting; False: another holds it, or it cannot be."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def unlock(file: int | IO[bytes] | IO[str]) -> None:
    """Free a lock before its file is closed: a process forked meanwhile has the file open too."""
    fcntl.flock(file, fcntl.LOCK_UN)


@contextmanager
def lock_if_free(path: Path) -> Iterator[bool]:
    """Hold the lock of a file or folder during the block; False: another does, or it is gone."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        yield False
        return
    try:
        yield try_lock(handle)
    finally:
        os.close(handle)


class FileLock:
    """Holds a lock file, which names its holder, until :meth:`release`.

    The file stays: removing it would let a third process lock a new file of the same name.

    Args:
        path: the lock file; its folder must exist.
        what: how to call the locked thing in an error.
        busy: the error's message and hint for a holder; None: those of the embedded index.

    Raises:
        BackendUnavailable: another process, or this one, holds it; the message names the holder.
    """

    def __init__(
        self, path: Path, what: str, busy: Callable[[str], BackendUnavailable] | None = None
    ) -> None:
        file = _opened(path, what)
        if not try_lock(file):
            holder = _holder(file)
            file.close()
            raise busy(holder) if busy else _index_in_use(what, holder)
        self._file: TextIO | None = file
        _write(file, json.dumps(_this_process()))

    def release(self) -> None:
        """Free the lock; a second call does nothing."""
        if self._file is not None:
            _write(self._file, "")
            unlock(self._file)
            self._file.close()
            self._file = None


def wait_for_index(
    folder: Path, is_served: Callable[[], bool], wait_s: float | None = None
) -> FileLock | None:
    """The lock of an index as soon as its holder frees it; waiting is said once, as a warning.

    Whoever waits stands in a queue of one place, ``queue.lock`` beside the lock: a holder that
    looks (:func:`is_wanted`) sees that, and cannot have the lock again before the one who waits.

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
                is_next = is_next or try_lock(queue)
                try:
                    # Not before those who came first; the last try is there to name the holder.
                    if is_next or time.monotonic() >= end:
                        return FileLock(folder / LOCK, what)
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
            unlock(queue)


def is_wanted(folder: Path) -> bool:
    """Whether another process waits for the lock of the index in a folder."""
    try:
        with (folder / QUEUE).open("a+", encoding="utf-8") as queue:
            free = try_lock(queue)
            unlock(queue)
            return not free
    except OSError:
        return False


@contextmanager
def claim(engine: Engine, name: str) -> Iterator[None]:
    """Hold ``name`` until the block ends or this process dies.

    SQLite: a lock file beside the database. PostgreSQL: a transaction's advisory lock, which a
    pooler of transactions leaves to us for as long as the transaction is open.

    Raises:
        BackendUnavailable: another process or thread holds it; the message says which.
    """
    from rag_audio.storage.database import IN_MEMORY

    if engine.dialect.name == "postgresql":
        holding = _on_server(engine, name)
    elif engine.url.database in IN_MEMORY:
        holding = _in_memory(engine, name)
    else:
        database = Path(str(engine.url.database))
        tag = sha256(name.encode()).hexdigest()[:12]
        holding = _on_file(database.with_name(f"{database.name}.{tag}.lock"), name)
    with holding:
        yield


@contextmanager
def _on_file(path: Path, name: str) -> Iterator[None]:
    lock = FileLock(path, name, lambda holder: _being_written(name, holder))
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _in_memory(engine: Engine, name: str) -> Iterator[None]:
    key = (id(engine), name)
    with _guard:
        if key in _held_in_memory:
            raise _being_written(name, f"another thread of process {os.getpid()}")
        _held_in_memory.add(key)
    try:
        yield
    finally:
        with _guard:
            _held_in_memory.discard(key)


@contextmanager
def _on_server(engine: Engine, name: str) -> Iterator[None]:
    from sqlalchemy import text
    from sqlalchemy.exc import SQLAlchemyError

    from rag_audio.storage.database import database_errors, lock_number, no_timeouts

    key = lock_number(name)
    with database_errors(engine):
        connection = engine.connect()
    try:
        with database_errors(engine):
            # It does nothing while the block works, and it sees no rows that others could not drop.
            no_timeouts(connection)
            mine = connection.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": key})
            if not mine.scalar():
                raise _being_written(name, _holder_on_server(connection, key))
        yield
    finally:
        with suppress(SQLAlchemyError):  # The lock went with the connection.
            connection.close()


def _holder_on_server(connection: Connection, key: int) -> str:
    from sqlalchemy import text

    row = connection.execute(
        text(
            "SELECT a.client_addr, a.pid, a.backend_start FROM pg_locks l "
            "JOIN pg_stat_activity a ON a.pid = l.pid "
            "WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 "
            "AND l.classid::bigint = :high AND l.objid::bigint = :low"
        ),
        {"high": (key >> 32) & 0xFFFFFFFF, "low": key & 0xFFFFFFFF},
    ).first()
    if row is None:
        return "another process"
    return f"a client at {row[0] or 'the server itself'} (backend {row[1]}) since {row[2]:%F %T}"


def _being_written(name: str, holder: str) -> BackendUnavailable:
    return BackendUnavailable(
        f"{name} is being written by {holder}", hint="wait until it has finished, then try again"
    )


def _index_in_use(what: str, holder: str) -> BackendUnavailable:
    return BackendUnavailable(
        f"{what} is in use by {holder}",
        hint="wait for it or end it; one process at a time can hold the embedded index "
        "(several need a Qdrant server: RAG_AUDIO_QDRANT_URL)",
    )


def _opened(path: Path, what: str) -> TextIO:
    def private(name: str, flags: int) -> int:
        return os.open(name, flags | os.O_CLOEXEC, 0o600)

    try:
        return open(path, "a+", encoding="utf-8", opener=private)
    except OSError as error:
        raise BackendUnavailable(
            f"{what} cannot be locked: {error}", hint="check that its folder is writable"
        ) from error


def _this_process() -> dict[str, object]:
    """Arguments past the command's name may hold a prompt: they are left out."""
    program = Path(sys.argv[0]).name if sys.argv and sys.argv[0] else "python"
    verb = sys.argv[1] if len(sys.argv) > 1 and sys.argv[1].isalpha() else ""
    return {
        "pid": os.getpid(),
        "command": f"{program} {verb}".strip(),
        "host": socket.gethostname(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _write(file: TextIO, text: str) -> None:
    file.seek(0)
    file.truncate()
    file.write(text)
    file.flush()


def _holder(file: TextIO) -> str:
    """The holder as it wrote itself down; it may be between locking and writing."""
    try:
        file.seek(0)
        holder = json.loads(file.read())
        at = f" on {holder['host']}" if "host" in holder else ""
        return f"pid {holder['pid']} ({holder['command']}){at}, since {holder['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
