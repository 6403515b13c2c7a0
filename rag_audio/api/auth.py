"""Who asks, and whether they may."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, cast

from fastapi import Depends, Request
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer

from rag_audio.api.audit import audit
from rag_audio.api.limits import RateLimiter
from rag_audio.api.problems import Problem, busy
from rag_audio.api.service import EVERYBODY, Caller, Service, caller_of
from rag_audio.jobs.access import Scope

COOKIE = "rag_audio_session"


def service_of(request: Request) -> Service:
    """The service of the app that a request came to."""
    return cast(Service, request.app.state.service)


def caller(
    request: Request,
    _bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))],
    _cookie: Annotated[str | None, Depends(APIKeyCookie(name=COOKIE, auto_error=False))],
) -> Caller:
    """Who asks, by ``Authorization: Bearer``, ``X-API-Key`` or the page's cookie.

    Raises:
        Problem: 401 where a key is needed and none that is valid was given; 429 too often.
    """
    service = service_of(request)
    found = _known(request, service)
    if found is None:
        raise Problem(
            401,
            "unauthorized",
            "this needs a valid API key",
            "Authorization: Bearer KEY; rag-audio keys api-make makes one",
            {"WWW-Authenticate": "Bearer"},
        )
    limiter = cast(RateLimiter, request.app.state.limiter)
    who = found.owner or f"at {request.client.host if request.client else '?'}"
    wait_s = limiter.wait_s(who)
    if wait_s > 0:
        raise busy("too many requests", max(1, round(wait_s + 0.5)))
    request.state.owner = found.owner
    return found


def _known(request: Request, service: Service) -> Caller | None:
    kind, _, text = request.headers.get("authorization", "").partition(" ")
    given = request.headers.get("x-api-key") or (text if kind.lower() == "bearer" else "")
    if given:
        key = service.access.check(given.strip())
        if key is None:
            audit("key refused", client=request.client.host if request.client else "")
            return None
        return caller_of(key)
    cookie = request.cookies.get(COOKIE)
    if cookie:
        key = service.access.session(cookie)
        if key is not None:
            return caller_of(key)
    return None if service.access.any_key() else EVERYBODY


def needs(scope: Scope) -> Callable[[Caller], Caller]:
    """A dependency: the caller, if the key has a scope."""

    def check(found: Annotated[Caller, Depends(caller)]) -> Caller:
        if not found.may(scope):
            audit("scope refused", key=found.owner, scope=scope.value)
            raise Problem(
                403, "forbidden", f"this key has no scope {scope.value}", "ask for another key"
            )
        return found

    return check


AnyCaller = Annotated[Caller, Depends(caller)]
Generates = Annotated[Caller, Depends(needs(Scope.GENERATE))]
Searches = Annotated[Caller, Depends(needs(Scope.SEARCH))]
Traces = Annotated[Caller, Depends(needs(Scope.TRACE))]
Administers = Annotated[Caller, Depends(needs(Scope.ADMIN))]
TheService = Annotated[Service, Depends(service_of)]
