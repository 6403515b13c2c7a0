"""The JSON documents that the command line and the API share."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rag_audio.domain import (
    Channel,
    GenerationResult,
    License,
    OtherClaim,
    Reference,
    Rights,
    SourceUse,
    Stem,
    Use,
    names,
)
from rag_audio.domain.codec import encode
from rag_audio.domain.holdings import LibraryHoldings, StemGroup, most_frequent
from rag_audio.domain.record import LedgerEntry
from rag_audio.domain.refusals import Refusal, revoked
from rag_audio.errors import (
    BackendError,
    BackendUnavailable,
    ConfigError,
    LedgerError,
    RagAudioError,
    RequestRefused,
)


def finite(value: Any) -> Any:
    """The value with null for the numbers that JSON lacks (nan, inf)."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {name: finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


_PUBLIC: tuple[tuple[type[RagAudioError], str], ...] = (
    (BackendUnavailable, "a part of this service cannot be reached"),
    (BackendError, "a part of this service failed"),
    (LedgerError, "the ledger cannot be read or written"),
    (ConfigError, "this service is not set up for that"),
)


def is_operators(error: RagAudioError) -> bool:
    """Whether an error is a fault of the service: its message is for who runs it."""
    return any(isinstance(error, family) for family, _ in _PUBLIC)


def public_json(error: RagAudioError, hint: str) -> dict[str, Any]:
    """As :func:`error_json`, for who asks over the network.

    Of a fault of the service no address, user, path or text of a driver's is in it.

    Args:
        hint: in place of the error's own, where that is a fault: where the rest can be read.
    """
    if not is_operators(error):
        return error_json(error)
    words = next(said for family, said in _PUBLIC if isinstance(error, family))
    return {"type": type(error).__name__, "message": error.public or words, "hint": hint}


def error_json(error: RagAudioError) -> dict[str, Any]:
    """What is wrong, and what would help; of a refusal the reasons and the spans too."""
    document: dict[str, Any] = {
        "type": type(error).__name__,
        "message": error.message,
        "hint": error.hint,
    }
    if isinstance(error, RequestRefused):
        document["reasons"] = list(error.reasons)
        document["matches"] = [
            {"span": [m.start, m.end], "text": m.text, "rule": m.rule, "name": m.name}
            for m in error.matches
        ]
    return document


def reference_json(reference: Reference) -> dict[str, Any]:
    """One row of ``search --json``."""
    stem = reference.stem
    return {
        "stem": stem.id,
        "title": stem.title,
        "artist": stem.artist,
        "kind": stem.kind.value,
        "sample_type": None if stem.sample_type is None else stem.sample_type.value,
        "score": reference.score,
        "fit": reference.fit,
        "start_s": reference.segment.start_s,
        "duration_s": reference.segment.duration_s,
        "bpm": stem.bpm,
        "key": None if stem.key is None else str(stem.key),
        "tags": list(stem.tags),
        "derived_tags": derived_json(stem),
        "license": stem.license,
        "library": stem.library,
        "path": stem.path,
    }


def derived_json(stem: Stem) -> list[dict[str, Any]]:
    """The tags that nobody wrote, with how sure they are."""
    return [{"tag": one.text, "confidence": one.confidence} for one in stem.derived_tags]


def source_json(source: SourceUse) -> dict[str, Any]:
    """A reference of ``generate --json``: as in ``search``, with its influence."""
    return {
        **reference_json(source.reference),
        "holder": source.license.holder,
        "credit": source.license.credit,
        **_influence_json(source),
        **({"also": [claim_json(claim) for claim in source.also]} if source.also else {}),
    }


def _influence_json(source: SourceUse) -> dict[str, Any]:
    return {
        "used": {channel.value: source.influence.used.get(channel, 0.0) for channel in Channel},
        "causal": source.influence.causal,
        "similar": source.influence.similar,
    }


def claim_json(claim: OtherClaim) -> dict[str, Any]:
    """A further license that claimed a source's bytes while nobody had decided."""
    license = claim.license
    return {
        "library": license.library,
        "license": license.id,
        "holder": license.holder,
        "artist": claim.artist,
        "credit": license.credit,
    }


def results_json(results: tuple[GenerationResult, ...]) -> dict[str, Any]:
    """What the document of ``generate --json`` says of the first output, and the request's own.

    ``outputs`` has the number of every output; :func:`outputs_json` says all of each.
    """
    first = results[0]
    plan, record = first.plan, first.record
    return {
        "files": [name for result in results for name in result.files],
        "output": record.output,
        "outputs": [result.record.output for result in results],
        "prompt": plan.prompt,
        "enriched_prompt": plan.enriched_prompt,
        "negative_prompt": plan.negative_prompt,
        "seed": record.seed,
        "strength": plan.strength,
        "steps": plan.steps,
        "guidance": plan.guidance,
        "model": record.model,
        "model_id": record.model_id,
        "untrained": record.untrained,
        "pcm_sha256": record.pcm_sha256,
        "references": [source_json(source) for source in record.sources]
        or [reference_json(reference) for reference in plan.references],
        "model_share": {c.value: record.model_share.get(c, 1.0) for c in Channel},
        "bpm": plan.bpm,
        "key": None if plan.key is None else str(plan.key),
        "duration_s": plan.duration_s,
        "controls": encode(plan.controls),
        "melody": None if plan.melody is None else encode(plan.melody),
        "watermark": dict(record.watermark),
        "notes": list(plan.notes),
        "enforced": record.checks.get("enforced"),
        "enforced_met": enforced_met(results),
        "unmet": unmet_json(results),
    }


def outputs_json(
    results: Sequence[GenerationResult], causal: Sequence[Sequence[float | None]] = ()
) -> list[dict[str, Any]]:
    """Each output of a request by itself: ``results`` of ``generate --json``.

    Args:
        causal: shares that were measured since, of each output's sources in their order.
    """
    documents = [_output_json(result) for result in results]
    for document, shares in zip(documents, causal, strict=False):
        for source, share in zip(document["references"], shares, strict=True):
            source["causal"] = share
    return documents


def _output_json(result: GenerationResult) -> dict[str, Any]:
    record = result.record
    return {
        "output": record.output,
        "file": result.files[0],
        "files": list(result.files),
        "sha256": dict(record.files),
        "pcm_sha256": record.pcm_sha256,
        "seed": record.seed,
        "duration_s": result.audio.duration_s,
        "sample_rate": result.audio.sample_rate,
        "channels": result.audio.channels,
        "watermark": dict(record.watermark),
        "references": [
            {
                "stem": source.reference.stem.id,
                "title": source.reference.stem.title,
                **_influence_json(source),
            }
            for source in record.sources
        ],
        "model_share": {c.value: record.model_share.get(c, 1.0) for c in Channel},
        "notes": list(result.plan.notes),
        "checks": dict(record.checks),
        "enforced_met": result.enforced_met,
        "unmet": list(result.unmet),
    }


def enforced_met(results: Iterable[GenerationResult]) -> bool | None:
    """Whether every output keeps to all that was enforced; None: nothing was enforced."""
    judged = [result.enforced_met for result in results if result.enforced_met is not None]
    return all(judged) if judged else None


def unmet_json(results: Iterable[GenerationResult]) -> list[dict[str, Any]]:
    """What was enforced and is not met, of each output."""
    return [
        {"output": result.record.output, "file": next(iter(result.files), None), **promise}
        for result in results
        for promise in result.unmet
    ]


@dataclass(frozen=True)
class JsonObject:
    """A JSON object for :func:`json_pieces`, of members whose values may be iterators."""

    members: Iterable[tuple[str, Any]]


def json_pieces(members: Iterable[tuple[str, Any]]) -> Iterator[str]:
    """A JSON object, member by member, indented as :func:`json.dumps` does with 2.

    A member whose value is an iterator becomes an array, which is taken from it item by item, so
    that it need not fit into memory; an item may be a :class:`JsonObject` with such members.
    Nothing is yielded before the first item is there.
    """
    yield from _pieces(JsonObject(members), "\n")
    yield "\n"


def _pieces(value: Any, line: str) -> Iterator[str]:
    """A value in pieces; ``line`` is a line break with the indent of what it stands in."""
    if isinstance(value, JsonObject):
        heads = ((f"{json.dumps(name, ensure_ascii=False)}: ", one) for name, one in value.members)
        yield from _listed_pieces(heads, "{", "}", line)
    elif isinstance(value, Iterator):
        yield from _listed_pieces((("", one) for one in value), "[", "]", line)
    else:
        text = json.dumps(finite(value), ensure_ascii=False, indent=2)
        yield text.replace("\n", line)


def _listed_pieces(
    items: Iterable[tuple[str, Any]], opening: str, closing: str, line: str
) -> Iterator[str]:
    sign = opening
    for name, item in items:
        head = f"{sign}{line}  {name}"
        for piece in _pieces(item, f"{line}  "):
            yield head + piece
            head = ""
        sign = ","
    yield f"{line}{closing}" if sign == "," else opening + closing


def entry_json(entry: LedgerEntry) -> dict[str, Any]:
    """An output of ``outputs --json``."""
    record = entry.record
    return {
        "seq": entry.seq,
        "output": record.output,
        "created": record.created.isoformat(),
        "files": dict(record.files),
        "model": record.model,
        "sources": [source_json(source) for source in record.sources],
    }


def artists_json(
    stems: LibraryHoldings | Iterable[Stem],
    licensed: Collection[str],
    why_not: Callable[[str], Refusal | None],
) -> list[dict[str, Any]]:
    """The artists of a library, with what is known of their stems.

    Args:
        licensed: names whose style may be asked for. why_not: what stands against the others.
    """
    by_artist: dict[str, list[StemGroup]] = {}
    for group in LibraryHoldings.of(stems).groups:
        if group.stem.artist:
            by_artist.setdefault(names.exact(group.stem.artist), []).append(group)
    return [
        _artist_json(name, own, None if name in licensed else why_not(name), name in licensed)
        for name, own in sorted(by_artist.items())
    ]


def not_indexed_json(
    rows: Iterable[Mapping[str, Any]],
    unlicensed: Iterable[str],
    why_not: Callable[[str], Refusal | None],
) -> list[dict[str, Any]]:
    """Artists whom only files name that are not indexed, such as of a license that ended.

    Args:
        rows: of :func:`artists_json`. unlicensed: names that ``stems.csv`` has.
    """
    shown = {row["artist"] for row in rows}
    found = ((name, why_not(name)) for name in sorted(set(unlicensed) - shown))
    return [
        {"artist": name, "refusal": why.reason, "cure": why.cure}
        for name, why in found
        if why is not None
    ]


def _artist_json(
    name: str, groups: Iterable[StemGroup], why: Refusal | None, is_licensed: bool
) -> dict[str, Any]:
    own = LibraryHoldings(tuple(groups))
    return {
        "artist": name,
        "stems": own.stems,
        "style": is_licensed,
        "refusal": "" if why is None else why.reason,
        "cure": "" if why is None else why.cure,
        "bpm": sorted(map(int, own.total("bpm"))),
        "keys": sorted(own.total("key")),
        "tags": [tag for tag, _ in most_frequent(own.total("tag"), 6)],
    }


def _license_json(license: License, groups: list[StemGroup], rights: Rights) -> dict[str, Any]:
    withdrawn = license.key in rights.revoked_licenses
    stems = sum(one.stems for one in groups)
    theirs = [one for one in groups if _artist_revoked(one.stem, rights)]
    gone = sum(g.stems for g in groups if g.stem.id in rights.revoked) + sum(
        g.stems for g in theirs if g.stem.id not in rights.revoked
    )
    artists = sorted({one.stem.artist for one in theirs})
    refusals = {use: license.why_not(use, rights.territory, rights.on) for use in Use}
    nothing_left = withdrawn or (bool(stems) and gone == stems)
    granted = [] if nothing_left else [use.value for use, why in refusals.items() if not why]
    against = next((why for use, why in refusals.items() if use in license.uses and why), None)
    why, cure = ("", "") if against is None else (against.reason, against.cure)
    if withdrawn:
        why = "it was revoked"
        cure = revoked(f"license {license.id}", f"--license {license.key}").cure
    elif gone:
        whose = f" ({', '.join(artists)})" if artists else ""
        said = f"{gone} of {stems} stems were revoked{whose}"
        why = f"{said}; {why}" if why else said
    contested = sum(one.stems for one in groups if one.stem.id in rights.conflicts)
    if contested:
        said = f"{contested} of {stems} stems are claimed by others too, see conflicts"
        why = f"{why}; {said}" if why else said
    return {
        "library": license.library,
        "license": license.id,
        "holder": license.holder,
        "spdx": license.spdx,
        "stems": stems,
        "granted": granted,
        "revoked_stems": gone,
        "revoked_artists": artists,
        "refusal": why,
        "cure": cure,
        "credit": license.credit,
        "contested_stems": contested,
    }


def _artist_revoked(stem: Stem, rights: Rights) -> bool:
    return names.is_revoked(stem.artist, rights.revoked_artists)


def licenses_json(stems: LibraryHoldings | Iterable[Stem], rights: Rights) -> list[dict[str, Any]]:
    """Every license that is known, with what is left of it today.

    ``granted`` are the uses; ``stems`` counts those under it, ``revoked_stems`` those of them that
    were revoked, by themselves or with their artist (``revoked_artists``), ``contested_stems``
    those that other licenses or artists claim too. ``refusal`` is the first reason why something
    is not granted, ``cure`` what would help.
    """
    holdings = LibraryHoldings.of(stems)
    contested: dict[str, dict[str, StemGroup]] = {}
    for group in holdings.groups if rights.conflicts else ():
        conflict = rights.conflicts.get(group.stem.id)
        for key in () if conflict is None else conflict.keys:
            contested.setdefault(key, {}).setdefault(group.stem.id, group)
    rows = []
    for key, license in sorted(rights.licenses.items()):
        own = holdings.by_license.get(key, ())
        if rights.conflicts:
            own = [one for one in own if one.stem.id not in rights.conflicts]
        rows.append(_license_json(license, [*own, *contested.get(key, {}).values()], rights))
    return rows
