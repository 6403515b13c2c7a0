"""Fixtures that several packages of tests share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

import rag_audio
from tests.support.pgbouncer import NoPgbouncer, new_database, pooler
from tests.support.postgres import NoPostgres, cluster, new_schema
from tests.support.small_library import write_library

# A busy machine is no failure: time is measured in benchmarks/.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

# Threads of a service that is still there log to stderr, as under `serve`, not into another test's
# output.
structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))


@pytest.fixture(scope="session")
def _postgres_server() -> Iterator[str]:
    try:
        running = cluster()
        url = running.__enter__()
    except NoPostgres as reason:
        pytest.skip(str(reason))
    try:
        yield url
    finally:
        running.__exit__(None, None, None)


@pytest.fixture
def postgres_url(_postgres_server: str) -> str:
    """An empty schema of a PostgreSQL of our own; skipped where there is no PostgreSQL."""
    return new_schema(_postgres_server)


@pytest.fixture(scope="session")
def _pooler(_postgres_server: str) -> Iterator[Path]:
    try:
        running = pooler(_postgres_server)
        folder = running.__enter__()
    except NoPgbouncer as reason:
        pytest.skip(str(reason))
    try:
        yield folder
    finally:
        running.__exit__(None, None, None)


@pytest.fixture
def pgbouncer_url(_postgres_server: str, _pooler: Path) -> str:
    """An empty database behind a PgBouncer that pools transactions; skipped where there is none."""
    return new_database(_postgres_server, _pooler)


@pytest.fixture(scope="session")
def indexed_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a small library in it, indexed once; copy it before writing to it."""
    base = tmp_path_factory.mktemp("served")
    library = write_library(base / "library")
    with rag_audio.open(base / "home") as workspace:
        workspace.index(library)
    return base / "home"
