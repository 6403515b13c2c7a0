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

LOOK_S = 0.4
KEEP_ALIVE_S = 10.0


async def stream(
    service: Service, id_: str, after: int, is_gone: Callable[[], Awaitable[bool]]
) -> AsyncIterator[str]:
    """What happened to a job after event ``after``, until it ends or the reader goes.

    Numbered events are stored; ``position`` (where the job waits) comes in between without one.
    """
    yield "retry: 1000\n\n"
    said: int | None = None
    spoke = time.monotonic()
    while not service.is_stopping and not await is_gone():
        try:
            # In this order: what ended before the events were read has its last one among them.
            job = await run_in_threadpool(service.jobs.find, id_)
            found = await run_in_threadpool(service.jobs.events, id_, after)
        except BackendUnavailable:
            yield ": the database is away\n\n"
            await asyncio.sleep(1.0)
            continue
        for event in found:
            after = event.id
            document = {**event.document, "at": moment(event.at)}
            yield _event(event.kind, document, event.id)
        if job is None or job.state.is_final:
            return
        if job.position is not None and job.position != said:
            said = job.position
            yield _event("position", {"position": job.position})
        if found:
            spoke = time.monotonic()
        elif time.monotonic() - spoke > KEEP_ALIVE_S:
            spoke = time.monotonic()
            yield ": still here\n\n"
        await asyncio.sleep(LOOK_S)


def _event(kind: str, document: Any, id_: int | None = None) -> str:
    head = "" if id_ is None else f"id: {id_}\n"
    return f"{head}event: {kind}\ndata: {json.dumps(document)}\n\n"
