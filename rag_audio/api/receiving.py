"""Uploads: to the disk under a name of our own, opened elsewhere, and only then let in."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from fastapi import Request
from fastapi.concurrency import run_in_threadpool

from rag_audio.api.problems import Problem, busy
from rag_audio.api.service import Caller, Service
from rag_audio.api.using import decode, no_room
from rag_audio.errors import InvalidInput
from rag_audio.jobs.uploads import Upload
from rag_audio.locks import lock_file
from rag_audio.service.decoding import kind_of

LOOK_BYTES = 8 << 20
"""The room on the disk is looked at every so many bytes."""


@dataclass(frozen=True)
class Received:
    """A body that was decoded, as a file that goes when its request is answered."""

    upload: Upload
    path: Path


async def receive(request: Request, service: Service, caller: Caller) -> Upload:
    """The body of a request as an upload: written, decoded, kept.

    Raises:
        UnreadableFile: it is no sound and no score, or too much of it.
        InvalidInput: there is no body.
        UploadsFull: the owner, or all, have as much as may be kept.
        Problem: it is multipart, comes too slowly, too many come at once, or the disk is full.
    """
    expected = int(request.headers.get("content-length") or 0)
    quota = service.upload_quota
    await run_in_threadpool(service.uploads.require_room, caller.owner, expected, quota)
    async with received(request, service, caller) as found:
        upload = found.upload
        target = service.folders.of_upload(upload.id, upload.suffix)
        # The row first: a file without one is swept away, a row without its file is not found.
        await run_in_threadpool(service.uploads.put, upload, quota)
        found.path.replace(target)
    return upload


@asynccontextmanager
async def received(request: Request, service: Service, caller: Caller) -> AsyncIterator[Received]:
    """The body of a request as a file, for as long as the block lasts.

    However it ends, by an answer, an error, a client that went or one that stalled, nothing is
    left; and if the process is killed, whoever tidies next finds the file without a lock.

    Raises:
        UnreadableFile, InvalidInput, Problem: as :func:`receive`.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind.startswith("multipart/"):
        raise Problem(
            415,
            "unsupported-media-type",
            "the body is to be the file itself",
            "send the file itself as the body, with Content-Type: application/octet-stream",
        )
    folder = service.folders.uploads
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    id_ = uuid.uuid4().hex
    draft = service.folders.of_draft(id_, "")
    with service.receiving.hold(caller.owner) as held:
        if not held:
            raise busy("too many bodies come in at once", 5)
        try:
            with draft.open("xb") as file:
                lock_file(file)
                digest, size = await _write(request, service, file)
                suffix = await run_in_threadpool(kind_of, draft)
                draft = draft.replace(service.folders.of_draft(id_, suffix))
                decoded = await decode(service, caller.owner, draft)
                yield Received(
                    Upload(
                        id_,
                        caller.owner,
                        decoded.kind,
                        decoded.suffix,
                        digest,
                        size,
                        decoded.duration_s,
                    ),
                    draft,
                )
        finally:
            draft.unlink(missing_ok=True)
            if not service.folders.of_upload(id_, draft.suffix).exists():
                service.canonical.drop(id_)


async def _write(request: Request, service: Service, file: BinaryIO) -> tuple[str, int]:
    """Write a body to a file; its SHA-256 and its size."""
    digest, size, looked = sha256(), 0, -LOOK_BYTES
    async for piece in request.stream():
        if size - looked >= LOOK_BYTES:
            looked = size
            try:
                await run_in_threadpool(service.canonical.kept.require_room, LOOK_BYTES)
            except OSError as error:
                raise no_room(error.strerror or "") from error
        digest.update(piece)
        size += len(piece)
        try:
            await run_in_threadpool(file.write, piece)
        except OSError as error:
            raise no_room(error.strerror or "") from error
    if size == 0:
        raise InvalidInput("the body is empty", hint="send the file's bytes")
    try:
        await run_in_threadpool(file.flush)
    except OSError as error:
        raise no_room(error.strerror or "") from error
    return digest.hexdigest(), size
