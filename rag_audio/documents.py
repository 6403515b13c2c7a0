"""The JSON documents that the command line and the API share."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rag_audio.domain import (
    Channel,
    GenerationResult,
    License,
    Reference,
    Rights,
    SourceUse,
    Stem,
    Use,
)
from rag_audio.errors import (
    BackendError,
    BackendUnavailable,
    ConfigError,
    LedgerError,
    RagAudioError,
    RequestRefused,
)
from rag_audio.licensing import fold_name
from rag_audio.plans import controls_json, melody_json
from rag_audio.ports import LedgerEntry


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
        "score": reference.score,
        "start_s": reference.segment.start_s,
        "duration_s": reference.segment.duration_s,
        "bpm": stem.bpm,
        "key": None if stem.key is None else str(stem.key),
        "tags": list(stem.tags),
        "license": stem.license,
        "library": stem.library,
        "path": stem.path,
    }


def source_json(source: SourceUse) -> dict[str, Any]:
    """A reference of ``generate --json``: as in ``search``, with its influence."""
    return {
        **reference_json(source.reference),
        "holder": source.license.holder,
        "credit": source.license.credit,
        "used": {channel.value: source.influence.used.get(channel, 0.0) for channel in Channel},
        "causal": source.influence.causal,
        "similar": source.influence.similar,
    }


def results_json(results: tuple[GenerationResult, ...]) -> dict[str, Any]:
    """The document of ``generate --json``; the first output, and all of them in ``outputs``."""
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
        "controls": controls_json(plan.controls),
        "melody": None if plan.melody is None else melody_json(plan.melody),
        "watermark": dict(record.watermark),
        "notes": list(plan.notes),
        "enforced": record.checks.get("enforced"),
    }


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


def artists_json(stems: Iterable[Stem], licensed: Collection[str]) -> list[dict[str, Any]]:
    """The artists of a library, with what is known of their stems.

    Args:
        licensed: names whose style may be asked for.
    """
    by_artist: dict[str, list[Stem]] = {}
    for stem in stems:
        if stem.artist:
            by_artist.setdefault(stem.artist, []).append(stem)
    return [_artist_json(name, own, licensed) for name, own in sorted(by_artist.items())]


def _artist_json(name: str, stems: list[Stem], licensed: Collection[str]) -> dict[str, Any]:
    tags = Counter(tag for stem in stems for tag in stem.tags)
    return {
        "artist": name,
        "stems": len(stems),
        "style": name in licensed,
        "bpm": sorted({round(stem.bpm) for stem in stems if stem.bpm is not None}),
        "keys": sorted({str(stem.key) for stem in stems if stem.key is not None}),
        "tags": [tag for tag, _ in tags.most_common(6)],
    }


@dataclass(frozen=True)
class LicenseRow:
    """A license with what is left of it today.

    Attributes:
        stems: how many are under it. revoked: how many of those are revoked, by stem or artist.
        artists: whose revocation that was. why: the first reason why something is not granted.
    """

    license: License
    stems: int
    granted: list[str]
    revoked: int
    artists: list[str]
    why: str

    def to_json(self) -> dict[str, Any]:
        return {
            "library": self.license.library,
            "license": self.license.id,
            "holder": self.license.holder,
            "spdx": self.license.spdx,
            "stems": self.stems,
            "granted": self.granted,
            "revoked_stems": self.revoked,
            "revoked_artists": self.artists,
            "refusal": self.why,
            "credit": self.license.credit,
        }


def _license_row(license: License, stems: list[Stem], rights: Rights) -> LicenseRow:
    withdrawn = license.key in rights.revoked_licenses
    gone = [s for s in stems if s.id in rights.revoked or _artist_revoked(s, rights)]
    artists = sorted({s.artist for s in gone if _artist_revoked(s, rights)})
    refusals = {use: license.refusal(use, rights.territory, rights.on) for use in Use}
    nothing_left = withdrawn or (bool(stems) and len(gone) == len(stems))
    granted = [] if nothing_left else [use.value for use, why in refusals.items() if not why]
    why = next((refusals[use] or "" for use in Use if use in license.uses and refusals[use]), "")
    if withdrawn:
        why = "it was revoked"
    elif gone:
        whose = f" ({', '.join(artists)})" if artists else ""
        said = f"{len(gone)} of {len(stems)} stems were revoked{whose}"
        why = f"{said}; {why}" if why else said
    return LicenseRow(license, len(stems), granted, len(gone), artists, why)


def _artist_revoked(stem: Stem, rights: Rights) -> bool:
    return fold_name(stem.artist) in rights.revoked_artists


def license_rows(stems: Sequence[Stem], rights: Rights) -> list[LicenseRow]:
    """Every license that is known, with what is left of it."""
    return [
        _license_row(license, [s for s in stems if s.license_key == key], rights)
        for key, license in sorted(rights.licenses.items())
    ]
