"""A job's row that cannot be read concerns that job alone: the others are listed, and run."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from rag_audio.service.runner import Worker
from rag_audio.service.tables import jobs
from rag_audio.storage.database import writing
from tests.service.api.small_service import SmallService

COLUMNS = ("request", "plan", "result", "problem", "libraries", "state")
DEEP = "[" * 100_000


@pytest.fixture
def service(cleared: SmallService) -> SmallService:
    return cleared


def write(service: SmallService, job: str, **cells: Any) -> None:
    with writing(service.world.home.database) as db:
        db.execute(update(jobs).where(jobs.c.id == job).values(**cells))


def work(service: SmallService, takes: int) -> None:
    """What a worker's thread does until nothing waits."""
    worker = Worker(service.runner, service.service.jobs, threading.Event(), takes)
    while held := worker.claim():
        service.runner.run_together(held)


def job_of(service: SmallService, job: str) -> dict[str, Any]:
    found: dict[str, Any] = service.client.get(f"/v1/generations/{job}").json()
    return found


@pytest.mark.parametrize("takes", [1, 4])
def test_the_jobs_behind_a_broken_row_run(takes: int, service: SmallService) -> None:
    broken = {
        service.accept(k=0)["id"]: cells
        for cells in (
            {"request": "{"},
            {"request": "[]"},
            {"problem": "x"},
            {"result": DEEP},
            {"result": '{"attempt": "x", "outputs": [{}]}'},
            {"libraries": "7"},
        )
    }
    without_plan = service.accept(k=0)["id"]
    behind = service.accept(k=0)["id"]
    for job, cells in {**broken, without_plan: {"plan": "{"}}.items():
        write(service, job, **cells)
    work(service, takes)
    assert job_of(service, behind)["state"] == "succeeded"
    assert job_of(service, without_plan)["state"] == "succeeded"
    for job, cells in broken.items():
        found = job_of(service, job)
        assert found["state"] == "failed", cells
        assert found["problem"]["type"] == "RowUnreadable"
        assert "this job's row cannot be read" in found["problem"]["message"]
        assert next(iter(cells)) in found["problem"]["message"]
    listed = service.client.get("/v1/generations").json()["generations"]
    assert {*broken, without_plan, behind} <= {one["id"] for one in listed}


cells = st.one_of(
    st.text(max_size=8),
    st.recursive(
        st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["attempt", "outputs", "plan", "stages_s", "message", "prompt"])
                | st.text(max_size=3),
                inner,
                max_size=4,
            )
        ),
        max_leaves=8,
    ).map(json.dumps),
)


def test_whatever_is_in_a_cell_the_queue_can_be_looked_at(service: SmallService) -> None:
    job, other = service.accept(k=0)["id"], service.accept(k=0)["id"]
    mended = {"request": "{}", "plan": None, "result": None, "problem": None, "libraries": "null"}

    @settings(max_examples=12, deadline=None)
    @given(column=st.sampled_from(COLUMNS), cell=cells)
    @example(column="plan", cell="{")
    @example(column="request", cell=DEEP)
    @example(column="result", cell="9" * 5000)
    @example(column="state", cell="asleep")
    def check(column: str, cell: str) -> None:
        write(service, job, **{**mended, "state": "queued", column: cell.replace("\0", "")})
        for path in ("", f"/{job}", f"/{other}"):
            answer = service.client.get(f"/v1/generations{path}")
            assert answer.status_code == 200, answer.text
        assert answer.json()["state"] == "queued"
        assert service.client.get(f"/v1/generations/{job}/plan").status_code in (200, 404)
        assert service.client.get(f"/v1/generations/{job}/content").status_code == 404
        assert service.client.get("/metrics").status_code == 200

    check()
    write(service, job, **mended, state="queued")


def test_the_files_of_a_job_whose_result_cannot_be_read_stay(service: SmallService) -> None:
    job = service.accept(k=0)["id"]
    assert service.run(job)["state"] == "succeeded"
    folder = service.runner.folders.outputs / job
    before = sorted(folder.rglob("*"))
    write(service, job, result="{", finished_at=1.0)
    service.service.tidying.tidy_outputs()
    assert sorted(folder.rglob("*")) == before
    assert before
    found = job_of(service, job)
    assert "row cannot be read" in found["problem"]["message"] and found["outputs"] == []
