"""The index of fingerprints: written apart from the rows, in bulk, and read within bounds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event, func, select, text

from rag_audio.audio.dsp import resample, stretch
from rag_audio.audio.midi import render
from rag_audio.domain import Audio
from rag_audio.provenance.ledger.ledger import SqlLedger
from rag_audio.provenance.trace import fingerprint_store
from rag_audio.provenance.trace.content_matching import Recogniser, hearings
from rag_audio.provenance.trace.fingerprint import (
    Fingerprint,
    PeakSet,
    find_peaks,
    make_fingerprint,
    pieces,
)
from rag_audio.provenance.trace.fingerprint_store import (
    SqlFingerprints,
    hash_counts,
    index,
    prints,
    to_index,
)
from rag_audio.provenance.trace.output_landmarks import (
    Question,
    changed_candidates,
    index_rows,
    plain_candidates,
)
from rag_audio.resources import data_dir
from rag_audio.storage import postings
from rag_audio.storage.database import connect, reading, sqlite_url, writing
from rag_audio.storage.migrations import make_schema
from tests.provenance.builders import record
from tests.watermark import material

SOUND = render(data_dir("demo") / "velda-quarn" / "last-tram.mid", duration_s=10.0)
PRINT = make_fingerprint(SOUND)


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    if request.param == "postgresql":
        return connect(str(request.getfixturevalue("postgres_url")))
    return connect(sqlite_url(tmp_path / "ledger.db"))


def like(seed: int, peaks: int = 24) -> Fingerprint:
    """An output of some seconds, with landmarks of which many are those of every other such one."""
    rng = np.random.default_rng(seed)
    seconds = peaks / 20
    times = np.sort(rng.integers(0, round(seconds * 1000) // 50, peaks)) * 50
    pitches = rng.choice([40, 44, 47, 52, 56, 59], times.size)
    return Fingerprint(pitches * 64 + 32, times, seconds)


@contextmanager
def counted(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """How many statements are run, and how many rows of the index and of fingerprints are read."""
    seen = {"statements": 0, "postings": 0, "fingerprints": 0}
    rows_with, unpacked = postings.rows_with, fingerprint_store._unpacked

    def note(*_: object) -> None:
        seen["statements"] += 1

    def rows(*arguments: object, **more: object) -> tuple[np.ndarray, ...]:
        found = rows_with(*arguments, **more)  # type: ignore[arg-type]
        seen["postings"] += found[0].size
        return found

    def unpack(output: int, landmarks: bytes) -> np.ndarray:
        seen["fingerprints"] += 1
        return unpacked(output, landmarks)

    event.listen(engine, "before_cursor_execute", note)
    with monkeypatch.context() as patch:
        patch.setattr(postings, "rows_with", rows)
        patch.setattr(fingerprint_store, "_unpacked", unpack)
        yield seen
    event.remove(engine, "before_cursor_execute", note)


def rows(engine: Engine) -> dict[str, list[tuple[object, ...]]]:
    tables = (prints, index, hash_counts, to_index)
    with reading(engine) as db:
        return {one.name: sorted(map(tuple, db.execute(select(one)).all())) for one in tables}


def test_what_a_trace_reads_does_not_grow_with_the_outputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprint_store, "MOST_ROWS", 15_000)
    foreign = hearings(material.band(8, seed=3, channels=1))
    engine = connect(sqlite_url(tmp_path / "ledger.db"))
    store, asked = SqlFingerprints(engine), []
    store.put(1, PRINT)
    for first, last in ((2, 200), (200, 2000)):
        store.put_many((number, like(number)) for number in range(first, last + 1))
        for heard in (foreign, hearings(material.crop(SOUND, 2.0, 6.0))):
            with counted(engine, monkeypatch) as seen:
                fits = Recogniser(store).fits(heard)
            asked.append(seen)
            assert [fit.output for fit in fits] == ([] if heard is foreign else [1])
    few, many = asked[:2], asked[2:]
    for before, after in zip(few, many, strict=True):
        assert after["statements"] <= before["statements"]
        assert after["postings"] <= 5000 + 15_000  # as it is, and at all speeds
        assert after["fingerprints"] <= 24 + 12 + 12 + 2


def test_the_true_output_is_found_though_most_of_the_index_is_not_read(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SqlFingerprints(engine)
    store.put_many((number, like(number)) for number in range(100, 300))
    store.put_many((number, make_fingerprint(material.band(8, seed=number, channels=1)))
                   for number in range(1, 6))  # fmt: skip
    store.put(7, PRINT)
    sound = material.crop(SOUND, 2.0, 6.0)
    ((_, piece),) = pieces(find_peaks(sound))
    for ask in (plain_candidates, changed_candidates):
        whole = ask(store.sharing, piece)[0]
        with monkeypatch.context() as patch:
            patch.setattr(fingerprint_store, "MOST_ROWS", 3000)
            part = ask(store.sharing, piece)[0]
        assert (whole.output, part.output) == (7, 7)
        assert part.votes <= whole.votes


CHANGES = {
    "forwards": lambda sound: sound,
    "backwards": lambda sound: Audio(
        np.ascontiguousarray(sound.samples[:, ::-1]), sound.sample_rate
    ),
}


@given(
    speed=st.floats(0.92, 1.1),
    start_s=st.floats(0.0, 4.0),
    seconds=st.floats(5.0, 6.0),
    way=st.sampled_from(sorted(CHANGES)),
)
@settings(max_examples=6, deadline=None)
def test_a_part_is_found_at_any_speed_and_way_round(
    speed: float, start_s: float, seconds: float, way: str
) -> None:
    crop = CHANGES[way](material.crop(SOUND, start_s, seconds))
    copy = Audio(resample(crop, round(crop.sample_rate / speed)).samples, crop.sample_rate)
    ((_, piece),) = pieces(find_peaks(copy))
    changed = changed_candidates(OTHERS.sharing, piece)
    assert changed[0].output == 7
    assert changed[0].tempo == pytest.approx(speed, abs=0.04)
    assert changed[0].semitones == pytest.approx(12 * np.log2(speed), abs=0.5)
    if way == "forwards" and abs(speed - 1) < 0.01:
        assert plain_candidates(OTHERS.sharing, piece)[0].output == 7


@pytest.mark.parametrize(("slower", "semitones"), [(1.0, 3.0), (1.0, -3.0), (1.1, 0.0)])
def test_an_output_is_found_at_another_tempo_or_pitch(slower: float, semitones: float) -> None:
    copy = stretch(material.crop(SOUND, 1.0, 6.0), slower, semitones)
    ((_, piece),) = pieces(find_peaks(copy))
    (best, *_) = changed_candidates(OTHERS.sharing, piece)
    assert best.output == 7
    assert best.tempo == pytest.approx(1 / slower, abs=0.04)
    assert best.semitones == pytest.approx(semitones, abs=0.5)


OTHERS = SqlFingerprints(connect("sqlite://"))
OTHERS.put_many([(7, PRINT), *((100 + number, like(number, 100)) for number in range(100))])


def test_many_are_kept_as_one_by_one(engine: Engine, tmp_path: Path) -> None:
    made = {number: like(number) for number in range(1, 40)}
    SqlFingerprints(engine).put_many(made.items())
    other = connect(sqlite_url(tmp_path / "other.db"))
    for number, one in made.items():
        SqlFingerprints(other).put(number, one)
    assert rows(engine) == rows(other)
    SqlFingerprints(engine).put_many(reversed(made.items()))
    assert rows(engine) == rows(other)
    again = [(number, like(99)) for number in made]
    for store in (SqlFingerprints(engine), SqlFingerprints(other)):
        store.put_many(again)
    assert rows(engine) == rows(other)
    assert {row[1] for row in rows(engine)["output_postings"]} == set(made)


def test_a_fingerprint_is_in_the_ledgers_transaction_and_its_index_is_not(engine: Engine) -> None:
    store, ledger = SqlFingerprints(engine), SqlLedger(engine)
    number = ledger.next_output_id()
    said = {"sha256": PRINT.sha256, "landmarks": len(PRINT.hashes), "duration_s": PRINT.duration_s}
    made = record(number, checks={"fingerprint": said})
    ledger.append_many([made], lambda db: store.put_in(db, number, PRINT))
    found = rows(engine)
    assert [row[0] for row in found["fingerprints"]] == [number]
    assert (found["output_postings"], found["fingerprints_to_index"]) == ([], [(number,)])
    # Whoever is killed here leaves this: it is no fault, and the next question does the rest.
    assert ledger.verify() == []
    fits = Recogniser(SqlFingerprints(engine)).fits(hearings(material.crop(SOUND, 2.0, 6.0)))
    assert [fit.output for fit in fits] == [number]
    assert rows(engine)["fingerprints_to_index"] == []
    assert len(rows(engine)["output_postings"]) == len(set(zip(*index_rows(PRINT), strict=True)))
    assert (ledger.verify(), store.index_new()) == ([], 0)


def test_an_index_that_breaks_off_is_left_as_it_was(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SqlFingerprints(engine)
    with writing(engine) as db:
        for number in (1, 2):
            store.put_in(db, number, like(number))

    def full(*_: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(fingerprint_store, "_count", full)
        with pytest.raises(OSError, match="disk full"):
            store.index_new()
    assert rows(engine)["output_postings"] == []
    assert store.index_new() == 2
    assert {row[1] for row in rows(engine)["output_postings"]} == {1, 2}


def test_outputs_of_before_are_put_into_the_index(tmp_path: Path) -> None:
    engine = connect(sqlite_url(tmp_path / "ledger.db"))
    with writing(engine) as db:
        make_schema(db, "0014")
        assert db.execute(text("SELECT count(*) FROM fingerprint_postings")).scalar_one() == 0
    fresh = SqlFingerprints(connect("sqlite://"))
    fresh.put(3, PRINT)
    (row,) = rows(fresh._engine)["fingerprints"]
    with writing(engine) as db:
        db.execute(prints.insert().values(dict(zip(prints.c.keys(), row, strict=True))))
    again = connect(sqlite_url(tmp_path / "ledger.db"))
    store = SqlFingerprints(again)
    with reading(again) as db:
        assert db.execute(select(func.count()).select_from(index)).scalar_one() == 0
    assert [one.output for one in store.find(find_peaks(material.crop(SOUND, 2.0, 6.0)))] == [3]
    assert rows(again) == rows(fresh._engine)


def test_a_question_without_landmarks_reads_nothing() -> None:
    nothing = PeakSet(np.zeros(0), np.zeros(0), 3.0)
    assert plain_candidates(OTHERS.sharing, nothing) == []
    assert changed_candidates(OTHERS.sharing, nothing) == []
    none = np.zeros(0, np.int64)
    assert OTHERS.sharing(Question(none, none)).probes.size == 0
