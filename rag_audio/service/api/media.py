"""Sounds as responses (takes, stems and other formats of them, with ranges), and events."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse

from rag_audio.audio import writing
from rag_audio.audio.dsp import to_channels
from rag_audio.domain import AttributionRecord, Segment, Stem
from rag_audio.domain.signing import Signer, sidecar_of
from rag_audio.errors import BackendUnavailable
from rag_audio.pipeline.delivery import write_copy
from rag_audio.pipeline.pipeline import Pipeline
from rag_audio.service.api.services import Service
from rag_audio.service.jobs import Job, JobState
from rag_audio.service.wording import moment

TYPES = {
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg",
}
PREVIEW_S = 30.0


def sound_response(file: Path, name: str, credentials: str | None = None) -> FileResponse:
    """A sound file; ``Range`` is answered with the part that is asked for.

    Args:
        credentials: where its manifest is, if not in it (C2PA specification 2.2, section 15.5.4).
    """
    headers = {"Cache-Control": "private, no-cache", "Accept-Ranges": "bytes"}
    if credentials is not None:
        headers["Link"] = f'<{credentials}>; rel="c2pa-manifest"'
    return FileResponse(
        file,
        media_type=TYPES[file.suffix],
        filename=name,
        content_disposition_type="inline",
        headers=headers,
    )


def in_format(signer: Signer, record: AttributionRecord, file: Path, format: str) -> Path:
    """An output in another format, made on first use beside it, and kept while it is used.

    See :func:`.write_copy`; what an earlier version left unsigned is made anew.

    Raises:
        RagAudioError: it cannot be read, written or signed.
    """
    if file.suffix == f".{format}":
        return file
    # Signed or not as the signer of now would have it.
    other = file.with_name(f"{file.stem}.{signer.name}.copy.{format}")
    if not other.is_file():
        write_copy(signer, record, file, other)
    _used(other)
    _used(sidecar_of(other))
    return other


def preview(pipeline: Pipeline, stem: Stem, folder: Path) -> Path:
    """The first half minute of a stem as an MP3, made on first use. The caller checks the rights.

    Raises:
        LibraryError: its file is gone or was changed.
    """
    target = folder / f"{stem.id}.mp3"
    if not target.is_file():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        segment = Segment(stem, 0.0, min(PREVIEW_S, stem.duration_s))
        sound = pipeline.home.player.play(segment, 44_100)
        writing.save(to_channels(sound, min(2, sound.channels)), target)
    _used(target)
    return target


def _used(file: Path) -> None:
    """Tidying removes what was not used for long; it may just have done so."""
    with suppress(FileNotFoundError):
        os.utime(file)


# The events of a job as a stream of server-sent events.

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
                job = await run_in_threadpool(as_it_stands, service, job)
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


def as_it_stands(service: Service, job: Job) -> Job:
    """The job as its row is now."""
    return service.jobs.find(job.id) or job


def _event(kind: str, document: Any, id_: int | None = None) -> str:
    head = "" if id_ is None else f"id: {id_}\n"
    return f"{head}event: {kind}\ndata: {json.dumps(document)}\n\n"
