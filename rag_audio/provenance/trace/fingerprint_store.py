"""Fingerprints of the ledger's outputs, in the SQL database, found by their landmarks.

Two tables: all landmarks of an output in one row, and an inverted index from landmark to outputs.
A query first counts, in the database, which outputs share landmarks with it, and only for the
fullest few compares offsets. The tables are derived data: the record in the ledger keeps the
fingerprint's hash, so that a changed row is found out.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from sqlalchemy import (
    BigInteger,
    BindParameter,
    Column,
    Connection,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    Row,
    String,
    Table,
    bindparam,
    delete,
    func,
    insert,
    select,
)

from rag_audio.errors import LedgerError
from rag_audio.provenance.trace.fingerprint import Fingerprint, LandmarkMatch, Numbers, Query, match
from rag_audio.storage.database import reading, writing
from rag_audio.storage.migrations import SqlStore

_CANDIDATES = 24
_READ_ROWS = 500

metadata = MetaData()
prints = Table(
    "fingerprints",
    metadata,
    Column("output", BigInteger, primary_key=True, autoincrement=False),
    Column("duration_s", Float, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("landmarks", LargeBinary, nullable=False),
)
postings = Table(
    "fingerprint_postings",
    metadata,
    Column("hash", Integer, primary_key=True, autoincrement=False),
    Column("output", BigInteger, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)


class SqlFingerprints(SqlStore):
    """Keeps fingerprints by output and finds which outputs a query comes from."""

    def put(self, output: int, fingerprint: Fingerprint) -> None:
        """Keep an output's fingerprint, in place of an earlier one of that number."""
        with writing(self._engine, "fingerprints") as db:
            self.put_in(db, output, fingerprint)

    def put_in(self, db: Connection, output: int, fingerprint: Fingerprint) -> None:
        """As :meth:`put`, in a write transaction of the caller's."""
        packed = np.stack([fingerprint.hashes, fingerprint.times_ms]).astype("<i4").tobytes()
        rows = [{"hash": int(h), "output": output} for h in np.unique(fingerprint.hashes)]
        earlier = db.execute(delete(prints).where(prints.c.output == output)).rowcount
        db.execute(
            insert(prints).values(
                output=output,
                duration_s=fingerprint.duration_s,
                sha256=fingerprint.sha256,
                landmarks=zlib.compress(packed),
            )
        )
        if earlier:
            # The index is ordered by hash: this reads all of it, which a new output does not need.
            db.execute(delete(postings).where(postings.c.output == output))
        if rows:
            db.execute(insert(postings), rows)

    def get(self, output: int) -> Fingerprint | None:
        """The fingerprint of an output, if one is kept.

        Raises:
            LedgerError: the row was changed.
        """
        return self.load([output]).get(output)

    def find(self, query: Query) -> list[LandmarkMatch]:
        """How well stored outputs fit a query, best first.

        Only the 24 outputs that share most landmarks with it are compared.

        Raises:
            LedgerError: a row was changed.
        """
        kept = self.load(self._sharing(query))
        matches = [match(query, one, output) for output, one in kept.items()]
        return sorted(matches, key=lambda one: (-one.agreeing, one.output))

    def hashes(self) -> Iterator[tuple[int, Numbers]]:
        """Each output and the hashes of its landmarks, as they are stored: not checked with the
        hash of the fingerprint, as those of :meth:`get` and :meth:`load` are.

        Raises:
            LedgerError: a row cannot be read.
        """
        asked = select(prints.c.output, prints.c.landmarks).order_by(prints.c.output)
        with reading(self._engine) as db:
            for row in db.execute(asked.execution_options(yield_per=_READ_ROWS)):
                yield int(row.output), _unpacked(int(row.output), row.landmarks)[0]

    def load(self, outputs: Sequence[int]) -> dict[int, Fingerprint]:
        """The fingerprints of these outputs; those that have none are left out.

        Raises:
            LedgerError: a row was changed.
        """
        if not outputs:
            return {}
        with reading(self._engine) as db:
            rows = db.execute(select(prints).where(prints.c.output.in_(outputs))).all()
        return {int(row.output): _fingerprint(row) for row in rows}

    def count(self) -> int:
        """How many outputs have a fingerprint."""
        with reading(self._engine) as db:
            return int(db.execute(select(func.count()).select_from(prints)).scalar_one())

    def _sharing(self, query: Query) -> list[int]:
        hashes = [int(h) for h in np.unique(query.hashes)]
        if not hashes:
            return []
        # Written into the statement: a query has more hashes than a statement may have variables.
        wanted: BindParameter[int] = bindparam(
            "hashes", hashes, expanding=True, literal_execute=True
        )
        shared = func.count().label("shared")
        statement = (
            select(postings.c.output, shared)
            .where(postings.c.hash.in_(wanted))
            .group_by(postings.c.output)
            .order_by(shared.desc(), postings.c.output)
            .limit(_CANDIDATES)
        )
        with reading(self._engine) as db:
            return [int(row.output) for row in db.execute(statement)]


def _unpacked(output: int, landmarks: bytes) -> Numbers:
    """``[2, N]``: hashes and times of a row."""
    try:
        values = np.frombuffer(zlib.decompress(landmarks), dtype="<i4").astype(np.int64)
        return values.reshape(2, -1)
    except (zlib.error, ValueError) as error:
        raise LedgerError(f"the fingerprint of output {output} is damaged: {error}") from error


def _fingerprint(row: Row[Any]) -> Fingerprint:
    hashes, times = _unpacked(int(row.output), row.landmarks)
    made = Fingerprint(hashes, times, float(row.duration_s))
    if made.sha256 != row.sha256:
        raise LedgerError(f"the fingerprint of output {row.output} was changed")
    return made
