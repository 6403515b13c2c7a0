"""What finished jobs gave, and the ledger: sounds, records, outputs, proofs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Response
from fastapi import Path as InPath
from fastapi.responses import FileResponse, PlainTextResponse
from pydantic import AwareDatetime

from rag_audio.domain import names
from rag_audio.domain.json_documents import entry_json, finite
from rag_audio.domain.licensing import Revocation
from rag_audio.domain.signing import SIDECAR, sidecar_of
from rag_audio.errors import InvalidInput
from rag_audio.provenance.ledger.output_queries import OutputFilter, PageOf
from rag_audio.service.api.auth import Administers, Generates, TheService, Traces
from rag_audio.service.api.connections import JsonRoute
from rag_audio.service.api.media import in_format, take_response
from rag_audio.service.api.problems import Problem, not_found
from rag_audio.service.api.routes.generations import JobPath, MyJob
from rag_audio.service.api.schemas import RevocationAsked
from rag_audio.service.api.services import Service
from rag_audio.service.api_access import Caller
from rag_audio.service.jobs import Job
from rag_audio.service.revoking import copies_left, outputs_of, revoke_source, stems_of, target_of

router = APIRouter(prefix="/v1", route_class=JsonRoute)

Take = Annotated[int, Query(ge=1, le=4)]
Format = Literal["wav", "flac", "mp3", "ogg"] | None
SeqPath = Annotated[int, InPath(ge=1, le=2**62)]
SizeQuery = Annotated[int | None, Query(ge=0, le=2**62)]
Moment = Annotated[AwareDatetime | None, Query()]
Named = Annotated[str | None, Query(max_length=200)]


def _sound_of(
    job: MyJob, service: TheService, take: Take = 1, format: Format = None
) -> tuple[int, Path]:
    """The number of a take, and its file in the wanted format."""
    output, folder = _take(job, take), service.folders.of_result(job)
    if folder is None:
        raise not_found()
    number, file = int(output["output"]), folder / Path(str(output["file"])).name
    if not service.folders.is_there(file):
        raise Problem(410, "gone", "the sound of this take is no longer kept")
    if format is not None:
        entry = service.home.ledger.find(number)
        if entry is None:
            raise not_found()
        file = service.folders.here_with_manifest(file)
        file = in_format(service.home.signer, entry.record, file, format)
    return number, file


Sound = Annotated[tuple[int, Path], Depends(_sound_of)]


@router.get("/generations/{id}/content", response_class=FileResponse, tags=["generations"])
def content(
    id: JobPath, sound: Sound, service: TheService, take: Take = 1, format: Format = None
) -> Response:
    """The sound of a take, as it was made or in another format, with content credentials.

    An OGG cannot hold them: the header ``Link`` says where they are.
    """
    number, file = sound
    beside = None
    if service.folders.is_there(sidecar_of(file)):
        asked = f"take={take}" + ("" if format is None else f"&format={format}")
        beside = f"/v1/generations/{id}/credentials?{asked}"
    name = f"rag-audio-{number}{file.suffix}"
    return take_response(service.folders, file, name, beside)


@router.get("/generations/{id}/credentials", response_class=FileResponse, tags=["generations"])
def credentials(sound: Sound, service: TheService) -> FileResponse:
    """The C2PA manifest of a take whose file cannot hold it; 404 where it is in the file."""
    number, file = sound
    beside = service.folders.here(sidecar_of(file))
    if not beside.is_file():
        said = "this file has no manifest beside it: its content credentials, if any, are in it"
        raise Problem(404, "not-found", said)
    return FileResponse(
        beside,
        media_type="application/c2pa",
        filename=f"rag-audio-{number}{file.suffix}{SIDECAR}",
        headers={"Cache-Control": "private, no-cache"},
    )


@router.get("/generations/{id}/record", tags=["generations"])
def record(job: MyJob, caller: Generates, service: TheService, take: Take = 1) -> dict[str, Any]:
    """The ledger's entry about a take: everything that went into it."""
    number, seen = int(_take(job, take)["output"]), service.visibility(caller)
    # A table that is checked against the log says whose an output is; a job's row is not enough.
    entry = service.home.ledger.find(number) if seen.sees_output(number) else None
    if entry is None:
        raise not_found()
    return seen.record(entry)


@router.get("/outputs", tags=["ledger"])
def outputs(
    caller: Traces,
    service: TheService,
    stem: Annotated[str | None, Query(pattern="^[0-9a-f]{6,64}$")] = None,
    artist: Named = None,
    license: Named = None,
    holder: Named = None,
    since: Moment = None,
    until: Moment = None,
    before: Annotated[int | None, Query(ge=1, le=2**62)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    count: bool = True,
) -> dict[str, Any]:
    """One's own outputs that a source went into, newest first; without a filter all of them.

    An admin sees those of all. ``since`` and ``until`` are moments with a zone: made from the one
    until before the other. ``next`` is the ``before`` of the following page. ``total`` counts all
    pages, and is null with ``count=false``, which is quicker in a long log.
    """
    owner, ledger = service.visibility(caller).owner, service.home.ledger
    which = OutputFilter(
        stem=stem,
        artist=_resolved(service, "artist", artist, owner),
        license=license,
        holder=_resolved(service, "holder", holder, owner),
        since=since,
        until=until,
        owner=owner,
    )
    found = ledger.outputs(which, PageOf(before=before, limit=limit + 1, newest_first=True))
    return {
        "total": ledger.count_outputs(which) if count else None,
        "outputs": [finite(entry_json(entry)) for entry in found[:limit]],
        "next": found[limit - 1].seq if len(found) > limit else None,
    }


def _resolved(
    service: Service, of: Literal["artist", "holder"], name: str | None, owner: str | None
) -> str | None:
    """The name that is meant among those of the sources of an owner's outputs.

    Raises:
        InvalidInput: several are written so.
    """
    if name is None:
        return None
    ledger = service.home.ledger
    known = ledger.source_names(of) if owner is None else ledger.owner_names(of, name, owner)
    return names.resolve(name, known, of) or name


@router.get("/outputs/{output}", tags=["ledger"])
def output(
    output: Annotated[int, InPath(ge=1, le=2**40 - 1)], caller: Traces, service: TheService
) -> dict[str, Any]:
    """The record of one output of one's own; an admin sees those of all."""
    seen = service.visibility(caller)
    # What is not seen is not even looked up, so that it takes no longer than what is not there.
    found = service.home.ledger.find(output) if seen.sees_output(output) else None
    if found is None:
        raise not_found()
    return seen.record(found)


@router.get("/ledger/checkpoint", response_class=PlainTextResponse, tags=["ledger"])
def checkpoint(caller: Traces, service: TheService) -> str:
    """The log's present state as a signed note (C2SP tlog-checkpoint): its size and root."""
    return service.home.ledger.checkpoint()


@router.get("/ledger/entries/{seq}", tags=["ledger"])
def entry(seq: SeqPath, caller: Traces, service: TheService) -> Response:
    """An entry about one's own output, byte by byte as it was hashed; personal texts are not in it.

    A key that is bound to libraries reads none: the bytes tell which stems of the others an output
    was compared with. An admin reads all.
    """
    if caller.libraries is not None and not caller.is_admin:
        raise Problem(403, "forbidden", "a key that is bound to libraries does not read the log")
    return Response(_document(service, caller, seq), media_type="application/json")


@router.get("/ledger/proof", tags=["ledger"])
def proof(
    caller: Traces,
    service: TheService,
    seq: Annotated[int | None, Query(ge=1, le=2**62)] = None,
    old: SizeQuery = None,
    size: SizeQuery = None,
) -> dict[str, Any]:
    """That entry ``seq``, about one's own output, is in the log; or that the log of ``old``
    entries is the beginning of that of ``size``, which tells nothing but hashes."""
    ledger = service.home.ledger
    if (seq is None) == (old is None):
        raise InvalidInput("name an entry or an older size", hint="?seq=12 or ?old=100")
    if seq is not None:
        _document(service, caller, seq)
        return ledger.inclusion(seq, size).to_json()
    new = ledger.size() if size is None else size
    return {"old": old, "size": new, "path": list(ledger.consistency(old or 0, new))}


def _take(job: Job, take: int) -> Mapping[str, Any]:
    """A finished take."""
    outputs = (job.result or {}).get("outputs", ())
    if take > len(outputs):
        raise Problem(404, "not-found", f"this generation has no take {take} (yet)")
    found: Mapping[str, Any] = outputs[take - 1]
    return found


def _document(service: Service, caller: Caller, seq: int) -> bytes:
    """The bytes of an entry; 404 for entries of other owners."""
    document = service.home.ledger.document(seq)
    if document is None or not service.visibility(caller).sees_entry(document):
        raise not_found()
    return document


@router.post("/revocations", tags=["ledger"])
def revoke(asked: RevocationAsked, caller: Administers, service: TheService) -> dict[str, Any]:
    """Stop using a source at once; with ``preview`` (the default) only say what that affects.

    ``outputs`` are the first 500 that the source went into, of ``outputs_total``; ``GET
    /v1/outputs`` has them all in pages.
    """
    home = service.home
    named = {asked.of: asked.target}
    of, target = target_of(home, named.get("stem"), named.get("artist"), named.get("license"))
    wanted = Revocation(of, target, asked.reason.strip(), caller.name, datetime.now(UTC))
    document: dict[str, Any] = {"of": of.value, "target": target, "done": not asked.preview}
    if not asked.preview:
        service.audit.write("revoked", key=caller.owner, of=of.value)
        document |= revoke_source(home, wanted)
    stems = stems_of(home, wanted)
    copies = copies_left(home, wanted, stems)
    which = outputs_of(home, **{of.value: target})
    return {
        **document,
        "stems": [
            {"stem": one.id, "title": one.title, "artist": one.artist, "path": one.path}
            for one in stems
        ],
        **({"copies": copies} if copies else {}),
        "outputs": [finite(entry_json(entry)) for entry in home.ledger.outputs(which)],
        "outputs_total": home.ledger.count_outputs(which),
    }
