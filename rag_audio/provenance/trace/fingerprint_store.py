"""Fingerprints of the ledger's outputs, in the SQL database, found by their landmarks.

All landmarks of an output are in one row, which is written with the ledger's entry. The inverted
index they are found by follows from it (:mod:`.output_landmarks`), and its thousand rows of an
output are written in a transaction of their own, so that nobody who appends to the ledger waits for
them. ``fingerprints_to_index`` names the outputs that the index lacks: whoever asks it puts them
in first, so that none is missed, whatever broke off.

The record in the ledger keeps the fingerprint's hash, so that a changed row is found out; the index
is compared with the rows by ``ledger verify``.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
from sqlalchemy import (
    BigInteger,
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
    update,
)

from rag_audio.domain.landmarks import Postings
from rag_audio.errors import LedgerError
from rag_audio.provenance.trace.fingerprint import (
    Fingerprint,
    LandmarkMatch,
    Numbers,
    PeakSet,
    make_query,
    match,
)
from rag_audio.provenance.trace.output_landmarks import (
    Question,
    index_rows,
    plain_candidates,
)
from rag_audio.storage import postings
from rag_audio.storage.database import in_parts, reading, writing
from rag_audio.storage.migrations import SqlStore

_CANDIDATES = 24
_READ_ROWS = 500
_TOGETHER = 200
"""Outputs that are put into the index in one transaction."""
_LOCK = "fingerprints"
MOST_ROWS = 300_000
"""Rows of the index that one question at all speeds reads at most; a plain one reads a third."""
SAMPLED = 16
"""Of so many outputs one is counted, 1, 17, 33 and so on, to know which hashes are common."""

metadata = MetaData()
prints = Table(
    "fingerprints",
    metadata,
    Column("output", BigInteger, primary_key=True, autoincrement=False),
    Column("duration_s", Float, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("landmarks", LargeBinary, nullable=False),
)
index = postings.make_table(
    "output_postings",
    metadata,
    Column("output", BigInteger, primary_key=True, autoincrement=False),
)
hash_counts = Table(
    "output_hash_counts",
    metadata,
    Column("hash", Integer, primary_key=True, autoincrement=False),
    Column("count", Integer, nullable=False),
    sqlite_with_rowid=False,
)
"""How many landmarks of every sixteenth output in the index have a hash."""
to_index = Table(
    "fingerprints_to_index",
    metadata,
    Column(
        "output",
        BigInteger().with_variant(Integer(), "sqlite"),
        primary_key=True,
        autoincrement=False,
    ),
)
"""Outputs whose fingerprint is stored and not in the index yet."""


class SqlFingerprints(SqlStore):
    """Keeps fingerprints by output and finds which outputs a sound comes from."""

    def put(self, output: int, fingerprint: Fingerprint) -> None:
        """Keep an output's fingerprint, in place of an earlier one of that number."""
        self.put_many([(output, fingerprint)])

    def put_many(self, fingerprints: Iterable[tuple[int, Fingerprint]]) -> None:
        """As :meth:`put`, of any number of outputs: some hundred in one transaction, and the index
        after them."""
        rest = iter(fingerprints)
        while some := list(islice(rest, _TOGETHER)):
            with writing(self._engine, _LOCK) as db:
                for output, fingerprint in some:
                    self.put_in(db, output, fingerprint)
            self.index_new()

    def put_in(self, db: Connection, output: int, fingerprint: Fingerprint) -> None:
        """As :meth:`put`, in a write transaction of the caller's.

        It is not put into the index: :meth:`index_new` does that, after the transaction.
        """
        packed = np.stack([fingerprint.hashes, fingerprint.times_ms]).astype("<i4").tobytes()
        earlier = db.execute(select(prints).where(prints.c.output == output)).one_or_none()
        if earlier is not None:
            _forget(db, earlier)
        row = {"output": output, "duration_s": fingerprint.duration_s}
        db.execute(
            insert(prints).values(**row, sha256=fingerprint.sha256, landmarks=zlib.compress(packed))
        )
        db.execute(insert(to_index).values(output=output))

    def index_new(self, most: int | None = None) -> int:
        """Put those outputs into the index that it lacks, some hundred in one transaction.

        Args:
            most: it ends after the transaction in which there were so many; None: with all of them.

        Returns:
            How many. A fingerprint that cannot be read is left out, which ``ledger verify`` tells.
        """
        done = 0
        wanted = select(to_index.c.output).order_by(to_index.c.output).limit(_TOGETHER)
        while most is None or done < most:
            with reading(self._engine) as db:
                if db.execute(wanted.limit(1)).first() is None:
                    return done
            # What a power cut takes back is still named in `fingerprints_to_index`.
            with writing(self._engine, _LOCK, is_durable=False) as db:
                outputs = [int(output) for output in db.execute(wanted).scalars()]
                _index(db, outputs)
            done += len(outputs)
        return done

    def get(self, output: int) -> Fingerprint | None:
        """The fingerprint of an output, if one is kept.

        Raises:
            LedgerError: the row was changed.
        """
        return self.load([output]).get(output)

    def find(self, piece: PeakSet) -> list[LandmarkMatch]:
        """How well stored outputs fit a piece of sound as it is, best first.

        Only the 24 outputs that share most landmarks with it are compared.

        Raises:
            LedgerError: a row was changed.
        """
        plain = plain_candidates(self.sharing, piece)
        query = make_query(piece)
        kept = self.load([one.output for one in plain[:_CANDIDATES]])
        found = [match(query, one, output) for output, one in kept.items()]
        return sorted(found, key=lambda one: (-one.agreeing, one.output))

    def sharing(self, question: Question) -> Postings:
        """The landmarks of outputs that have one of the hashes: 300,000 at most, of a plain
        question 100,000.

        Where there are more, hashes that few outputs have are asked for first, and those of the
        landmark's own cell before those of cells into which a change may have moved it.
        """
        self.index_new()
        most = MOST_ROWS // 3 if question.plain else MOST_ROWS
        with reading(self._engine) as db:
            common = postings.counts_with(db, hash_counts, question.hashes)
            rank = np.log(common + 1 / SAMPLED) + question.steps
            wanted = question.hashes[np.argsort(rank, kind="stable")]
            found, outputs, places = postings.rows_with(db, index, wanted, most)
        different, whose = np.unique(outputs, return_inverse=True)
        return Postings(
            np.searchsorted(question.hashes, found),
            whose,
            *postings.from_places(places),
            tuple(map(str, different.tolist())),
        )

    def load(self, outputs: Sequence[int]) -> dict[int, Fingerprint]:
        """The fingerprints of these outputs; those that have none are left out.

        Raises:
            LedgerError: a row was changed.
        """
        if not outputs:
            return {}
        with reading(self._engine) as db:
            return {int(row.output): _fingerprint(row) for row in _rows(db, outputs)}

    def any(self) -> bool:
        """Whether an output has a fingerprint."""
        with reading(self._engine) as db:
            return db.execute(select(prints.c.output).limit(1)).first() is not None

    def count(self) -> int:
        """How many outputs have a fingerprint."""
        with reading(self._engine) as db:
            return int(db.execute(select(func.count()).select_from(prints)).scalar_one())


def _rows(db: Connection, outputs: Sequence[int]) -> Iterator[Row[Any]]:
    for some in in_parts(outputs):
        yield from db.execute(select(prints).where(prints.c.output.in_(some))).all()


def _index(db: Connection, outputs: Sequence[int]) -> None:
    """Put outputs into the index, in a write transaction that holds the lock of the index."""
    columns = [_postings(row) for row in _rows(db, outputs)]
    if columns:
        rows = np.concatenate(columns, axis=1)
        rows = rows[:, np.lexsort(rows[::-1])]
        postings.insert_rows(db, index, rows.T.tolist())
        _count(db, rows[0][rows[1] % SAMPLED == 1])
    for some in in_parts(outputs):
        db.execute(delete(to_index).where(to_index.c.output.in_(some)))


def _postings(row: Row[Any]) -> Numbers:
    """``[3, N]``: the rows of the index of an output: hash, output, place; each once."""
    try:
        hashes, times = _unpacked(int(row.output), row.landmarks)
    except LedgerError:
        return np.zeros((3, 0), np.int64)
    return posting_columns(int(row.output), Fingerprint(hashes, times, float(row.duration_s)))


def posting_columns(output: int, fingerprint: Fingerprint) -> Numbers:
    """``[3, N]``: what the index holds of an output: hash, output, place; each row once."""
    hashes, *place = index_rows(fingerprint)
    rows = np.unique(np.stack([hashes, postings.to_places(*place)]), axis=1)
    return np.stack([rows[0], np.full(rows.shape[1], output), rows[1]])


def _count(db: Connection, hashes: Numbers, sign: int = 1) -> None:
    """Add to the counts of hashes, or take from them, each as often as it is named."""
    if not hashes.size:
        return
    different, often = np.unique(hashes, return_counts=True)
    there = {
        int(found)
        for some in in_parts(different.tolist())
        for found in db.execute(
            select(hash_counts.c.hash).where(hash_counts.c.hash.in_(some))
        ).scalars()
    }
    changed = [
        {"which": hash_, "more": sign * count}
        for hash_, count in zip(different.tolist(), often.tolist(), strict=True)
        if hash_ in there
    ]
    if changed:
        more = hash_counts.c.count + bindparam("more")
        this = hash_counts.c.hash == bindparam("which")
        db.execute(update(hash_counts).where(this).values(count=more), changed)
    new = [
        {"hash": hash_, "count": count}
        for hash_, count in zip(different.tolist(), often.tolist(), strict=True)
        if hash_ not in there
    ]
    if new and sign > 0:
        db.execute(insert(hash_counts), new)


def _forget(db: Connection, row: Row[Any]) -> None:
    """Take an output's row away, and what the index has of it."""
    db.execute(delete(prints).where(prints.c.output == row.output))
    this = to_index.c.output == row.output
    if db.execute(delete(to_index).where(this)).rowcount:
        return
    mine = index.c.output == row.output
    hashes, *_ = _postings(row)
    for some in in_parts(np.unique(hashes).tolist()):
        # The index is ordered by hash: without them all of it would be read.
        db.execute(delete(index).where(mine, index.c.hash.in_(some)))
    if row.output % SAMPLED == 1:
        _count(db, hashes, -1)


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
