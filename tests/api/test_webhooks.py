"""Calls when a job has ended: signed, tried again, and never to a private address."""

from __future__ import annotations

import hmac
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from rag_audio.api.webhooks import Calls, address_of, secret_of
from tests.api.conftest import FAST, Serve

Call = tuple[dict[str, str], bytes]


@pytest.fixture
def hook() -> Iterator[tuple[str, list[Call], list[int]]]:
    """host:port, the calls that came, and the statuses that are answered in turn (then 204)."""
    calls: list[Call] = []
    statuses: list[int] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            calls.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(statuses.pop(0) if statuses else 204)
            self.send_header("Location", "http://127.0.0.1:9/elsewhere")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}", calls, statuses
    server.shutdown()
    server.server_close()


def test_the_end_of_a_job_is_told_signed_and_until_it_is_heard(
    serve: Serve, hook: tuple[str, list[Call], list[int]]
) -> None:
    place, calls, statuses = hook
    statuses += [500, 302]
    app = serve(webhook_hosts=place)
    asked: dict[str, Any] = {**FAST, "webhook": f"http://{place}/hook?x=1"}
    made = app.client.post("/v1/generations", json=asked, headers={"Prefer": "wait=60"}).json()
    assert "webhook" not in json.dumps(made)
    home = app.service.workspace.parts.home
    until = time.monotonic() + 20
    while not calls:
        assert time.monotonic() < until
        time.sleep(0.05)
    # The next attempts would come after 10 s and a minute: made due here.
    again = Calls(
        app.service.workspace.parts.database, app.service.jobs, home, frozenset({place}),
        threading.Event(), (0, 0, 0, 0), places=app.service.places,
    )  # fmt: skip
    from sqlalchemy import text

    from rag_audio.database import writing

    for _ in range(2):
        time.sleep(0.3)
        with writing(app.service.workspace.parts.database) as db:
            db.execute(text("UPDATE webhook_deliveries SET next_at = 1"))
        again.call_next()
    assert len(calls) >= 3
    assert not again.call_next()
    assert len({headers["rag-audio-delivery"] for headers, _ in calls}) == 1
    for headers, body in calls:
        told = dict(part.split("=", 1) for part in headers["rag-audio-signature"].split(","))
        wanted = hmac.digest(
            secret_of(home).encode(), f"{told['t']}.".encode() + body, "sha256"
        ).hex()
        assert hmac.compare_digest(told["v1"], wanted)
        assert headers["host"] == place
    document = json.loads(calls[0][1])
    assert document["generation"]["id"] == made["id"]
    assert document["generation"]["state"] == "succeeded"


def test_a_name_is_called_at_the_address_that_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    answers = {
        "public.example": ["93.184.215.14"],
        "private.example": ["10.1.2.3"],
        "both.example": ["93.184.215.14", "127.0.0.1"],
    }

    def look_up(host: str, port: int, **_: object) -> list[Any]:
        return [(None, None, None, "", (address, port)) for address in answers[host]]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert address_of("https://public.example/x", frozenset()) == "93.184.215.14"
    for name in ("private.example", "both.example"):
        with pytest.raises(Exception, match="private address"):
            address_of(f"https://{name}/x", frozenset())
