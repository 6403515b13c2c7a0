"""Attribution records as canonical JSON (RFC 8785): one record has one spelling, hence one hash."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import rfc8785

from rag_audio.domain import AttributionRecord, Channel, Influence, OtherClaim, SourceUse
from rag_audio.errors import LedgerError, RagAudioError
from rag_audio.plans import (
    license_from_json,
    license_to_json,
    played_from_json,
    played_to_json,
    reference_from_json,
    reference_to_json,
)

_FORMAT = 1
_SAFE_INTEGER = 2**53 - 1
_quoted = json.encoder.encode_basestring  # in C, where Python has it so


def record_to_json(record: AttributionRecord) -> dict[str, Any]:
    """A record as a JSON object.

    Numbers that canonical JSON cannot hold or that would come back as another type (past 2^53, or
    not finite) are written as strings, wherever they occur.
    """
    return {
        "format": _FORMAT,
        "output": record.output,
        "created": record.created.astimezone(UTC).isoformat(),
        "request": plain(record.request),
        "plan": plain(record.plan),
        "sources": [_source_to_json(source) for source in record.sources],
        "model_share": _shares_to_json(record.model_share),
        "model": record.model,
        "model_id": record.model_id,
        "embedder_id": record.embedder_id,
        "index_id": record.index_id,
        "untrained": record.untrained,
        "seed": plain(record.seed),
        "pcm_sha256": record.pcm_sha256,
        "marked_pcm_sha256": record.marked_pcm_sha256,
        "files": plain(record.files),
        "watermark": plain(record.watermark),
        "versions": plain(record.versions),
        **({"checks": plain(record.checks)} if record.checks else {}),
        **({"signature": plain(record.signature)} if record.signature else {}),
    }


def record_from_json(document: Mapping[str, Any]) -> AttributionRecord:
    """The inverse of :func:`record_to_json`.

    Raises:
        LedgerError: the document is not a record.
    """
    try:
        if document["format"] != _FORMAT:
            raise LedgerError(f"a record of format {document['format']!r} cannot be read")
        return _record(document)
    except KeyError as error:
        raise LedgerError(f"the record lacks {error.args[0]!r}") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise LedgerError(f"the record cannot be read: {error}") from error


def encode_record(record: AttributionRecord) -> bytes:
    """The canonical JSON of a record, UTF-8.

    Raises:
        LedgerError: the record holds something that JSON has no word for.
    """
    return canonical(record_to_json(record))


def decode_record(document: bytes) -> AttributionRecord:
    """The record of a JSON document, canonical or not.

    Raises:
        LedgerError: it is not JSON, or not a record.
    """
    return record_from_json(parse(document))


def canonical(document: Mapping[str, Any]) -> bytes:
    """RFC 8785 canonical JSON of a document.

    Most documents are spelled here, which is much faster; those with numbers or names that Python
    would spell otherwise go to the library.

    Raises:
        LedgerError: it holds something that JSON has no word for.
    """
    try:
        return _SPELLING[type(document)](document).encode()
    except (_SpelledOtherwise, KeyError, TypeError, AttributeError):
        pass  # a number, name or type that is not spelled here
    except (UnicodeEncodeError, RecursionError) as error:
        raise LedgerError(f"the record cannot be written as JSON: {error}") from error
    try:
        return rfc8785.dumps(dict(document))
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, RecursionError) as error:
        raise LedgerError(f"the record cannot be written as JSON: {error}") from error


class _SpelledOtherwise(Exception):
    """A value that is left to the library to spell."""


# What follows writes values as RFC 8785 wants them, where that is how Python spells them too.
# Python's escapes are those of ECMAScript.


@lru_cache(maxsize=1024)
def _spelled(names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Names in their order, each with its spelling: objects of few shapes make up the records.

    ASCII names sort alike as code points, as Python does it, and as UTF-16.
    """
    if not all(map(str.isascii, names)):
        raise _SpelledOtherwise
    return tuple((name, f"{_quoted(name)}:") for name in sorted(names))


def _object(value: dict[str, Any]) -> str:
    inner = [
        spelling + _SPELLING[type(item := value[name])](item)
        for name, spelling in _spelled(tuple(value))
    ]
    return "{" + ",".join(inner) + "}"


def _list(value: list[Any]) -> str:
    return "[" + ",".join([_SPELLING[type(item)](item) for item in value]) + "]"


def _fraction(value: float) -> str:
    """Both write the same shortest digits, without an exponent, from 1e-4 up to 1e16; whole floats
    have no point in ECMAScript, like integers."""
    if value.is_integer():
        return _integer(int(value))
    if 1e-4 <= abs(value) < 1e16:
        return repr(value)
    raise _SpelledOtherwise


def _integer(value: int) -> str:
    if -_SAFE_INTEGER <= value <= _SAFE_INTEGER:
        return str(value)
    raise _SpelledOtherwise


_SPELLING: dict[type, Callable[[Any], str]] = {
    str: _quoted,
    dict: _object,
    list: _list,
    float: _fraction,
    int: _integer,
    bool: {True: "true", False: "false"}.__getitem__,
    type(None): {None: "null"}.__getitem__,
}


def parse(document: bytes) -> dict[str, Any]:
    """A JSON object.

    Raises:
        LedgerError: the bytes are not a JSON object.
    """
    try:
        loaded = json.loads(document)
    except RecursionError as error:
        raise LedgerError("the record is not JSON: it is nested too deeply") from error
    except ValueError as error:
        raise LedgerError(f"the record is not JSON: {error}") from error
    if not isinstance(loaded, dict):
        raise LedgerError(f"the record is not a JSON object but a {type(loaded).__name__}")
    return loaded


def _record(document: Mapping[str, Any]) -> AttributionRecord:
    return AttributionRecord(
        output=int(document["output"]),
        created=datetime.fromisoformat(document["created"]),
        request=document["request"],
        plan=document["plan"],
        sources=tuple(_source_from_json(source) for source in document["sources"]),
        model_share=_shares_from_json(document["model_share"]),
        model=document["model"],
        model_id=document["model_id"],
        embedder_id=document["embedder_id"],
        index_id=document["index_id"],
        untrained=bool(document["untrained"]),
        seed=int(document["seed"]),
        pcm_sha256=document["pcm_sha256"],
        marked_pcm_sha256=document["marked_pcm_sha256"],
        files=dict(document["files"]),
        watermark=document["watermark"],
        versions=dict(document["versions"]),
        checks=dict(document.get("checks", {})),
        signature=dict(document.get("signature", {})),
    )


def _source_to_json(source: SourceUse) -> dict[str, Any]:
    return {
        "reference": reference_to_json(source.reference),
        "license": license_to_json(source.license),
        "used": _shares_to_json(source.influence.used),
        "causal": plain(source.influence.causal),
        "similar": plain(source.influence.similar),
        **({"played": [plain(played_to_json(p)) for p in source.played]} if source.played else {}),
        **({"also": [_claim_to_json(claim) for claim in source.also]} if source.also else {}),
    }


def _claim_to_json(claim: OtherClaim) -> dict[str, Any]:
    return {"license": license_to_json(claim.license), "artist": claim.artist}


def _source_from_json(document: Mapping[str, Any]) -> SourceUse:
    try:
        reference = reference_from_json(document["reference"])
        granted = license_from_json(document["license"])
        played = tuple(played_from_json(part) for part in document.get("played", ()))
        also = tuple(
            OtherClaim(license_from_json(claim["license"]), str(claim["artist"]))
            for claim in document.get("also", ())
        )
    except RagAudioError as error:
        raise LedgerError(f"a source of the record cannot be read: {error.message}") from error
    influence = Influence(
        used=_shares_from_json(document["used"]),
        causal=_maybe_float(document["causal"]),
        similar=_maybe_float(document["similar"]),
    )
    return SourceUse(reference, granted, influence, played, also)


def _shares_to_json(shares: Mapping[Channel, float]) -> dict[str, Any]:
    return {channel.value: plain(float(share)) for channel, share in shares.items()}


def _shares_from_json(document: Mapping[str, Any]) -> dict[Channel, float]:
    return {Channel(name): float(share) for name, share in document.items()}


def _maybe_float(value: Any) -> float | None:
    return None if value is None else float(value)


def plain(value: Any) -> Any:
    """The value in JSON's own types, within the numbers that canonical JSON can hold."""
    kind = type(value)
    if value is None or kind is str or kind is bool:
        return value
    if isinstance(value, (int, float)):
        return value if math.isfinite(value) and abs(value) <= _SAFE_INTEGER else str(value)
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (dict, Mapping)):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(plain(item) for item in value)
    return value
