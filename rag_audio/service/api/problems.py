"""Errors as RFC 9457 problems: the one place where families of errors become statuses."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from rag_audio.domain.json_documents import error_json, finite, public_json
from rag_audio.domain.limits import STEM_ID, shown
from rag_audio.errors import (
    BackendError,
    InvalidInput,
    LibraryError,
    OutputRefused,
    RagAudioError,
    RequestRefused,
)
from rag_audio.service.api.schemas import JOB_ID, MOST_FAULTS, WEB_URL
from rag_audio.service.folders import UploadsFull
from rag_audio.service.jobs import QueueFull
from rag_audio.service.queue import KeyInFlight, KeyReused
from rag_audio.service.wording import Places, advice_in_http_terms

# What is wrong with a request that does not fit the schema, in words.

_SHOWN = 40
_NAMED = 60
_LONG = 200
_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "string": "a text",
    "bool": "true or false",
    "list": "a list",
    "tuple": "a list",
    "dict": "an object",
    "model": "an object",
    "finite": "a finite number",
}
_PATTERNS = {
    f"^{JOB_ID}$": "be an id of 32 hexadecimal digits",
    f"^{STEM_ID}$": "be a stem's id, or its first digits",
    "^[0-9a-f]{64}$": "be a stem's id of 64 hexadecimal digits",
    WEB_URL: "begin with https:// or http://",
    "^[0-9a-f]{64}(/.+)?$": "be what next says: a stem's id, or id/library",
    "^[0-9a-f]{6,64}$": "be a stem's id, or at least 6 of its first digits",
    "^[!-~]+$": "be printable ASCII without spaces",
    "^[0-9]{1,9}$": "be the number of an event, of at most 9 digits",
    "^(generation|edit)$": "be generation or edit",
    "^[A-Za-z]{2}$": "be a country's code of two letters such as DE",
}
_BOUNDS = {
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("more than", "gt"),
}


def faults(errors: Sequence[Mapping[str, Any]], body: Any) -> tuple[list[dict[str, str]], int]:
    """The faults that pydantic found, each once, and how many more there are than are listed.

    Returns:
        Of each ``where``, a JSON pointer (RFC 6901) into the part of the request that ``in`` names
        (``body``, ``query``, ``path``, ``header``), the ``field`` on its highest level, and the
        ``message``, which names the field: "steps must be at most 1000, got 1001". At most
        :data:`rag_audio.service.api.schemas.MOST_FAULTS`, with long names and values cut.

    Args:
        errors: as :meth:`fastapi.exceptions.RequestValidationError.errors` gives them.
        body: that was validated.
    """
    found: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    more = 0
    for error in errors:
        ctx = error.get("ctx") or {}
        place = _place(error, body)
        if error["type"] == "unknown_members":
            more += ctx["count"] - len(ctx["names"])
            unknown = {**error, "type": "extra_forbidden"}
            found |= {(*place, name): unknown for name in ctx["names"]}
        else:
            found.setdefault((*place, ctx["field"]) if "field" in ctx else place, error)
    # Of several readings that a value could have had, the one counts that went furthest.
    outer = {key[:length] for key in found for length in range(len(key))}
    told = [(key, error) for key, error in found.items() if key not in outer]
    more += max(0, len(told) - MOST_FAULTS)
    return [_fault(key, error) for key, error in told[:MOST_FAULTS]], more


def _fault(key: tuple[Any, ...], error: Mapping[str, Any]) -> dict[str, str]:
    place, *path = key
    pointer = "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)
    return {
        "in": str(place),
        "where": _clipped(pointer),
        "field": _clipped(str(path[0])) if path else "",
        "message": _clipped(_words(_name(path) or f"the {place}", error)),
    }


def _place(error: Mapping[str, Any], body: Any) -> tuple[Any, ...]:
    """The part of the request where a fault is, and the path into it."""
    place, *rest = error["loc"] or ("body",)
    if error["type"] == "json_invalid":
        return (place,)
    if place != "body":
        return (place, *rest)
    return (place, *_path(rest, body, is_missing=error["type"] == "missing"))


def _path(parts: Sequence[Any], body: Any, *, is_missing: bool) -> Iterator[Any]:
    """The parts of a location that are keys of the body; the others name members of unions."""
    there, last = body, len(parts) - 1
    for i, part in enumerate(parts):
        is_key = isinstance(there, dict) and part in there
        is_index = isinstance(there, list) and isinstance(part, int) and part < len(there)
        if is_key or is_index:
            there = there[part]
        elif not (is_missing and i == last):
            continue
        yield part


def _name(path: Sequence[Any]) -> str:
    """``references[0].start_s``"""
    told = ""
    for part in path:
        named = f"[{part}]" if isinstance(part, int) else f".{_clipped(part, _NAMED) or repr('')}"
        told += named
    return told.removeprefix(".")


def _words(name: str, error: Mapping[str, Any]) -> str:
    kind, ctx, got = str(error["type"]), error.get("ctx") or {}, _shown(error.get("input"))
    if kind in _BOUNDS:
        bound, key = _BOUNDS[kind]
        return f"{name} must be {bound} {shown(ctx[key])}, got {got}"
    if kind == "missing":
        return f"{name} is missing"
    if kind == "extra_forbidden":
        return f"{name} is not a field of this request"
    if kind.endswith(("too_long", "too_short")):
        return f"{name} {_length(error['input'], ctx)}"
    if kind in ("literal_error", "enum"):
        return f"{name} must be {ctx['expected']}, got {got}"
    if kind == "string_pattern_mismatch":
        pattern = ctx["pattern"]
        return f"{name} must {_PATTERNS.get(pattern, 'have another form')}, got {got}"
    if kind == "json_invalid":
        return f"the body cannot be read as JSON: {ctx.get('error', 'it cannot be read')}"
    if kind == "value_error":
        said = str(error["msg"]).removeprefix("Value error, ")
        return f"{name} {said}" if said.startswith(("must ", "holds ")) else said
    known = _KINDS.get(kind.partition("_")[0])
    if known is not None:
        return f"{name} must be {known}, got {got}"
    return f"{name}: {error['msg']}"


def _length(value: Any, ctx: Mapping[str, Any]) -> str:
    what = ("character", "characters") if isinstance(value, str) else ("entry", "entries")
    bound, most = (
        (ctx["max_length"], "most") if "max_length" in ctx else (ctx["min_length"], "least")
    )
    if most == "least" and not len(value):
        return "is empty"
    return f"must have at {most} {bound} {what[bound != 1]}, got {len(value)}"


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    return _clipped(repr(value) if isinstance(value, str) else str(value), _SHOWN)


def _clipped(text: str, most: int = _LONG) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


# How documents leave over HTTP.


class Answer(JSONResponse):
    """A JSON document whose advice names fields and routes, never options and commands."""

    def render(self, content: Any) -> bytes:
        return super().render(advice_in_http_terms(content))


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


_STATUSES: tuple[tuple[type[RagAudioError], int, str, int | None], ...] = (
    (KeyReused, 422, "idempotency-key-reused", None),
    (KeyInFlight, 409, "idempotency-key-in-flight", 1),
    (QueueFull, 429, "queue-full", 10),
    (UploadsFull, 429, "uploads-full", 3600),
    (RequestRefused, 403, "request-refused", None),
    (OutputRefused, 403, "output-refused", None),
    (InvalidInput, 422, "invalid-input", None),
    (LibraryError, 422, "unreadable", None),
    (BackendError, 503, "backend-unavailable", 5),
)
"""Of a family of errors: the status, the slug of its type, and the seconds of ``Retry-After``."""


def status_of(error: RagAudioError) -> tuple[int, str, dict[str, str]]:
    """The status of an error, the slug of its type, and headers."""
    if isinstance(error, Problem):
        return error.status, error.slug, error.headers
    for family, status, slug, retry_s in _STATUSES:
        if isinstance(error, family):
            if isinstance(error, UploadsFull) and not error.is_yours:
                status, slug = 507, "insufficient-storage"
            return status, slug, {} if retry_s is None else {"Retry-After": str(retry_s)}
    return 500, "internal", {}


def problem_json(error: RagAudioError) -> dict[str, Any]:
    """The document of a problem. A fault of the service is described by its family, with the
    id of the request, under which the log has the whole message.
    """
    status, slug, _ = status_of(error)
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
        **{name: value for name, value in said.items() if name not in ("type", "message")},
        "error": type(error).__name__,
    }


def install(app: FastAPI, places: Places) -> None:
    """Let every error of an app leave it as a problem, with files named by ``places``."""

    @app.exception_handler(RagAudioError)
    def _ours(request: Request, error: RagAudioError) -> JSONResponse:
        status, _, headers = status_of(error)
        if status >= 500:
            log.error(
                "request failed", error=error.message, hint=error.hint, kind=type(error).__name__
            )
        return respond(places.error(problem_json(error)), headers)

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
