"""What every store of stems' landmarks does, and what the one in the database does on top."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from rag_audio.domain.landmarks import Landmarks, LandmarkStore, Postings
from rag_audio.errors import LedgerError
from rag_audio.storage import landmarks as sql
from rag_audio.storage.database import connect, reading, sqlite_url, writing
from tests.retrieval.sounds import MemoryStore

STEMS = [letter * 64 for letter in "abcd"]
# Few hashes, so that stems have some in common.
_ROW = st.tuples(
    st.integers(0, 30), st.integers(0, 2**31 - 1), st.integers(0, 2**16 - 1),
    st.integers(0, 2**16 - 1),
)  # fmt: skip
KEPT = st.dictionaries(st.sampled_from(STEMS), st.lists(_ROW, max_size=12), min_size=1)


class Store(LandmarkStore, Protocol):
    """A store that can be written to, and knows whose landmarks it holds."""

    def ids(self) -> set[str]: ...
    def scarce(self, fewest: int) -> set[str]: ...

    def put(self, landmarks: Mapping[str, Landmarks]) -> None: ...
    def drop(self, stem_ids: Iterable[str]) -> None: ...


class Memory(MemoryStore):
    """The store of other tests, which can be written to."""

    def __init__(self) -> None:
        super().__init__({})

    def put(self, landmarks: Mapping[str, Landmarks]) -> None:
        super().__init__({**self._landmarks, **landmarks})

    def drop(self, stem_ids: Iterable[str]) -> None:
        gone = set(stem_ids)
        super().__init__({id_: one for id_, one in self._landmarks.items() if id_ not in gone})

    def ids(self) -> set[str]:
        return set(self._landmarks)

    def scarce(self, fewest: int) -> set[str]:
        return {id_ for id_, one in self._landmarks.items() if one.hashes.size < fewest}


class Database(sql.SqlLandmarks):
    """The store in the database, with a transaction for each change."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.engine = engine

    def put(self, landmarks: Mapping[str, Landmarks]) -> None:
        with writing(self.engine) as db:
            sql.put(db, landmarks)

    def drop(self, stem_ids: Iterable[str]) -> None:
        with writing(self.engine) as db:
            sql.drop(db, stem_ids)

    def rows(self) -> tuple[int, int]:
        """How many rows both tables have."""
        with reading(self.engine) as db:
            counts = [
                db.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()  # noqa: S608
                for table in ("stem_landmarks", "stem_postings")
            ]
        return counts[0], counts[1]


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "memory":
        return Memory()
    if request.param == "postgresql":
        return Database(connect(str(request.getfixturevalue("postgres_url"))))
    return Database(connect(sqlite_url(tmp_path / "ledger.db")))


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(connect(sqlite_url(tmp_path / "ledger.db")))


def landmarks(rows: list[tuple[int, int, int, int]]) -> Landmarks:
    columns = np.array(rows, dtype=np.int64).reshape(-1, 4).T
    return Landmarks(*columns, np.array([10, 20]), np.array([300, 400]), 2.5)


def told(found: Postings, hashes: list[int]) -> set[tuple[str, int, int, int, int]]:
    columns = (found.probes, found.stems, found.times_ms, found.spans_ms, found.pitches)
    return {
        (found.stem_ids[stem], hashes[probe], time, span, pitch)
        for probe, stem, time, span, pitch in zip(*(c.tolist() for c in columns), strict=True)
    }


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    kept=KEPT,
    later=KEPT,
    gone=st.sets(st.sampled_from(STEMS)),
    excluded=st.sets(st.sampled_from(STEMS)),
    hashes=st.sets(st.integers(0, 30)),
)
def test_what_was_put_is_found_by_hash_and_by_stem(
    store: Store,
    kept: dict[str, list[tuple[int, int, int, int]]],
    later: dict[str, list[tuple[int, int, int, int]]],
    gone: set[str],
    excluded: set[str],
    hashes: set[int],
) -> None:
    store.drop(STEMS)
    for some in (kept, later):
        store.put({id_: landmarks(rows) for id_, rows in some.items()})
    store.drop(gone)
    left = {id_: rows for id_, rows in {**kept, **later}.items() if id_ not in gone}
    asked = sorted(hashes)
    found = store.sharing(np.array(asked, dtype=np.int64), excluded)
    assert told(found, asked) == {
        (id_, *row) for id_, rows in left.items() if id_ not in excluded
        for row in rows if row[0] in hashes
    }  # fmt: skip
    loaded = store.load(STEMS)
    assert {id_: one.sha256 for id_, one in loaded.items()} == {
        id_: landmarks(rows).sha256 for id_, rows in left.items()
    }
    assert store.ids() == left.keys()
    assert store.scarce(3) == {id_ for id_, rows in left.items() if len(rows) < 3}


def test_more_hashes_than_a_statement_may_have_variables_are_asked_for(store: Store) -> None:
    store.put({STEMS[0]: landmarks([(7, 1, 2, 3), (2**31 - 1, 4, 5, 6)])})
    hashes = np.append(np.arange(45_000), 2**31 - 1)
    assert told(store.sharing(hashes), hashes.tolist()) == {
        (STEMS[0], 7, 1, 2, 3), (STEMS[0], 2**31 - 1, 4, 5, 6),
    }  # fmt: skip


def test_a_stem_that_is_dropped_leaves_no_row_even_where_its_own_is_damaged(
    database: Database,
) -> None:
    for damage in ("landmarks = x'00'", "sha256 = 'f'", "landmarks = landmarks"):
        database.put({id_: landmarks([(7, 1, 2, 3)] * 2 + [(8, 1, 2, 3)]) for id_ in STEMS[:2]})
        with writing(database.engine) as db:
            db.execute(text(f"UPDATE stem_landmarks SET {damage}"))  # noqa: S608
        database.drop(STEMS[:1])
        assert database.rows() == (1, 2)
        database.drop(STEMS)
        assert database.rows() == (0, 0)


def test_a_row_that_was_changed_is_told_and_not_used(database: Database) -> None:
    database.put({STEMS[0]: landmarks([(7, 1, 2, 3)])})
    with writing(database.engine) as db:
        db.execute(text("UPDATE stem_landmarks SET sha256 = 'f'"))
    with pytest.raises(LedgerError, match="landmarks of stem aaaaaaaaaaaa were changed"):
        database.load(STEMS)


def test_landmarks_of_another_version_are_found_by_nothing_and_go_with_the_next(
    database: Database,
) -> None:
    database.put({STEMS[0]: landmarks([(7, 1, 2, 3)])})
    with writing(database.engine) as db:
        db.execute(text("UPDATE stem_landmarks SET version = 0"))
    assert told(database.sharing(np.array([7])), [7]) == set()
    assert (database.load(STEMS), database.ids()) == ({}, set())
    database.put({STEMS[1]: landmarks([(7, 1, 2, 3)])})
    assert database.rows() == (1, 1)
