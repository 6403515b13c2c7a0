"""What was made, from what, and how much each source influenced it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from rag_audio.domain.codec import Document, encode, json_form
from rag_audio.domain.coercion import Audio
from rag_audio.domain.licensing import License
from rag_audio.domain.plan import ConditioningPlan
from rag_audio.domain.request import Channel
from rag_audio.domain.stems import Reference


@dataclass(frozen=True)
class Influence:
    """One source's three numbers, never blended.

    Attributes:
        used: exact share of each conditioning channel, from the plan.
        causal: measured by counterfactual; None when not measured or below the noise floor.
        similar: cosine in the embedding space between source segment and output.
    """

    used: Mapping[Channel, float]
    causal: float | None = None
    similar: float | None = None


@json_form(named="part that was played")
@dataclass(frozen=True)
class Played:
    """A part of an output's seed that a source played.

    Attributes:
        layer: what of the source; empty: all of it.
        start_s, end_s: where in the output. weight: share of the seed's energy.
    """

    layer: str
    start_s: float
    end_s: float
    weight: float


@dataclass(frozen=True)
class OtherClaim:
    """A further license that claimed a source's bytes, and the artist it names, or nobody."""

    license: License
    artist: str = ""


@json_form(flat=("influence",), later=("played", "also"))
@dataclass(frozen=True)
class SourceUse:
    """A source as the ledger holds it: what it was, under which license, and how it was used.

    Attributes:
        played: its parts in the seed, where the seed was layered or arranged.
        also: who else claimed the same bytes, while it was undecided which license holds.
    """

    reference: Reference
    license: License
    influence: Influence
    played: tuple[Played, ...] = ()
    also: tuple[OtherClaim, ...] = ()

    @property
    def licenses(self) -> tuple[License, ...]:
        """All licenses that held for it, each once; more than one where it was undecided."""
        found = {one.key: one for one in (self.license, *(claim.license for claim in self.also))}
        return tuple(found.values())

    @property
    def holders(self) -> tuple[str, ...]:
        """Who granted those licenses, each name once."""
        return tuple(dict.fromkeys(license.holder for license in self.licenses))


@json_form(later=("checks", "signature"))
@dataclass(frozen=True)
class AttributionRecord:
    """What the ledger holds for one output.

    Attributes:
        output: the number the watermark carries.
        created: UTC.
        request, plan: JSON documents, complete enough to replay.
        model_share: what the model and the user's own words contribute to each channel.
        pcm_sha256: of the samples before marking.
        files: name → sha256 of each file as delivered.
        watermark: what was embedded, or why nothing was.
        versions: library versions that produced the samples.
        checks: what the output gate measured, and the fingerprint's hash.
        signature: signer's certificate and manifest of the content credentials, or why none.
    """

    output: int
    created: datetime
    request: Mapping[str, Any]
    plan: Mapping[str, Any]
    sources: tuple[SourceUse, ...]
    model_share: Mapping[Channel, float]
    model: str
    model_id: str
    embedder_id: str
    index_id: str
    untrained: bool
    seed: int
    pcm_sha256: str
    marked_pcm_sha256: str
    files: Mapping[str, str]
    watermark: Mapping[str, Any]
    versions: Mapping[str, str]
    checks: Mapping[str, Any] = field(default_factory=dict)
    signature: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class GenerationResult:
    """One finished output."""

    audio: Audio
    files: tuple[str, ...]
    plan: ConditioningPlan
    record: AttributionRecord

    @property
    def unmet(self) -> tuple[Mapping[str, Any], ...]:
        """What was enforced and is not met, see :func:`unmet_promises`."""
        return unmet_promises(self.record.checks)

    @property
    def enforced_met(self) -> bool | None:
        """Whether all that was enforced is met; None: nothing was enforced."""
        return None if "enforced" not in self.record.checks else not self.unmet


def unmet_promises(checks: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """What was enforced and is not met: ``aim`` (tempo, key), ``wanted``, ``heard`` or None.

    Args:
        checks: of an :class:`AttributionRecord`. Those from before this was judged have none.
    """
    enforced = checks.get("enforced") or {}
    return tuple(one for one in enforced.get("promises", ()) if not one["met"])


# What the ledger answers.


@dataclass(frozen=True)
class LedgerEntry:
    """The record of an output with its place in the log.

    Attributes:
        seq: 1, 2, 3, … without gaps, shared with the events.
        leaf_hash: RFC 6962 leaf hash of the document, hex.
        erased: personal texts were erased; ``[erased]`` replaces them in the record, and
            its plan can no longer be replayed.
    """

    seq: int
    leaf_hash: str
    record: AttributionRecord
    erased: bool = False


@dataclass(frozen=True)
class LedgerEvent:
    """Something that happened later, or without an output: an entry of the log like any other.

    Attributes:
        kind: ``influence``, ``revocation``, ``refusal``, ``library``, ``restore``, ``numbers``,
            ``key``, ``access`` or ``erasure``.
        created: UTC, ISO 8601.
        output: the output it is about, if any.
        document: what the caller wrote down.
    """

    seq: int
    leaf_hash: str
    kind: str
    created: str
    output: int | None
    document: Mapping[str, Any]


@dataclass(frozen=True)
class InclusionProof:
    """That a leaf is entry ``seq`` of the log of ``size`` entries with ``root`` (RFC 6962, 2.1.1).

    Attributes:
        path: hashes of the siblings from the leaf up to the root, hex.
    """

    seq: int
    leaf_hash: str
    size: int
    root: str
    path: tuple[str, ...]

    def to_json(self) -> Document:
        """The proof as a JSON object."""
        return encode(self)


@dataclass(frozen=True)
class Fault:
    """What is wrong with the ledger, at which entry."""

    seq: int
    what: str


class Ledger(Protocol):
    """What packages below :mod:`rag_audio.provenance` ask of its ``SqlLedger``."""

    def append_event(self, kind: str, document: Mapping[str, Any]) -> LedgerEvent: ...
    def find(self, output: int) -> LedgerEntry | None: ...
    def find_pcm(self, sha256: str) -> LedgerEntry | None: ...
