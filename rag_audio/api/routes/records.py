"""What finished jobs gave, and the ledger: sounds, records, outputs, proofs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from fastapi import Path as InPath
from fastapi.responses import FileResponse, PlainTextResponse

from rag_audio.api.audit import audit
from rag_audio.api.auth import Administers, Generates, TheService, Traces
from rag_audio.api.media import in_format, sound_response
from rag_audio.api.problems import Problem, not_found
from rag_audio.api.routes.generations import JobPath, mine
from rag_audio.api.schemas import RevocationAsked
from rag_audio.api.service import Caller
from rag_audio.documents import entry_json, finite
from rag_audio.errors import InvalidInput
from rag_audio.jobs import Job
from rag_audio.licensing import Revocation
from rag_audio.ports import LedgerEntry
from rag_audio.provenance.records import record_to_json
from rag_audio.service.copies import copies_left
from rag_audio.service.revoking import outputs_of, revoke_source, stems_of, target_of

router = APIRouter(prefix="/v1")

Take = Annotated[int, Query(ge=1, le=4)]
SeqPath = Annotated[int, InPath(ge=1, le=2**62)]
SizeQuery = Annotated[int | None, Query(ge=0, le=2**62)]
Named = Annotated[str | None, Query(max_length=200)]


@router.get("/generations/{id}/content", response_class=FileResponse, tags=["generations"])
def content(
    id: JobPath,
    caller: Generates,
    service: TheService,
    take: Take = 1,
    format: Literal["wav", "flac", "mp3", "ogg"] | None = None,
) -> FileResponse:
    """The sound of a take, as it was made (with content credentials), or in another format."""
    job = mine(service, caller, id)
    output = _take(job, take)
    folder = service.folders.of_result(job)
    if folder is None:
        raise not_found()
    file = folder / Path(str(output["file"])).name
    if file.is_symlink() or not file.is_file():
        raise Problem(410, "gone", "the sound of this take is no longer kept")
    if format is not None:
        file = in_format(file, format)
    return sound_response(file, f"rag-audio-{output['output']}{file.suffix}")


@router.get("/generations/{id}/record", tags=["generations"])
def record(id: JobPath, caller: Generates, service: TheService, take: Take = 1) -> dict[str, Any]:
    """The ledger's entry about a take: everything that went into it."""
    job = mine(service, caller, id)
    entry = service.workspace.parts.ledger.find(int(_take(job, take)["output"]))
    if entry is None:
        raise not_found()
    return _entry(entry)


@router.get("/outputs", tags=["ledger"])
def outputs(
    caller: Traces,
    service: TheService,
    stem: Annotated[str | None, Query(pattern="^[0-9a-f]{6,64}$")] = None,
    artist: Named = None,
    license: Named = None,
    holder: Named = None,
    before: Annotated[int | None, Query(ge=1, le=2**62)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> dict[str, Any]:
    """Outputs that a source went into, newest first; without a filter all of them."""
    ledger = service.workspace.parts.ledger
    found = ledger.outputs(stem=stem, artist=artist, license=license, holder=holder)
    found = [entry for entry in found if _sees(caller, entry)]
    page = [entry for entry in reversed(found) if before is None or entry.seq < before]
    return {
        "total": len(found),
        "outputs": [finite(entry_json(entry)) for entry in page[:limit]],
        "next": page[limit - 1].seq if len(page) > limit else None,
    }


@router.get("/outputs/{output}", tags=["ledger"])
def output(
    output: Annotated[int, InPath(ge=1, le=2**40 - 1)], caller: Traces, service: TheService
) -> dict[str, Any]:
    """The record of one output."""
    entry = service.workspace.parts.ledger.find(output)
    if entry is None or not _sees(caller, entry):
        raise not_found()
    return _entry(entry)


@router.get("/ledger/checkpoint", response_class=PlainTextResponse, tags=["ledger"])
def checkpoint(caller: Traces, service: TheService) -> str:
    """The log's present state as a signed note (C2SP tlog-checkpoint)."""
    return service.workspace.parts.ledger.checkpoint()


@router.get("/ledger/entries/{seq}", tags=["ledger"])
def entry(seq: SeqPath, caller: Traces, service: TheService) -> Response:
    """An entry of the log, byte by byte as it was hashed; personal texts are not in it."""
    if caller.libraries is not None:
        raise Problem(403, "forbidden", "a key that is bound to libraries does not read the log")
    document = service.workspace.parts.ledger.document(seq)
    if document is None:
        raise not_found()
    return Response(document, media_type="application/json")


@router.get("/ledger/proof", tags=["ledger"])
def proof(
    caller: Traces,
    service: TheService,
    seq: Annotated[int | None, Query(ge=1, le=2**62)] = None,
    old: SizeQuery = None,
    size: SizeQuery = None,
) -> dict[str, Any]:
    """That entry ``seq`` is in the log, or that the log of ``old`` entries is its beginning."""
    ledger = service.workspace.parts.ledger
    if (seq is None) == (old is None):
        raise InvalidInput("name an entry or an older size", hint="?seq=12 or ?old=100")
    if seq is not None:
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


def _sees(caller: Caller, entry: LedgerEntry) -> bool:
    """A key that is bound to libraries sees what is made from these alone."""
    if caller.libraries is None:
        return True
    own = set(caller.libraries)
    sources = entry.record.sources
    return all(license.library in own for source in sources for license in source.licenses)


def _entry(entry: LedgerEntry) -> dict[str, Any]:
    document = record_to_json(entry.record)
    request = dict(document.get("request") or {})
    for name in ("audio", "midi"):
        if request.get(name):
            request[name] = Path(str(request[name])).name
    document["request"] = request
    cleaned: dict[str, Any] = finite(
        {"seq": entry.seq, "leaf_hash": entry.leaf_hash, "erased": entry.erased, "record": document}
    )
    return cleaned


@router.post("/revocations", tags=["ledger"])
def revoke(asked: RevocationAsked, caller: Administers, service: TheService) -> dict[str, Any]:
    """Stop using a source at once; with ``preview`` (the default) only say what that affects."""
    workspace = service.workspace
    named = {asked.of: asked.target}
    of, target = target_of(workspace, named.get("stem"), named.get("artist"), named.get("license"))
    wanted = Revocation(of, target, asked.reason.strip(), caller.name, datetime.now(UTC))
    document: dict[str, Any] = {"of": of.value, "target": target, "done": not asked.preview}
    if not asked.preview:
        audit("revoked", key=caller.owner, of=of.value)
        document |= revoke_source(workspace, wanted)
    stems = stems_of(workspace, wanted)
    copies = copies_left(workspace, wanted, stems)
    entries = outputs_of(workspace, **{of.value: target})
    return {
        **document,
        "stems": [
            {"stem": one.id, "title": one.title, "artist": one.artist, "path": one.path}
            for one in stems
        ],
        **({"copies": copies} if copies else {}),
        "outputs": [finite(entry_json(entry)) for entry in entries],
    }
