"""Attribution records as canonical JSON (RFC 8785): one record has one spelling, hence one hash."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import rfc8785

from rag_audio.audio import writing as sound
from rag_audio.domain import (
    AttributionRecord,
    Audio,
    ConditioningPlan,
    GenerationRequest,
    Influence,
    OtherClaim,
    Played,
    SourceUse,
)
from rag_audio.domain.codec import encode, read
from rag_audio.domain.plan import plan_to_json
from rag_audio.domain.ports import ModelInfo
from rag_audio.domain.signing import Signature, sidecar_of
from rag_audio.errors import InvalidInput, LedgerError
from rag_audio.provenance.influence import used_shares
from rag_audio.storage.files import file_sha256

_FORMAT = 1


def record_to_json(record: AttributionRecord) -> dict[str, Any]:
    """A record as a JSON object."""
    return {"format": _FORMAT, **encode(record)}


def record_from_json(document: Mapping[str, Any]) -> AttributionRecord:
    """The inverse of :func:`record_to_json`.

    Raises:
        LedgerError: the document is not a record.
    """
    try:
        if document["format"] != _FORMAT:
            raise LedgerError(f"a record of format {document['format']!r} cannot be read")
        return read(AttributionRecord, document)
    except KeyError as error:
        raise LedgerError(f"the record lacks {error.args[0]!r}") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise LedgerError(f"the record cannot be read: {error}") from error
    except InvalidInput as error:
        raise LedgerError(f"a source of the record cannot be read: {error.message}") from error


def canonical(document: Mapping[str, Any]) -> bytes:
    """RFC 8785 canonical JSON of a document.

    Raises:
        LedgerError: it holds something that JSON has no word for.
    """
    try:
        return rfc8785.dumps(dict(document))
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, RecursionError) as error:
        raise LedgerError(f"the record cannot be written as JSON: {error}") from error


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


# From a finished output to the record that the ledger holds.

_VERSIONED = ("rag-audio", "torch", "diffusers", "transformers", "numpy", "symusic", "librosa")


@dataclass(frozen=True, eq=False)
class FinishedOutput:
    """One output on its way out.

    Attributes:
        number: the ledger number, which the mark carries.
        audio: before marking. marked: None when there was too little sound to carry a mark.
        written: the file as it will be delivered, under a temporary name. name: its final name.
        similar: one per reference of the plan, see :class:`rag_audio.domain.Influence`.
        checks: what the output gate measured, and the fingerprint's hash.
    """

    number: int
    audio: Audio
    marked: Audio | None
    written: Path
    name: str
    seed: int
    similar: Sequence[float | None]
    checks: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class MadeWith:
    """The parts that made it, as the ledger names them."""

    info: ModelInfo
    embedder_id: str
    index_id: str
    watermarker: str
    device: str


def make_record(
    request: GenerationRequest, plan: ConditioningPlan, output: FinishedOutput, made: MadeWith
) -> AttributionRecord:
    """Everything that is known about one output, hashes included."""
    used, model_share = used_shares(plan)
    mark: dict[str, Any] = {"name": made.watermarker}
    if output.marked is None:
        mark["none"] = "too little to carry a mark"
    else:
        mark["payload"] = output.number
    return AttributionRecord(
        output=output.number,
        created=datetime.now(UTC),
        request=encode(request),
        plan=plan_to_json(plan),
        sources=tuple(
            SourceUse(
                reference,
                first,
                Influence(used[i], None, output.similar[i]),
                _played(plan, i),
                tuple(OtherClaim(*claim) for claim in others),
            )
            for i, reference in enumerate(plan.references)
            for (first, _), *others in [plan.claims_on(reference)]
        ),
        model_share=model_share,
        model=made.info.name,
        model_id=made.info.id,
        embedder_id=made.embedder_id,
        index_id=made.index_id,
        untrained=made.info.untrained,
        seed=output.seed,
        pcm_sha256=sound.pcm_sha256(output.audio),
        marked_pcm_sha256=sound.pcm_sha256(output.marked or output.audio),
        files={output.name: file_sha256(output.written)},
        watermark=mark,
        versions=_versions(made.device),
        checks=output.checks,
    )


def _played(plan: ConditioningPlan, reference: int) -> tuple[Played, ...]:
    """What a reference played in a seed that was layered or arranged, or follows a melody."""
    melody = plan.melody
    if melody is None and all(part.is_whole for part in plan.seed_parts):
        return ()
    tune: tuple[Played, ...] = ()
    if melody is not None and reference in melody.sources:
        share = melody.weight / len(melody.sources)
        tune = (Played("melody", 0.0, plan.duration_s, share),)
    return tune + tuple(
        Played(
            "" if part.layer is None else part.layer.value,
            part.start_s,
            plan.duration_s if part.end_s is None else part.end_s,
            plan.references_weight * part.weight,
        )
        for part in plan.seed_parts
        if part.reference == reference
    )


def signed(record: AttributionRecord, target: Path, signature: Signature) -> AttributionRecord:
    """The record of an output that was signed, with its sidecar among its files."""
    files = dict(record.files)
    if signature.sidecar is not None:
        files[sidecar_of(target).name] = file_sha256(signature.sidecar)
    return replace(record, files=files, signature=signature.record)


def _versions(device: str) -> dict[str, str]:
    import torch

    found = {name: version(name) for name in _VERSIONED}
    return {
        **found,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": device,
        "threads": str(torch.get_num_threads()),
    }
