"""Fixtures that several packages of tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.postgres import NoPostgres, cluster, new_schema


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
