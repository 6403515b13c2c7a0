"""Pages, counts and periods of outputs: what is read of the log, and how much of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from rag_audio.errors import InvalidInput
from rag_audio.provenance.ledger.ledger import SqlLedger
from rag_audio.provenance.ledger.output_queries import OutputFilter, PageOf
from rag_audio.service.tables import own
from rag_audio.storage.database import connect, sqlite_url
from tests.provenance.builders import record, source
from tests.support.query_plans import plan_of, statements

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
COUNT = 12


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    if request.param == "postgresql":
        return connect(str(request.getfixturevalue("postgres_url")))
    return connect(sqlite_url(tmp_path / "ledger.db"))


@pytest.fixture
def ledger(engine: Engine) -> SqlLedger:
    """An output a day, of two owners in turn, with events between them."""
    made = SqlLedger(engine)
    for day in range(COUNT):
        number, owner = made.next_output_id(), ("ann", "ben")[day % 2]
        one = record(number, source("kit"), *([source("choir")] if day % 3 == 0 else []))
        one = replace(one, created=BEGIN + timedelta(days=day))
        made.append_many([one], lambda db, n=number, o=owner: own(db, o, [n]), owner)
        made.append_event("influence", {"output": number})
    return made


def numbers(found: object) -> list[int]:
    return [entry.record.output for entry in found]  # type: ignore[attr-defined]


def test_pages_follow_each_other_in_both_directions(ledger: SqlLedger) -> None:
    forth, back, after, before = [], [], 0, None
    while page := ledger.outputs(page=PageOf(after=after, limit=5)):
        forth += numbers(page)
        after = page[-1].seq
    while page := ledger.outputs(page=PageOf(before=before, limit=5, newest_first=True)):
        back += numbers(page)
        before = page[-1].seq
    assert forth == list(range(1, COUNT + 1)) == back[::-1]
    assert numbers(ledger.each_output()) == forth
    assert ledger.count_outputs() == COUNT


def test_a_period_holds_its_first_moment_and_not_its_last(ledger: SqlLedger) -> None:
    days = OutputFilter(since=BEGIN + timedelta(days=3), until=BEGIN + timedelta(days=6))
    assert numbers(ledger.outputs(days)) == [4, 5, 6]
    assert ledger.count_outputs(days) == 3
    assert numbers(ledger.outputs(replace(days, stem=source("choir").reference.stem.id))) == [4]
    assert ledger.outputs(OutputFilter(until=BEGIN)) == []
    with pytest.raises(InvalidInput, match="has no zone"):
        OutputFilter(since=datetime(2026, 1, 1))


def test_an_owner_sees_their_own_alone_and_counts_them(ledger: SqlLedger, engine: Engine) -> None:
    ann = OutputFilter(owner="ann")
    assert numbers(ledger.outputs(ann)) == [1, 3, 5, 7, 9, 11]
    assert ledger.count_outputs(ann) == 6
    stem = source("choir").reference.stem.id
    assert numbers(ledger.outputs(replace(ann, stem=stem[:10]))) == [1, 7]
    assert ledger.count_outputs(OutputFilter(stem=stem)) == 4
    assert ledger.outputs(OutputFilter(owner="")) == []
    with engine.begin() as db:
        db.execute(text("DELETE FROM output_owners WHERE output = 3"))
    assert 3 not in numbers(ledger.outputs(ann)), "the table of owners has the last word"


def test_names_of_an_owner_are_those_of_their_outputs(ledger: SqlLedger) -> None:
    name = source("kit").reference.stem.artist
    assert ledger.source_names("artist") == [name]
    assert ledger.owner_names("artist", name.upper(), "ann") == [name]
    assert ledger.owner_names("artist", name, "nobody") == []
    assert ledger.source_names("license") == [source("kit").license.id]


def test_events_come_in_pages(ledger: SqlLedger) -> None:
    every = list(ledger.each_event())
    assert len(every) == COUNT
    assert ledger.events(limit=5) == every[:5]
    assert ledger.events("influence", after=every[4].seq, limit=100) == every[5:]


@pytest.mark.parametrize(
    "which",
    [OutputFilter(artist="Night Shift House Band"), OutputFilter(license="lib/nightshift-2026"),
     OutputFilter(holder="Night Shift Recordings"), OutputFilter(stem="ab" * 32),
     OutputFilter(owner="ann"), OutputFilter()],
)  # fmt: skip
def test_a_page_is_read_by_an_index_in_order(tmp_path: Path, which: OutputFilter) -> None:
    engine = connect(sqlite_url(tmp_path / "ledger.db"))
    ledger = SqlLedger(engine)
    ledger.append(record(ledger.next_output_id(), source("kit")))
    with statements(engine) as said:
        ledger.outputs(which, PageOf(limit=3))
    asked = next(one for one in said if "ORDER BY" in one)
    plan = "\n".join(plan_of(engine, asked))
    assert "TEMP B-TREE" not in plan and "SCAN" not in plan.replace("SCAN CONSTANT", ""), plan


@pytest.mark.parametrize("given", [{}, {"kind": "key"}, {"output": 3}])
def test_events_are_read_by_an_index(tmp_path: Path, given: dict[str, object]) -> None:
    engine = connect(sqlite_url(tmp_path / "ledger.db"))
    ledger = SqlLedger(engine)
    with statements(engine) as said:
        ledger.events(**given)  # type: ignore[arg-type]
    (asked,) = [one for one in said if "LIMIT" in one]
    plan = "\n".join(plan_of(engine, asked))
    assert "USING INDEX ledger_events" in plan, plan
