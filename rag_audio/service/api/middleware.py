"""Middleware of every route: request ids, the log, ``Host``, ``Origin``, sizes, headers."""

from __future__ import annotations

import ipaddress
import re
import socket
import time
import uuid
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request

from rag_audio.service.api.connections import Body, too_large
from rag_audio.service.api.problems import Problem, problem_json, respond
from rag_audio.service.settings import ServeSettings

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

CSP = (
    "default-src 'self'; media-src 'self' blob:; img-src 'self' data: blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
}
JSON_BYTES = 1 << 20
JSON_S = 60.0
"""A body that is no upload is whole within this: it is read before anybody looks at the key."""
_ID = re.compile("[A-Za-z0-9-]{1,64}")
_FAULT = "an internal error"
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_MOST_HEADERS = 100
_UPLOADS = ("/v1/uploads", "/v1/trace")

log = structlog.get_logger("rag_audio.api")


Observe = Callable[[str, str, int, float], None]
"""Called with the route, the method, the status, and the seconds until the response ended."""


class Guard:
    """An ASGI middleware.

    Args:
        observe: is called with every request.
        hosts: names that ``Host`` may have, besides addresses and localhost.
        settings: how long the body of an upload may be, and how fast any body has to come; one
            that is no upload may have 1 MiB.
    """

    def __init__(
        self, app: ASGIApp, hosts: Iterable[str], settings: ServeSettings, observe: Observe
    ) -> None:
        self._app, self._settings, self._observe = app, settings, observe
        self._hosts = {host.lower() for host in hosts} | {"localhost", socket.gethostname().lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _ID.fullmatch(given) else uuid.uuid4().hex
        began, status, began_answer = time.monotonic(), 500, False
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request=request_id)

        async def answer(message: Message) -> None:
            nonlocal status, began_answer
            if message["type"] == "http.response.start":
                status, began_answer = message["status"], True
                out = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    out.setdefault(name, value)
                if scope["path"].startswith("/v1"):
                    out.setdefault("Cache-Control", "no-store")
                out["X-Request-ID"] = request_id
            await send(message)

        try:
            await self._answer(scope, receive, answer, headers)
        except ClientDisconnect:
            status = 499
        except Exception:
            log.exception("request failed by an internal error")
            if began_answer:
                raise
            await _refuse(scope, receive, answer, Problem(500, "internal", _FAULT))
        finally:
            route = str(getattr(scope.get("route"), "path", "other"))
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._observe(route, method, status, time.monotonic() - began)
            spent_ms = round(1000 * (time.monotonic() - began), 1)
            log.info(
                "request", method=scope["method"], path=scope["path"], status=status, ms=spent_ms
            )

    async def _answer(self, scope: Scope, receive: Receive, answer: Send, headers: Headers) -> None:
        refused = self._refusal(scope, headers)
        whole_s = self._settings.body_s
        if not _is_upload(scope):
            whole_s = min(whole_s, JSON_S)
        limited = Body(receive, self._limit(scope), whole_s, self._settings)
        given: Receive = limited
        if refused is None and not _is_upload(scope):
            try:
                given = _replayed(await Request(scope, limited).body(), receive)
            except Problem as error:
                refused = error
        if refused is not None:
            await _refuse(scope, receive, answer, refused)
        else:
            await self._app(scope, given, answer)

    def _refusal(self, scope: Scope, headers: Headers) -> Problem | None:
        if len(scope["headers"]) > _MOST_HEADERS:
            said = f"a request may have {_MOST_HEADERS} headers"
            return Problem(431, "too-many-headers", said)
        if not self._is_ours(headers.get("host", "")):
            return Problem(421, "misdirected-request", "this server has another name than Host")
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        is_foreign = origin is not None and urlsplit(origin).netloc != headers.get("host")
        is_page = scope["method"] in ("GET", "HEAD") and not scope["path"].startswith("/v1")
        if is_foreign or (site in ("cross-site", "same-site") and not is_page):
            return Problem(403, "foreign-origin", "requests from other sites are not answered")
        limit = self._limit(scope)
        length = headers.get("content-length")
        if length is not None and (not length.isdecimal() or int(length) > limit):
            return too_large(limit)
        return None

    def _limit(self, scope: Scope) -> int:
        return self._settings.max_body_mb << 20 if _is_upload(scope) else JSON_BYTES

    def _is_ours(self, host: str) -> bool:
        name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
        name = name.strip("[]").lower().rstrip(".")
        if name in self._hosts:
            return True
        try:
            # Whoever rebinds a name to this address cannot send the address itself.
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def _is_upload(scope: Scope) -> bool:
    return scope["method"] == "POST" and scope["path"] in _UPLOADS


async def _refuse(scope: Scope, receive: Receive, answer: Send, problem: Problem) -> None:
    await respond(problem_json(problem), problem.headers)(scope, receive, answer)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Gives a body that was read, and then whatever else comes."""
    waiting = [body]

    async def again() -> Message:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await receive()

    return again
