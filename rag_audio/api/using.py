"""Uploads while a request works with them: decoded, kept, and within the bound of the process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import structlog
from fastapi.concurrency import run_in_threadpool

from rag_audio.api.problems import Problem, busy
from rag_audio.api.service import Caller, Service
from rag_audio.errors import InvalidInput
from rag_audio.jobs.uploads import Upload
from rag_audio.service.decoding import Decoded

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
        audio, midi, either: ids of a sound, of a score, and of one or the other; None: there is
            none.

    Raises:
        InvalidInput: one is not there, is somebody else's, or is of another kind.
        UnreadableFile, Problem: as there.
    """
    files = []
    for kind, id_ in (("audio", audio), ("midi", midi), (None, either)):
        if id_ is not None:
            found = await run_in_threadpool(service.upload_of, caller, id_)
            if kind is not None and found.kind != kind:
                _refuse_kind(found)
            files.append(service.folders.of_upload(found.id, found.suffix))
    async with using_files(service, caller.owner, files):
        yield


def _refuse_kind(found: Upload) -> None:
    is_, not_ = ("score", "sound") if found.kind == "midi" else ("sound", "score")
    raise InvalidInput(
        f"upload {found.id} is a {is_}, not a {not_}", hint=f"name it in `{found.kind}`"
    )


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
    """Have an upload decoded when it is its owner's turn.

    Args:
        in_use: see :meth:`rag_audio.service.canonical.CanonicalUploads.make`.

    Raises:
        UnreadableFile: it cannot be used.
        Problem: the turn does not come in time, or the disk is full.
    """
    seconds = 2 * service.settings.decode_s
    async with service.canonical.decoders.turns.hold(owner, 1, seconds) as held:
        if not held:
            raise busy("too many uploads are being decoded", RETRY_S)
        try:
            return await run_in_threadpool(service.canonical.make, file, in_use)
        except OSError as error:
            raise no_room(error.strerror or "") from error


def no_room(why: str) -> Problem:
    """The disk is full; ``why`` is for the log."""
    log.error("no upload can be written", error=why)
    return Problem(
        507, "insufficient-storage", "there is no room for uploads", "try again later",
        {"Retry-After": "600"},
    )  # fmt: skip
