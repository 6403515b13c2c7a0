"""Trace, guard, uploads."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import structlog
from fastapi import APIRouter, Query, Request, Response
from fastapi import Path as PathParameter
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse

from rag_audio import guardrails
from rag_audio.domain.json_documents import finite
from rag_audio.errors import InvalidInput, LedgerTampered
from rag_audio.provenance.trace.findings import TraceResult
from rag_audio.provenance.trace_report import report_html
from rag_audio.service.api.auth import AnyCaller, Generates, TheService
from rag_audio.service.api.connections import JsonRoute
from rag_audio.service.api.problems import Problem, busy, not_found
from rag_audio.service.api.schemas import JOB_ID, GuardAsked
from rag_audio.service.api.services import Service
from rag_audio.service.api.uploads import RETRY_S, receive, received, using_files
from rag_audio.service.api_access import Caller, Scope
from rag_audio.service.folders import Upload

router = APIRouter(prefix="/v1", route_class=JsonRoute)
log = structlog.get_logger("rag_audio.api")

BINARY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The file itself: WAV, FLAC, OGG, MP3, AIFF or standard MIDI; with ffmpeg "
        "also m4a, WMA, WavPack and video.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
TRACE_BODY: dict[str, Any] = {"requestBody": {**BINARY["requestBody"], "required": False}}
UploadQuery = Annotated[str | None, Query(pattern=f"^{JOB_ID}$")]
REPORT_CSP = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"


@router.post("/uploads", status_code=201, tags=["uploads"], openapi_extra=BINARY)
async def upload(request: Request, caller: AnyCaller, service: TheService) -> dict[str, Any]:
    """Bring a sound or a score: its ``id`` can be used in searches, generations and edits."""
    made = await receive(request, service, caller)
    service.audit.write(
        "upload", key=caller.owner, upload=made.id, sha256=made.sha256, size=made.size
    )
    return _upload_json(made)


@router.get("/uploads/{id}", tags=["uploads"])
def upload_of(
    id: Annotated[str, PathParameter(pattern=f"^{JOB_ID}$", examples=["0" * 32])],
    caller: AnyCaller,
    service: TheService,
) -> dict[str, Any]:
    """An upload of one's own, as long as it is kept."""
    found = service.uploads.find(id, caller.owner)
    if found is None:
        raise not_found()
    return _upload_json(found)


def _upload_json(upload: Upload) -> dict[str, Any]:
    shown = ("id", "kind", "duration_s", "size", "sha256")
    return {name: getattr(upload, name) for name in shown}


@router.post("/trace", tags=["trace"], openapi_extra=TRACE_BODY, response_model=None)
async def trace(
    request: Request,
    caller: AnyCaller,
    service: TheService,
    upload: UploadQuery = None,
    report: Annotated[Literal["json", "html"], Query()] = "json",
) -> dict[str, Any] | Response:
    """What went into a sound: the body, or an upload named by ``upload``. A body is not kept.

    Without the scope ``trace`` the answer is whether this system made it, and whom to ask. With
    it, sources of libraries that the key may not use are counted and not named, and of an output
    that somebody else made neither number, time nor proof is told.
    """
    if upload is None:
        async with received(request, service, caller) as (body, path):
            return await _traced(body, path, None, caller, service, report)
    found = await run_in_threadpool(service.uploads.find, upload, caller.owner)
    if found is None:
        raise not_found()
    file = service.folders.of_upload(found.id, found.suffix)
    path = await run_in_threadpool(service.folders.here, file)
    return await _traced(found, path, found.id, caller, service, report)


@router.post("/guard", tags=["guard"])
def guard(asked: GuardAsked, caller: Generates, service: TheService) -> dict[str, Any]:
    """What the guardrails would decide; nothing is made."""
    policy = service.pipeline(caller).policy(asked.territory)
    decisions = [guardrails.judge(text, policy, "guard") for text in asked.prompts]
    return {"decisions": [decision.to_json() for decision in decisions]}


async def _traced(
    found: Upload, path: Path, kept: str | None, caller: Caller, service: Service, report: str
) -> dict[str, Any] | Response:
    """What the caller may know of a sound; ``kept`` is its id, where it can be used again."""
    if found.kind != "audio":
        raise InvalidInput("a score cannot be traced", hint="upload a sound")
    service.audit.write("trace", key=caller.owner, upload=found.id, sha256=found.sha256)
    async with using_files(service, caller.owner, [path]):
        whole = await _trace(service, path, caller)
    if not caller.may(Scope.TRACE):
        return whole.to_public(service.workspace.settings.contact)
    result = await run_in_threadpool(service.visibility(caller).trace, whole)
    shown = len(result.sources)
    if report == "html":
        page = await run_in_threadpool(report_html, result, "the upload", datetime.now(UTC))
        return HTMLResponse(page, headers={"Content-Security-Policy": REPORT_CSP})
    document = finite(result.to_json())
    contact = service.workspace.settings.contact if result.output != whole.output else None
    hidden = len(whole.sources) - shown
    return {**document, "upload": kept, "hidden_sources": hidden, "contact": contact}


async def _trace(service: Service, path: Path, caller: Caller) -> TraceResult:
    seconds = service.settings.trace_wait_s
    async with service.traces.hold(caller.owner, 1, seconds) as held:
        if not held:
            raise busy("others are being traced", RETRY_S)
        try:
            return await run_in_threadpool(service.workspace.pipeline.trace, path)
        except LedgerTampered as error:
            if caller.is_admin:
                raise
            log.error("a trace found the ledger tampered with", error=error.message)
            raise Problem(
                500,
                "internal",
                "the ledger does not match its hashes",
                "tell the operator of this service",
            ) from error
