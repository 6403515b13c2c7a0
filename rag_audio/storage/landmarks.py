"""Landmarks of stems in the SQL database, found by their hashes.

Two tables: all landmarks of a stem in one row, and an inverted index with a small row for each of
them. A stem is the sha256 of its bytes, so libraries that hold the same bytes share its landmarks.
They are written in the transaction that writes a file's row, and leave with the last row of these
bytes, so that there are none of bytes that no library holds.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
from sqlalchemy import (
    Column,
    Connection,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    delete,
    func,
    insert,
    select,
)

from rag_audio.domain.landmarks import VERSION, Landmarks, Numbers, Postings
from rag_audio.errors import InvalidInput, LedgerError
from rag_audio.storage import postings
from rag_audio.storage.database import in_parts, reading
from rag_audio.storage.migrations import SqlStore
from rag_audio.storage.rights_tables import files, withheld_files

metadata = MetaData()
stem_landmarks = Table(
    "stem_landmarks",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("stem", String(64), nullable=False, unique=True),
    Column("version", Integer, nullable=False),
    Column("size", Integer, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("landmarks", LargeBinary, nullable=False),
    Index("stem_landmarks_by_size", "version", "size"),
)
"""``number`` stands for the stem in the index, ``size`` is how many landmarks it has; ``landmarks``
is :meth:`.Landmarks.to_bytes`, compressed by zlib, and ``sha256`` that of these bytes before."""
stem_postings = postings.make_table(
    "stem_postings", metadata, Column("number", Integer, primary_key=True, autoincrement=False)
)
"""``place``: as :func:`.to_places` makes it."""


class SqlLandmarks(SqlStore):
    """The :class:`.LandmarkStore` on SQLite or PostgreSQL; it only reads."""

    def sharing(self, hashes: Numbers, exclude: Collection[str] = ()) -> Postings:
        """Every landmark that has one of the hashes: :meth:`.LandmarkStore.sharing`."""
        with reading(self._engine) as db:
            found, numbers, places = postings.rows_with(db, stem_postings, hashes)
            different, stems = np.unique(numbers, return_inverse=True)
            known = _stems_of(db, different.tolist())
        ids = [known.get(number, "") for number in different.tolist()]
        asked = np.array([bool(id_) and id_ not in exclude for id_ in ids], dtype=bool)
        kept = asked[stems] if numbers.size else np.zeros(0, dtype=bool)
        return Postings(
            np.searchsorted(hashes, found[kept]),
            stems[kept],
            *postings.from_places(places[kept]),
            tuple(ids),
        )

    def load(self, stem_ids: Collection[str]) -> Mapping[str, Landmarks]:
        """All that is kept of these stems: :meth:`.LandmarkStore.load`.

        Raises:
            LedgerError: a row was changed.
        """
        found = {}
        with reading(self._engine) as db:
            for some in in_parts(sorted(stem_ids)):
                wanted = (stem_landmarks.c.stem.in_(some), stem_landmarks.c.version == VERSION)
                for row in db.execute(select(stem_landmarks).where(*wanted)):
                    found[str(row.stem)] = _unpacked(row)
        return found

    def ids(self) -> set[str]:
        """The stems that have landmarks."""
        wanted = select(stem_landmarks.c.stem).where(stem_landmarks.c.version == VERSION)
        with reading(self._engine) as db:
            return set(db.execute(wanted).scalars())

    def scarce(self, fewest: int, most: int | None = None) -> set[str]:
        """Those of them that have fewer than so many; ``most`` stems, or all."""
        wanted = (stem_landmarks.c.version == VERSION, stem_landmarks.c.size < fewest)
        query = select(stem_landmarks.c.stem).where(*wanted).limit(most)
        with reading(self._engine) as db:
            return set(db.execute(query).scalars())

    def scarce_among(self, stem_ids: Collection[str], fewest: int) -> set[str]:
        """Those of some stems that have none, or fewer than so many."""
        left = set(stem_ids)
        enough = (stem_landmarks.c.version == VERSION, stem_landmarks.c.size >= fewest)
        with reading(self._engine) as db:
            for some in in_parts(sorted(left)):
                wanted = select(stem_landmarks.c.stem).where(stem_landmarks.c.stem.in_(some))
                left -= set(db.execute(wanted.where(*enough)).scalars())
        return left


def put(db: Connection, landmarks: Mapping[str, Landmarks]) -> None:
    """Keep the landmarks of stems, in a write transaction; what is kept already is left alone.

    Landmarks of other versions, of whatever stem, go: nothing is found by them.
    """
    if not landmarks:
        return
    old = select(stem_landmarks.c.number).where(stem_landmarks.c.version != VERSION)
    # Without an old one the index, in which all of a number's rows are far apart, is not read.
    if db.execute(old.limit(1)).first() is not None:
        db.execute(delete(stem_postings).where(stem_postings.c.number.in_(old)))
        db.execute(delete(stem_landmarks).where(stem_landmarks.c.version != VERSION))
    known = _hashes_kept(db, landmarks)
    new = {id_: one for id_, one in landmarks.items() if known.get(id_) != one.sha256}
    drop(db, new.keys() & known.keys())
    last = db.execute(select(func.max(stem_landmarks.c.number))).scalar_one_or_none() or 0
    for number, (id_, one) in enumerate(sorted(new.items()), last + 1):
        row = {"number": number, "stem": id_, "version": VERSION, "size": int(one.hashes.size)}
        packed = zlib.compress(one.to_bytes())
        db.execute(insert(stem_landmarks).values(**row, sha256=one.sha256, landmarks=packed))
        postings.insert_rows(db, stem_postings, [(h, number, at) for h, at in _places(one)])


def drop(db: Connection, stem_ids: Iterable[str]) -> None:
    """Forget the landmarks of stems, in a write transaction."""
    for some in in_parts(sorted(stem_ids)):
        rows = db.execute(select(stem_landmarks).where(stem_landmarks.c.stem.in_(some))).all()
        for row in rows:
            mine = stem_postings.c.number == row.number
            for hashes in in_parts(_hashes_in(row)):
                # The index is ordered by hash: without them all of it would be read.
                db.execute(delete(stem_postings).where(mine, stem_postings.c.hash.in_(hashes)))
        db.execute(delete(stem_landmarks).where(stem_landmarks.c.stem.in_(some)))
        lost = [row.number for row in rows if not _hashes_in(row)]
        if lost:
            db.execute(delete(stem_postings).where(stem_postings.c.number.in_(lost)))


def drop_unheld(db: Connection, stem_ids: Iterable[str] | None = None) -> None:
    """Forget the landmarks of those stems whose bytes no library holds any more.

    Args:
        stem_ids: of which stems; None: of all.
    """
    if stem_ids is None:
        stem_ids = set(db.execute(select(stem_landmarks.c.stem)).scalars())
    left = set(stem_ids)
    for some in in_parts(sorted(left)):
        for column in (files.c.stem_id, withheld_files.c.stem_id):
            left -= set(db.execute(select(column).where(column.in_(some))).scalars())
    drop(db, left)


def lacking(db: Connection, library: str | None = None, most: int | None = None) -> set[str]:
    """Ids of the indexed stems of a library, or of all, that have no landmarks of this version.

    Args:
        most: so many of them; None: all.
    """
    there = select(stem_landmarks.c.stem).where(
        stem_landmarks.c.stem == files.c.stem_id, stem_landmarks.c.version == VERSION
    )
    wanted = select(files.c.stem_id).distinct().where(~there.exists())
    if library is not None:
        wanted = wanted.where(files.c.library == library)
    return set(db.execute(wanted.limit(most)).scalars())


def _stems_of(db: Connection, numbers: list[int]) -> dict[int, str]:
    found: dict[int, str] = {}
    for some in in_parts(numbers):
        wanted = (stem_landmarks.c.number.in_(some), stem_landmarks.c.version == VERSION)
        rows = db.execute(select(stem_landmarks.c.number, stem_landmarks.c.stem).where(*wanted))
        found.update((int(row.number), str(row.stem)) for row in rows)
    return found


def _hashes_kept(db: Connection, stem_ids: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for some in in_parts(sorted(stem_ids)):
        wanted = select(stem_landmarks.c.stem, stem_landmarks.c.sha256)
        rows = db.execute(wanted.where(stem_landmarks.c.stem.in_(some)))
        found.update((str(row.stem), str(row.sha256)) for row in rows)
    return found


def _places(one: Landmarks) -> list[tuple[int, int]]:
    """Hash and place of each different landmark, in order."""
    places = postings.to_places(one.times_ms, one.spans_ms, one.pitches)
    rows = np.unique(np.stack([one.hashes, places]), axis=1)
    return list(zip(*rows.tolist(), strict=True)) if rows.size else []


def _unpacked(row: Any) -> Landmarks:
    try:
        made = Landmarks.from_bytes(zlib.decompress(row.landmarks))
    except (zlib.error, InvalidInput) as error:
        raise LedgerError(f"the landmarks of stem {row.stem[:12]} are damaged: {error}") from error
    if made.sha256 != row.sha256:
        raise LedgerError(f"the landmarks of stem {row.stem[:12]} were changed")
    return made


def _hashes_in(row: Any) -> list[int]:
    """The hashes of a row's landmarks; none where they cannot be read."""
    try:
        return sorted(set(_unpacked(row).hashes.tolist()))
    except LedgerError:
        return []
