"""Several processes that start at once on a new database, or one of an earlier version."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from rag_audio.provenance.ledger.ledger import SqlLedger
from rag_audio.storage.database import connect, reading, sqlite_url, writing
from rag_audio.storage.migrations import HEAD, make_schema
from tests.provenance.builders import record, source

PROCESSES = 4
ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["sqlite", "postgres", "pgbouncer"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param != "sqlite":
        return str(request.getfixturevalue(f"{request.param}_url"))
    return sqlite_url(tmp_path / "ledger.db")


def open_at_once(url: str) -> list[tuple[int, str]]:
    """What each process ended with: its code, and what it said on stderr."""
    command = [sys.executable, "-m", "tests.storage.migrator", url]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    running = [
        subprocess.Popen(command, cwd=ROOT, text=True, **pipes)  # type: ignore[call-overload]
        for _ in range(PROCESSES)
    ]
    for one in running:
        assert one.stdout.readline() == "ready\n"
    for one in running:
        one.stdin.write("go\n")
        one.stdin.flush()
    said = [one.communicate(timeout=240) for one in running]
    return [(one.returncode, err) for one, (_, err) in zip(running, said, strict=True)]


def revisions(engine: Engine) -> list[str]:
    with reading(engine) as db:
        return list(db.execute(text("SELECT version_num FROM alembic_version")).scalars())


def test_a_new_database_is_made_once(url: str) -> None:
    assert open_at_once(url) == [(0, "")] * PROCESSES
    engine = connect(url)
    assert revisions(engine) == [HEAD]
    ledger = SqlLedger(engine)
    ledger.append(record(ledger.next_output_id(), source("break")))
    assert ledger.verify() == []


def test_an_earlier_database_is_migrated_once(url: str) -> None:
    engine = connect(url)
    with writing(engine) as db:
        make_schema(db, "0008")
    assert revisions(engine) == ["0008"]
    assert open_at_once(url) == [(0, "")] * PROCESSES
    assert revisions(engine) == [HEAD]
    assert SqlLedger(engine).verify() == []
