"""The SQL engine: durable settings, writers that wait for each other, clear errors."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from rag_audio.errors import BackendUnavailable, ConfigError, LedgerError
from rag_audio.settings import Settings
from rag_audio.storage.database import (
    ServerLimits,
    connect,
    database_errors,
    limits_of,
    no_timeouts,
    reading,
    sqlite_url,
    writing,
)
from rag_audio.storage.locks import claim


def test_sqlite_is_opened_durably_and_its_folder_is_made(tmp_path: Path) -> None:
    engine = connect(sqlite_url(tmp_path / "new folder" / "ä?#%.db"))
    with reading(engine) as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert pragmas == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "busy_timeout": 30_000,
    }
    assert (tmp_path / "new folder" / "ä?#%.db").is_file()


def test_a_transaction_that_need_not_be_durable_leaves_the_next_one_durable(tmp_path: Path) -> None:
    engine = connect(sqlite_url(tmp_path / "rows.db"))

    def synchronous(connection: Connection) -> int:
        return int(connection.exec_driver_sql("PRAGMA synchronous").scalar_one())

    with writing(engine, is_durable=False) as connection:
        connection.execute(text("CREATE TABLE rows (n INTEGER)"))
        assert synchronous(connection) == 1
    with (
        pytest.raises(ValueError, match="stopped"),
        writing(engine, is_durable=False) as connection,
    ):
        connection.execute(text("INSERT INTO rows VALUES (1)"))
        raise ValueError("stopped")
    with writing(engine) as connection:
        assert synchronous(connection) == 2
        assert connection.execute(text("SELECT count(*) FROM rows")).scalar_one() == 0


def test_on_a_server_too_a_transaction_need_not_wait_for_the_disk(postgres_url: str) -> None:
    engine = connect(postgres_url)
    told = []
    for is_durable in (False, True):
        with writing(engine, is_durable=is_durable) as connection:
            told.append(connection.execute(text("SHOW synchronous_commit")).scalar_one())
    assert told == ["off", "on"]


def test_writers_that_read_first_lose_no_update(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "counter.db")
    with writing(connect(url)) as connection:
        connection.execute(text("CREATE TABLE counter (n INTEGER)"))
        connection.execute(text("INSERT INTO counter VALUES (0)"))

    def count_up() -> None:
        engine = connect(url)
        for _ in range(20):
            with writing(engine) as connection:
                n = connection.execute(text("SELECT n FROM counter")).scalar_one()
                connection.execute(text("UPDATE counter SET n = :n"), {"n": n + 1})

    threads = [threading.Thread(target=count_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with reading(connect(url)) as connection:
        assert connection.execute(text("SELECT n FROM counter")).scalar_one() == 80


def test_a_write_that_raises_leaves_nothing_behind(tmp_path: Path) -> None:
    engine = connect(sqlite_url(tmp_path / "a.db"))
    with writing(engine) as connection:
        connection.execute(text("CREATE TABLE t (n INTEGER)"))
    with pytest.raises(ZeroDivisionError), writing(engine) as connection:
        connection.execute(text("INSERT INTO t VALUES (1)"))
        _ = 1 / 0
    with reading(engine) as connection:
        assert connection.execute(text("SELECT count(*) FROM t")).scalar_one() == 0


def test_memory_is_shared_by_all_connections_of_an_engine() -> None:
    engine = connect("sqlite://")
    with writing(engine) as connection:
        connection.execute(text("CREATE TABLE t (n INTEGER)"))
    with reading(engine) as connection:
        assert connection.execute(text("SELECT count(*) FROM t")).scalar_one() == 0


def test_database_errors_become_ours_with_the_cause_chained(tmp_path: Path) -> None:
    engine = connect(sqlite_url(tmp_path / "a.db"))
    with (
        pytest.raises(LedgerError, match="no such table") as raised,
        database_errors(engine, LedgerError),
        engine.connect() as connection,
    ):
        connection.execute(text("SELECT * FROM nowhere"))
    assert raised.value.__cause__ is not None
    assert "\n" not in raised.value.message


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "song.db"
    path.write_bytes(b"RIFF" * 1000)
    with pytest.raises(BackendUnavailable, match=r"song\.db.*not a database") as raised:
        connect(sqlite_url(path))
    assert "backup" in raised.value.hint


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BackendUnavailable, match="cannot be made"):
        connect(sqlite_url(tmp_path / "file" / "a.db"))


@pytest.mark.parametrize(
    ("url", "says"),
    [("nonsense", "cannot be read"), ("mysql://u:secret@h/n", "'mysql' is not supported")],
)
def test_a_wrong_url_is_refused_without_its_password(url: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as raised:
        connect(url)
    assert "secret" not in raised.value.message


TIMEOUTS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")


def timeouts(connection: Connection) -> list[str]:
    return [str(connection.execute(text(f"SHOW {name}")).scalar()) for name in TIMEOUTS]


def test_timeouts_hold_for_each_transaction_and_for_nothing_else(postgres_url: str) -> None:
    engine = connect(postgres_url, ServerLimits(1, 0, 5.0, 60, 12.5, 0.25, 0))
    with reading(engine) as connection:
        assert timeouts(connection) == ["12500ms", "250ms", "0"]
    with writing(engine) as connection:
        assert timeouts(connection) == ["12500ms", "250ms", "0"]
        no_timeouts(connection, 60.0)
        assert timeouts(connection) == ["0", "1min", "0"]
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        assert timeouts(connection) == ["0", "0", "0"], "the session's own are as they were"
    with engine.connect() as connection:
        assert connection.connection.driver_connection.prepare_threshold is None  # type: ignore[union-attr]


def test_settings_say_what_a_process_takes_of_a_server(tmp_path: Path) -> None:
    assert limits_of(Settings(home=tmp_path)) == ServerLimits()
    said = Settings(home=tmp_path, database_pool_size=2, database_lock_timeout_s=0)
    assert limits_of(said) == ServerLimits(pool_size=2, lock_timeout_s=0)
    assert "lock_timeout" not in limits_of(said).set_local()


@pytest.mark.parametrize("lock", [None, "ledger"])
def test_a_lock_that_is_not_got_in_time_is_one_line(postgres_url: str, lock: str | None) -> None:
    holder = connect(postgres_url)
    with writing(holder) as connection:
        connection.execute(text("CREATE TABLE t (n INTEGER)"))
        connection.execute(text("INSERT INTO t VALUES (1)"))
    other = connect(postgres_url, ServerLimits(lock_timeout_s=0.05))
    with writing(holder, lock) as connection:
        connection.execute(text("UPDATE t SET n = 2"))
        with pytest.raises(BackendUnavailable) as raised, writing(other, lock) as waiting:
            waiting.execute(text("UPDATE t SET n = 3"))
    assert raised.value.message.endswith("canceling statement due to lock timeout")
    assert "\n" not in raised.value.message
    assert "another rag-audio process holds the lock" in raised.value.hint


def test_a_claim_is_a_lock_of_one_transaction_that_may_do_nothing(postgres_url: str) -> None:
    engine = connect(postgres_url, ServerLimits(idle_timeout_s=0.05))
    with claim(engine, "library x"):
        with reading(engine) as connection:
            connection.execute(text("SELECT pg_sleep(0.2)"))
        with pytest.raises(BackendUnavailable, match="library x is being written by"):
            claim(connect(postgres_url), "library x").__enter__()
        with reading(engine) as connection:
            held = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
            assert connection.execute(held).scalar_one() >= 1
    with claim(connect(postgres_url), "library x"):
        pass
