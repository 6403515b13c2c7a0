"""What is old goes, in short transactions; what the ledger needs, and new jobs count on, stays."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, event, text

from rag_audio.errors import BackendUnavailable
from rag_audio.provenance.ledger.commitments import OUTPUT
from rag_audio.provenance.ledger.ledger import SqlLedger
from rag_audio.provenance.ledger.tables import LOCK, Draft, append_drafts
from rag_audio.service import pruning
from rag_audio.service.jobs import Job
from rag_audio.service.pruning import DAY_S, Ages, Pruning
from rag_audio.service.queue import SqlIdempotency, SqlJobs
from rag_audio.storage.database import connect, reading, sqlite_url, writing
from tests.provenance.builders import encode_record, record

ASKED = {"prompt": "warm piano"}
AGES = Ages(jobs_s=30 * DAY_S, progress_s=7 * DAY_S)


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    if request.param == "postgresql":
        return connect(str(request.getfixturevalue("postgres_url")))
    return connect(sqlite_url(tmp_path / "ledger.db"))


def made(engine: Engine, *, old: bool = False, webhook: str | None = None) -> Job:
    """A job that was done; ``old``: by a version whose records do not say whose outputs are."""
    jobs, ledger = SqlJobs(engine), SqlLedger(engine)
    jobs.accept("generation", ASKED, owner="ann", webhook=webhook)
    held = jobs.claim()
    assert held is not None
    jobs.progress(held, "generate", 3, 16)
    number = ledger.next_output_id()

    def within(db: Connection) -> None:
        jobs.finish_in(db, held, {"outputs": [{"output": number}], "attempt": held.token})

    if old:
        with writing(engine, LOCK) as db:
            append_drafts(db, [Draft(OUTPUT, number, encode_record(record(number)))])
            within(db)
    else:
        ledger.append_many([record(number)], within, "ann")
    return held.job


def age(engine: Engine, days: float) -> None:
    with writing(engine) as db:
        for table, column in (
            ("jobs", "finished_at"), ("job_events", "at"), ("idempotency_keys", "at")
        ):  # fmt: skip
            db.execute(text(f"UPDATE {table} SET {column} = {column} - {days * DAY_S}"))  # noqa: S608


def ids(engine: Engine, table: str = "jobs", column: str = "id") -> list[str]:
    with reading(engine) as db:
        return list(db.execute(text(f"SELECT {column} FROM {table}")).scalars())  # noqa: S608


def pruned(engine: Engine, ages: Ages = AGES, removed: list[str] | None = None) -> dict[str, int]:
    files: list[str] = [] if removed is None else removed
    return Pruning(engine, ages, files.append).prune(lambda: False)


def test_old_jobs_go_with_their_events_and_files_and_the_ledger_stays(engine: Engine) -> None:
    old = [made(engine) for _ in range(3)]
    age(engine, 31)
    new = [made(engine) for _ in range(2)]
    before = SqlLedger(engine).size()
    removed: list[str] = []
    assert pruned(engine, removed=removed)["jobs"] == 3
    assert sorted(removed) == sorted(job.id for job in old)
    assert sorted(ids(engine)) == sorted(job.id for job in new)
    assert set(ids(engine, "job_events", "job")) == {job.id for job in new}
    ledger = SqlLedger(engine)
    assert (ledger.size(), ledger.verify()) == (before, [])
    assert len(ids(engine, "output_owners", "owner")) == 5
    assert pruned(engine)["jobs"] == 0


def test_a_job_that_alone_says_whose_an_output_is_stays(engine: Engine) -> None:
    kept = made(engine, old=True)
    gone = made(engine)
    age(engine, 31)
    made(engine)
    assert pruned(engine)["jobs"] == 1
    assert kept.id in ids(engine) and gone.id not in ids(engine)


def test_jobs_that_wait_run_or_are_to_be_called_about_stay(engine: Engine) -> None:
    called = made(engine, webhook="https://hooks.example/made")
    last = made(engine)
    age(engine, 400)
    assert pruned(engine)["jobs"] == 0, "the last one is what new ones are counted on from"
    assert set(ids(engine)) == {called.id, last.id}
    waiting = SqlJobs(engine).accept("generation", ASKED)
    assert pruned(engine)["jobs"] == 1
    assert set(ids(engine)) == {called.id, waiting.id}
    with writing(engine) as db:
        db.execute(text("UPDATE webhook_deliveries SET state = 'done'"))
    assert pruned(engine)["jobs"] == 1
    assert called.id not in ids(engine) and ids(engine, "webhook_deliveries", "job") == []


def test_a_job_stays_as_long_as_an_edit_waits_that_begins_with_it(engine: Engine) -> None:
    jobs, begun, other = SqlJobs(engine), made(engine), made(engine)
    age(engine, 31)
    edit = jobs.accept("edit", {"generation": begun.id, "take": 1})
    assert pruned(engine)["jobs"] == 1
    assert begun.id in ids(engine) and other.id not in ids(engine)
    jobs.cancel(edit.id)
    assert pruned(engine)["jobs"] == 1
    assert ids(engine) == [edit.id]


def test_jobs_stay_until_their_files_are_gone(engine: Engine) -> None:
    old = [made(engine) for _ in range(3)]
    age(engine, 31)
    made(engine)

    def away(_id: str) -> None:
        raise BackendUnavailable("the bucket is away")

    with pytest.raises(BackendUnavailable):
        Pruning(engine, AGES, away).prune(lambda: False)
    removed: list[str] = []
    assert pruned(engine, removed=removed)["jobs"] == 3
    assert sorted(removed) == sorted(job.id for job in old)


def test_new_jobs_get_places_after_all_that_were(engine: Engine) -> None:
    jobs = SqlJobs(engine)
    for _ in range(3):
        made(engine)
    last = jobs.newest()[0]
    age(engine, 31)
    pruned(engine)
    assert jobs.accept("generation", ASKED).seq == last.seq + 1


def test_progress_goes_before_its_job_and_states_stay(engine: Engine) -> None:
    job = made(engine)
    age(engine, 8)
    assert pruned(engine, Ages(None, 7 * DAY_S)) == {
        "progress": 1, "idempotency_keys": 0, "jobs": 0,
    }  # fmt: skip
    told = [one.document["state"] for one in SqlJobs(engine).events(job.id)]
    assert told == ["queued", "running", "succeeded"]


def test_idempotency_keys_go_after_their_day(engine: Engine) -> None:
    keys = SqlIdempotency(engine)
    keys.begin("ann", "a", b"1")
    age(engine, 2)
    keys_left = ids(engine, "idempotency_keys", "key")
    assert (keys_left, pruned(engine)["idempotency_keys"]) == (["a"], 1)
    assert ids(engine, "idempotency_keys", "key") == []


def test_transactions_are_short_and_none_goes_on_when_it_is_to_stop(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(7):
        made(engine)
    age(engine, 31)
    made(engine)
    monkeypatch.setattr(pruning, "AT_ONCE", 2)
    commits: list[object] = []
    event.listen(engine, "commit", commits.append)
    done = Pruning(engine, AGES, lambda _id: None)
    assert done.prune(lambda: True)["jobs"] == 0 and commits == []
    assert done.prune(lambda: False)["jobs"] == 7
    assert len(commits) >= 4 + 4, "of jobs and of their progress"


def test_an_unreadable_result_keeps_its_job(engine: Engine) -> None:
    job = made(engine)
    age(engine, 31)
    made(engine)
    with writing(engine) as db:
        odd = {"odd": json.dumps({"outputs": [{}]}), "id": job.id}
        db.execute(text("UPDATE jobs SET result = :odd WHERE id = :id"), odd)
    assert pruned(engine)["jobs"] == 0
