"""Sounds as responses (takes, stems and other formats of them, with ranges), and events."""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, Response, StreamingResponse
from starlette.concurrency import iterate_in_threadpool
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from rag_audio.audio import writing
from rag_audio.audio.dsp import to_channels
from rag_audio.domain import AttributionRecord, Segment, Stem
from rag_audio.domain.signing import Signer, sidecar_of
from rag_audio.errors import BackendUnavailable
from rag_audio.pipeline.delivery import write_copy
from rag_audio.pipeline.pipeline import Pipeline
from rag_audio.service.api.services import Service
from rag_audio.service.folders import Folders
from rag_audio.service.jobs import Job, JobState
from rag_audio.service.wording import moment
from rag_audio.storage.blobs import BlobInfo, BlobStore, missing

TYPES = {
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg",
}
PREVIEW_S = 30.0
_PIECE = 1 << 18
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def sound_response(file: Path, name: str, credentials: str | None = None) -> FileResponse:
    """A sound file; ``Range`` is answered with the part that is asked for.

    Args:
        credentials: where its manifest is, if not in it (C2PA specification 2.2, section 15.5.4).
    """
    return FileResponse(
        file,
        media_type=TYPES[file.suffix],
        filename=name,
        content_disposition_type="inline",
        headers=_headers(credentials),
    )


def take_response(
    folders: Folders, file: Path, name: str, credentials: str | None = None
) -> Response:
    """As :func:`sound_response`, of an output that may be in the store alone.

    Raises:
        UnreadableFile: it is not there.
    """
    if folders.remote is None or file.is_file():
        return sound_response(file, name, credentials)
    key = folders.key_of(file)
    info = folders.remote.stat(key)
    if info is None:
        raise missing(key, "the store of outputs")
    about = {
        "Content-Type": TYPES[file.suffix],
        "Content-Disposition": f'inline; filename="{name}"',
    }
    return BlobResponse(folders.remote, info, {**_headers(credentials), **about})


def _headers(credentials: str | None) -> dict[str, str]:
    headers = {"Cache-Control": "private, no-cache", "Accept-Ranges": "bytes"}
    if credentials is not None:
        headers["Link"] = f'<{credentials}>; rel="c2pa-manifest"'
    return headers


class BlobResponse(Response):
    """A file of a store that is not here; ``Range`` is answered by reading no more than it names.

    Of several ranges at once the whole is sent (RFC 9110, section 14.2).
    """

    def __init__(self, store: BlobStore, info: BlobInfo, headers: dict[str, str]) -> None:
        super().__init__(headers={**headers, "ETag": f'"{info.version}"'})
        self._store, self._info = store, info
        del self.headers["Content-Length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked, size, tag = Headers(scope=scope), self._info.size, self.headers["ETag"]
        unchanged = asked.get("if-range", tag) == tag
        part = range_of(asked.get("range"), size) if unchanged else None
        told = dict(self.headers)
        if part is not None and not part:
            told["Content-Range"] = f"bytes */{size}"
            await Response(status_code=416, headers=told)(scope, receive, send)
            return
        start, length = (0, size) if part is None else (part.start, len(part))
        told["Content-Length"] = str(length)
        if part is not None:
            told["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{size}"
        file = await run_in_threadpool(self._store.open, self._info.key, start, length)
        with file:
            pieces = iterate_in_threadpool(iter(lambda: file.read(_PIECE), b""))
            status = 200 if part is None else 206
            await StreamingResponse(pieces, status, told)(scope, receive, send)


def range_of(header: str | None, size: int) -> range | None:
    """The bytes that a ``Range`` names of so many; empty: none of them are there; None: all are
    to be sent, since there is no header, or it is not one range of bytes."""
    found = _RANGE.fullmatch((header or "").strip())
    if found is None or found[1] == found[2] == "":
        return None
    if found[1] == "":
        return range(max(0, size - int(found[2])), size)
    start, last = int(found[1]), int(found[2]) if found[2] else size - 1
    if found[2] and last < start:
        return None
    return range(min(start, size), min(last + 1, size)) if start < size else range(0)


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
