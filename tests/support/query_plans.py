"""What a database is asked, and how SQLite would find the rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, event

from rag_audio.storage.database import reading


@contextmanager
def statements(engine: Engine) -> Iterator[list[str]]:
    """The statements that are run in the block, in order."""
    said: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        said.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield said
    finally:
        event.remove(engine, "before_cursor_execute", note)


def plan_of(engine: Engine, statement: str) -> list[str]:
    """The steps of SQLite's plan, which without ``ANALYZE`` does not depend on how many rows there
    are."""
    marks = tuple(1 for _ in range(statement.count("?")))
    with reading(engine) as db:
        return [str(r[3]) for r in db.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", marks)]
