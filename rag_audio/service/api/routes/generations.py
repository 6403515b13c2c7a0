"""Generations: ask for them, follow them, fetch them."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, StreamingResponse

from rag_audio.domain import ConditioningPlan
from rag_audio.domain.plan import plan_to_json
from rag_audio.errors import InvalidInput
from rag_audio.pipeline.editing import Editor
from rag_audio.service.api.auth import Generates, TheService
from rag_audio.service.api.connections import JsonRoute
from rag_audio.service.api.media import as_it_stands, stream
from rag_audio.service.api.problems import Answer, Problem, busy, not_found
from rag_audio.service.api.schemas import JOB_ID, EditAsked, GenerationAsked, MusicFields
from rag_audio.service.api.services import Service
from rag_audio.service.api.uploads import using
from rag_audio.service.api_access import Caller
from rag_audio.service.jobs import Job, JobState, edit_order, generation_request, request_fields
from rag_audio.service.visibility import may_see
from rag_audio.service.wording import job_json

router = APIRouter(prefix="/v1", tags=["generations"], route_class=JsonRoute)

JobPath = Annotated[str, Path(pattern=f"^{JOB_ID}$", examples=["0" * 32])]
Idempotency = Annotated[str | None, Header(max_length=200, pattern="^[!-~]+$")]
Prefer = Annotated[str | None, Header(max_length=200, examples=["wait=10"])]
Hook = str | InvalidInput | None
"""A webhook's URL, or why it cannot be called; None: there is none."""
Prepared = tuple[dict[str, Any], ConditioningPlan]
"""A request as its row will hold it, and its plan."""
MOST_WAIT_S = 60.0
_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*(\d{1,6})(?:$|[,;\s])")
_LOOK_S = 0.1
ACCEPTED: dict[int | str, dict[str, Any]] = {
    200: {"description": "It ended within the time that `Prefer: wait=n` gave it."},
    202: {"description": "Accepted: it is on the disk. `Location` says where to look."},
}


def mine(id: JobPath, caller: Generates, service: TheService) -> Job:
    """A job of the caller's; 404 for jobs of other owners."""
    job = service.jobs.find(id)
    if job is None or not may_see(caller, job.owner):
        raise not_found()
    return job


MyJob = Annotated[Job, Depends(mine)]


@router.post("/generations", status_code=202, responses=ACCEPTED)
async def generate(
    request: Request,
    asked: GenerationAsked,
    caller: Generates,
    service: TheService,
    idempotency_key: Idempotency = None,
    prefer: Prefer = None,
) -> JSONResponse:
    """Make music. The plan is made at once, so that what is refused is refused here; it is the one
    that runs, unless a right that it needs has ended by then: the job fails and says so."""
    hook = await service.lookups.checked(asked.webhook, caller.owner)

    def make() -> Prepared:
        return _planned(asked, hook, caller, service)

    brought = using(service, caller, **asked.uploads)
    accept = partial(_once, service, caller, "generation", make, idempotency_key)
    return await _accepted(request, caller, service, prefer, accept, brought)


@router.post("/edits", status_code=202, responses=ACCEPTED)
async def edit(
    request: Request,
    asked: EditAsked,
    caller: Generates,
    service: TheService,
    idempotency_key: Idempotency = None,
    prefer: Prefer = None,
) -> JSONResponse:
    """Make part of a take anew, go on from it, or vary it. The job is a generation like any: the
    plan that is made at once is the one that runs."""
    hook = await service.lookups.checked(asked.webhook, caller.owner)

    def make() -> Prepared:
        service.require_model()
        wanted = _document(asked, hook, caller, service, "edit")
        order = edit_order(wanted)
        if asked.generation is not None:
            parent = mine(asked.generation, caller, service)
            file = service.folders.find_take(parent, asked.take)
            if file is None or parent.result is None:
                raise InvalidInput(
                    f"generation {asked.generation} has no take {asked.take}",
                    hint="only what succeeded can be edited",
                )
            length_s = float(parent.result["outputs"][asked.take - 1]["duration_s"])
        else:
            upload = service.upload_of(caller, asked.upload or "")
            if upload.kind != "audio":
                raise InvalidInput("a score cannot be edited", hint="upload a sound")
            file, length_s = service.folders.find_upload(upload.id), upload.duration_s
        order.made(length_s)
        length_s += asked.left_s + asked.right_s
        _require_fits(length_s, wanted["variations"], service)
        fields = request_fields(wanted, service.folders.find_upload)
        out = file.with_name(f"take.{asked.format}")
        plan = Editor(service.pipeline(caller)).plan(file, asked.prompt, order, out, **fields)
        return wanted, plan

    brought = using(service, caller, either=asked.upload)
    accept = partial(_once, service, caller, "edit", make, idempotency_key)
    return await _accepted(request, caller, service, prefer, accept, brought)


@router.post("/plans", tags=["generations"])
async def plan(asked: GenerationAsked, caller: Generates, service: TheService) -> dict[str, Any]:
    """What would be given to the model; nothing is made."""
    hook = await service.lookups.checked(asked.webhook, caller.owner)
    async with using(service, caller, **asked.uploads):
        _, plan = await run_in_threadpool(_planned, asked, hook, caller, service)
    return {"plan": plan_to_json(plan)}


@router.get("/generations")
def newest(
    caller: Generates,
    service: TheService,
    state: JobState | None = None,
    kind: Annotated[str | None, Query(pattern="^(generation|edit)$")] = None,
    before: Annotated[int | None, Query(ge=1, le=2**62)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> dict[str, Any]:
    """One's own jobs, newest first; an admin sees those of all. ``before``: ``next`` of a page."""
    found = service.jobs.newest(caller.sees, kind=kind, state=state, before=before, limit=limit)
    more = found[-1].seq if len(found) == limit else None
    return {"generations": [job_json(job, service.places) for job in found], "next": more}


@router.get("/generations/{id}")
def one(job: MyJob, service: TheService) -> dict[str, Any]:
    """How a job stands, and what it made."""
    return job_json(job, service.places)


@router.post("/generations/{id}/cancel", status_code=202)
def cancel(job: MyJob, caller: Generates, service: TheService) -> dict[str, Any]:
    """End a job; one that has ended stays as it is. What was not finished by now never will be."""
    ended = service.jobs.cancel(job.id)
    service.audit.write("job canceled", key=caller.owner, job=job.id)
    return job_json(ended or job, service.places)


@router.get("/generations/{id}/plan")
def plan_of(job: MyJob, service: TheService) -> dict[str, Any]:
    """What was, or will be, given to the model."""
    made = (job.result or {}).get("plan") or job.plan
    if made is None:
        raise Problem(404, "not-found", "the plan is not made yet")
    return {"plan": {**made, "notes": service.places.document(made.get("notes", []))}}


async def _one_stream(caller: Generates, service: TheService) -> AsyncIterator[None]:
    """Count a stream until it ends."""
    with service.streams.hold(caller.owner) as held:
        if not held:
            raise busy("too many event streams are open", 10)
        yield


@router.get(
    "/generations/{id}/events",
    response_class=StreamingResponse,
    dependencies=[Depends(_one_stream)],
)
async def events(
    job: MyJob,
    request: Request,
    service: TheService,
    last_event_id: Annotated[str | None, Header(pattern="^[0-9]{1,9}$")] = None,
) -> Response:
    """Server-sent events: ``state`` and ``progress``, numbered; ``position`` in between.

    ``Last-Event-ID`` goes on where one was cut off. After the last one: 204.
    """
    last = int(last_event_id or 0)
    if job.state.is_final and not await run_in_threadpool(service.jobs.events, job.id, last):
        return Response(status_code=204)
    return StreamingResponse(
        stream(service, job, last, request.is_disconnected),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


def _planned(asked: GenerationAsked, hook: Hook, caller: Caller, service: Service) -> Prepared:
    """A generation's request as its row will hold it, and its plan."""
    service.require_model()
    wanted = _document(asked, hook, caller, service, "generation")
    _require_fits(wanted.get("duration_s") or 0.0, 1, service)
    made = generation_request(wanted, service.folders.find_upload)
    plan = service.pipeline(caller).plan(made)
    takes = plan.variations * (plan.enforcement.candidates if plan.enforcement else 1)
    _require_fits(plan.duration_s, takes, service)
    return wanted, plan


def _require_fits(seconds: float, takes: int, service: Service) -> None:
    """All takes and candidates of a request are in memory at once, or nearly so."""
    longest, most = service.settings.max_duration_s, service.settings.max_sound_s
    if seconds > longest:
        raise InvalidInput(
            f"{seconds:g} s is longer than this service makes", hint=f"at most {longest:g} s"
        )
    if seconds * takes > most:
        raise InvalidInput(
            f"{takes} takes of {seconds:g} s are {seconds * takes:g} s of sound, candidates "
            "included, and more than this service makes at once",
            hint=f"at most {most:g} s: ask for fewer variations or candidates, or a shorter piece",
        )


def _document(
    asked: MusicFields, hook: Hook, caller: Caller, service: Service, kind: str
) -> dict[str, Any]:
    """The request as its row will hold it; every upload in it is the caller's own."""
    wanted = asked.model_dump(mode="json", exclude_none=True)
    for name in ("audio", "midi", "upload"):
        if wanted.get(name) is not None:
            service.upload_of(caller, wanted[name])
    if kind == "generation" and wanted.get("artist"):
        wanted["artist"] = service.pipeline(caller).artist_named(wanted["artist"])
    if isinstance(hook, InvalidInput):
        raise hook
    if hook is not None:
        wanted["webhook"] = hook
    if wanted.get("seed") is None:
        wanted["seed"] = secrets.randbits(31)
    return wanted


async def _accepted(
    request: Request,
    caller: Caller,
    service: Service,
    prefer: str | None,
    accept: Callable[[bytes], Job],
    brought: AbstractAsyncContextManager[None],
) -> JSONResponse:
    """Accept a job, and wait for its end as long as is preferred.

    Args:
        brought: keeps the uploads that are worked with when it is accepted.
    """
    body = request.url.path.encode() + b"\n" + await request.body()
    async with brought:
        job = await run_in_threadpool(accept, body)
    wait = _WAIT.search(prefer or "")
    headers = {"Location": f"/v1/generations/{job.id}"}
    if wait is not None:
        seconds = min(float(wait[1]), MOST_WAIT_S)
        headers["Preference-Applied"] = f"wait={seconds:g}"
        # Whoever waits for too many at once is told at once how they stand.
        with service.waits.hold(caller.owner) as may_wait:
            job = await _ended(service, job, seconds if may_wait else 0.0)
    shown = job_json(job, service.places)
    return Answer(shown, 200 if job.state.is_final else 202, headers)


async def _ended(service: Service, job: Job, seconds: float) -> Job:
    """The job once it has ended, or as it stands after so long."""
    until, look_s = time.monotonic() + seconds, _LOOK_S
    while not job.state.is_final and time.monotonic() < until and not service.is_stopping:
        await asyncio.sleep(look_s)
        look_s = min(0.5, 1.3 * look_s)
        job = await run_in_threadpool(as_it_stands, service, job)
    return job


def _once(
    service: Service,
    caller: Caller,
    kind: str,
    make: Callable[[], Prepared],
    key: str | None,
    body: bytes,
) -> Job:
    """Accept a job, or find the one that was accepted for this key and body before."""
    if service.is_stopping:
        raise Problem(503, "stopping", "this server is stopping", headers={"Retry-After": "5"})
    if key is not None:
        known = service.idempotency.begin(caller.owner, key, body)
        if known is not None:
            return mine(known, caller, service)
    try:
        wanted, plan = make()
        job = service.jobs.accept(
            kind,
            {name: value for name, value in wanted.items() if name != "webhook"},
            owner=caller.owner,
            libraries=caller.libraries,
            plan=plan_to_json(plan),
            webhook=wanted.get("webhook"),
            key=key,
        )
    except BaseException:
        if key is not None:
            service.idempotency.refused(caller.owner, key)
        raise
    service.audit.write("job accepted", key=caller.owner, job=job.id, kind=kind)
    service.wake()
    return job
