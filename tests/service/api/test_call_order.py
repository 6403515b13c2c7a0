"""Turns of owners at their webhooks: whatever hangs, nobody waits for more than one round."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, delete, insert, select, update

import rag_audio
from rag_audio.service.api.webhooks import CALLERS, CallOrder, Calls
from rag_audio.service.outbound_hosts import listed_hosts
from rag_audio.service.queue import SqlJobs
from rag_audio.service.tables import deliveries, jobs
from rag_audio.service.webhook_secrets import WebhookSecrets
from rag_audio.service.wording import Places
from rag_audio.storage.database import connect, sqlite_url, writing
from tests.service.api.endpoints import endpoints

OWNERS = tuple("abcdef")


class Queue:
    """Deliveries in a database of their own; each owner has one job, which all of theirs are of."""

    def __init__(self, engine: Engine) -> None:
        self.engine, jobs = engine, SqlJobs(engine)
        self.jobs = {owner: jobs.accept("generation", {}, owner=owner).id for owner in OWNERS}
        self.owners = {job: owner for owner, job in self.jobs.items()}

    @contextmanager
    def filled(self, owners: Sequence[str]) -> Iterator[Connection]:
        """A transaction with a delivery of each, in this order of age."""
        with writing(self.engine) as db:
            db.execute(delete(deliveries))
            for i, owner in enumerate(owners):
                row = {"id": uuid.uuid4().hex, "job": self.jobs[owner], "next_at": float(i)}
                more = {"url": "https://host/", "said": "", "state": "due", "attempts": 0}
                db.execute(insert(deliveries).values(**row, **more))
            yield db

    def take(self, db: Connection, turns: CallOrder) -> str | None:
        """Begin the call whose turn it is: its owner; None: nobody may be called."""
        due = select(deliveries.c.id).outerjoin(jobs, jobs.c.id == deliveries.c.job)
        id_ = turns.next_of(db, due.where(deliveries.c.state == "due"))
        if id_ is None:
            return None
        taken = update(deliveries).where(deliveries.c.id == id_).values(state="done")
        row = db.execute(taken.returning(deliveries.c.job)).one()
        turns.begin(self.owners[row.job])
        return self.owners[row.job]


@pytest.fixture(scope="module")
def queue(tmp_path_factory: pytest.TempPathFactory) -> Queue:
    return Queue(connect(sqlite_url(tmp_path_factory.mktemp("turns") / "ledger.db")))


def run(queue: Queue, backlog: list[str], slow: set[str], ends: Iterator[int]) -> Iterator[str]:
    """Whose calls begin, in order, where some owners' calls are always slow; it holds each rule."""
    turns, left, going = CallOrder(CALLERS), list(backlog), list[str]()
    began: dict[str, int] = {}
    seen: set[str] = set()  # owners that are known to be slow
    with queue.filled(backlog) as db:
        for number in range(10 * len(backlog) + 1):
            owner = queue.take(db, turns) if len(going) < CALLERS else None
            if owner is None and not going:
                break
            if owner is None:
                over = going.pop(next(ends) % len(going))
                turns.end(over, is_slow=over in slow)
                seen |= {over} & slow
                continue
            assert owner not in going, "an owner has one call at a time"
            for other in set(left) - {owner, *going, *slow}:
                assert began.get(other, -1) >= began.get(owner, -1), "it has waited longer"
            going.append(owner)
            left.remove(owner)
            began[owner] = number
            assert len(seen & set(going)) <= CALLERS // 2, "slow ones have half of the callers"
            yield owner
    assert not left, "everybody is called in the end"


@given(
    st.lists(st.sampled_from(OWNERS), max_size=16),
    st.sets(st.sampled_from(OWNERS)),
    st.lists(st.integers(0, 3), min_size=8, max_size=8),
)
@settings(max_examples=15, deadline=None)
def test_who_was_called_longest_ago_comes_first_and_slow_ones_leave_half_of_the_callers(
    queue: Queue, backlog: list[str], slow: set[str], ends: list[int]
) -> None:
    assert sorted(run(queue, backlog, slow, iter(ends * 20))) == sorted(backlog)


def test_owners_that_are_known_to_hang_leave_callers_to_the_others(queue: Queue) -> None:
    turns = CallOrder(CALLERS)
    with queue.filled([*"abcd" * 3, "e", "e"]) as db:
        assert [queue.take(db, turns) for _ in range(CALLERS)] == list("abcd")
        turns.end("a", is_slow=True)
        assert queue.take(db, turns) == "e", "who was never called comes before a whole backlog"
        for owner in "bcde":
            turns.end(owner, is_slow=owner != "e")
        assert [queue.take(db, turns) for _ in range(CALLERS)] == ["a", "b", "e", None]
        turns.end("a", is_slow=False)
        assert queue.take(db, turns) == "c", "an owner that answers again is no longer slow"


def test_owners_beyond_the_bound_are_forgotten(queue: Queue) -> None:
    turns = CallOrder(CALLERS, most=2)
    for owner in "abc":
        turns.begin(owner)
        turns.end(owner, is_slow=True)
    with queue.filled("ba") as db:
        assert queue.take(db, turns) == "a", "as new as on the first day"


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_keys_whose_endpoints_never_answer_delay_others_by_one_round(
    tmp_path: Path, database: str, request: pytest.FixtureRequest
) -> None:
    """As many bad keys as callers, and their backlog is older: two processes on one database."""
    of: dict[str, Callable[[], str]] = {
        "sqlite": lambda: sqlite_url(tmp_path / "home" / "ledger.db"),
        "postgresql": lambda: str(request.getfixturevalue("postgres_url")),
    }
    stop, bad = threading.Event(), [f"bad{i}" for i in range(CALLERS)]
    with rag_audio.open(tmp_path / "home") as workspace, endpoints() as hooks:
        engine = connect(of[database]())
        jobs, secrets = SqlJobs(engine), WebhookSecrets(engine, tmp_path / "home")
        for owner, path in [(one, "/never") for one in bad * 6] + [("good", "/good")]:
            job = jobs.accept("generation", {}, owner=owner, webhook=f"http://{hooks.place}{path}")
            jobs.cancel(job.id)
        listed, places = listed_hosts(hooks.place), Places(workspace.home)
        processes = [
            Calls(engine, jobs, secrets, listed, stop, places=places, timeout_s=0.3)
            for _ in range(2)
        ]
        threads = [
            threading.Thread(target=lambda calls=calls: calls.call_next() and calls.call_next())
            for calls in processes
            for _ in range(CALLERS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert len(hooks.at("/good")) == 1
        assert len(hooks.at("/never")) <= 2 * len(threads) - 1
