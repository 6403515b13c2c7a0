"""Sockets that stall: whatever a client does or leaves undone, its connection ends."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from rag_audio.pipeline.workspace import open_workspace
from rag_audio.service.api import app, connections
from rag_audio.service.api.services import Service
from rag_audio.service.settings import ServeSettings
from tests.service.api.conftest import FAST
from tests.service.api.test_security import wav

LONG_S = 30.0
"""Whatever has to end has ended by then, on the slowest machine."""
HOST = b"Host: 127.0.0.1\r\n"


@dataclass
class Site:
    """A served home."""

    port: int
    service: Service

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextmanager
    def socket(self) -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", self.port), timeout=LONG_S) as made:
            yield made


@contextmanager
def serving_home(home: Path, **settings: Any) -> Iterator[Site]:
    given = {"requests_per_minute": 100_000, "free_mb": 0, **settings}
    service = Service(open_workspace(home), ServeSettings(**given), ("127.0.0.1",), workers=0)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    server = uvicorn.Server(app.configuration(service))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        eventually(lambda: server.started, 60)
        yield Site(listener.getsockname()[1], service)
    finally:
        service.begin_stop()
        server.should_exit = True
        thread.join(60)
        listener.close()


def eventually(holds: Callable[[], bool], seconds: float = LONG_S) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)


def rest_of(connection: socket.socket) -> bytes:
    """All that comes until the server closes; a test that waits for ever fails."""
    pieces = []
    try:
        while piece := connection.recv(1 << 16):
            pieces.append(piece)
    except ConnectionResetError:
        pass
    return b"".join(pieces)


def trickle(connection: socket.socket, piece: bytes, pause_s: float) -> None:
    """Send the same again and again, until the server closes."""
    until = time.monotonic() + LONG_S
    connection.settimeout(pause_s)
    while time.monotonic() < until:
        try:
            connection.sendall(piece)
            if connection.recv(1 << 16) == b"":
                return
        except TimeoutError:
            continue
        except (ConnectionResetError, BrokenPipeError):
            return
    raise AssertionError("the connection is still open")


@pytest.fixture(scope="module")
def site(indexed_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("stalled") / "home"
    shutil.copytree(indexed_home, home)
    with (
        pytest.MonkeyPatch.context() as patch,
        serving_home(
            home, header_s=0.4, idle_s=1, body_stall_s=0.5, body_rate=2000, body_s=3.0, write_s=0.5
        ) as made,
    ):
        patch.setattr(connections, "DRAIN_S", 0.4)
        patch.setattr(connections, "CLOSE_S", 0.4)
        yield made


@pytest.mark.parametrize("begun", [b"", b"G", b"GET / HTTP/1.1\r\n" + HOST, b"POST /v1"])
def test_a_head_that_does_not_come_whole_ends_the_connection(site: Site, begun: bytes) -> None:
    with site.socket() as connection:
        connection.sendall(begun)
        assert rest_of(connection).startswith(b"HTTP/1.1 408 ")


def test_a_head_that_trickles_ends_the_connection(site: Site) -> None:
    with site.socket() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\n" + HOST)
        trickle(connection, b"X-More: 1\r\n", 0.05)


def test_so_does_the_head_of_a_later_request(site: Site) -> None:
    with site.socket() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n")
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
        trickle(connection, b"X", 0.05)
    with site.socket() as connection:
        connection.sendall(2 * (b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n") + b"GET /he")
        assert rest_of(connection).count(b"HTTP/1.1 200 ") == 2


def test_an_idle_connection_ends(site: Site) -> None:
    with site.socket() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n")
        assert rest_of(connection).count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("path", ["/v1/uploads", "/v1/trace", "/v1/guard"])
def test_a_body_that_stalls_is_a_408_and_leaves_nothing(site: Site, path: str) -> None:
    with site.socket() as connection:
        head = f"POST {path} HTTP/1.1\r\nContent-Length: 50000\r\n".encode() + HOST + b"\r\n"
        connection.sendall(head + wav()[:5000])
        answer = rest_of(connection)
    assert answer.startswith(b"HTTP/1.1 408 ") and b"request-timeout" in answer
    eventually(lambda: len(site.service.receiving) == 0)
    folder = site.service.folders.uploads
    eventually(lambda: not folder.is_dir() or not any(folder.glob(".*")))


def test_a_body_that_trickles_is_a_408(site: Site) -> None:
    with site.socket() as connection:
        head = b"POST /v1/uploads HTTP/1.1\r\nContent-Length: 50000\r\n" + HOST + b"\r\n"
        connection.sendall(head)
        trickle(connection, b"RI", 0.1)
    eventually(lambda: len(site.service.receiving) == 0)
    assert not any(site.service.folders.uploads.glob(".*"))


def test_a_body_that_comes_fast_enough_and_never_ends_is_a_408(site: Site) -> None:
    with site.socket() as connection:
        head = b"POST /v1/uploads HTTP/1.1\r\nContent-Length: 90000000\r\n" + HOST + b"\r\n"
        connection.sendall(head)
        trickle(connection, b"R" * 3000, 0.1)
    eventually(lambda: len(site.service.receiving) == 0)


def test_a_client_that_goes_leaves_nothing(site: Site) -> None:
    folder = site.service.folders.uploads
    with site.socket() as connection:
        head = b"POST /v1/uploads HTTP/1.1\r\nContent-Length: 50000\r\n" + HOST + b"\r\n"
        connection.sendall(head + b"R" * 1000)
        eventually(lambda: any(folder.glob(".*")))
    eventually(lambda: len(site.service.receiving) == 0)
    assert not any(folder.glob(".*"))


def test_a_body_that_nobody_reads_is_not_waited_for(site: Site) -> None:
    with site.socket() as connection:
        head = b"POST /v1/uploads HTTP/1.1\r\nContent-Length: 50000\r\n" + HOST
        connection.sendall(head + b"Content-Type: multipart/form-data\r\n\r\n")
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 415 ")
        trickle(connection, b"x", 0.05)


def test_a_body_with_pauses_is_taken(site: Site) -> None:
    body = wav()

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(body), 10_000):
            time.sleep(0.1)
            yield body[start : start + 10_000]

    answer = httpx.post(f"{site.url}/v1/uploads", content=pieces(), timeout=LONG_S)
    assert answer.status_code == 201, answer.text


def test_a_reader_that_takes_nothing_is_cut_off(site: Site) -> None:
    with site.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one = b"GET /openapi.json HTTP/1.1\r\n" + HOST + b"\r\n"
        connection.settimeout(0.2)
        try:
            for _ in range(3000):
                connection.sendall(one)
        except (TimeoutError, ConnectionError):
            pass
        eventually(lambda: connections_of(site) == 0)


def connections_of(site: Site) -> int:
    """How many are established, as the system counts them on the server's side."""
    mine = f"0100007F:{site.port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1] == mine and row[3] == "01" for row in rows)


def test_a_stream_of_events_stays_open(site: Site) -> None:
    job = httpx.post(f"{site.url}/v1/generations", json=FAST, timeout=LONG_S).json()
    with site.socket() as connection:
        connection.sendall(f"GET {job['links']['events']} HTTP/1.1\r\n".encode() + HOST + b"\r\n")
        time.sleep(2.0)
        httpx.post(f"{site.url}{job['links']['cancel']}", timeout=LONG_S)
        said = rest_of(connection)
    assert said.startswith(b"HTTP/1.1 200 ") and b'"canceled"' in said


def test_heads_are_limited_in_size_and_number(site: Site) -> None:
    many = {f"X-{i}": "1" for i in range(200)}
    assert httpx.get(f"{site.url}/healthz", headers=many).status_code == 431
    with site.socket() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nX: " + b"x" * 100_000)
        assert rest_of(connection)[:13] in (b"HTTP/1.1 400 ", b"HTTP/1.1 431 ", b"")


def test_connections_have_a_limit_and_come_free_again(indexed_home: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(indexed_home, home)
    with (
        serving_home(home, connections_per_address=3, header_s=60.0) as site,
        site.socket() as one,
        site.socket() as two,
        site.socket() as three,
    ):
        for held in (one, two, three):
            held.sendall(b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n")
            assert held.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
        with site.socket() as fourth:
            assert rest_of(fourth).startswith(b"HTTP/1.1 503 ")
        two.close()

        def is_free() -> bool:
            with site.socket() as another:
                another.sendall(b"GET /healthz HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n")
                return rest_of(another).startswith(b"HTTP/1.1 200 ")

        eventually(is_free)
