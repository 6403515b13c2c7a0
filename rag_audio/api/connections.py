"""Connections that do not stay open for nothing: uvicorn's protocol with limits and deadlines.

uvicorn ends a connection that is idle between two requests. It waits for ever for the rest of a
request's head, for a body that nobody reads any more, and for a reader that takes nothing of an
answer. Here each of these has a deadline, and the number of connections a limit. How fast a body
comes that is read is watched in :mod:`rag_audio.api.bodies`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import ClassVar, Self

import h11
import structlog
from uvicorn.protocols.http.h11_impl import H11Protocol

from rag_audio.api.limits import network_of
from rag_audio.service.settings import ServeSettings

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


@dataclass(frozen=True)
class ConnectionLimits:
    """See :class:`rag_audio.service.settings.ServeSettings`.

    Attributes:
        all, each: connections at once, of all addresses and of one (IPv6: of one /64).
        header_s, write_s: seconds for a request's head, and without progress of an answer.
    """

    all: int
    each: int
    header_s: float
    write_s: float

    @classmethod
    def of(cls, settings: ServeSettings) -> Self:
        """The limits of a service."""
        return cls(
            settings.connections,
            settings.connections_per_address,
            settings.header_s,
            settings.write_s,
        )


def protocol_with(limits: ConnectionLimits) -> type[H11Protocol]:
    """A protocol for ``uvicorn.Config(http=…)`` whose connections share these limits."""

    class Limited(LimitedProtocol):
        """Of one server."""

    Limited.limits, Limited.open = limits, Counter()
    return Limited


class LimitedProtocol(H11Protocol):
    """One connection.

    Attributes:
        open: connections of each address; shared.
    """

    limits: ClassVar[ConnectionLimits]
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
        full = self.open.total() >= self.limits.all or self.open[network] >= self.limits.each
        if full:
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
        self._write = self.loop.call_later(self.limits.write_s, self._cut, "its reader stalled")

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
            self._head = self.loop.call_later(self.limits.header_s, self._late)
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
