"""Who may write: named claims that end with the process that holds them, even when it is killed."""

from __future__ import annotations

import fcntl
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from sqlalchemy import Connection, Engine, text

from rag_audio.database import IN_MEMORY, database_errors, lock_number
from rag_audio.errors import BackendUnavailable

_held_in_memory: set[tuple[int, str]] = set()
_guard = threading.Lock()


@contextmanager
def claim(engine: Engine, name: str) -> Iterator[None]:
    """Hold ``name`` until the block ends or this process dies, however it dies.

    SQLite: an advisory lock on a small file beside the database, which the kernel lets go with the
    process. PostgreSQL: a session's advisory lock, which the server lets go with the connection.

    Raises:
        BackendUnavailable: another process or thread holds it; the message says which.
    """
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
    """The file stays: removing it would let a third process lock a new file of the same name."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as cause:
        raise BackendUnavailable(
            f"the lock file {str(path)!r} cannot be opened: {cause.strerror}",
            hint="check the permissions of the folder",
        ) from cause
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as cause:
            holder = os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip()
            raise _refusal(name, holder or "another process") from cause
        since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        holder = f"process {os.getpid()} on {socket.gethostname()} since {since}\n"
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, holder.encode(), 0)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _in_memory(engine: Engine, name: str) -> Iterator[None]:
    key = (id(engine), name)
    with _guard:
        if key in _held_in_memory:
            raise _refusal(name, f"another thread of process {os.getpid()}")
        _held_in_memory.add(key)
    try:
        yield
    finally:
        with _guard:
            _held_in_memory.discard(key)


@contextmanager
def _on_server(engine: Engine, name: str) -> Iterator[None]:
    key = lock_number(name)
    with database_errors(engine):
        connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    try:
        with database_errors(engine):
            mine = connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": key})
            if not mine.scalar():
                raise _refusal(name, _holder_on_server(connection, key))
        yield
    finally:
        # The session ends with the connection, and its locks with the session.
        connection.invalidate()
        connection.close()


def _holder_on_server(connection: Connection, key: int) -> str:
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


def _refusal(name: str, holder: str) -> BackendUnavailable:
    return BackendUnavailable(
        f"{name} is being written by {holder}", hint="wait until it has finished, then try again"
    )
