"""Uploads: to the disk under a name of our own, opened elsewhere, and only then let in."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

import structlog
from fastapi import Request
from fastapi.concurrency import run_in_threadpool

from rag_audio.errors import InvalidInput
from rag_audio.service.api.problems import Problem, busy
from rag_audio.service.api.services import Service
from rag_audio.service.api_access import Caller
from rag_audio.service.decoder_pool import Decoded, kind_of
from rag_audio.service.folders import Quota, Upload
from rag_audio.storage.locks import lock_file

# Uploads while a request works with them: decoded, kept, and within the bound of the process.

RETRY_S = 5

log = structlog.get_logger("rag_audio.api")


@asynccontextmanager
async def using(
    service: Service,
    caller: Caller,
    *,
    audio: str | None = None,
    midi: str | None = None,
    either: str | None = None,
) -> AsyncIterator[None]:
    """Work with the uploads of a caller during the block, as :func:`using_files`.

    Args:
        audio, midi, either: ids of a sound, a score, and of one or the other, where there is one.

    Raises:
        InvalidInput: one is not there, is somebody else's, or is of another kind.
    """
    files = []
    for kind, id_ in (("audio", audio), ("midi", midi), (None, either)):
        if id_ is not None:
            found = await run_in_threadpool(service.upload_of, caller, id_)
            if kind is not None and found.kind != kind:
                is_, not_ = ("score", "sound") if kind == "audio" else ("sound", "score")
                said = f"upload {found.id} is a {is_}, not a {not_}"
                raise InvalidInput(said, hint=f"name it in `{found.kind}`")
            file = service.folders.of_upload(found.id, found.suffix)
            files.append(await run_in_threadpool(service.folders.here, file))
    async with using_files(service, caller.owner, files):
        yield


@asynccontextmanager
async def using_files(service: Service, owner: str, files: list[Path]) -> AsyncIterator[None]:
    """Work with uploads during the block: what they were decoded to is there and stays.

    Who has to wait until others have done so does it here, in the event loop.

    Raises:
        UnreadableFile: one has to be decoded anew, and cannot be.
        Problem: others work with so much that the turn does not come in time, or the disk is full.
    """
    if not files:
        yield
        return
    uploads, seconds = service.canonical, service.settings.trace_wait_s
    size = sum([await run_in_threadpool(uploads.size, file) for file in files])
    async with uploads.use.hold(owner, size, seconds) as held:
        if not held:
            raise busy("others work with uploads", RETRY_S)
        with ExitStack() as leases:
            for file in files:
                if not await run_in_threadpool(leases.enter_context, uploads.lease(file)):
                    await decode(service, owner, file, leases)
            yield


async def decode(
    service: Service, owner: str, file: Path, in_use: ExitStack | None = None
) -> Decoded:
    """Have an upload decoded when it is its owner's turn, see :meth:`.CanonicalUploads.make`.

    Raises:
        UnreadableFile: it cannot be used.
        Problem: the turn does not come in time, or the disk is full.
    """
    seconds = 2 * service.settings.decode_s
    async with service.canonical.decoders.turns.hold(owner, 1, seconds) as held:
        if not held:
            raise busy("too many uploads are being decoded", RETRY_S)
        with _needing_room():
            return await run_in_threadpool(service.canonical.make, file, in_use)


@contextmanager
def _needing_room() -> Iterator[None]:
    """Write to the disk during the block.

    Raises:
        Problem: it is full.
    """
    try:
        yield
    except OSError as error:
        log.error("no upload can be written", error=error.strerror or "")
        said, headers = "there is no room for uploads", {"Retry-After": "600"}
        raise Problem(507, "insufficient-storage", said, "try again later", headers) from error


LOOK_BYTES = 8 << 20
"""The room on the disk is looked at every so many bytes."""


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
    async with received(request, service, caller) as (upload, path):
        target = service.folders.of_upload(upload.id, upload.suffix)
        await run_in_threadpool(_keep, service, upload, quota, path, target)
    return upload


def _keep(service: Service, upload: Upload, quota: Quota, path: Path, target: Path) -> None:
    """Keep an upload: in a store elsewhere before its row, which other machines read at once.

    Here the row is first: a file without one is swept away, a row without its file is not found.
    """
    folders = service.folders
    if folders.remote is not None:
        folders.remote.put(folders.key_of(target), path)
    try:
        service.uploads.put(upload, quota)
    except BaseException:
        folders.unstore(target)
        raise
    path.replace(target)


@asynccontextmanager
async def received(
    request: Request, service: Service, caller: Caller
) -> AsyncIterator[tuple[Upload, Path]]:
    """The body of a request, decoded, and its file for as long as the block lasts.

    However it ends, by an answer, an error, a client that went or one that stalled, nothing is
    left; and if the process is killed, whoever tidies next finds the file without a lock. Raises as
    :func:`receive`.
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
                about = (decoded.kind, decoded.suffix, digest, size, decoded.duration_s)
                yield Upload(id_, caller.owner, *about), draft
        finally:
            draft.unlink(missing_ok=True)
            if not service.folders.of_upload(id_, draft.suffix).exists():
                service.canonical.kept.drop(id_)


async def _write(request: Request, service: Service, file: BinaryIO) -> tuple[str, int]:
    """Write a body to a file; its SHA-256 and its size."""
    digest, size, looked = sha256(), 0, -LOOK_BYTES
    async for piece in request.stream():
        if size - looked >= LOOK_BYTES:
            looked = size
            with _needing_room():
                await run_in_threadpool(service.canonical.kept.require_room, LOOK_BYTES)
        digest.update(piece)
        size += len(piece)
        with _needing_room():
            await run_in_threadpool(file.write, piece)
    if size == 0:
        raise InvalidInput("the body is empty", hint="send the file's bytes")
    with _needing_room():
        await run_in_threadpool(file.flush)
    return digest.hexdigest(), size
