"""Shards of a library that is being indexed: planned once, each worked on under a lease.

A run has a header and shards, which are there from one transaction on. A worker leases a shard in
one transaction (``BEGIN IMMEDIATE`` on SQLite, ``FOR UPDATE SKIP LOCKED`` on PostgreSQL) and keeps
it by renewing the lease, on the database's clock; one whose worker is not heard of is leased anew.
Only who holds a shard can finish it. What the documents say is the indexer's.
"""

from __future__ import annotations

import json
import uuid
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    and_,
    delete,
    func,
    insert,
    literal_column,
    or_,
    select,
    update,
)

from rag_audio.errors import BackendError, BackendUnavailable
from rag_audio.storage.database import reading, writing
from rag_audio.storage.migrations import SqlStore

LEASE_S = 60.0
"""A worker that is not heard of for so long has lost its shards."""
ATTEMPTS = 5
"""How often a shard is begun before the run is given up."""
HEADER = 0
"""Number of the row that describes the run; shards count from 1."""

metadata = MetaData()
index_shards = Table(
    "index_shards",
    metadata,
    Column("library", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("run", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("files", Integer, nullable=False),
    Column("manifest", LargeBinary, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("lease_token", Text),
    Column("lease_until", Double),
    Column("result", LargeBinary),
    Index("index_shards_by_state", "library", "state", "number"),
)
_WAITING, _LEASED, _DONE = "waiting", "leased", "done"
_SHARD = index_shards.c.number != HEADER
_NOW = {
    "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
    "postgresql": "extract(epoch from clock_timestamp())::double precision",
}


class ShardLost(BackendUnavailable):
    """The lease of a shard ended: another worker has it, or the run was planned anew."""


@dataclass(frozen=True)
class IndexRun:
    """A run over a library. document: as its coordinator wrote it."""

    id: str
    document: dict[str, Any]


@dataclass(frozen=True)
class Shard:
    """Some files of a run, leased by a worker."""

    library: str
    number: int
    run: str
    token: str
    manifest: list[dict[str, Any]]


@dataclass(frozen=True)
class ShardsLeft:
    """How far a run is.

    Attributes:
        free: shards that wait for a worker, or lost the one that they had.
        held: shards that a worker has.
    """

    free: int
    held: int


class SqlShards(SqlStore):
    """The shards of all libraries that are being indexed.

    Args:
        engine: the catalogue's.
    """

    lease_s = LEASE_S

    def begin(
        self, library: str, document: dict[str, Any], manifests: Iterable[list[dict[str, Any]]]
    ) -> IndexRun:
        """Write a run down, in the place of one that was not ended; whoever holds the library may.

        Args:
            document: of the run. manifests: of its shards, in order; one entry a file.
        """
        id_ = uuid.uuid4().hex
        with writing(self._engine) as db:
            db.execute(delete(index_shards).where(index_shards.c.library == library))
            for number, manifest in enumerate(manifests, HEADER + 1):
                _put(db, library, number, id_, manifest, len(manifest))
            _put(db, library, HEADER, id_, document, 0)
        return IndexRun(id_, document)

    def run(self, library: str) -> IndexRun | None:
        """The run over a library that was not ended."""
        these = (index_shards.c.library == library, index_shards.c.number == HEADER)
        with reading(self._engine) as db:
            row = db.execute(select(index_shards).where(*these)).first()
        return None if row is None else IndexRun(row.run, _unpacked(row.manifest))

    def lease(self, library: str, run: str) -> Shard | None:
        """The next shard of a run that nobody works on; None: there is none now.

        Raises:
            BackendError: its workers died over it too often.
        """
        mine = (index_shards.c.library == library, index_shards.c.run == run, _SHARD)
        token = uuid.uuid4().hex
        with writing(self._engine) as db:
            wanted = select(index_shards).where(*mine, _is_free(db)).limit(1)
            wanted = wanted.order_by(index_shards.c.number).with_for_update(skip_locked=True)
            row = db.execute(wanted).first()
            if row is None:
                return None
            if row.attempts >= ATTEMPTS:
                raise BackendError(
                    f"part {row.number} of library {library} was begun {row.attempts} times, and "
                    "its worker died each time",
                    hint="the workers' logs say why; index the library again with fewer workers",
                )
            until = _now(db) + self.lease_s
            _change(
                db, row, _LEASED, lease_token=token, lease_until=until, attempts=row.attempts + 1
            )
        return Shard(library, int(row.number), run, token, _unpacked(row.manifest))

    def renew(self, shards: Sequence[Shard], db: Connection | None = None) -> None:
        """Keep shards for as long as a lease lasts.

        Args:
            db: a transaction that writes what was made of them. Nobody can lease them until it has
                ended, so that it writes nothing over what their next worker wrote.

        Raises:
            ShardLost: one of them is not held any more.
        """
        if db is None:
            with writing(self._engine) as own:
                self.renew(shards, own)
            return
        for shard in shards:
            self._held(db, shard, lease_until=_now(db) + self.lease_s)

    def finish(self, shard: Shard, result: dict[str, Any]) -> None:
        """All of a shard is written. Raises as :meth:`renew`."""
        with writing(self._engine) as db:
            self._held(
                db,
                shard,
                state=_DONE,
                lease_token=None,
                lease_until=None,
                result=_packed(result),
                manifest=_packed([]),
            )

    def give_back(self, shards: Iterable[Shard]) -> None:
        """Let other workers have shards at once; this attempt does not count."""
        free = {"state": _WAITING, "lease_token": None, "lease_until": None}
        with writing(self._engine) as db:
            for shard in shards:
                made = update(index_shards).where(*_own(shard))
                db.execute(made.values(**free, attempts=index_shards.c.attempts - 1))

    def left(self, library: str, run: str) -> ShardsLeft | None:
        """How far a run is; None: it was ended, or another one took its place."""
        mine = (index_shards.c.library == library, index_shards.c.run == run)
        counted = select(func.count()).select_from(index_shards).where(*mine)
        with reading(self._engine) as db:
            if not db.execute(counted.where(~_SHARD)).scalar_one():
                return None
            free = db.execute(counted.where(_SHARD, _is_free(db))).scalar_one()
            undone = db.execute(counted.where(_SHARD, index_shards.c.state != _DONE)).scalar_one()
        return ShardsLeft(int(free), int(undone - free))

    def results(self, library: str, run: str) -> Iterator[tuple[int, dict[str, Any]]]:
        """What the shards of a run that are finished came to, with their numbers."""
        mine = (index_shards.c.library == library, index_shards.c.run == run, _SHARD)
        wanted = select(index_shards.c.number, index_shards.c.result).where(
            *mine, index_shards.c.state == _DONE
        )
        with reading(self._engine) as db:
            rows = db.execute(wanted.order_by(index_shards.c.number)).all()
        for row in rows:
            yield int(row.number), _unpacked(row.result)

    def end(self, library: str) -> None:
        """Forget the run over a library."""
        with writing(self._engine) as db:
            db.execute(delete(index_shards).where(index_shards.c.library == library))

    def _held(self, db: Connection, shard: Shard, **values: Any) -> None:
        made = update(index_shards).where(*_own(shard)).values(**values)
        if not db.execute(made).rowcount:
            raise ShardLost(
                f"the lease of part {shard.number} of library {shard.library} was lost",
                hint="another worker has it",
            )


def _own(shard: Shard) -> tuple[ColumnElement[bool], ...]:
    return (
        index_shards.c.library == shard.library,
        index_shards.c.number == shard.number,
        index_shards.c.lease_token == shard.token,
        index_shards.c.state == _LEASED,
    )


def _is_free(db: Connection) -> ColumnElement[bool]:
    lost = and_(index_shards.c.state == _LEASED, index_shards.c.lease_until < _now(db))
    return or_(index_shards.c.state == _WAITING, lost)


def _now(db: Connection) -> ColumnElement[float]:
    """The database's clock, seconds since 1970: workers' own clocks may disagree."""
    return literal_column(_NOW[db.dialect.name], Double)


def _put(db: Connection, library: str, number: int, run: str, document: Any, files: int) -> None:
    row = {"library": library, "number": number, "run": run, "files": files, "attempts": 0}
    db.execute(insert(index_shards), {**row, "state": _WAITING, "manifest": _packed(document)})


def _change(db: Connection, row: Any, state: str, **values: Any) -> None:
    this = (index_shards.c.library == row.library, index_shards.c.number == row.number)
    db.execute(update(index_shards).where(*this).values(state=state, **values))


def _packed(document: Any) -> bytes:
    return zlib.compress(json.dumps(document, separators=(",", ":")).encode())


def _unpacked(data: bytes) -> Any:
    return json.loads(zlib.decompress(data))
