"""Endpoints of webhooks on this machine: a good one, and others that do all they can."""

from __future__ import annotations

import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Heard:
    """A request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Endpoints:
    """A server whose paths behave as :data:`BEHAVIOURS` says; any other path answers 204.

    Attributes:
        heard: all requests, in order. names: by which TLS asked for it.
        answer: what ``/answer`` sends.
    """

    port: int = 0
    heard: list[Heard] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)
    answer: bytes = b""

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.port}"

    def at(self, path: str) -> list[Heard]:
        return [one for one in self.heard if one.path == path]


Behave = Callable[[socket.socket, threading.Event], None]


def _forever(piece: bytes, pause_s: float = 0.0, first: bytes = b"") -> Behave:
    def behave(wire: socket.socket, ended: threading.Event) -> None:
        wire.sendall(first)
        while not ended.wait(pause_s) if pause_s else not ended.is_set():
            wire.sendall(piece)

    return behave


def _once(answer: bytes) -> Behave:
    return lambda wire, _: wire.sendall(answer)


def _wait(_wire: socket.socket, ended: threading.Event) -> None:
    ended.wait(30)


_OK = b"HTTP/1.1 200 OK\r\n"
BEHAVIOURS: dict[str, Behave] = {
    "/never": _wait,
    "/drip-status": _forever(b"H", 0.02),
    "/drip-headers": _forever(b"x", 0.02, _OK + b"X-Slow: "),
    "/headers": _forever(b"X-More: and more\r\n", 0.0, _OK),
    "/long-header": _forever(b"x" * 1000, 0.0, _OK + b"X-Long: "),
    "/continue": _forever(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "/hang-up": _once(b""),
    "/garbage": _once(b"\x00\xff\xfe not HTTP at all\r\n\r\n"),
    "/bad-status": _once(b"HTTP/1.1 twohundred OK\r\n\r\n"),
    "/strange-header": _once(_OK.replace(b"200", b"503") + b"\xff\xfe: \x00\r\n\r\n"),
    "/error": _once(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"),
    "/redirect": _once(b"HTTP/1.1 307 Go\r\nLocation: /elsewhere\r\n\r\n"),
    "/endless-body": _forever(b"x" * 1000, 0.0, _OK + b"\r\n"),
    "/slow-body": _forever(b"x", 0.02, _OK + b"Content-Length: 1000000\r\n\r\n"),
    "/lying-length": _once(_OK + b"Content-Length: 999999999999999999999\r\n\r\n"),
}
"""What is done once a request has come."""
HEARD_ALL_THE_SAME = {"/endless-body", "/slow-body", "/lying-length"}
"""Their status is an answer; nobody reads on."""


@contextmanager
def endpoints(tls: ssl.SSLContext | None = None) -> Iterator[Endpoints]:
    """A running server; it ends with the block."""
    state = Endpoints()

    class Handler(socketserver.StreamRequestHandler):
        def setup(self) -> None:
            if tls is not None:
                self.request = tls.wrap_socket(self.request, server_side=True)
            super().setup()

        def handle(self) -> None:
            with suppress(OSError):
                self._answer()

        def _answer(self) -> None:
            words = self.rfile.readline(4096).split()
            if len(words) < 3:
                return
            headers: dict[str, str] = {}
            while (line := self.rfile.readline(8192).strip()) != b"":
                name, _, value = line.decode("ascii").partition(":")
                headers[name.lower()] = value.strip()
            body = self.rfile.read(int(headers.get("content-length", 0)))
            path = words[1].decode("ascii")
            state.heard.append(Heard(path, headers, body))
            behave = BEHAVIOURS.get(path.partition("?")[0])
            if behave is None:
                no_content = b"HTTP/1.1 204 No Content\r\n\r\n"
                behave = _once(state.answer if path == "/answer" else no_content)
            behave(self.request, state.ended)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads, block_on_close = True, False

        def handle_error(self, request: object, client_address: object) -> None:
            """A handshake that failed is what a test wanted."""

    if tls is not None:
        tls.sni_callback = lambda _wire, name, _context: state.names.append(name)
    with Server(("127.0.0.1", 0), Handler) as server:
        state.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield state
        state.ended.set()
        server.shutdown()
