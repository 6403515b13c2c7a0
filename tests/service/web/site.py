"""The real app behind a real socket, and a real browser in front of it."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from sqlalchemy import delete

from rag_audio.pipeline.workspace import open_workspace
from rag_audio.service.api.app import make_app
from rag_audio.service.api.services import Service
from rag_audio.service.api_access import Scope
from rag_audio.service.settings import ServeSettings
from rag_audio.service.tables import api_keys, api_sessions
from rag_audio.storage.database import writing

AXE = Path(__file__).parent / "axe" / "axe.min.js"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
)


@dataclass(frozen=True)
class Site:
    """A running app: its address, and what is behind it."""

    url: str
    service: Service

    def ask(self, **body: Any) -> dict[str, Any]:
        """Ask for a generation over HTTP; the job as it was accepted."""
        answer = httpx.post(f"{self.url}/v1/generations", json=body, timeout=60)
        assert answer.status_code == 202, answer.text
        job: dict[str, Any] = answer.json()
        return job

    def ended(self, job: str) -> dict[str, Any]:
        """A job when it has ended."""
        until = time.monotonic() + 90
        while time.monotonic() < until:
            found: dict[str, Any] = httpx.get(f"{self.url}/v1/generations/{job}").json()
            if found["state"] not in ("queued", "running"):
                return found
            time.sleep(0.2)
        raise AssertionError(f"job {job} did not end")

    @contextmanager
    def keyed(self, name: str, *scopes: Scope) -> Iterator[str]:
        """A key's text; the app asks for keys during the block, and for none after it."""
        _, text = self.service.access.make(name, scopes)
        try:
            yield text
        finally:
            with writing(self.service.workspace.home.database) as database:
                for table in (api_sessions, api_keys):
                    database.execute(delete(table))


def browser_path() -> str | None:
    """Where a Chromium is; None: nowhere."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


@contextmanager
def serving(home: Path, workers: int = 1, **settings: Any) -> Iterator[Site]:
    """Serve a home on a free port of 127.0.0.1 until the block ends."""
    settings.setdefault("requests_per_minute", 100_000)
    service = Service(
        open_workspace(home), ServeSettings(**settings), ("127.0.0.1",), workers=workers
    )
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    config = uvicorn.Config(
        make_app(service), log_config=None, access_log=False, timeout_graceful_shutdown=2
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        until = time.monotonic() + 60
        while not server.started:
            assert thread.is_alive() and time.monotonic() < until, "the server did not start"
            time.sleep(0.05)
        yield Site(f"http://127.0.0.1:{listener.getsockname()[1]}", service)
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()
