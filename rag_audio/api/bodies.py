"""Bodies of requests as they come in: how long, how fast, how late. None is waited for for ever."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from rag_audio.api.problems import Problem
from rag_audio.service.settings import ServeSettings

if TYPE_CHECKING:
    from starlette.types import Message, Receive

_NAMED = 60
"""Characters of a member's name that a message quotes."""


@dataclass(frozen=True)
class Pace:
    """How fast a body has to come.

    Attributes:
        whole_s: seconds that are waited for all of it.
        stall_s: seconds that are waited for its next piece.
        rate: bytes a second at least, on average, once more than ``stall_s`` were waited.
    """

    whole_s: float
    stall_s: float
    rate: int

    @classmethod
    def of(cls, settings: ServeSettings) -> Self:
        """The pace of a service."""
        return cls(settings.body_s, settings.body_stall_s, settings.body_rate)


class Body:
    """Gives the messages of a body, and counts them: ``Content-Length`` may be missing or a lie.

    Only the time that is spent waiting for the client counts, not what the service does with a
    piece.

    Args:
        limit: bytes it may have.
    """

    def __init__(self, receive: Receive, limit: int, pace: Pace) -> None:
        self._receive, self._limit, self._pace = receive, limit, pace
        self._seen, self._waited_s, self._is_whole = 0, 0.0, False

    async def whole(self) -> bytes:
        """The whole body.

        Raises:
            Problem: 408 it comes too slowly, 413 it is too long.
            ClientDisconnect: it ends early.
        """
        pieces = []
        while True:
            message = await self()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            pieces.append(message.get("body", b""))
            if not message.get("more_body", False):
                return b"".join(pieces)

    async def __call__(self) -> Any:
        """The next message; raises as :meth:`whole`. After the body's end nothing is limited."""
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
        loop, pace = asyncio.get_running_loop(), self._pace
        began = loop.time()
        patience_s = min(pace.stall_s, pace.whole_s - self._waited_s)
        try:
            async with asyncio.timeout(patience_s):
                message = await self._receive()
        except TimeoutError:
            raise _too_slow(f"nothing of the body came for {patience_s:.3g} s") from None
        self._waited_s += loop.time() - began
        late = self._waited_s > pace.stall_s and self._seen < pace.rate * self._waited_s
        if late and message.get("more_body", False):
            raise _too_slow(f"a body has to come at {pace.rate} bytes a second or faster")
        if self._waited_s > pace.whole_s and message.get("more_body", False):
            raise _too_slow(f"a body has to be whole within {pace.whole_s:g} s")
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
