"""Output numbers: epochs that overflow, databases that were put back, edited counters."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag_audio.errors import LedgerError
from rag_audio.provenance.ledger import numbering
from rag_audio.provenance.ledger.ledger import SqlLedger
from rag_audio.provenance.ledger.numbering import (
    EPOCH_NUMBERS,
    FIRST_EPOCH_LAST,
    FIRST_PLACE,
    LAST_PLACE,
    begin_epoch,
    given_in,
)
from rag_audio.provenance.ledger.tables import MAX_OUTPUT, counter_checksum
from rag_audio.storage.database import connect, sqlite_url, writing
from tests.provenance.builders import record


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(path: Path) -> SqlLedger:
    return SqlLedger(connect(sqlite_url(path)))


def count_on_from(path: Path, last: int, first: int = 1, epoch: int = 1) -> None:
    """Set an epoch's counter, as if so many outputs had been made."""
    with closing(sqlite3.connect(path)) as db:
        db.execute(
            "UPDATE ledger_counter SET last_output = ?, checksum = ? WHERE id = ?",
            (last, counter_checksum(last, first), epoch),
        )
        db.commit()


def test_all_places_of_epochs_lie_above_the_first_and_within_forty_bits() -> None:
    assert FIRST_PLACE * EPOCH_NUMBERS == FIRST_EPOCH_LAST
    assert (LAST_PLACE + 1) * EPOCH_NUMBERS - 1 <= MAX_OUTPUT == 2**40 - 1
    assert 1 / (LAST_PLACE - FIRST_PLACE + 1) < 1e-6


def test_an_epoch_that_is_used_up_is_followed_by_another(path: Path, ledger: SqlLedger) -> None:
    ledger.append(record(ledger.next_output_id()))
    count_on_from(path, FIRST_EPOCH_LAST - 1)
    assert ledger.next_output_id() == FIRST_EPOCH_LAST
    number = ledger.next_output_id()
    assert number > FIRST_EPOCH_LAST and number % EPOCH_NUMBERS == 1
    ledger.append_many([record(number), record(1_234)])
    (begun,) = ledger.events("numbers")
    assert begun.document == {"numbers_from": number}
    count_on_from(path, number + EPOCH_NUMBERS - 2, number, 2)
    third = ledger.next_output_id()
    assert third % EPOCH_NUMBERS == 1 and third // EPOCH_NUMBERS != number // EPOCH_NUMBERS
    assert [ledger.next_output_id(), ledger.next_output_id()] == [third + 1, third + 2]
    assert ledger.verify() == []
    for never in (third + 3, third - 1, number + EPOCH_NUMBERS - 1, FIRST_EPOCH_LAST + 1):
        with pytest.raises(LedgerError, match="never assigned"):
            ledger.append(record(never))


def test_when_no_place_is_left_nothing_is_given(
    path: Path, ledger: SqlLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numbering, "LAST_PLACE", FIRST_PLACE + 1)
    places = set()
    for _ in range(2):
        with writing(ledger._engine) as db:
            places.add(begin_epoch(db).first // EPOCH_NUMBERS)
    assert places == {FIRST_PLACE, FIRST_PLACE + 1}
    with writing(ledger._engine) as db, pytest.raises(LedgerError, match="have been used"):
        begin_epoch(db)


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 5), st.integers(0, 5))
def test_a_database_that_was_put_back_gives_no_number_again(
    tmp_path_factory: pytest.TempPathFactory, before: int, after: int
) -> None:
    """Whatever put it back: a copy of the file, or a server's own tools."""
    home = tmp_path_factory.mktemp("home")
    masters = home / "masters"
    masters.mkdir()

    def opened() -> SqlLedger:
        def is_used(number: int) -> bool:
            return (masters / f"{number}.wav").exists()

        return SqlLedger(connect(sqlite_url(home / "ledger.db")), None, is_used)

    def make(ledger: SqlLedger, count: int) -> list[int]:
        made = [ledger.next_output_id() for _ in range(count)]
        for number in made:
            (masters / f"{number}.wav").touch()
            ledger.append(record(number))
        ledger._engine.dispose()
        return made

    numbers = make(opened(), before)
    shutil.copy(home / "ledger.db", home / "old.db")
    numbers += make(opened(), after)
    (home / "old.db").replace(home / "ledger.db")
    numbers += make(opened(), 2)
    assert len(set(numbers)) == len(numbers) == before + after + 2
    assert opened().verify() == []


@pytest.mark.parametrize("back", [0, 1])
def test_an_epoch_that_the_log_does_not_know_is_found(
    path: Path, ledger: SqlLedger, back: int
) -> None:
    count_on_from(path, FIRST_EPOCH_LAST)
    ledger.append(record(ledger.next_output_id()))
    first = ledger.events("numbers")[0].document["numbers_from"]
    moved = first + EPOCH_NUMBERS
    edits = (
        ("DELETE FROM ledger_counter WHERE id = 2", ()),
        ("UPDATE ledger_counter SET first_output = 2 WHERE id = 1", ()),
        (
            "UPDATE ledger_counter SET first_output = ?, last_output = ?, checksum = ? "
            "WHERE id = 2",
            (moved, moved, counter_checksum(moved, moved)),
        ),
        (
            "INSERT INTO ledger_counter (id, first_output, last_output, checksum) "
            "VALUES (3, ?, ?, ?)",
            (moved, moved, counter_checksum(moved, moved)),
        ),
        (
            "UPDATE ledger_counter SET last_output = ?, checksum = ? WHERE id = 2",
            (moved, counter_checksum(moved, first)),
        ),
        ("UPDATE ledger_counter SET id = 3 WHERE id = 2", ()),
    )
    assert ledger.verify() == []
    for edit, values in edits[back::2]:
        with closing(sqlite3.connect(path)) as db:
            rows = db.execute("SELECT * FROM ledger_counter").fetchall()
            assert db.execute(edit, values).rowcount == 1
            db.commit()
            assert any("number" in f.what or "counter" in f.what for f in ledger.verify()), edit
            db.execute("DELETE FROM ledger_counter")
            db.executemany("INSERT INTO ledger_counter VALUES (?, ?, ?, ?)", rows)
            db.commit()
    assert ledger.verify() == []


def test_two_epochs_are_never_at_one_place(ledger: SqlLedger) -> None:
    with writing(ledger._engine) as db:
        for _ in range(20):
            begin_epoch(db)
        firsts = [one.first for one in given_in(db).epochs]
    assert len({first // EPOCH_NUMBERS for first in firsts}) == 21
