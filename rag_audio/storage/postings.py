"""Inverted indexes of landmarks: a small row for each landmark, in order of its hash.

Stems and outputs have one each, of the same design: what a row says beside its hash is whose
landmark it is, and in one number when it begins, how long it lasts and how high it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import BigInteger, Column, Connection, Integer, MetaData, Table

Numbers = NDArray[np.int64]

_HASHES_AT_FIRST, _HASHES_AT_ONCE = 500, 20_000
"""Of one statement: twice as many as of the one before, so that where rows are limited the limit
falls among the last half of what was asked."""
_ROWS_AT_ONCE = 20_000
_SPAN_BITS, _PITCH_BITS = 16, 16


def make_table(name: str, metadata: MetaData, owner: Column[int]) -> Table:
    """The table of an index.

    Args:
        owner: the column that says whose landmark it is, part of the primary key.
    """
    return Table(
        name,
        metadata,
        Column("hash", Integer, primary_key=True, autoincrement=False),
        owner,
        Column("place", BigInteger, primary_key=True, autoincrement=False),
        sqlite_with_rowid=False,
    )


def to_places(times_ms: Numbers, spans_ms: Numbers, cents: Numbers) -> Numbers:
    """``[N]``: milliseconds · 2^32 + span in milliseconds · 2^16 + cents.

    Args:
        times_ms: 0…2^31-1. spans_ms, cents: 0…2^16-1.
    """
    return (times_ms << (_SPAN_BITS + _PITCH_BITS)) | (spans_ms << _PITCH_BITS) | cents


def from_places(places: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """What :func:`to_places` was given."""
    return (
        places >> (_SPAN_BITS + _PITCH_BITS),
        (places >> _PITCH_BITS) & (2**_SPAN_BITS - 1),
        places & (2**_PITCH_BITS - 1),
    )


def insert_rows(db: Connection, table: Table, rows: Sequence[Sequence[int]]) -> None:
    """Add rows: hash, owner, place."""
    names = ", ".join(column.name for column in table.columns)
    # As plain rows: SQLAlchemy's statement would look at each of a thousand an output by itself.
    mark = "?" if db.dialect.paramstyle == "qmark" else "%s"
    wanted = f"INSERT INTO {table.name} ({names}) VALUES ({mark}, {mark}, {mark})"  # noqa: S608
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        db.exec_driver_sql(wanted, [tuple(row) for row in rows[start : start + _ROWS_AT_ONCE]])


def rows_with(
    db: Connection, table: Table, hashes: Numbers, most: int | None = None
) -> tuple[Numbers, Numbers, Numbers]:
    """Hash, owner and place of all rows that have one of the hashes, ``[N]`` each.

    Args:
        hashes: they are asked for in this order, some thousand in one statement.
        most: so many rows are read at most; None: all.
    """
    found: list[tuple[Any, ...]] = []
    for some in _in_statements(hashes):
        left = None if most is None else most - len(found)
        if left == 0:
            break
        names = ", ".join(column.name for column in table.columns)
        limit = "" if left is None else f" LIMIT {left}"
        wanted = f"SELECT {names} FROM {table.name} WHERE hash IN ({some}){limit}"  # noqa: S608
        found += db.exec_driver_sql(wanted).all()
    columns = np.fromiter(chain.from_iterable(found), np.int64, 3 * len(found))
    hashes_, owners, places = columns.reshape(-1, 3).T
    return hashes_, owners, places


def _in_statements(hashes: Numbers) -> Iterator[str]:
    """Hashes as they are written into a statement: they are more than it may have variables."""
    start, count = 0, _HASHES_AT_FIRST
    while start < hashes.size:
        yield ",".join(map(str, hashes[start : start + count].tolist()))
        start, count = start + count, min(2 * count, _HASHES_AT_ONCE)


def counts_with(db: Connection, table: Table, hashes: Numbers) -> Numbers:
    """``[N]``: what a table of counts says of each of the hashes; 0 where it has no row.

    Args:
        table: of the columns ``hash`` and ``count``.
        hashes: different ones in ascending order.
    """
    counts = np.zeros(hashes.size, np.int64)
    for some in _in_statements(hashes):
        wanted = f"SELECT hash, count FROM {table.name} WHERE hash IN ({some})"  # noqa: S608
        rows = db.exec_driver_sql(wanted).all()
        flat = np.fromiter(chain.from_iterable(rows), np.int64, 2 * len(rows)).reshape(-1, 2)
        counts[np.searchsorted(hashes, flat[:, 0])] = flat[:, 1]
    return counts
