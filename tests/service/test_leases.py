"""The thread that renews a job's lease: if it fails, the attempt ends, and the job is not lost."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from structlog.testing import capture_logs

from rag_audio.service.jobs import JobState
from rag_audio.service.tables import jobs
from rag_audio.storage.database import writing
from tests.service.api.small_service import SmallService


@pytest.mark.parametrize("error", [RuntimeError("unforeseen"), SystemExit(1)])
def test_a_lease_that_is_no_longer_renewed_ends_the_attempt_and_the_job_is_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    small = SmallService(tmp_path)
    store, ledger = small.service.jobs, small.world.workspace.home.ledger
    progress, store.lease_s = store.progress, 0.04

    def fails(*_: Any) -> bool:
        raise error

    def once_it_failed(*said: Any) -> bool:
        for thread in threading.enumerate():
            if thread.name == "heartbeat":
                thread.join(10)
        return progress(*said)

    job = small.accept()["id"]
    with monkeypatch.context() as patched, capture_logs() as logs:
        patched.setattr(store, "renew", fails)
        patched.setattr(store, "progress", once_it_failed)
        small.run(job)
    (told,) = (one for one in logs if one["event"] == "a lease is no longer renewed")
    assert told["exc_info"] and told["job"] == job
    found = store.find(job)
    assert found is not None
    assert (found.state, found.attempts) == (JobState.RUNNING, 1), "its lease runs out"
    assert ledger.outputs() == [] and not any(small.service.folders.outputs.glob("*/*/*"))
    with writing(small.world.workspace.home.database) as db:
        db.execute(update(jobs).values(lease_until=1.0))
    again = store.claim()
    assert again is not None and (again.job.id, again.job.attempts) == (job, 2)
