"""One way to reach the SQL database: SQLite beside the home by default, PostgreSQL by URL.

SQLite runs in WAL mode with ``synchronous=FULL``: a commit that returned survives a power cut,
unless :func:`writing` was told that it need not.
The driver's own transaction handling is off, so that a transaction begins when we say so, and a
writer takes the write lock at its first statement (``BEGIN IMMEDIATE``): a read that is followed by
a write in one transaction can then neither see stale rows nor fail half way for a taken lock.

On PostgreSQL nothing outlives a transaction, so that a pooler in front (PgBouncer, ``pool_mode =
transaction``) may give each transaction another connection: no prepared statements, no session's
locks, no session's settings; timeouts are set with ``SET LOCAL``.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import NullPool, StaticPool

from rag_audio.errors import BackendUnavailable, ConfigError, RagAudioError

if TYPE_CHECKING:
    from rag_audio.settings import Settings

BUSY_TIMEOUT_S = 30.0
"""How long a writer waits for another one before it gives up."""

AWAY = "the database cannot be reached"
"""What callers over the network read of an error of the database's."""
ROWS_AT_ONCE = 500
"""Rows, or values of one condition, of one statement."""
_WRITE = "rag_audio_write"
IN_MEMORY = (None, "", ":memory:")
"""Database names of a SQLite that lives in this process only."""
_Value = TypeVar("_Value")


def sqlite_url(path: Path) -> str:
    """The URL of a SQLite file, whatever characters its path has."""
    url = URL.create("sqlite", database=str(path.expanduser().absolute()))
    return url.render_as_string(hide_password=False)


@dataclass(frozen=True)
class ServerLimits:
    """What one process takes of a PostgreSQL server; the fields are settings, see
    :class:`rag_audio.settings.Settings`. A timeout of 0 is the server's own.
    """

    pool_size: int = 5
    pool_overflow: int = 10
    pool_wait_s: float = 30.0
    pool_recycle_s: int = 1800
    statement_timeout_s: float = 600.0
    lock_timeout_s: float = 30.0
    idle_timeout_s: float = 600.0

    def set_local(self) -> str:
        """The statements that set the timeouts for one transaction; empty: none is set."""
        said = {
            "statement_timeout": self.statement_timeout_s,
            "lock_timeout": self.lock_timeout_s,
            "idle_in_transaction_session_timeout": self.idle_timeout_s,
        }
        return "; ".join(
            f"SET LOCAL {name} = {max(1, round(1000 * limit))}"
            for name, limit in said.items()
            if limit
        )


def limits_of(settings: Settings) -> ServerLimits:
    """What settings say about the database's server."""
    named = {field.name: f"database_{field.name}" for field in fields(ServerLimits)}
    return ServerLimits(**{name: getattr(settings, said) for name, said in named.items()})


def connect(url: str, limits: ServerLimits = ServerLimits()) -> Engine:
    """An engine for ``url``; SQLite files and their folder are made on first use.

    Args:
        url: ``sqlite:///…`` (:func:`sqlite_url`) or ``postgresql://user:password@host/name``.
        limits: of a server.

    Raises:
        ConfigError: the URL is malformed, of another database, or its driver is not installed.
        BackendUnavailable: the database cannot be opened.
    """
    parsed = _parse(url)
    is_file = parsed.get_backend_name() == "sqlite"
    engine = _sqlite(parsed) if is_file else _postgresql(parsed, limits)
    with database_errors(engine), engine.connect():
        return engine


def connect_to_read(path: Path) -> Engine:
    """An engine on a SQLite file that is there; nothing is written, made or migrated through it."""
    address = f"{path.absolute().as_uri()}?mode=ro"

    def opened() -> sqlite3.Connection:
        driver = sqlite3.connect(address, uri=True, timeout=BUSY_TIMEOUT_S, check_same_thread=False)
        driver.isolation_level = None
        return driver

    engine = create_engine(sqlite_url(path), creator=opened, poolclass=NullPool)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


@contextmanager
def writing(
    engine: Engine, lock: str | None = None, *, is_durable: bool = True
) -> Iterator[Connection]:
    """A write transaction: committed at the end, rolled back when the block raises.

    On SQLite it holds the one write lock from the start; on PostgreSQL it is a plain transaction
    which, when ``lock`` is given, holds the advisory lock of that name until its end.

    Args:
        is_durable: false where a power cut may undo the transaction after its end, as a whole:
            it does not wait for the disk. What is done is still done if the process dies.

    Raises:
        BackendUnavailable: on SQLite, another writer held the lock for longer than
            ``BUSY_TIMEOUT_S``, on PostgreSQL for longer than ``lock_timeout_s`` of
            :class:`ServerLimits`; or the database failed; what the block itself raises passes
            through.
    """
    with (
        database_errors(engine),
        engine.connect().execution_options(**{_WRITE: True}) as connection,
        _waiting_for_disk(connection, is_durable),
        connection.begin(),
    ):
        if not is_durable and connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
        if lock is not None:
            hold(connection, lock)
        yield connection


@contextmanager
def _waiting_for_disk(connection: Connection, is_durable: bool) -> Iterator[None]:
    """Whether transactions that begin and end in the block wait for the disk; SQLite keeps this by
    connection, and takes it between transactions alone."""
    if is_durable or connection.dialect.name != "sqlite" or _is_in_memory(connection.engine):
        yield
        return
    driver: Any = connection.connection.driver_connection
    driver.execute("PRAGMA synchronous = NORMAL")
    try:
        yield
    finally:
        driver.execute("PRAGMA synchronous = FULL")


def _is_in_memory(engine: Engine) -> bool:
    return engine.url.database in IN_MEMORY


def hold(connection: Connection, lock: str) -> None:
    """Take an advisory lock until the end of a write transaction; again does nothing.

    On SQLite the transaction holds the one write lock already.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": lock_number(lock)})


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A read transaction: every statement in it sees the same state.

    Raises:
        BackendUnavailable: the database failed.
    """
    with database_errors(engine), snapshot(engine) as connection:
        yield connection


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """As :func:`reading`, with SQLAlchemy's own errors, for who tells them apart."""
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection = connection.execution_options(isolation_level="REPEATABLE READ")
        yield connection


@contextmanager
def database_errors(
    where: Engine | str, error: type[RagAudioError] = BackendUnavailable
) -> Iterator[None]:
    """Turns SQLAlchemy's errors into ``error``, with the cause chained.

    Args:
        where: the engine (its password is hidden), or words that say which database.
        error: the class to raise, for instance ``LedgerError``.
    """
    try:
        yield
    except SQLAlchemyError as cause:
        name = where if isinstance(where, str) else where.url.render_as_string(hide_password=True)
        said = f"database {name}: {_first_line(cause)}"
        raise error(said, hint=_hint(cause), public=AWAY) from cause


def in_parts(values: Sequence[_Value]) -> Iterator[Sequence[_Value]]:
    """The values, at most ``ROWS_AT_ONCE`` of them at a time."""
    for start in range(0, len(values), ROWS_AT_ONCE):
        yield values[start : start + ROWS_AT_ONCE]


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as cause:
        raise ConfigError(
            f"the database URL {_without_password(url)!r} cannot be read",
            hint="write it like sqlite:////var/lib/rag-audio.db or postgresql://user@host/name",
        ) from cause
    backend = parsed.get_backend_name()
    if backend == "postgres":
        parsed = parsed.set(drivername="postgresql")
    elif backend not in ("sqlite", "postgresql"):
        raise ConfigError(
            f"the database {backend!r} is not supported", hint="use sqlite or postgresql"
        )
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    return parsed


def _without_password(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if separator else "…"


def _sqlite(url: URL) -> Engine:
    options: dict[str, Any] = {"connect_args": {"timeout": BUSY_TIMEOUT_S}}
    if url.database in IN_MEMORY:
        # Every thread must see the same memory, so they share the one connection.
        options = {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}
    else:
        _make_folder(Path(str(url.database)).parent)
    engine = create_engine(url, **options)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        raise BackendUnavailable(
            f"the database's folder {str(folder)!r} cannot be made: {cause.strerror}",
            hint="choose another folder with --home or RAG_AUDIO_HOME",
        ) from cause


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT_S * 1000)}")
    _enter_wal(cursor)
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _enter_wal(cursor: sqlite3.Cursor) -> None:
    """SQLite does not wait for the busy timeout when two connections switch a new file at once."""
    give_up = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL").fetchall()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > give_up:
                raise
            time.sleep(0.02)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    wants_write = connection.get_execution_options().get(_WRITE, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if wants_write else "BEGIN")


def _postgresql(url: URL, limits: ServerLimits) -> Engine:
    try:
        engine = create_engine(
            url,
            pool_pre_ping=True,
            pool_size=limits.pool_size,
            max_overflow=limits.pool_overflow,
            pool_timeout=limits.pool_wait_s,
            pool_recycle=limits.pool_recycle_s,
            connect_args={"connect_timeout": 10, "prepare_threshold": None},
        )
    except (ModuleNotFoundError, NoSuchModuleError) as cause:
        raise ConfigError(
            f"the driver for {url.drivername} is not installed",
            hint="pip install 'rag-audio[postgres]'",
        ) from cause
    if said := limits.set_local():
        event.listen(engine, "begin", partial(_set_timeouts, said))
    return engine


def _set_timeouts(said: str, connection: Connection) -> None:
    if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
        # Rows of what follows may come through a server's cursor, which takes no such statement.
        plain = {"stream_results": False, "yield_per": None}
        connection.exec_driver_sql(said, execution_options=plain)


def no_timeouts(connection: Connection, lock_s: float | None = None) -> None:
    """Let the statements of a transaction take as long as they need, and its holder do nothing:
    migrations, and locks that are held while work is done elsewhere.

    Args:
        lock_s: how long it waits for locks from now on; None: as long as always.
    """
    if connection.dialect.name == "postgresql":
        limits = ServerLimits(statement_timeout_s=0, idle_timeout_s=0, lock_timeout_s=lock_s or 0)
        free = "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0"
        connection.exec_driver_sql("; ".join(filter(None, (free, limits.set_local()))))


def lock_number(name: str) -> int:
    """A signed 64-bit number, as PostgreSQL names its advisory locks."""
    return int.from_bytes(sha256(name.encode()).digest()[:8], "big", signed=True)


def _first_line(error: SQLAlchemyError) -> str:
    source = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return (str(source).strip().splitlines() or [type(source).__name__])[0]


def _hint(error: SQLAlchemyError) -> str:
    said = str(error)
    if "lock timeout" in said:
        return (
            "another rag-audio process holds the lock: try again when it has finished, or wait "
            "longer with RAG_AUDIO_DATABASE_LOCK_TIMEOUT_S"
        )
    if "statement timeout" in said:
        return "the server ended it; RAG_AUDIO_DATABASE_STATEMENT_TIMEOUT_S says after how long"
    if "idle-in-transaction timeout" in said:
        return "the server ended it; RAG_AUDIO_DATABASE_IDLE_TIMEOUT_S says after how long"
    if "locked" in said or isinstance(error, PoolTimeout):
        return "another rag-audio process is writing; try again when it has finished"
    if "not a database" in said or "malformed" in said:
        return "the file is damaged or is not a rag-audio database; restore it from a backup"
    if "full" in said:
        return "free some space on the disk"
    if "unable to open" in said or "readonly" in said:
        return "check the permissions of the file and its folder"
    return "check that the database runs and that RAG_AUDIO_DATABASE_URL is right"
