"""Who asks, and whether they may."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import Annotated, cast

from fastapi import Depends, Request
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer

from rag_audio.service.api.problems import Problem, busy
from rag_audio.service.api.rate_limits import RateLimiter, network_of
from rag_audio.service.api.services import Service
from rag_audio.service.api_access import EVERYBODY, Caller, Scope

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

    A key is looked at before any limit: whoever sends wrong ones from an address that others share
    shuts nobody out. What is limited is the answers to wrong keys, and the requests of each key.

    Raises:
        Problem: 401 where a key is needed and none that is valid was given; 429 too often.
    """
    found = _known(request, service_of(request))
    if found is None:
        require_turn(request, client_of(request), "client")
        raise Problem(
            401,
            "unauthorized",
            "this needs a valid API key",
            "Authorization: Bearer KEY; whoever runs this service makes keys",
            {"WWW-Authenticate": "Bearer"},
        )
    if found.owner:
        require_turn(request, found.owner, "key")
    else:
        require_turn(request, client_of(request), "client")
    request.state.owner = found.owner
    return found


def client_of(request: Request) -> str:
    """The network that a request comes from, as limits count it."""
    return network_of(request.client.host if request.client else None)


def require_turn(request: Request, name: str, by: str) -> None:
    """Count a request of a key, or of a client without one.

    Raises:
        Problem: 429, there were too many.
    """
    limiter = cast(RateLimiter, request.app.state.limiter)
    wait_s = limiter.wait_s(f"{by} {name}")
    if wait_s > 0:
        service_of(request).audit.write_often("rate limited", by, name)
        raise busy("too many requests", ceil(wait_s))


def failed(request: Request, what: str) -> None:
    """A wrong key was sent: write it down, a few times and then as a count.

    Raises:
        Problem: 429, the client sent too many.
    """
    client = client_of(request)
    service_of(request).audit.write_often(what, "client", client)
    wait_s = cast(RateLimiter, request.app.state.failures).wait_s(client)
    if wait_s > 0:
        raise busy("too many wrong keys", ceil(wait_s))


def anyone(request: Request) -> None:
    """Asks for no key, and counts the client's requests.

    Raises:
        Problem: 429, there were too many.
    """
    require_turn(request, client_of(request), "client")


def _known(request: Request, service: Service) -> Caller | None:
    kind, _, text = request.headers.get("authorization", "").partition(" ")
    given = request.headers.get("x-api-key") or (text if kind.lower() == "bearer" else "")
    if given:
        key = service.access.check(given.strip())
        if key is None:
            failed(request, "key refused")
            return None
        return Caller.of(key)
    cookie = request.cookies.get(COOKIE)
    if cookie:
        key = service.access.session(cookie)
        if key is not None:
            return Caller.of(key)
    return None if service.access.any_key() else EVERYBODY


def needs(scope: Scope) -> Callable[..., Caller]:
    """A dependency: the caller, if the key has a scope."""

    def check(request: Request, found: Annotated[Caller, Depends(caller)]) -> Caller:
        if not found.may(scope):
            audit = service_of(request).audit
            audit.write_often("scope refused", "key", found.owner, scope=scope.value)
            raise Problem(
                403, "forbidden", f"this key has no scope {scope.value}", "ask for another key"
            )
        return found

    return check


Anyone = Depends(anyone)
AnyCaller = Annotated[Caller, Depends(caller)]
Generates = Annotated[Caller, Depends(needs(Scope.GENERATE))]
Searches = Annotated[Caller, Depends(needs(Scope.SEARCH))]
Traces = Annotated[Caller, Depends(needs(Scope.TRACE))]
Administers = Annotated[Caller, Depends(needs(Scope.ADMIN))]
TheService = Annotated[Service, Depends(service_of)]
