"""Jobs that share passes of the model: each is as if it had run alone, whatever the others do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rag_audio.domain import Audio
from rag_audio.domain.ports import DiffusionInput, Member, Progress, StopAsked
from rag_audio.errors import BackendError, Cancelled, RagAudioError
from rag_audio.pipeline.workspace import open_workspace
from rag_audio.service.api.services import Service
from rag_audio.service.batching import SharedPass, takes_of_device
from rag_audio.service.jobs import Job, JobState
from rag_audio.service.runner import Runner, Worker
from rag_audio.service.settings import ServeSettings
from tests.support.rights_world import FakeGenerator

SHORT = {"prompt": "warm electric piano", "duration_s": 1.0, "steps": 4, "seed": 5}
LONG = {**SHORT, "duration_s": 4.0, "steps": 80}
TOLERANCE = 1e-3
"""Of full scale, as the port states."""
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def service(indexed_home: Path, tmp_path: Path) -> Iterator[Service]:
    """A service that does no work itself; a lease ends after two seconds."""
    home = tmp_path / "home"
    shutil.copytree(indexed_home, home)
    made = Service(open_workspace(home), ServeSettings(lease_s=2.0, batch=4), (), 0)
    made.start()
    yield made
    made.stop()


def a_worker(service: Service, takes: int = 4, stopped: bool = False) -> tuple[Worker, Runner]:
    runner = Runner(service.home, service.jobs, stopping=lambda: stopped)
    return Worker(runner, service.jobs, threading.Event(), takes), runner


def run_all(service: Service, takes: int = 4) -> list[int]:
    """Run what waits; how many jobs were claimed together each time."""
    worker, runner = a_worker(service, takes)
    sizes = []
    while held := worker.claim():
        sizes.append(len(held))
        runner.run_together(held)
    return sizes


def found(service: Service, job: Job) -> Job:
    now = service.jobs.find(job.id)
    assert now is not None
    return now


def result_of(service: Service, job: Job) -> Any:
    now = found(service, job)
    assert now.state is JobState.SUCCEEDED, now.problem
    return now.result


@contextmanager
def passes(service: Service) -> Iterator[list[int]]:
    """The rows of each call of the transformer."""
    rows: list[int] = []
    generator: Any = service.workspace.home.generator(None)
    hook = generator._pipe.transformer.register_forward_pre_hook(
        lambda model, given: rows.append(given[0].shape[0])
    )
    yield rows
    hook.remove()


def test_jobs_that_differ_share_passes_and_are_as_made_alone(service: Service) -> None:
    asked = [
        SHORT,
        {**SHORT, "prompt": "slow drums", "seed": 6, "guidance": 4.0},
        {**SHORT, "seed": 7, "strength": 0.3},
    ]
    together = [service.jobs.accept("generation", one) for one in asked]
    with passes(service) as rows:
        assert run_all(service) == [3]
    assert rows == [2 * 3] * SHORT["steps"]  # type: ignore[operator]
    alone = [service.jobs.accept("generation", one) for one in asked]
    assert run_all(service, takes=1) == [1, 1, 1]
    masters = service.workspace.home.master
    for one, other in zip(together, alone, strict=True):
        first, second = result_of(service, one), result_of(service, other)
        assert (first["pass_of"], second["pass_of"]) == (3, 1)
        assert first["plan"] == second["plan"]
        made, expected = (masters(one["outputs"][0]["output"]) for one in (first, second))
        assert made is not None and expected is not None
        np.testing.assert_allclose(made.samples, expected.samples, atol=TOLERANCE)
    ledger = service.workspace.home.ledger
    assert len({entry.record.output for entry in ledger.outputs()}) == 6
    assert ledger.verify() == []


def test_only_what_fits_goes_along(service: Service) -> None:
    for more in ({}, {"steps": 3}, {"variations": 2}, {"seed": 9}, {"enforce": ["tempo"]}):
        service.jobs.accept("generation", {**SHORT, **more})
    service.jobs.accept("generation", {**SHORT, "variations": 4, "seed": 10}, owner="another")
    service.jobs.accept("edit", SHORT)
    worker, _ = a_worker(service)
    claimed = [worker.claim() for _ in range(6)]
    assert [[held.job.request["seed"] for held in one] for one in claimed] == [
        [5, 5, 9], [10], [5], [5], [5], [],
    ]  # fmt: skip


def test_a_member_that_fails_or_is_canceled_ends_alone(service: Service) -> None:
    jobs = service.jobs
    good = [jobs.accept("generation", {**SHORT, "seed": seed}) for seed in (1, 2)]
    bad = jobs.accept("generation", {**SHORT, "references": ["f" * 64]})
    canceled = jobs.accept("generation", SHORT)
    worker, runner = a_worker(service)
    held = worker.claim()
    assert len(held) == 4
    jobs.cancel(canceled.id)
    runner.run_together(held)
    assert [result_of(service, job)["pass_of"] for job in good] == [2, 2]
    assert found(service, bad).state is JobState.FAILED
    assert found(service, canceled).state is JobState.CANCELED
    assert len(service.workspace.home.ledger.outputs()) == 2


def test_a_worker_that_is_told_to_stop_gives_all_its_jobs_back(service: Service) -> None:
    jobs = [service.jobs.accept("generation", {**LONG, "seed": seed}) for seed in range(3)]
    worker, runner = a_worker(service, stopped=True)
    runner.run_together(worker.claim())
    for job in jobs:
        assert (found(service, job).state, found(service, job).attempts) == (JobState.QUEUED, 0)
    assert service.workspace.home.ledger.outputs() == []


def test_a_killed_worker_loses_all_its_jobs_once_and_they_are_begun_alone(
    service: Service,
) -> None:
    # Long enough that none has ended when more than a lease has passed.
    longer = {**LONG, "steps": 240}
    accepted = [service.jobs.accept("generation", {**longer, "seed": seed}) for seed in range(2)]
    ended = service.jobs.accept("generation", {**SHORT, "seed": 9})
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "rag_audio.cli",
            "worker",
            "--home",
            str(service.workspace.home.folder),
        ],
        env={
            **os.environ,
            "RAG_AUDIO_SERVE_LEASE_S": "2",
            "RAG_AUDIO_SERVE_BATCH": "2",
            "PYTHONPATH": str(ROOT),
        },
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: all(found(service, job).stage == "generate" for job in accepted))
        # All are heard of: after more than a lease none can be taken.
        claimed = service.jobs.claim()
        assert claimed is not None and claimed.job.id == ended.id
        service.jobs.give_back(claimed)
        until_s = time.monotonic() + 2.5
        while time.monotonic() < until_s:
            taken = service.jobs.claim(["nothing"])
            assert taken is None
            assert all(found(service, job).attempts == 1 for job in accepted)
            time.sleep(0.1)
    finally:
        process.kill()
        process.wait()
    time.sleep(2.1)
    assert run_all(service) == [1, 1, 1]
    for job in accepted:
        assert result_of(service, job)["pass_of"] == 1
        assert found(service, job).attempts == 2
    ledger = service.workspace.home.ledger
    assert len({entry.record.output for entry in ledger.outputs()}) == len(ledger.outputs()) == 3
    assert ledger.verify() == []


def until(is_so: Callable[[], bool], seconds: float = 150.0) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.1)


class Model(FakeGenerator):
    """Notes how many batches came together, and fails where it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []
        self.fails = False

    def generate_together(
        self, members: Sequence[Member]
    ) -> list[tuple[Audio, ...] | RagAudioError]:
        self.sizes.append(len(members))
        if self.fails:
            raise BackendError("too little memory")
        return super().generate_together(members)

    def generate(
        self,
        batch: DiffusionInput,
        progress: Progress | None = None,
        stop_asked: StopAsked | None = None,
    ) -> tuple[Audio, ...]:
        if batch.prompt == "bad":
            raise BackendError("this one cannot be made")
        return super().generate(batch, progress, stop_asked)


def ask(shared: SharedPass, prompts: Sequence[str], patience: Sequence[float] = ()) -> list[Any]:
    """Each prompt from a thread with a seat of its own; None never comes to the model."""
    seats = [shared.seat() for _ in prompts]
    outcomes: list[Any] = [None] * len(prompts)

    def one(i: int) -> None:
        try:
            time.sleep(patience[i] if patience else 0.0)
            if prompts[i]:
                batch = DiffusionInput(prompts[i], "", 0.1, 1, 1.0, (i,))
                outcomes[i] = seats[i].generate(batch)
        except RagAudioError as error:
            outcomes[i] = error
        finally:
            seats[i].leave()

    threads = [threading.Thread(target=one, args=(i,)) for i in range(len(prompts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return outcomes


def test_all_who_come_are_waited_for_and_who_leaves_is_not() -> None:
    model = Model()
    outcomes = ask(SharedPass(model, 30.0), ["a", "b", "", "c"], [0.0, 0.1, 0.2, 0.1])
    assert model.sizes == [3]
    assert outcomes[2] is None
    alone = [model.generate(DiffusionInput("x", "", 0.1, 1, 1.0, (i,))) for i in range(4)]
    for i in (0, 1, 3):
        np.testing.assert_array_equal(outcomes[i][0].samples, alone[i][0].samples)


def test_who_is_late_is_not_waited_for_without_end() -> None:
    model = Model()
    outcomes = ask(SharedPass(model, 0.2), ["a", "b", "late"], [0.0, 0.0, 1.5])
    assert model.sizes == [2]
    assert all(isinstance(one, tuple) for one in outcomes)


def test_where_a_shared_pass_fails_each_is_made_alone() -> None:
    model = Model()
    model.fails = True
    good, bad, other = ask(SharedPass(model, 30.0), ["good", "bad", "other"])
    assert isinstance(good, tuple) and isinstance(other, tuple)
    assert isinstance(bad, BackendError) and "cannot be made" in bad.message


def test_who_is_stopped_while_waiting_leaves() -> None:
    shared = SharedPass(Model(), 30.0)
    first, _ = shared.seat(), shared.seat()
    with pytest.raises(Cancelled):
        first.generate(DiffusionInput("a", "", 0.1, 1, 1.0, (1,)), stop_asked=lambda: True)


def test_the_setting_wins_over_the_device() -> None:
    assert takes_of_device(3, "cpu") == 3
    assert takes_of_device(None, "cuda") > takes_of_device(None, "cpu") >= 1
