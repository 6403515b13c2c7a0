"""Licenses, stems, references and what they played as JSON documents, and back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from rag_audio.domain import (
    Key,
    License,
    Played,
    Reference,
    Segment,
    Share,
    Splits,
    Stem,
    StemKind,
    Use,
)
from rag_audio.json_forms import (
    Document,
    as_integer,
    as_items,
    as_real,
    as_text,
    as_truth,
    maybe,
    maybe_key_text,
    maybe_number,
    number,
    read_noun,
)
from rag_audio.metre import require_signature


def license_to_json(license: License) -> Document:
    """A license as a JSON object; sets are sorted lists, days and date-times ISO 8601.

    What a license of the first releases could not say is there only where it says something, so
    that their documents keep their hashes.
    """
    document: Document = {
        "id": license.id,
        "library": license.library,
        "holder": license.holder,
        "spdx": license.spdx,
        "uses": sorted(use.value for use in license.uses),
        "territories": sorted(license.territories),
        "valid_from": license.valid_from.isoformat() if license.valid_from else None,
        "valid_until": license.valid_until.isoformat() if license.valid_until else None,
        "credit": license.credit,
        "max_similarity": number(license.max_similarity),
    }
    splits = {
        kind: [{"holder": one.holder, "share": one.share, "ipi": one.ipi} for one in shares]
        for kind, shares in license.splits.kinds().items()
        if shares
    }
    later: Document = {
        "excluded": sorted(license.excluded),
        "timezone": "" if license.timezone == "UTC" else license.timezone,
        "splits": splits,
        "ipi": license.ipi,
    }
    return document | {name: value for name, value in later.items() if value}


def license_from_json(document: Mapping[str, Any]) -> License:
    """The inverse of :func:`license_to_json`.

    Raises:
        InvalidInput: the document lacks a field or one has the wrong form.
    """
    return read_noun("license", document, _license)


def stem_to_json(stem: Stem) -> Document:
    """A stem as a JSON object; the key is written as in ``A minor``."""
    return {
        "id": stem.id,
        "library": stem.library,
        "path": stem.path,
        "kind": stem.kind.value,
        "license": stem.license,
        "duration_s": number(stem.duration_s),
        "artist": stem.artist,
        "artist_declared": stem.artist_declared,
        "title": stem.title,
        "tags": list(stem.tags),
        "bpm": maybe_number(stem.bpm),
        "bpm_confidence": number(stem.bpm_confidence),
        "key": maybe_key_text(stem.key),
        "key_confidence": number(stem.key_confidence),
        "downbeat_s": maybe_number(stem.downbeat_s),
        "isrc": stem.isrc,
        "loudness_lufs": maybe_number(stem.loudness_lufs),
        "instruments": list(stem.instruments),
        **({"iswc": stem.iswc} if stem.iswc else {}),
        **({"time_signature": list(stem.time_signature)} if stem.time_signature else {}),
    }


def stem_from_json(document: Mapping[str, Any]) -> Stem:
    """The inverse of :func:`stem_to_json`.

    Raises:
        InvalidInput: the document lacks a field or one has the wrong form.
    """
    return read_noun("stem", document, _stem)


def reference_to_json(reference: Reference) -> Document:
    """A reference with its segment and stem as a JSON object."""
    return {
        "stem": stem_to_json(reference.stem),
        "start_s": number(reference.segment.start_s),
        "duration_s": number(reference.segment.duration_s),
        "score": number(reference.score),
        "rank": reference.rank,
    }


def reference_from_json(document: Mapping[str, Any]) -> Reference:
    """The inverse of :func:`reference_to_json`.

    Raises:
        InvalidInput: the document lacks a field or one has the wrong form.
    """
    return read_noun("reference", document, _reference)


def played_to_json(played: Played) -> Document:
    """A part that a source played, as a JSON object."""
    return {
        "layer": played.layer,
        "start_s": number(played.start_s),
        "end_s": number(played.end_s),
        "weight": number(played.weight),
    }


def played_from_json(document: Mapping[str, Any]) -> Played:
    """The inverse of :func:`played_to_json`.

    Raises:
        InvalidInput: the document lacks a field or one has the wrong form.
    """
    return read_noun("part that was played", document, _played)


def _license(document: Mapping[str, Any]) -> License:
    return License(
        id=as_text(document["id"]),
        library=as_text(document["library"]),
        holder=as_text(document["holder"]),
        spdx=as_text(document["spdx"]),
        uses=frozenset(Use(use) for use in as_items(document["uses"])),
        territories=frozenset(as_text(code) for code in as_items(document["territories"])),
        valid_from=maybe(_moment, document["valid_from"]),
        valid_until=maybe(_moment, document["valid_until"]),
        credit=as_text(document["credit"]),
        max_similarity=as_real(document["max_similarity"]),
        excluded=frozenset(as_text(code) for code in as_items(document.get("excluded", []))),
        timezone=as_text(document.get("timezone", "UTC")),
        splits=Splits(
            **{
                kind: tuple(_share(share) for share in as_items(shares))
                for kind, shares in dict(document.get("splits", {})).items()
            }
        ),
        ipi=as_text(document.get("ipi", "")),
    )


def _share(document: Mapping[str, Any]) -> Share:
    return Share(as_text(document["holder"]), as_real(document["share"]), as_text(document["ipi"]))


def _moment(value: Any) -> date:
    """A day, or a date-time with its offset."""
    text = as_text(value)
    return datetime.fromisoformat(text) if "T" in text else date.fromisoformat(text)


def _stem(document: Mapping[str, Any]) -> Stem:
    return Stem(
        id=as_text(document["id"]),
        library=as_text(document["library"]),
        path=as_text(document["path"]),
        kind=StemKind(document["kind"]),
        license=as_text(document["license"]),
        duration_s=as_real(document["duration_s"]),
        artist=as_text(document["artist"]),
        artist_declared=as_truth(document["artist_declared"]),
        title=as_text(document["title"]),
        tags=tuple(as_text(tag) for tag in as_items(document["tags"])),
        bpm=maybe(as_real, document["bpm"]),
        bpm_confidence=as_real(document["bpm_confidence"]),
        key=maybe(Key.parse, document["key"]),
        key_confidence=as_real(document["key_confidence"]),
        downbeat_s=maybe(as_real, document["downbeat_s"]),
        isrc=as_text(document["isrc"]),
        iswc=as_text(document.get("iswc", "")),
        loudness_lufs=maybe(as_real, document["loudness_lufs"]),
        instruments=tuple(as_text(name) for name in as_items(document["instruments"])),
        time_signature=maybe(_signature, document.get("time_signature")),
    )


def _signature(value: Any) -> tuple[int, int]:
    beats, unit = map(as_integer, as_items(value))
    require_signature((beats, unit))
    return beats, unit


def _reference(document: Mapping[str, Any]) -> Reference:
    segment = Segment(
        _stem(document["stem"]), as_real(document["start_s"]), as_real(document["duration_s"])
    )
    return Reference(segment, score=as_real(document["score"]), rank=as_integer(document["rank"]))


def _played(document: Mapping[str, Any]) -> Played:
    return Played(
        as_text(document["layer"]),
        as_real(document["start_s"]),
        as_real(document["end_s"]),
        as_real(document["weight"]),
    )
