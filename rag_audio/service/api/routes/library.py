"""Search and the library: stems, artists, licenses, the map."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Path, Query
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse

from rag_audio.domain import Audio, Key, Rights, SampleType, Stem, StemKind, Use, names
from rag_audio.domain.clearance import Clearance
from rag_audio.domain.conflict_documents import conflict_json, conflicts_json
from rag_audio.domain.holdings import PageEnd, StemQuery
from rag_audio.domain.json_documents import (
    artists_json,
    derived_json,
    licenses_json,
    not_indexed_json,
    reference_json,
)
from rag_audio.retrieval.fit import is_any_fitting
from rag_audio.retrieval.references import ReferenceQuery
from rag_audio.service.api.auth import Administers, Searches, TheService
from rag_audio.service.api.connections import JsonRoute
from rag_audio.service.api.media import preview, sound_response
from rag_audio.service.api.problems import Problem, not_found
from rag_audio.service.api.schemas import IndexingAsked, SearchAsked
from rag_audio.service.api.services import Service
from rag_audio.service.api.uploads import using
from rag_audio.service.api_access import Caller

router = APIRouter(prefix="/v1", tags=["library"], route_class=JsonRoute)

StemPath = Annotated[str, Path(pattern="^[0-9a-f]{64}$", examples=["0" * 64])]
TerritoryQuery = Annotated[str | None, Query(pattern="^[A-Za-z]{2}$")]
FilterQuery = Annotated[str | None, Query(max_length=200)]


@router.post("/search")
async def search(asked: SearchAsked, caller: Searches, service: TheService) -> dict[str, Any]:
    """Licensed segments nearest to words, a sound, a score, stems, or a mix of them."""
    async with using(service, caller, either=asked.upload):
        return await run_in_threadpool(_found, asked, caller, service)


def _found(asked: SearchAsked, caller: Caller, service: Service) -> dict[str, Any]:
    pipeline = service.pipeline(caller)
    catalogue = pipeline.home.catalogue
    query = ReferenceQuery(
        text=asked.text,
        audio=_sound(asked.upload, caller, service),
        like=tuple(catalogue.stem(prefix).id for prefix in asked.like),
        artist=None if asked.artist is None else pipeline.artist_named(asked.artist),
        libraries=tuple(asked.libraries),
        licenses=tuple(asked.licenses),
        bpm=asked.bpm,
        octaves=asked.octaves,
        key=None if asked.key is None else Key.parse(asked.key),
        fifths=asked.fifths,
        kind=None if asked.kind is None else StemKind(asked.kind),
        sample_types=tuple(SampleType(one) for one in asked.sample_types),
        tags=tuple(asked.tags),
        min_duration_s=asked.min_duration_s,
        k=asked.limit,
        variety=asked.variety,
    )
    found = pipeline.search(query, asked.territory)
    rights = pipeline.rights(asked.territory)
    embedder = pipeline.home.embedder
    return {
        "references": [
            {**reference_json(one), **_license_of(one.stem, rights), "rank": one.rank}
            for one in found
        ],
        "untrained": embedder.untrained,
        "fits": is_any_fitting(found),
        "notes": pipeline.search_notes(found, query.artist, asked.territory),
        "notices": _notices(asked.upload, caller, service),
    }


@router.get("/stems")
def stems(
    caller: Searches,
    service: TheService,
    q: FilterQuery = None,
    artist: FilterQuery = None,
    license: FilterQuery = None,
    tag: FilterQuery = None,
    key: FilterQuery = None,
    kind: StemKind | None = None,
    bpm_min: Annotated[float | None, Query(ge=0, le=1000)] = None,
    bpm_max: Annotated[float | None, Query(ge=0, le=1000)] = None,
    territory: TerritoryQuery = None,
    after: Annotated[str | None, Query(pattern="^[0-9a-f]{64}(/.+)?$", max_length=400)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> dict[str, Any]:
    """The stems of the library with their license's state, and how many have each value.

    A million stems are not counted for each page: ``facets`` are of ``facets_of`` stems, 1,000 at
    most where more filters than ``artist`` and ``license`` are given, and ``total`` is at least so
    many where ``total_is_exact`` is false.
    """
    pipeline = service.pipeline(caller)
    wanted_key = None if key is None else Key.parse(key)
    clearance = pipeline.clearance(territory)
    rights, catalogue = clearance.rights, pipeline.home.catalogue
    query = StemQuery(
        text=q or "",
        artists=None if artist is None else _meant(artist, clearance),
        license=license,
        tag=tag,
        key=None if wanted_key is None else str(wanted_key),
        kind=kind,
        bpm_min=bpm_min,
        bpm_max=bpm_max,
    )
    counts = catalogue.counts(query)
    page = catalogue.page(query, None if after is None else PageEnd.parse(after), limit)
    return {
        "total": counts.total,
        "total_is_exact": counts.is_exact,
        "stems": [stem_json(stem, rights) for stem in page.stems],
        "next": None if page.following is None else str(page.following),
        "facets": {name: dict(values) for name, values in counts.values.items()},
        "facets_of": counts.counted,
    }


def _meant(artist: str, clearance: Clearance) -> tuple[str, ...]:
    return names.lookup(artist, clearance.holdings.artists).names


@router.get("/stems/{id}")
def stem(
    id: StemPath, caller: Searches, service: TheService, territory: TerritoryQuery = None
) -> dict[str, Any]:
    """One stem."""
    pipeline = service.pipeline(caller)
    return stem_json(_stem(pipeline.home.catalogue.copies(id)), pipeline.rights(territory))


@router.get("/stems/{id}/preview", response_class=FileResponse)
def hear(
    id: StemPath, caller: Searches, service: TheService, territory: TerritoryQuery = None
) -> FileResponse:
    """Half a minute of a stem, where its license lets its sound be used."""
    pipeline = service.pipeline(caller)
    found = _stem(pipeline.home.catalogue.copies(id))
    why = pipeline.rights(territory).why_not(found, Use.INIT_AUDIO)
    if why is not None:
        said = f"this stem may not be heard: {why.reason}"
        raise Problem(403, "request-refused", said, why.cure)
    file = preview(pipeline, found, service.folders.previews)
    return sound_response(file, f"{id[:12]}.mp3")


@router.get("/artists")
def artists(
    caller: Searches, service: TheService, territory: TerritoryQuery = None
) -> dict[str, Any]:
    """The artists, and whose style may be asked for."""
    pipeline = service.pipeline(caller)
    clearance = pipeline.clearance(territory)
    policy = pipeline.gate.policy(clearance)
    rows = artists_json(clearance.holdings, policy.licensed, policy.why_not)
    ended = not_indexed_json(rows, policy.unlicensed, policy.why_not)
    return {"artists": rows, "not_indexed": ended}


@router.get("/libraries")
def libraries(
    caller: Searches, service: TheService, territory: TerritoryQuery = None
) -> dict[str, Any]:
    """The indexed libraries, and what each license grants today."""
    pipeline = service.pipeline(caller)
    known = pipeline.home.catalogue.libraries()
    own = {one.id for one in known}
    clearance = pipeline.clearance(territory)
    rights = clearance.rights
    rows = licenses_json(clearance.holdings, rights)
    return {
        "libraries": [{"id": one.id, "name": one.name, "stems": one.stems} for one in known],
        "licenses": [row for row in rows if row["library"] in own],
        "conflicts": conflicts_json(rights.conflicts.values(), rights),
    }


@router.get("/map")
def map_(caller: Searches, service: TheService) -> dict[str, Any]:
    """The stems on a plane: the first two principal components of their embeddings, ±1."""
    pipeline = service.pipeline(caller)
    sums: dict[tuple[str, str], Any] = {}
    for point in pipeline.home.index.scroll():
        place = (point.segment.stem.library, point.segment.stem.id)
        sums[place] = sums.get(place, 0.0) + point.dense
    own = pipeline.home.catalogue.held({id_ for _, id_ in sums})
    kept: dict[str, Any] = {}
    for place, total in sums.items():
        if place in own:
            kept[place[1]] = kept.get(place[1], 0.0) + total
    return {"points": _plane(kept)}


def stem_json(stem: Stem, rights: Rights) -> dict[str, Any]:
    """A stem with the state of its license."""
    return {
        "stem": stem.id,
        "title": stem.title,
        "artist": stem.artist,
        "kind": stem.kind.value,
        "sample_type": None if stem.sample_type is None else stem.sample_type.value,
        "duration_s": stem.duration_s,
        "bpm": stem.bpm,
        "key": None if stem.key is None else str(stem.key),
        "tags": list(stem.tags),
        "derived_tags": derived_json(stem),
        "instruments": list(stem.instruments),
        "license": stem.license,
        "library": stem.library,
        "path": stem.path,
        **_license_of(stem, rights),
    }


def _license_of(stem: Stem, rights: Rights) -> dict[str, Any]:
    granted, conflict = rights.license_of(stem), rights.conflicts.get(stem.id)
    refusals = {use.value: rights.why_not(stem, use) for use in Use}
    why = refusals[Use.INIT_AUDIO.value]
    until = None if granted is None else granted.valid_until
    return {
        "holder": "" if granted is None else granted.holder,
        "credit": "" if granted is None else granted.credit,
        "granted": [use for use, why in refusals.items() if why is None],
        "refusal": None if why is None else why.reason,
        "cure": None if why is None else why.cure,
        "revoked": rights.is_revoked(stem),
        "valid_until": None if until is None else str(until),
        "preview": f"/v1/stems/{stem.id}/preview" if why is None else None,
        **({} if conflict is None else {"conflict": conflict_json(conflict, rights)}),
    }


def _stem(copies: Sequence[Stem]) -> Stem:
    if not copies:
        raise not_found()
    return copies[0]


def _sound(upload: str | None, caller: Caller, service: Service) -> Audio | None:
    if upload is None:
        return None
    found = service.upload_of(caller, upload)
    path = str(service.folders.here(service.folders.of_upload(found.id, found.suffix)))
    audio, midi = (None, path) if found.kind == "midi" else (path, None)
    return service.pipeline(caller).query_audio(audio, midi)


def _notices(upload: str | None, caller: Caller, service: Service) -> list[str]:
    """What was cut or odd in an upload."""
    if upload is None:
        return []
    found = service.upload_of(caller, upload)
    path = service.folders.here(service.folders.of_upload(found.id, found.suffix))
    return list(service.pipeline(caller).home.reader.notices(path))


def _plane(sums: dict[str, Any]) -> list[dict[str, Any]]:
    if not sums:
        return []
    ids = sorted(sums)
    rows = np.array([sums[id_] / (np.linalg.norm(sums[id_]) or 1.0) for id_ in ids])
    centred = rows - rows.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    at = np.zeros((len(ids), 2))
    flat = centred @ axes[:2].T
    at[:, : flat.shape[1]] = flat
    at /= np.abs(at).max(initial=1e-9)
    return [
        {"stem": id_, "x": round(float(x), 4), "y": round(float(y), 4)}
        for id_, (x, y) in zip(ids, at, strict=True)
    ]


@router.get("/indexing")
def indexing(caller: Administers, service: TheService) -> dict[str, Any]:
    """What is being indexed, or was last, and which folders may be."""
    state = service.places.document(service.indexing.state())
    return {**state, "folders": service.indexing.folders()}


@router.post("/indexing", status_code=202)
def index(asked: IndexingAsked, caller: Administers, service: TheService) -> dict[str, Any]:
    """Index a library anew (by its id), or a folder of the libraries' folder (by its name)."""
    service.audit.write("indexing", key=caller.owner)
    run = partial(service.threads.run, name="indexing")
    state = service.indexing.begin(asked.name, run, asked.refresh)
    shown: dict[str, Any] = service.places.document(state)
    return shown
