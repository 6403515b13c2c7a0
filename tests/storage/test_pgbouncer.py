"""Behind a PgBouncer that pools transactions: other suites take its ``pgbouncer_url`` as well."""

from __future__ import annotations

from sqlalchemy import text

from rag_audio.storage.database import ServerLimits, connect, reading, writing

_PID = text("SELECT pg_backend_pid()")


def test_the_pooler_gives_transactions_other_connections(pgbouncer_url: str) -> None:
    engine = connect(pgbouncer_url)
    with reading(engine) as one, reading(engine) as two, reading(engine) as three:
        pids = {db.execute(_PID).scalar_one() for db in (one, two, three)}
    assert len(pids) == 3
    seen = set()
    for _ in range(8):  # With the ping before each these are 16 turns.
        with reading(engine) as db:
            seen.add(db.execute(_PID).scalar_one())
    assert len(seen) > 1
    engine.dispose()


def test_no_limit_or_isolation_of_a_transaction_is_left_for_the_next_one(
    pgbouncer_url: str,
) -> None:
    """Somebody else's next transaction on the same connection has the server's own settings."""
    engine = connect(pgbouncer_url, ServerLimits(lock_timeout_s=7, statement_timeout_s=11))
    for _ in range(8):
        with reading(engine) as db:
            assert db.execute(text("SHOW lock_timeout")).scalar() == "7s"
            assert db.execute(text("SHOW transaction_isolation")).scalar() == "repeatable read"
        with writing(engine, "ledger") as db:
            assert db.execute(text("SHOW transaction_isolation")).scalar() == "read committed"
    other = connect(pgbouncer_url, ServerLimits(0, 0, 30, 1800, 0, 0, 0))
    for _ in range(8):
        with reading(other) as db:
            assert db.execute(text("SHOW lock_timeout")).scalar() == "0"
            assert db.execute(text("SHOW statement_timeout")).scalar() == "0"
            held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
            assert db.execute(text(held)).scalar() == 0
            prepared = "SELECT count(*) FROM pg_prepared_statements"
            assert db.execute(text(prepared)).scalar() == 0
    engine.dispose()
    other.dispose()


def test_rows_come_in_parts_by_a_cursor_of_the_transaction(pgbouncer_url: str) -> None:
    engine = connect(pgbouncer_url)
    with reading(engine) as one, reading(engine) as other:
        many = text("SELECT generate_series(1, 5000)")
        rows = [db.execution_options(yield_per=100).execute(many).scalars() for db in (one, other)]
        pairs = zip(*rows, strict=True)
        assert all(a == b for a, b in pairs)
    engine.dispose()
