"""Connections that do not stay open for nothing: uvicorn's protocol with limits and deadlines.

uvicorn ends a connection that is idle between two requests. It waits forever for the rest of a
request's head, for a body that nobody reads any more, and for a reader that takes nothing of an
answer. Here each of these has a deadline, and the number of connections a limit. How fast a body
comes that is read is watched by :class:`Body`.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, ClassVar

import h11
import structlog
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from uvicorn.protocols.http.h11_impl import H11Protocol

from rag_audio.service.api.problems import Problem
from rag_audio.service.api.rate_limits import network_of
from rag_audio.service.settings import ServeSettings

if TYPE_CHECKING:
    from starlette.types import Message, Receive


MOST_HEAD_BYTES = 32 << 10
"""Of a request's line and headers."""
DRAIN_S = 5.0
"""The rest of a body whose request was answered already is thrown away for so long."""
CLOSE_S = 5.0
"""A closed connection whose last bytes are not taken is cut off after so long."""
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 5\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Length: 21\r\n\r\ntoo many connections\n"
)
_LATE = (
    b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Length: 25\r\n\r\n"
    b"the request did not come\n"
)

log = structlog.get_logger("rag_audio.api")


def protocol_with(settings: ServeSettings) -> type[H11Protocol]:
    """A protocol for ``uvicorn.Config(http=…)`` whose connections share the limits of a service."""

    class Limited(LimitedProtocol):
        """Of one server."""

    Limited.settings, Limited.open = settings, Counter()
    return Limited


class LimitedProtocol(H11Protocol):
    """One connection.

    Attributes:
        open: connections of each address (IPv6: of each /64); shared.
    """

    settings: ClassVar[ServeSettings]
    open: ClassVar[Counter[str]]
    _network: str | None = None
    _head: asyncio.TimerHandle | None = None
    _rest: asyncio.TimerHandle | None = None
    _write: asyncio.TimerHandle | None = None
    _end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or say that there are too many."""
        super().connection_made(transport)
        network = network_of(self.client[0] if self.client else None)
        limits = self.settings
        each = limits.connections_per_address
        if self.open.total() >= limits.connections or self.open[network] >= each:
            self.transport.write(_FULL)
            self._close("too many connections")
            return
        self._network = network
        self.open[network] += 1
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Free what the connection held."""
        if self._network is not None:
            self.open[self._network] -= 1
            if not self.open[self._network]:
                del self.open[self._network]
            self._network = None
        for timer in (self._head, self._rest, self._write, self._end):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Part of a request came."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        self._await_head()

    def on_response_complete(self) -> None:
        """An answer is made; the rest of the request's body is not waited for for long."""
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY:
            self._rest = self.loop.call_later(DRAIN_S, self._close, "a body that nobody reads")
        else:
            self._await_head()

    def pause_writing(self) -> None:
        """The reader is slow."""
        super().pause_writing()
        self._write = self.loop.call_later(self.settings.write_s, self._cut, "its reader stalled")

    def resume_writing(self) -> None:
        """The reader goes on."""
        super().resume_writing()
        if self._write is not None:
            self._write.cancel()
            self._write = None

    def timeout_keep_alive_handler(self) -> None:
        """No further request came."""
        super().timeout_keep_alive_handler()
        self._cut_later()

    def _await_head(self) -> None:
        """Have a deadline while a head is to come or has begun, and none otherwise.

        A connection that waits for its next request and got nothing of it has uvicorn's.
        """
        waits = self.conn.their_state is h11.IDLE and not self.transport.is_closing()
        if waits and self._head is None and self.timeout_keep_alive_task is None:
            self._head = self.loop.call_later(self.settings.header_s, self._late)
        elif not waits and self._head is not None:
            self._head.cancel()
            self._head = None
        if self._rest is not None and self.conn.their_state is not h11.SEND_BODY:
            self._rest.cancel()
            self._rest = None

    def _late(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(_LATE)
        self._close("no whole head came")

    def _close(self, why: str) -> None:
        log.info("connection closed", why=why, client=self.client[0] if self.client else "")
        self.transport.close()
        self._cut_later()

    def _cut_later(self) -> None:
        if self._end is not None:
            self._end.cancel()
        self._end = self.loop.call_later(CLOSE_S, self._cut, "")

    def _cut(self, why: str) -> None:
        if why:
            log.info("connection cut off", why=why, client=self.client[0] if self.client else "")
        self.transport.abort()


# Bodies of requests as they come in: how long, how fast, how late. None is waited for forever.

_NAMED = 60
"""Characters of a member's name that a message quotes."""


class Body:
    """Gives the messages of a body, and counts them: ``Content-Length`` may be missing or a lie.

    Only the time that is spent waiting for the client counts, not what the service does with a
    piece.

    Args:
        limit: bytes it may have.
        whole_s: seconds that are waited for all of it.
        settings: longest pause in it, and its bytes a second once more than that was waited.
    """

    def __init__(
        self, receive: Receive, limit: int, whole_s: float, settings: ServeSettings
    ) -> None:
        self._receive, self._limit, self._whole_s = receive, limit, whole_s
        self._stall_s, self._rate = settings.body_stall_s, settings.body_rate
        self._seen, self._waited_s, self._is_whole = 0, 0.0, False

    async def __call__(self) -> Any:
        """The next message; after the body's end nothing is limited.

        Raises:
            Problem: 408 the body comes too slowly, 413 it is too long.
        """
        if self._is_whole:
            return await self._receive()
        message = await self._next()
        if message["type"] == "http.request":
            self._seen += len(message.get("body", b""))
            if self._seen > self._limit:
                raise too_large(self._limit)
            self._is_whole = not message.get("more_body", False)
        return message

    async def _next(self) -> Message:
        loop = asyncio.get_running_loop()
        began = loop.time()
        patience_s = min(self._stall_s, self._whole_s - self._waited_s)
        try:
            async with asyncio.timeout(patience_s):
                message = await self._receive()
        except TimeoutError:
            raise _too_slow(f"nothing of the body came for {patience_s:.3g} s") from None
        waited_s = self._waited_s = self._waited_s + loop.time() - began
        if message.get("more_body", False):
            if waited_s > self._stall_s and self._seen < self._rate * waited_s:
                raise _too_slow(f"a body has to come at {self._rate} bytes a second or faster")
            if waited_s > self._whole_s:
                raise _too_slow(f"a body has to be whole within {self._whole_s:g} s")
        return message


def too_large(limit: int) -> Problem:
    """The body is longer than ``limit`` bytes."""
    return Problem(413, "content-too-large", f"a body may have {limit} bytes here")


def _too_slow(message: str) -> Problem:
    return Problem(408, "request-timeout", message, headers={"Connection": "close"})


class JsonRoute(APIRoute):
    """A route whose JSON body says everything once, and is refused in words of ours."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def read(request: Request) -> Response:
            return await handle(_JsonRequest(request.scope, request.receive))

        return read


class _JsonRequest(Request):
    async def json(self) -> Any:
        return read_json(await self.body())


def read_json(body: bytes) -> Any:
    """A JSON document.

    Raises:
        json.JSONDecodeError: it is none, or an object in it has two members of a name: RFC 8259
            leaves open which of them counts.
    """
    try:
        return json.loads(body, object_pairs_hook=_once_each)
    except json.JSONDecodeError:
        raise
    except UnicodeDecodeError as error:
        raise json.JSONDecodeError("it is not UTF-8", "", 0) from error
    except RecursionError as error:
        raise json.JSONDecodeError("it is nested too deeply", "", 0) from error
    except ValueError as error:
        raise json.JSONDecodeError("a number has too many digits", "", 0) from error


def _once_each(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) < len(members):
        counted = Counter(name for name, _ in members)
        twice = next(name for name, count in counted.items() if count > 1)
        shown = twice if len(twice) <= _NAMED else f"{twice[:_NAMED]}…"
        raise json.JSONDecodeError(f"member {shown!r} is repeated", "", 0)
    return found
