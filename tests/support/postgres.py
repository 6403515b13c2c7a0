"""A throw-away PostgreSQL for tests: a cluster of its own in a temporary folder, no network."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import create_engine, text


class NoPostgres(Exception):
    """Says why there is none."""


def binaries() -> Path:
    """The folder of ``initdb`` and ``pg_ctl``; Debian keeps them off the path."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not places:
        raise NoPostgres("no PostgreSQL on this machine (apt-get install postgresql)")
    return places[-1].parent


@contextmanager
def cluster() -> Iterator[str]:
    """The URL of a running server's ``postgres`` database; the server ends with the block."""
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise NoPostgres("psycopg is not installed (pip install 'rag-audio[postgres]')") from error
    commands = binaries()
    # A socket's path may have 107 characters, and pytest's folders are longer.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    account = server_account()
    try:
        folder.chmod(0o755)
        if account:
            os.chown(folder, account["user"], account["group"])
        data, log = folder / "data", folder / "log"
        _run(commands / "initdb", "-D", data, "-U", "rag", "-A", "trust", "-N", **account)
        settings = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off"
        settings += " -c max_connections=60"
        _run(commands / "pg_ctl", "-D", data, "-l", log, "-o", settings, "-w", "start", **account)
        try:
            yield f"postgresql://rag@/postgres?host={folder}"
        finally:
            _run(commands / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop", **account)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def new_schema(server: str) -> str:
    """The URL of a new, empty schema: as good as a database of its own, and much cheaper."""
    name = f"t{uuid4().hex}"
    engine = create_engine(server.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {name}"))
    engine.dispose()
    return f"{server}&options=-csearch_path%3D{name}"


def server_account() -> dict[str, Any]:
    """Who runs the server, for ``subprocess``: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}
    raise NoPostgres("PostgreSQL does not run as root, and there is nobody else")


def _run(*arguments: object, **account: Any) -> None:
    done = subprocess.run(
        [str(argument) for argument in arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        cwd="/",
        check=False,
        timeout=120,
        **account,
    )
    if done.returncode:
        raise RuntimeError(f"{arguments[0]} failed: {done.stderr[-500:]}")
