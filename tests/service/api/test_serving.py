"""The command itself: a real server on this machine, from its start to a signal."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from rag_audio.service.jobs import JobState
from rag_audio.service.queue import SqlJobs
from rag_audio.storage.database import connect, sqlite_url
from tests.service.api.conftest import FAST

Running = tuple[str, Path, "subprocess.Popen[bytes]"]
ROOT = Path(__file__).parents[3]
LONG = {**FAST, "duration_s": 10.0, "steps": 250}


@pytest.fixture
def running(indexed_home: Path, tmp_path: Path) -> Iterator[Running]:
    """(URL, home, process) of ``rag-audio serve``."""
    home = tmp_path / "home"
    shutil.copytree(indexed_home, home)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "rag_audio.cli", "serve", "--port", str(port)],
            env={**os.environ, "RAG_AUDIO_HOME": str(home), "PYTHONPATH": str(ROOT)},
            stderr=log,
        )
    url = f"http://127.0.0.1:{port}"
    until = time.monotonic() + 60
    while True:
        try:
            if httpx.get(f"{url}/readyz").status_code == 200:
                break
        except httpx.HTTPError:
            assert process.poll() is None and time.monotonic() < until
        time.sleep(0.1)
    yield url, home, process
    process.kill()
    process.wait()


def test_a_signal_ends_streams_and_gives_the_running_job_back(
    running: Running, tmp_path: Path
) -> None:
    url, home, process = running
    job = httpx.post(f"{url}/v1/generations", json=LONG, timeout=30).json()
    with httpx.stream("GET", f"{url}{job['links']['events']}", timeout=30) as stream:
        for line in stream.iter_lines():
            if line.startswith("data:") and json.loads(line[5:]).get("stage") == "generate":
                break
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert process.wait(30) in (0, -signal.SIGTERM)
        assert time.monotonic() - began < 10
    found = SqlJobs(connect(sqlite_url(home / "ledger.db"))).find(job["id"])
    assert found is not None
    assert (found.state, found.attempts) == (JobState.QUEUED, 0)
    assert not (home / "index" / "serve.sock").exists()
    lines = (tmp_path / "log").read_text().splitlines()
    documents = [json.loads(line) for line in lines if line.startswith("{")]
    requests = [one for one in documents if one["event"] == "request"]
    assert requests and all(one["request"] and one["timestamp"] for one in requests)
    assert not any("Traceback" in line for line in lines)
