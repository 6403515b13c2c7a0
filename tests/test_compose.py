"""docker-compose.yml: pinned, keyed, private, and with a health check that really tells."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml")

FILE = Path(__file__).parent.parent / "docker-compose.yml"


@pytest.fixture
def qdrant() -> dict[str, Any]:
    service: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))["services"]["qdrant"]
    return service


def test_the_image_is_pinned_to_one_version(qdrant: dict[str, Any]) -> None:
    name, _, tag = qdrant["image"].partition(":")
    major, minor, patch = tag.removeprefix("v").split(".")
    assert name == "qdrant/qdrant"
    assert (int(major), int(minor)) >= (1, 16)  # older ones cannot record the embedding space
    assert patch.isdigit()


def test_the_key_comes_from_the_environment_and_must_be_set(qdrant: dict[str, Any]) -> None:
    key = qdrant["environment"]["QDRANT__SERVICE__API_KEY"]
    assert key.startswith("${QDRANT_API_KEY:?") and key.endswith("}")


def test_ports_are_open_on_this_machine_only(qdrant: dict[str, Any]) -> None:
    assert [port.rpartition(":")[0] for port in qdrant["ports"]] == [
        "127.0.0.1:6333",
        "127.0.0.1:6334",
    ]


def test_data_lies_in_a_named_volume(qdrant: dict[str, Any]) -> None:
    volume, _, path = qdrant["volumes"][0].partition(":")
    assert path == "/qdrant/storage"
    assert volume in yaml.safe_load(FILE.read_text(encoding="utf-8"))["volumes"]


@pytest.fixture(params=[200, 503])
def answering(request: pytest.FixtureRequest) -> Iterator[tuple[int, int]]:
    """A server on this machine that answers /readyz with a status."""

    class Ready(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(request.param if self.path == "/readyz" else 404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Ready)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield request.param, server.server_port
    server.shutdown()
    server.server_close()


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash, as the image has it")
def test_the_health_check_passes_only_when_qdrant_is_ready(
    qdrant: dict[str, Any], answering: tuple[int, int]
) -> None:
    status, port = answering
    assert _check(qdrant, port) == (0 if status == 200 else 1)
    assert _check(qdrant, 9) != 0


def _check(qdrant: dict[str, Any], port: int) -> int:
    """Exit status of the health check, with Qdrant's port replaced."""
    how, *command = qdrant["healthcheck"]["test"]
    assert how == "CMD"
    line = [part.replace("$$", "$").replace("/6333", f"/{port}") for part in command]
    return subprocess.run(line, capture_output=True, check=False).returncode


@pytest.mark.skipif(shutil.which("docker-compose") is None, reason="docker-compose not installed")
def test_docker_compose_accepts_it_with_a_key_and_refuses_it_without() -> None:
    plain = {name: value for name, value in os.environ.items() if name != "QDRANT_API_KEY"}
    command = ["docker-compose", "-f", str(FILE), "config"]
    without = subprocess.run(command, capture_output=True, text=True, check=False, env=plain)
    assert without.returncode != 0
    assert "QDRANT_API_KEY" in without.stderr
    keyed = {**plain, "QDRANT_API_KEY": "k" * 32}
    with_key = subprocess.run(command, capture_output=True, text=True, check=False, env=keyed)
    assert with_key.returncode == 0, with_key.stderr
