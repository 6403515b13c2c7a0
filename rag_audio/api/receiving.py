"""Uploads: to the disk under a name of our own, decoded elsewhere, and only then let in."""

from __future__ import annotations

import uuid
from hashlib import sha256
from pathlib import Path

from fastapi import Request
from fastapi.concurrency import run_in_threadpool

from rag_audio.api.problems import Problem, busy
from rag_audio.api.service import Caller, Service
from rag_audio.errors import InvalidInput
from rag_audio.jobs.uploads import Upload


async def receive(request: Request, service: Service, caller: Caller) -> tuple[Upload, Path]:
    """The body of a request as an upload: written, decoded, noted.

    Raises:
        UnreadableFile: it is no sound and no score, or too much of it.
        InvalidInput: there is no body.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind.startswith("multipart/"):
        raise Problem(
            415,
            "unsupported-media-type",
            "the body is to be the file itself",
            "curl --data-binary @FILE -H 'Content-Type: application/octet-stream'",
        )
    kept = await run_in_threadpool(service.uploads.bytes_of, caller.owner)
    if kept >= service.settings.upload_mb << 20:
        raise busy(f"{kept >> 20} MiB of yours are kept already", 3600)
    id_ = uuid.uuid4().hex
    folder = service.folders.uploads
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = folder / f".{id_}.part"
    digest, size = sha256(), 0
    try:
        with draft.open("xb") as file:
            async for piece in request.stream():
                digest.update(piece)
                size += len(piece)
                await run_in_threadpool(file.write, piece)
        if size == 0:
            raise InvalidInput("the body is empty", hint="send the file's bytes")
        async with service.decodings:
            decoded = await run_in_threadpool(service.decoders.decode, draft)
        target = service.folders.of_upload(id_, decoded.suffix)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    upload = Upload(
        id_,
        caller.owner,
        decoded.kind,
        decoded.suffix,
        digest.hexdigest(),
        size,
        decoded.duration_s,
    )
    await run_in_threadpool(service.uploads.put, upload)
    return upload, target
