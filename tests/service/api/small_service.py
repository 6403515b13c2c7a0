"""A service on a small licensed library without weights, whose jobs run when a test says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from rag_audio.service.api.app import make_app
from rag_audio.service.api.services import Service
from rag_audio.service.runner import Runner
from rag_audio.service.settings import ServeSettings
from tests.support.rights_world import World

SHORT: dict[str, Any] = {"prompt": "warm electric piano", "duration_s": 1.0, "steps": 2, "seed": 7}


class SmallService:
    """The world, the service on it, and a client that asks for no key."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.world = World(folder)
        plenty = {"requests_per_minute": 1_000_000, "queue": 10_000, "queue_per_key": 10_000}
        self.service = Service(
            self.world.workspace,
            ServeSettings(**{**plenty, "free_mb": 0, **settings}),
            ("testserver",),
            workers=0,
        )
        self.client = TestClient(make_app(self.service), raise_server_exceptions=False)
        self.runner = Runner(self.world.home, self.service.jobs)

    def accept(self, **asked: Any) -> dict[str, Any]:
        """A job that waits."""
        answer = self.client.post("/v1/generations", json={**SHORT, **asked})
        assert answer.status_code == 202, answer.text
        job: dict[str, Any] = answer.json()
        return job

    def empty(self) -> None:
        """End what still waits."""
        waiting = self.client.get("/v1/generations?state=queued").json()["generations"]
        for job in waiting:
            self.client.post(job["links"]["cancel"])

    def run(self, job: str) -> dict[str, Any]:
        """The job, which is the only one that waits, when it has ended."""
        held = self.service.jobs.claim()
        assert held is not None and held.job.id == job
        self.runner.run(held)
        found: dict[str, Any] = self.client.get(f"/v1/generations/{job}").json()
        return found

    def plan(self, job: str) -> dict[str, Any]:
        """The plan that is shown of a job."""
        answer = self.client.get(f"/v1/generations/{job}/plan")
        assert answer.status_code == 200, answer.text
        plan: dict[str, Any] = answer.json()["plan"]
        return plan

    def upload(self, sound: bytes) -> str:
        """The id of a new upload."""
        answer = self.client.post("/v1/uploads", content=sound)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])
