"""A throw-away PgBouncer before a server of :mod:`tests.support.postgres`, pooling transactions."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from sqlalchemy import create_engine, make_url, text

from tests.support.postgres import server_account

PORT = 6432
_SETTINGS = """\
[databases]
* = host={server} user=rag
[pgbouncer]
listen_port = {port}
unix_socket_dir = {folder}
logfile = {folder}/log
auth_type = any
pool_mode = transaction
default_pool_size = 6
server_idle_timeout = 2
server_round_robin = 1
"""
"""Whoever has the pool for a moment gets the connection that was idle longest: not the one before.
Nothing is reset between two holders of a connection, as is PgBouncer's default for transactions."""


class NoPgbouncer(Exception):
    """Says why there is none."""


@contextmanager
def pooler(server: str) -> Iterator[Path]:
    """The folder of the socket of a PgBouncer before a server, which ends with the block."""
    command = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if command is None:
        raise NoPgbouncer("no PgBouncer on this machine (apt-get install pgbouncer)")
    folder, owner = Path(tempfile.mkdtemp(prefix="pb-")), server_account()
    try:
        folder.chmod(0o755)
        file = folder / "pgbouncer.ini"
        said = _SETTINGS.format(server=make_url(server).query["host"], port=PORT, folder=folder)
        file.write_text(said, encoding="utf-8")
        if owner:
            os.chown(folder, owner["user"], owner["group"])
        with subprocess.Popen([command, "-q", file], cwd="/", **owner) as running:
            try:
                _wait_for(folder / f".s.PGSQL.{PORT}", running)
                yield folder
            finally:
                running.terminate()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(socket: Path, running: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 60
    while not socket.exists():
        if running.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"PgBouncer did not start: {(socket.parent / 'log').read_text()}")
        time.sleep(0.02)


def new_database(server: str, folder: Path) -> str:
    """The URL, by the pooler, of a new, empty database of a server.

    A schema would not do: its name is a setting of the session, which a pooler does not keep.
    """
    name = f"t{uuid4().hex}"
    engine = create_engine(
        server.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return f"postgresql://rag@/{name}?host={folder}&port={PORT}"
