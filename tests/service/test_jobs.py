"""Jobs on both databases: accepted once, served in turn, finished once whatever workers do."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from rag_audio.errors import Cancelled
from rag_audio.provenance.ledger.ledger import SqlLedger
from rag_audio.provenance.ledger.output_queries import OutputFilter
from rag_audio.service.jobs import Claimed, Job, JobState, LeaseLost, QueueFull
from rag_audio.service.queue import KeyInFlight, KeyReused, SqlIdempotency, SqlJobs
from rag_audio.service.retention import outputs_in_use
from rag_audio.service.tables import SqlOwners
from rag_audio.storage.database import connect, sqlite_url, writing
from tests.provenance.builders import record

ASKED = {"prompt": "warm piano"}


@pytest.fixture(params=["sqlite", "postgres", "pgbouncer"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    if request.param != "sqlite":
        return connect(str(request.getfixturevalue(f"{request.param}_url")))
    return connect(sqlite_url(tmp_path / "ledger.db"))


@pytest.fixture
def jobs(engine: Engine) -> SqlJobs:
    return SqlJobs(engine, lease_s=30.0)


def expire(engine: Engine) -> None:
    """As if nothing was heard of any worker for a long time."""
    with writing(engine) as db:
        db.execute(text("UPDATE jobs SET lease_until = 1 WHERE state = 'running'"))


def finish(engine: Engine, jobs: SqlJobs, held: Claimed) -> None:
    """Log an output and end the job, as a worker does."""
    ledger = SqlLedger(engine)
    number = ledger.next_output_id()

    def within(db: Connection) -> None:
        jobs.finish_in(db, held, {"outputs": [{"output": number}], "attempt": held.token})

    ledger.append_many([record(number)], within, held.job.owner)


def states(jobs: SqlJobs) -> dict[str, int]:
    return {state.value: count for state, count in jobs.counts().items() if count}


def test_a_job_from_acceptance_to_its_end(engine: Engine, jobs: SqlJobs) -> None:
    first, second = jobs.accept("generation", ASKED), jobs.accept("edit", ASKED)
    assert (first.state, first.position, second.position) == (JobState.QUEUED, 0, 1)
    held = jobs.claim()
    assert held is not None and held.job.id == first.id and held.job.request == ASKED
    assert jobs.progress(held, "generate", 3, 16, 1.5) is False
    found = jobs.find(first.id)
    assert found is not None
    assert (found.state, found.stage, found.done, found.eta_s) == (
        JobState.RUNNING, "generate", 3, 1.5,
    )  # fmt: skip
    finish(engine, jobs, held)
    found = jobs.find(first.id)
    assert found is not None and found.state is JobState.SUCCEEDED
    assert found.result is not None and found.finished_at is not None
    events = jobs.events(first.id)
    assert [event.id for event in events] == [1, 2, 3, 4]
    told = [event.document.get("state", event.kind) for event in events]
    assert told == ["queued", "running", "progress", "succeeded"]
    assert [event.id for event in jobs.events(first.id, after=2)] == [3, 4]
    assert [job.id for job in jobs.newest()] == [second.id, first.id]


def test_a_worker_that_stalled_can_neither_finish_nor_renew(engine: Engine, jobs: SqlJobs) -> None:
    job = jobs.accept("generation", ASKED)
    stalled = jobs.claim()
    assert stalled is not None and jobs.claim() is None
    expire(engine)
    second = jobs.claim()
    assert second is not None and second.job.id == job.id and second.job.attempts == 2
    with pytest.raises(LeaseLost):
        jobs.renew(stalled)
    with pytest.raises(LeaseLost):
        finish(engine, jobs, stalled)
    with pytest.raises(LeaseLost):
        jobs.fail(stalled, {"message": "late"})
    assert SqlLedger(engine).outputs() == []
    finish(engine, jobs, second)
    with pytest.raises(LeaseLost):
        finish(engine, jobs, second)
    assert len(SqlLedger(engine).outputs()) == 1
    assert SqlLedger(engine).verify() == []


def test_a_job_whose_workers_die_again_and_again_is_given_up(engine: Engine, jobs: SqlJobs) -> None:
    job = jobs.accept("generation", ASKED)
    for attempt in range(jobs.attempts):
        held = jobs.claim()
        assert held is not None and held.job.attempts == attempt + 1
        expire(engine)
    assert jobs.claim() is None
    found = jobs.find(job.id)
    assert found is not None and found.state is JobState.FAILED
    assert found.problem is not None and "3 attempts" in found.problem["message"]


def test_many_workers_never_get_the_same_job(engine: Engine, jobs: SqlJobs) -> None:
    wanted = {jobs.accept("generation", ASKED).id for _ in range(30)}
    got: list[str] = []

    def work() -> None:
        while (held := jobs.claim()) is not None:
            finish(engine, jobs, held)
            got.append(held.job.id)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    # Whoever saw nothing to claim may have looked while others held locks.
    work()
    assert sorted(got) == sorted(wanted)
    assert states(jobs) == {"succeeded": 30}
    ledger = SqlLedger(engine)
    assert len(ledger.outputs()) == 30
    assert ledger.verify() == []


def test_an_owner_with_many_jobs_delays_others_by_one(jobs: SqlJobs) -> None:
    for _ in range(5):
        jobs.accept("generation", ASKED, owner="greedy")
    modest = jobs.accept("generation", ASKED, owner="modest")
    assert modest.position == 1
    served = []
    while (held := jobs.claim()) is not None:
        served.append(held.job.owner)
    assert served.index("modest") == 1


def test_no_more_is_accepted_than_may_wait(engine: Engine) -> None:
    jobs = SqlJobs(engine, queued=3, per_owner=2)
    for _ in range(2):
        jobs.accept("generation", ASKED, owner="a")
    with pytest.raises(QueueFull, match="of yours"):
        jobs.accept("generation", ASKED, owner="a")
    jobs.accept("generation", ASKED, owner="b")
    with pytest.raises(QueueFull, match="3 jobs are waiting"):
        jobs.accept("generation", ASKED, owner="c")
    assert jobs.claim() is not None
    jobs.accept("generation", ASKED, owner="c")


def test_what_waits_is_canceled_at_once(jobs: SqlJobs) -> None:
    job = jobs.accept("generation", ASKED)
    canceled = jobs.cancel(job.id)
    assert canceled is not None and canceled.state is JobState.CANCELED
    assert jobs.claim() is None
    again = jobs.cancel(job.id)
    assert again is not None and again.state is JobState.CANCELED


def test_what_runs_gives_nothing_out_once_it_was_canceled(engine: Engine, jobs: SqlJobs) -> None:
    job = jobs.accept("generation", ASKED)
    held = jobs.claim()
    assert held is not None
    asked = jobs.cancel(job.id)
    assert asked is not None and asked.state is JobState.RUNNING and asked.cancel_asked
    assert jobs.renew(held) is True
    with pytest.raises(Cancelled):
        finish(engine, jobs, held)
    assert SqlLedger(engine).outputs() == []
    jobs.canceled(held)
    found = jobs.find(job.id)
    assert found is not None and found.state is JobState.CANCELED


def test_what_was_canceled_and_lost_its_worker_is_not_begun_again(
    engine: Engine, jobs: SqlJobs
) -> None:
    job = jobs.accept("generation", ASKED)
    assert jobs.claim() is not None
    jobs.cancel(job.id)
    expire(engine)
    assert jobs.claim() is None
    found = jobs.find(job.id)
    assert found is not None and found.state is JobState.CANCELED


def test_what_ended_stays_as_it_is(engine: Engine, jobs: SqlJobs) -> None:
    job = jobs.accept("generation", ASKED)
    held = jobs.claim()
    assert held is not None
    finish(engine, jobs, held)
    after = jobs.cancel(job.id)
    assert after is not None and after.state is JobState.SUCCEEDED


def test_cancel_and_finish_at_once_agree_on_one_end(engine: Engine, jobs: SqlJobs) -> None:
    for _ in range(10):
        job = jobs.accept("generation", ASKED)
        held = jobs.claim()
        assert held is not None
        seen: list[Any] = []
        logged = len(SqlLedger(engine).outputs())

        def end(held: Claimed = held, seen: list[Any] = seen) -> None:
            try:
                finish(engine, jobs, held)
                seen.append("finished")
            except Cancelled:
                jobs.canceled(held)
                seen.append("canceled")

        thread = threading.Thread(target=end)
        thread.start()
        jobs.cancel(job.id)
        thread.join(60)
        found = jobs.find(job.id)
        assert found is not None
        more = len(SqlLedger(engine).outputs()) - logged
        assert (seen, found.state.value, more) in (
            (["finished"], "succeeded", 1),
            (["canceled"], "canceled", 0),
        )


def test_a_job_that_is_given_back_is_not_counted_as_tried(jobs: SqlJobs) -> None:
    job = jobs.accept("generation", ASKED)
    held = jobs.claim()
    assert held is not None
    jobs.give_back(held)
    again = jobs.claim()
    assert again is not None and again.job.id == job.id and again.job.attempts == 1


def test_an_idempotency_key_stands_for_one_job(engine: Engine, jobs: SqlJobs) -> None:
    keys = SqlIdempotency(engine)
    assert keys.begin("me", "k1", b"body") is None
    with pytest.raises(KeyInFlight):
        keys.begin("me", "k1", b"body")
    job = jobs.accept("generation", ASKED, owner="me", key="k1")
    assert keys.begin("me", "k1", b"body") == job.id
    with pytest.raises(KeyReused):
        keys.begin("me", "k1", b"another")
    assert keys.begin("you", "k1", b"another") is None
    keys.refused("you", "k1")
    assert keys.begin("you", "k1", b"anything") is None


def test_of_many_requests_with_one_key_one_is_the_first(engine: Engine) -> None:
    keys, first, refused = SqlIdempotency(engine), [], []

    def ask() -> None:
        try:
            first.append(keys.begin("me", "same", b"body"))
        except KeyInFlight:
            refused.append(1)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (first, len(refused)) == ([None], 7)


def test_the_clock_is_the_databases(engine: Engine, jobs: SqlJobs) -> None:
    job = jobs.accept("generation", ASKED)
    assert abs(job.created_at - time.time()) < 5.0


def test_jobs_taken_along_have_tokens_and_ends_of_their_own(engine: Engine, jobs: SqlJobs) -> None:
    accepted = [jobs.accept("generation", ASKED) for _ in range(4)]
    first = jobs.claim()
    assert first is not None
    others = jobs.claim_with(first, lambda waiting: waiting[:2], rounds=8)
    assert [held.job.id for held in others] == [job.id for job in accepted[1:3]]
    assert len({first.token, *(held.token for held in others)}) == 3
    assert all(held.job.attempts == 1 for held in others)
    told = [event.document["state"] for event in jobs.events(accepted[1].id)]
    assert told == ["queued", "running"]
    finish(engine, jobs, others[0])
    jobs.fail(others[1], {"message": "bad"})
    jobs.give_back(first)
    assert states(jobs) == {"succeeded": 1, "failed": 1, "queued": 2}
    assert len(SqlLedger(engine).outputs()) == 1


def test_what_lost_a_worker_or_is_of_another_kind_is_not_taken_along(
    engine: Engine, jobs: SqlJobs
) -> None:
    lost = jobs.accept("generation", ASKED)
    assert jobs.claim() is not None
    expire(engine)
    head = jobs.claim()
    assert head is not None and head.job.id == lost.id
    jobs.accept("edit", ASKED)
    jobs.accept("generation", ASKED)
    assert jobs.claim_with(head, lambda waiting: waiting, rounds=8) == ()
    jobs.give_back(head)
    second = jobs.accept("edit", ASKED)
    held = jobs.claim(["edit"])
    assert held is not None
    along = jobs.claim_with(held, lambda waiting: waiting, rounds=8)
    assert [one.job.id for one in along] == [second.id]


def test_whoever_waits_is_overtaken_by_fewer_than_the_rounds(jobs: SqlJobs) -> None:
    for _ in range(10):
        jobs.accept("generation", {"prompt": "fast"}, owner="greedy")
    modest = jobs.accept("generation", {"prompt": "other"}, owner="modest")
    first = jobs.claim()
    assert first is not None

    def fast(waiting: Sequence[Job]) -> list[Job]:
        return [job for job in waiting if job.request["prompt"] == "fast"]

    along = jobs.claim_with(first, fast, rounds=4)
    assert [held.job.owner for held in along] == ["greedy"] * 3
    newcomer = jobs.accept("generation", ASKED, owner="newcomer")
    # The batch did not put the newcomer behind rounds that its owner had ahead of time, ...
    assert newcomer.position == 1
    served = jobs.claim()
    assert served is not None and served.job.id == modest.id
    # ... and the owner does not get these rounds again.
    assert jobs.accept("generation", ASKED, owner="greedy").position == 7
    after = jobs.claim()
    assert after is not None and after.job.id == newcomer.id


def test_who_had_rounds_ahead_waits_for_others_though_all_is_finished(
    engine: Engine, jobs: SqlJobs
) -> None:
    for _ in range(4):
        jobs.accept("generation", ASKED, owner="greedy")
    for _ in range(3):
        jobs.accept("generation", {"prompt": "other"}, owner="modest")
    first = jobs.claim()
    assert first is not None
    mine = jobs.claim_with(
        first, lambda all_: [job for job in all_ if job.owner == "greedy"], rounds=4
    )
    for held in (first, *mine):
        finish(engine, jobs, held)
    assert jobs.accept("generation", ASKED, owner="greedy").position == 3


def test_what_was_canceled_before_its_turn_moves_nobody_back(jobs: SqlJobs) -> None:
    for _ in range(3):
        jobs.accept("generation", ASKED, owner="patient")
    for job in [jobs.accept("generation", ASKED, owner="fickle") for _ in range(9)]:
        jobs.cancel(job.id)
    assert jobs.accept("generation", ASKED, owner="newcomer").position == 2


def test_many_workers_that_take_jobs_along_never_get_the_same(
    engine: Engine, jobs: SqlJobs
) -> None:
    wanted = {jobs.accept("generation", ASKED).id for _ in range(30)}
    got: list[str] = []

    def work() -> None:
        while (first := jobs.claim()) is not None:
            for held in (first, *jobs.claim_with(first, lambda waiting: waiting[:3], rounds=4)):
                finish(engine, jobs, held)
                got.append(held.job.id)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    work()
    assert sorted(got) == sorted(wanted)
    assert states(jobs) == {"succeeded": 30}
    assert SqlLedger(engine).verify() == []


def test_an_output_is_its_owners_from_the_moment_that_it_is_logged(
    engine: Engine, jobs: SqlJobs
) -> None:
    owners = SqlOwners(engine)
    for owner in ("ann", "ben", "ann"):
        jobs.accept("generation", ASKED, owner=owner)
    held = [claimed for claimed in (jobs.claim(), jobs.claim()) if claimed is not None]
    for claimed in held:
        finish(engine, jobs, claimed)
    expired = jobs.claim()
    assert expired is not None
    expire(engine)
    jobs.claim()
    with pytest.raises(LeaseLost):
        finish(engine, jobs, expired)
    assert {owners.of(number) for number in (1, 2)} == {"ann", "ben"}
    assert [owners.of(number) for number in (3, 4)] == [None, None]
    assert owners.outputs_of("ann") + owners.outputs_of("ben") in ([1, 2], [2, 1])
    assert owners.outputs_of("") == []
    assert {jobs.counts(owner)[JobState.SUCCEEDED] for owner in ("ann", "ben")} == {1}
    assert jobs.counts("nobody")[JobState.SUCCEEDED] == 0
    listed = SqlLedger(engine).outputs(OutputFilter(owner="ben"))
    assert [owners.of(entry.record.output) for entry in listed] == ["ben"]


def test_the_masters_that_unfinished_edits_need(engine: Engine, jobs: SqlJobs) -> None:
    assert outputs_in_use(engine) == frozenset()
    jobs.accept("generation", ASKED)
    jobs.accept("edit", ASKED, plan={"edit": {"ancestors": [5, 3]}})
    ended = jobs.accept("edit", ASKED, plan={"edit": {"ancestors": [9]}})
    jobs.cancel(ended.id)
    assert outputs_in_use(engine) == {5, 3}
    jobs.accept("edit", ASKED)
    assert outputs_in_use(engine) is None, "an edit of an earlier version does not say"
