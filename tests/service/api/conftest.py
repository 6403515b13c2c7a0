"""One real app for the tests of the API: the embedded models, a small library, SQLite."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from rag_audio.pipeline.workspace import Workspace, open_workspace
from rag_audio.service.api.app import make_app
from rag_audio.service.api.services import Service
from rag_audio.service.settings import ServeSettings
from tests.service.api.small_service import SmallService

FAST = {"prompt": "warm electric piano", "duration_s": 1.0, "steps": 2, "seed": 11}


@dataclass
class Served:
    """A running app."""

    client: TestClient
    service: Service

    def key(self, *scopes: str, **more: Any) -> dict[str, str]:
        """Headers with a new key."""
        from rag_audio.service.api_access import Scope

        _, text = self.service.access.make("test", [Scope(name) for name in scopes], **more)
        return {"Authorization": f"Bearer {text}"}

    def generation(self, headers: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
        """A finished generation."""
        answer = self.client.post(
            "/v1/generations",
            json={**FAST, **more},
            headers={"Prefer": "wait=60", **(headers or {})},
        )
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        assert found["state"] == "succeeded", found
        return found


Serve = Callable[..., Served]


@pytest.fixture(scope="module")
def serve(indexed_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Starts apps on copies of the home; they end with the module."""
    with ExitStack() as running:

        def start(workers: int = 1, **settings: Any) -> Served:
            settings.setdefault("requests_per_minute", 100_000)
            settings.setdefault("failures_per_minute", 100_000)
            settings.setdefault("free_mb", 0)
            home = tmp_path_factory.mktemp("app") / "home"
            shutil.copytree(indexed_home, home)
            workspace: Workspace = open_workspace(home, **settings.pop("workspace", {}))
            service = Service(workspace, ServeSettings(**settings), ("testserver",), workers)
            client = running.enter_context(
                TestClient(make_app(service), raise_server_exceptions=False)
            )
            return Served(client, service)

        yield start


@pytest.fixture(scope="package")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallService]:
    """A service on a small library, which modules share: see :func:`cleared`."""
    made = SmallService(tmp_path_factory.mktemp("small"))
    with made.client:
        yield made


@pytest.fixture
def cleared(small: SmallService) -> SmallService:
    """It, with everything licensed and nothing waiting."""
    small.world.reset()
    small.empty()
    return small


@pytest.fixture(scope="module")
def served(serve: Serve) -> Served:
    """One app for a module, without keys."""
    return serve()
