"""docker-compose.yml: pinned, keyed, private, and with a health check that really tells."""

from __future__ import annotations

import os
import re
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
def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return document


@pytest.fixture
def qdrant(compose: dict[str, Any]) -> dict[str, Any]:
    service: dict[str, Any] = compose["services"]["qdrant"]
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
def test_docker_compose_accepts_it_with_secrets_and_refuses_it_without() -> None:
    secrets = {"QDRANT_API_KEY": "k" * 32, "POSTGRES_PASSWORD": "p" * 32}
    plain = {name: value for name, value in os.environ.items() if name not in secrets}
    command = ["docker-compose", "-f", str(FILE), "config"]
    for name in secrets:
        others = {other: value for other, value in secrets.items() if other != name}
        without = subprocess.run(
            command, capture_output=True, text=True, check=False, env=plain | others
        )
        assert without.returncode != 0
        assert name in without.stderr
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=plain | secrets)
    assert done.returncode == 0, done.stderr


def test_the_service_is_whole_private_and_without_rights(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert set(services) == {"app", "worker", "qdrant", "postgres", "prometheus"}
    for name, service in services.items():
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:"), (name, port)
        tag = service["image"].rpartition(":")[2]
        assert tag != "latest" and tag[-1].isdigit(), name
    for name in ("app", "worker"):
        service = services[name]
        assert service["cap_drop"] == ["ALL"] and service["read_only"] is True
        assert service["environment"]["RAG_AUDIO_DATABASE_URL"].startswith("postgresql://")
        assert service["volumes"] == ["home:/home/rag"]
    assert services["app"]["command"][0] == "serve"
    assert services["worker"]["command"] == ["worker"]
    scraped = yaml.safe_load((FILE.parent / "prometheus.yml").read_text())["scrape_configs"]
    (target,) = scraped[0]["static_configs"][0]["targets"]
    assert target.partition(":")[0] == "app"
    assert "app" in services["app"]["environment"]["RAG_AUDIO_SERVE_HOSTS"]


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_the_image_runs_as_nobody_in_particular_and_says_whether_it_is_well(target: str) -> None:
    text = (FILE.parent / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    stages = {
        stage.split()[2]: [line.split(None, 1) for line in stage.splitlines() if line.strip()]
        for stage in re.split(r"^FROM \S+ ", "\n" + text, flags=re.MULTILINE)[1:]
        for stage in [f"FROM x {stage.replace('AS ', '', 1)}"]
    }
    lines = stages[target]
    words = [line[0] for line in lines]
    users = [line[1] for line in lines if line[0] == "USER"]
    assert users == ["rag"]
    assert words.index("USER") < words.index("ENTRYPOINT")
    assert "HEALTHCHECK" in words and "/readyz" in text
    assert "RUN" not in words[words.index("USER") :]
    assert list(stages)[-1] == "cpu"
