"""The events of a job as a stream of server-sent events."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from fastapi.concurrency import run_in_threadpool

from rag_audio.api.service import Service
from rag_audio.api.shapes import moment
from rag_audio.errors import BackendUnavailable
from rag_audio.jobs import Job, JobState

LOOK_S = 0.4
KEEP_ALIVE_S = 10.0
POSITION_LOOKS = 3
"""The place in the queue is looked up every so many times."""


async def stream(
    service: Service, job: Job, after: int, is_gone: Callable[[], Awaitable[bool]]
) -> AsyncIterator[str]:
    """What happened to a job after event ``after``, until it ends or the reader goes.

    Numbered events are stored; ``position`` (where the job waits) comes in between without one.

    Args:
        job: as it was before ``after`` was asked for.
    """
    yield "retry: 1000\n\n"
    state, said, looks = job.state, -1, 0
    spoke = time.monotonic()
    while not service.is_stopping and not await is_gone():
        try:
            found = await run_in_threadpool(service.jobs.events, job.id, after)
            if state is JobState.QUEUED and looks % POSITION_LOOKS == 0:
                job = await run_in_threadpool(_again, service, job)
        except BackendUnavailable:
            yield ": the database is away\n\n"
            await asyncio.sleep(1.0)
            continue
        looks += 1
        for event in found:
            after, spoke = event.id, time.monotonic()
            told = dict(event.document)
            if told.get("problem"):
                told["problem"] = service.places.error(told["problem"])
            yield _event(event.kind, {**told, "at": moment(event.at)}, event.id)
            state = JobState(event.document.get("state", state))
        if state.is_final:
            return
        if state is JobState.QUEUED and job.position not in (None, said):
            said = job.position or 0
            yield _event("position", {"position": said})
        if time.monotonic() - spoke > KEEP_ALIVE_S:
            spoke = time.monotonic()
            yield ": still here\n\n"
        await asyncio.sleep(LOOK_S)


def _again(service: Service, job: Job) -> Job:
    return service.jobs.find(job.id) or job


def _event(kind: str, document: Any, id_: int | None = None) -> str:
    head = "" if id_ is None else f"id: {id_}\n"
    return f"{head}event: {kind}\ndata: {json.dumps(document)}\n\n"
