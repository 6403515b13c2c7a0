"""Health, readiness, metrics, status, the page's session, and the secrets of webhooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from rag_audio import __version__
from rag_audio.domain.json_documents import error_json, public_json
from rag_audio.domain.ports import ModelInfo
from rag_audio.errors import BackendError
from rag_audio.generation.inpainting import SHORTEST_S
from rag_audio.service.api.auth import (
    COOKIE,
    AnyCaller,
    Anyone,
    Generates,
    TheService,
    failed,
    require_turn,
)
from rag_audio.service.api.connections import JsonRoute
from rag_audio.service.api.problems import Problem
from rag_audio.service.api.schemas import SessionAsked, WebhookRotationAsked
from rag_audio.service.api.services import Service
from rag_audio.service.api_access import Caller
from rag_audio.service.webhook_secrets import WebhookSecret
from rag_audio.service.wording import moment

router = APIRouter(route_class=JsonRoute)


@router.get("/healthz", tags=["system"])
def healthz() -> dict[str, str]:
    """The process answers. Asks for no key."""
    return {"status": "ok", "version": __version__}


@router.get("/readyz", tags=["system"], dependencies=[Anyone])
def readyz(service: TheService) -> JSONResponse:
    """Database, index and model can be used, and all threads of the service work; 503 otherwise.

    `dead_threads` names those that do not. Asks for no key.
    """
    well, state = service.is_ready()
    shown = (
        state if well else {name: "ok" if said == "ok" else "away" for name, said in state.items()}
    )
    dead = list(service.threads.dead())
    document = {"ready": well, "parts": shown, "dead_threads": dead}
    return JSONResponse(document, 200 if well else 503)


@router.get("/metrics", response_class=PlainTextResponse, tags=["system"], dependencies=[Anyone])
def metrics(request: Request, service: TheService) -> Response:
    """Prometheus' text format. Asks for no key."""
    text = request.app.state.metrics.text(service)
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/v1/status", tags=["system"])
def status(caller: AnyCaller, service: TheService) -> dict[str, Any]:
    """What this service is: model, embedder, queue, limits, and who asks.

    The segments are those of the caller's libraries, the jobs those that the caller sees.

    Where no model can be loaded, `model` is null and `model_problem` says why, and what to do, to
    an admin; to others that it cannot.
    """
    workspace = service.workspace
    embedder = workspace.home.embedder
    counts = service.jobs.counts(caller.sees)
    model: dict[str, Any] = service.places.document(_model_json(service.model(), caller))
    return {
        "version": __version__,
        **model,
        "embedder": {
            "name": service.places.told(embedder.name),
            "untrained": embedder.untrained,
        },
        "segments": _segments(service, caller),
        "territory": workspace.settings.territory,
        "contact": workspace.settings.contact,
        "queue": {state.value: count for state, count in counts.items()},
        "limits": {
            "max_duration_s": service.settings.max_duration_s,
            "min_region_s": SHORTEST_S,
            "max_body_mb": service.settings.max_body_mb,
            "max_upload_s": service.settings.max_upload_s,
            "queue": service.settings.queue,
        },
        "caller": _caller_json(caller),
    }


@router.get("/v1/session", tags=["system"])
def session(caller: AnyCaller) -> dict[str, Any]:
    """Who asks."""
    return _caller_json(caller)


@router.post("/v1/session", tags=["system"], status_code=201)
def sign_in(
    request: Request, response: Response, asked: SessionAsked, service: TheService
) -> dict[str, Any]:
    """Sign the page in: a cookie in place of the key. Asks for the key itself."""
    key = service.access.check(asked.key)
    if key is None:
        failed(request, "sign-in refused")
        raise Problem(401, "unauthorized", "this key is unknown, expired or revoked")
    require_turn(request, key.id, "key")
    hours = service.settings.session_hours
    secret = service.access.open_session(key, hours * 3600.0, service.settings.sessions_per_key)
    service.audit.write("signed in", key=key.id)
    response.set_cookie(
        COOKIE,
        secret,
        max_age=round(hours * 3600.0),
        path="/",
        httponly=True,
        samesite="strict",
        secure=service.settings.tls or request.url.scheme == "https",
    )
    return {"key": key.id, "name": key.name, "scopes": sorted(s.value for s in key.scopes)}


@router.delete("/v1/session", tags=["system"], status_code=204)
def sign_out(request: Request, service: TheService) -> Response:
    """Sign the page out."""
    secret = request.cookies.get(COOKIE)
    if secret:
        service.access.close_session(secret)
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return response


def _segments(service: Service, caller: Caller) -> int:
    """How much is indexed of what the caller may use."""
    index = service.home.index
    if caller.libraries is None:
        return index.count()
    return sum(index.count(library) for library in set(caller.libraries))


def _model_json(found: ModelInfo | BackendError, caller: Caller) -> dict[str, Any]:
    if isinstance(found, BackendError):
        said = public_json(found, "ask the operator of this service")
        return {"model": None, "model_problem": error_json(found) if caller.is_admin else said}
    shown = (
        *("name", "untrained", "sample_rate", "channels", "max_duration_s"),
        *("default_steps", "default_guidance", "default_strength"),
    )
    return {"model": {name: getattr(found, name) for name in shown}, "model_problem": None}


def _caller_json(caller: Caller) -> dict[str, Any]:
    return {
        "key": caller.owner or None,
        "name": caller.name,
        "scopes": sorted(scope.value for scope in caller.scopes),
        "libraries": None if caller.libraries is None else list(caller.libraries),
    }


@router.get("/v1/webhooks/secret", tags=["webhooks"])
def secret(caller: Generates, service: TheService) -> dict[str, Any]:
    """The secret of the key that asks, of nobody else's: an admin too sees only their own."""
    found = service.webhook_secrets.of(caller.owner)
    service.audit.write("webhook secret shown", key=caller.owner)
    return _secrets_json(found)


@router.post("/v1/webhooks/secret", tags=["webhooks"])
def rotate(asked: WebhookRotationAsked, caller: Generates, service: TheService) -> dict[str, Any]:
    """Make a new secret for the key that asks; the earlier one signs beside it for a while."""
    made = service.webhook_secrets.rotate(caller.owner, asked.overlap_hours * 3600.0)
    service.audit.write("webhook secret rotated", key=caller.owner)
    return _secrets_json(made)


def _secrets_json(found: Sequence[WebhookSecret]) -> dict[str, Any]:
    current, *earlier = found
    return {
        "secret": current.text,
        "made": moment(current.made_at),
        "earlier_until": [moment(one.valid_until) for one in earlier],
    }
