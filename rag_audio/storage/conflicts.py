"""Stems in conflict in the SQL database: found whenever files change, and read with the rights.

A conflict can only be seen by comparing the files of all libraries, and rights are read at every
search; so the claims of each contested stem are kept apart, in the transaction that changes files.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    ForeignKey,
    Index,
    MetaData,
    Row,
    Table,
    Text,
    delete,
    func,
    insert,
    or_,
    select,
)

from rag_audio.domain.conflicts import Claim, Conflict, are_contested
from rag_audio.domain.store_ports import WithheldFile
from rag_audio.errors import LedgerTampered

_ROWS_AT_ONCE = 500
_metadata = MetaData()


def _claim_columns() -> tuple[Column[Any], ...]:
    return (
        Column("stem_id", Text, nullable=False),
        Column("license", Text, nullable=False),
        Column("artist", Text, nullable=False),
        Column("decision", Text, nullable=False),
    )


_withheld = Table(
    "withheld_files",
    _metadata,
    Column("library", Text, ForeignKey("libraries.id"), primary_key=True),
    Column("path", Text, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    *_claim_columns(),
    Index("withheld_files_by_stem", "stem_id"),
)
_conflicts = Table(
    "conflicts",
    _metadata,
    Column("library", Text, ForeignKey("libraries.id"), primary_key=True),
    Column("path", Text, primary_key=True),
    *_claim_columns(),
    Index("conflicts_by_stem", "stem_id"),
)
CLAIMS = select(
    *(
        _conflicts.c[name]
        for name in ("stem_id", "library", "path", "license", "artist", "decision")
    )
)
"""Of every stem in conflict."""
WITHHELD_ARTISTS = (
    select(_withheld.c.artist, _withheld.c.library, _withheld.c.license)
    .where(_withheld.c.artist != "")
    .distinct()
)
"""(artist, library, license) that ``stems.csv`` gives to files which grant nothing."""


def define(metadata: MetaData) -> None:
    """Add the two tables to those of the catalogue."""
    for table in (_withheld, _conflicts):
        table.to_metadata(metadata)


def read(connection: Connection, stem: str | None = None) -> dict[str, Conflict]:
    """The conflicts by stem id; with ``stem`` that one alone."""
    query = CLAIMS if stem is None else CLAIMS.where(_conflicts.c.stem_id == stem)
    return conflicts_of(connection.execute(query).tuples())


def conflicts_of(rows: Iterable[Sequence[str]]) -> dict[str, Conflict]:
    """The conflicts by stem id, of rows of :data:`CLAIMS`."""
    found: dict[str, list[Claim]] = {}
    for stem, *claim in rows:
        found.setdefault(stem, []).append(Claim(*claim))
    return {
        id_: Conflict(id_, tuple(sorted(claims, key=lambda one: (one.library, one.path))))
        for id_, claims in found.items()
    }


def update(connection: Connection, files: Table, stems: Iterable[str]) -> None:
    """Find the conflicts of stems anew, after their files changed.

    Args:
        files: the catalogue's table; a stem without a row in it is in no conflict.
    """
    ids = sorted(set(stems))
    for start in range(0, len(ids), _ROWS_AT_ONCE):
        some = ids[start : start + _ROWS_AT_ONCE]
        connection.execute(delete(_conflicts).where(_conflicts.c.stem_id.in_(some)))
        rows = [row for found in _contested(connection, files, some) for row in found]
        if rows:
            connection.execute(insert(_conflicts), rows)


def mismatched(connection: Connection, files: Table) -> set[tuple[Any, ...]]:
    """The rows (library, path, stem, license, artist, decision) that the table of conflicts lacks,
    or has too many, by what the files say.

    Raises:
        LedgerTampered: a row of a file cannot be read.
    """
    stored = Counter(tuple(row) for row in connection.execute(select(*_conflicts.columns)))
    names = _conflicts.columns.keys()
    wanted = Counter(
        tuple(row[name] for name in names) for row in _all_contested(connection, files)
    )
    return {*(stored - wanted), *(wanted - stored)}


def renew(connection: Connection, files: Table) -> None:
    """Find all conflicts anew; raises as :func:`mismatched` does."""
    connection.execute(delete(_conflicts))
    rows = list(_all_contested(connection, files))
    if rows:
        connection.execute(insert(_conflicts), rows)


def withheld(connection: Connection, library: str) -> dict[str, WithheldFile]:
    """The files of a library whose license grants nothing, by path."""
    query = select(_withheld).where(_withheld.c.library == library)
    return {row.path: _withheld_file(row) for row in connection.execute(query)}


def withheld_copies(connection: Connection, stem: str) -> list[tuple[str, WithheldFile]]:
    """The files with a stem's bytes whose license grants nothing, each with its library's id."""
    query = select(_withheld).where(_withheld.c.stem_id == stem)
    rows = connection.execute(query.order_by(_withheld.c.library, _withheld.c.path))
    return [(row.library, _withheld_file(row)) for row in rows]


def _withheld_file(row: Row[Any]) -> WithheldFile:
    return WithheldFile(
        row.path, row.size, row.mtime_ns, row.stem_id, row.license, row.artist, row.decision
    )


def put_withheld(connection: Connection, library: str, files: Iterable[WithheldFile]) -> set[str]:
    """Replace them; the ids of the stems whose claims changed."""
    old, new = withheld(connection, library), {one.path: one for one in files}
    changed = [path for path in {*old, *new} if old.get(path) != new.get(path)]
    for start in range(0, len(changed), _ROWS_AT_ONCE):
        some = changed[start : start + _ROWS_AT_ONCE]
        these = (_withheld.c.library == library, _withheld.c.path.in_(some))
        connection.execute(delete(_withheld).where(*these))
    rows = [
        {
            "library": library,
            "path": one.path,
            "size": one.size,
            "mtime_ns": one.mtime_ns,
            "stem_id": one.stem,
            "license": one.license,
            "artist": one.artist,
            "decision": one.decision,
        }
        for one in (new[path] for path in changed if path in new)
    ]
    if rows:
        connection.execute(insert(_withheld), rows)
    told = (known.get(path) for path in changed for known in (old, new))
    return {one.stem for one in told if one is not None}


def _all_contested(connection: Connection, files: Table) -> Iterator[dict[str, Any]]:
    shared = (
        select(files.c.stem_id)
        .group_by(files.c.stem_id)
        .having(or_(func.count() > 1, func.max(files.c.decision) != ""))
    )
    kept = select(files.c.stem_id).where(files.c.stem_id.in_(select(_withheld.c.stem_id)))
    try:
        ids = sorted({*connection.execute(shared.union(kept)).scalars()})
        for start in range(0, len(ids), _ROWS_AT_ONCE):
            for found in _contested(connection, files, ids[start : start + _ROWS_AT_ONCE]):
                yield from found
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LedgerTampered(
            f"the conflicts cannot be found, because a row of a file is damaged: {error}",
            hint="rag-audio ledger verify says of which library; rag-audio index measures it anew",
        ) from error


def _contested(
    connection: Connection, files: Table, ids: list[str]
) -> Iterator[list[dict[str, Any]]]:
    """The rows of each stem among ``ids`` whose claims differ."""
    many = (
        select(files.c.stem_id)
        .where(files.c.stem_id.in_(ids))
        .group_by(files.c.stem_id)
        .having(or_(func.count() > 1, func.max(files.c.decision) != ""))
    )
    kept = select(_withheld.c.stem_id).where(
        _withheld.c.stem_id.in_(ids),
        _withheld.c.stem_id.in_(select(files.c.stem_id).where(files.c.stem_id.in_(ids))),
    )
    suspects = sorted({*connection.execute(many).scalars(), *connection.execute(kept).scalars()})
    if not suspects:
        return
    claims = [
        (row.stem_id, _claim_of(row.library, row.path, json.loads(row.stem), row.decision))
        for row in connection.execute(select(files).where(files.c.stem_id.in_(suspects)))
    ]
    claims += [
        (row.stem_id, Claim(row.library, row.path, row.license, row.artist, row.decision))
        for row in connection.execute(select(_withheld).where(_withheld.c.stem_id.in_(suspects)))
    ]
    claims.sort(key=lambda pair: (pair[0], pair[1].library, pair[1].path))
    for id_, group in groupby(claims, key=lambda pair: pair[0]):
        # A file that was indexed before its license ended may still stand in both tables.
        own = {(claim.library, claim.path): claim for _, claim in group}
        if are_contested(own.values()):
            yield [{"stem_id": id_, **vars(claim)} for claim in own.values()]


def _claim_of(library: str, path: str, stem: dict[str, Any], decision: str) -> Claim:
    artist = stem["artist"] if stem["artist_declared"] else ""
    return Claim(library, path, stem["license"], artist, decision)
