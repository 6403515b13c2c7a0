"""Workers that stall, die and are stopped, with real models: every job is logged exactly once."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from rag_audio.pipeline.workspace import open_workspace
from rag_audio.service.api.services import Service
from rag_audio.service.jobs import Job, JobState
from rag_audio.service.runner import Runner
from rag_audio.service.settings import ServeSettings

LONG = {"prompt": "warm electric piano", "duration_s": 4.0, "steps": 100, "seed": 5}
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def service(indexed_home: Path, tmp_path: Path) -> Iterator[Service]:
    """A service that holds the index and does no work itself; a lease ends after a second."""
    home = tmp_path / "home"
    shutil.copytree(indexed_home, home)
    made = Service(open_workspace(home), ServeSettings(lease_s=1.0), (), 0)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def worker(service: Service) -> Iterator[subprocess.Popen[bytes]]:
    """A ``rag-audio worker`` beside it, in a process of its own."""
    home = str(service.workspace.home.folder)
    process = subprocess.Popen(
        [sys.executable, "-m", "rag_audio.cli", "worker", "--home", home],
        env={**os.environ, "RAG_AUDIO_SERVE_LEASE_S": "1", "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    )
    yield process
    process.kill()
    process.wait()


def until(service: Service, job: Job, wanted: Callable[[Job], bool], seconds: float = 60.0) -> Job:
    """The job as soon as it is as wanted."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = service.jobs.find(job.id)
        assert found is not None
        if wanted(found):
            return found
        time.sleep(0.02)
    raise AssertionError(f"it never came to that: {service.jobs.find(job.id)}")


def stall(worker: subprocess.Popen[bytes], database: Path) -> None:
    """Stop the process where it holds no lock of the database, which nobody could take from it."""
    for _ in range(100):
        worker.send_signal(signal.SIGSTOP)
        with closing(sqlite3.connect(database, timeout=0.2, isolation_level=None)) as asked:
            try:
                asked.execute("BEGIN IMMEDIATE")
                asked.execute("ROLLBACK")
            except sqlite3.OperationalError:
                worker.send_signal(signal.SIGCONT)
                time.sleep(0.01)
            else:
                return
    raise AssertionError("it holds the database's lock whenever it is stopped")


def is_generating(job: Job) -> bool:
    return job.state is JobState.RUNNING and job.stage == "generate"


def work_off(service: Service) -> None:
    """Another worker, here: takes what nobody is heard of any more."""
    runner = Runner(service.home, service.jobs)
    end = time.monotonic() + 30
    while any(service.jobs.counts()[s] for s in (JobState.QUEUED, JobState.RUNNING)):
        assert time.monotonic() < end
        held = service.jobs.claim()
        if held is not None:
            runner.run(held)
        time.sleep(0.05)


def test_a_stalled_worker_and_a_killed_one_lose_their_jobs_and_nothing_else(
    service: Service, worker: subprocess.Popen[bytes]
) -> None:
    ledger = service.workspace.home.ledger
    stalled = service.jobs.accept("generation", LONG)
    until(service, stalled, is_generating)
    stall(worker, service.home.folder / "ledger.db")
    work_off(service)
    first = until(service, stalled, lambda job: job.state.is_final)
    assert (first.state, first.attempts) == (JobState.SUCCEEDED, 2)
    killed = service.jobs.accept("generation", {**LONG, "seed": 6})
    worker.send_signal(signal.SIGCONT)
    until(service, killed, is_generating)
    worker.kill()
    worker.wait()
    work_off(service)
    second = until(service, killed, lambda job: job.state.is_final)
    assert (second.state, second.attempts) == (JobState.SUCCEEDED, 2)
    outputs = [entry.record.output for entry in ledger.outputs()]
    assert len(outputs) == len(set(outputs)) == 2
    assert ledger.verify() == []
    for job in (first, second):
        assert job.result is not None
        (one,) = job.result["outputs"]
        assert one["output"] in outputs
        folder = service.folders.of_result(job)
        assert folder is not None and (folder / one["file"]).is_file()
    # What the stalled worker made after its lease was lost is gone.
    assert len(list((service.folders.outputs / first.id).iterdir())) == 1


def test_a_worker_that_is_told_to_stop_gives_its_job_back(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str | None] = []
    load = service.workspace.home.generator
    monkeypatch.setattr(
        service.workspace.home, "generator", lambda model: asked.append(model) or load(model)
    )
    job = service.jobs.accept("generation", LONG)
    held = service.jobs.claim()
    assert held is not None
    Runner(service.home, service.jobs, stopping=lambda: True).run(held)
    found = service.jobs.find(job.id)
    assert found is not None
    assert (found.state, found.attempts) == (JobState.QUEUED, 0)
    assert asked == [], "it must not load a model, which may take minutes, only to be stopped"
    assert service.workspace.home.ledger.outputs() == []
    assert not any(service.folders.outputs.glob("*/*/*"))


def test_a_job_that_runs_too_long_is_ended(service: Service) -> None:
    job = service.jobs.accept("generation", LONG)
    held = service.jobs.claim()
    assert held is not None
    Runner(service.home, service.jobs, job_s=0.05).run(held)
    found = service.jobs.find(job.id)
    assert found is not None and found.state is JobState.FAILED
    assert found.problem is not None and found.problem["type"] == "TimeLimit"


def test_a_running_job_is_canceled_within_a_step(service: Service) -> None:
    job = service.jobs.accept("generation", LONG)
    held = service.jobs.claim()
    assert held is not None
    service.jobs.cancel(job.id)
    Runner(service.home, service.jobs).run(held)
    found = service.jobs.find(job.id)
    assert found is not None and found.state is JobState.CANCELED
    assert service.workspace.home.ledger.outputs() == []
