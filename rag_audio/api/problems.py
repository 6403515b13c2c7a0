"""Errors as RFC 9457 problems: the one place where families of errors become statuses."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from rag_audio.api.answers import Answer
from rag_audio.api.invalid import faults
from rag_audio.documents import error_json, finite, public_json
from rag_audio.errors import (
    BackendError,
    InvalidInput,
    LibraryError,
    OutputRefused,
    RagAudioError,
    RequestRefused,
)
from rag_audio.jobs import QueueFull
from rag_audio.jobs.idempotency import KeyInFlight, KeyReused
from rag_audio.jobs.uploads import UploadsFull

if TYPE_CHECKING:
    from rag_audio.api.service import Service

CONTENT_TYPE = "application/problem+json"
log = structlog.get_logger("rag_audio.api")


class Problem(RagAudioError):
    """An error that only HTTP knows.

    Args:
        slug: names the kind in ``type``.
        headers: that go with it.
    """

    def __init__(
        self,
        status: int,
        slug: str,
        message: str,
        hint: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, hint)
        self.status, self.slug, self.headers = status, slug, dict(headers or {})


def not_found() -> Problem:
    """What is not there, and what is somebody else's: the same words for both."""
    return Problem(404, "not-found", "there is nothing here under this id")


def busy(message: str, retry_after_s: int) -> Problem:
    """Come again later."""
    headers = {"Retry-After": str(retry_after_s)}
    return Problem(429, "too-many-requests", message, f"try again in {retry_after_s} s", headers)


_STATUSES: tuple[tuple[type[RagAudioError], int, str], ...] = (
    (KeyReused, 422, "idempotency-key-reused"),
    (KeyInFlight, 409, "idempotency-key-in-flight"),
    (QueueFull, 429, "queue-full"),
    (UploadsFull, 429, "uploads-full"),
    (RequestRefused, 403, "request-refused"),
    (OutputRefused, 403, "output-refused"),
    (InvalidInput, 422, "invalid-input"),
    (LibraryError, 422, "unreadable"),
    (BackendError, 503, "backend-unavailable"),
)


def status_of(error: RagAudioError) -> tuple[int, str]:
    """The status of an error and the slug of its type."""
    if isinstance(error, Problem):
        return error.status, error.slug
    if isinstance(error, UploadsFull) and not error.is_yours:
        return 507, "insufficient-storage"
    for family, status, slug in _STATUSES:
        if isinstance(error, family):
            return status, slug
    return 500, "internal"


def problem_json(error: RagAudioError) -> dict[str, Any]:
    """The document of a problem. A fault of the service is told in words of its family, with the
    id of the request, under which the log has the whole message.
    """
    status, slug = status_of(error)
    said = error_json(error)
    if status >= 500:
        request = structlog.contextvars.get_contextvars().get("request", "")
        said = public_json(error, f"the server's log says more; request {request}")
        said["request"] = request
    return {
        "type": f"/problems/{slug}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": said["message"],
        **{name: value for name, value in said.items() if name not in _SAID},
        "error": type(error).__name__,
    }


_SAID = ("type", "message")


def install(app: FastAPI) -> None:
    """Let every error of an app leave it as a problem."""

    @app.exception_handler(RagAudioError)
    def _ours(request: Request, error: RagAudioError) -> JSONResponse:
        headers = dict(error.headers) if isinstance(error, Problem) else {}
        status, _ = status_of(error)
        if isinstance(error, QueueFull):
            headers["Retry-After"] = str(error.retry_after_s)
        elif isinstance(error, KeyInFlight):
            headers["Retry-After"] = "1"
        elif isinstance(error, UploadsFull):
            headers["Retry-After"] = "3600"
        elif status == 503:
            headers["Retry-After"] = "5"
        if status >= 500:
            log.error(
                "request failed", error=error.message, hint=error.hint, kind=type(error).__name__
            )
        service: Service = request.app.state.service
        return respond(service.places.error(problem_json(error)), headers)

    @app.exception_handler(RequestValidationError)
    def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        found, more = faults(error.errors(), error.body)
        said = found[0]["message"] if found else "the request cannot be read"
        document = problem_json(Problem(422, "invalid-input", said))
        left_out = {"more": more} if more else {}
        return respond({**document, "errors": found, **left_out}, {})

    @app.exception_handler(HTTPException)
    def _http(request: Request, error: HTTPException) -> JSONResponse:
        slug = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
        found = Problem(error.status_code, slug, str(error.detail))
        return respond(problem_json(found), dict(error.headers or {}))


def respond(document: Mapping[str, Any], headers: Mapping[str, str]) -> JSONResponse:
    """A problem as a response."""
    return Answer(
        finite(dict(document)), document["status"], headers=headers, media_type=CONTENT_TYPE
    )
