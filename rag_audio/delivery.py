"""From a finished take to a delivered file: mark, write, hash, log, and only then rename."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from rag_audio import audio
from rag_audio.credits import credit_lines, file_tags
from rag_audio.domain import Audio, ConditioningPlan, GenerationRequest, GenerationResult
from rag_audio.likeness import likeness
from rag_audio.ports import Embedder, Ledger, Mark, ModelInfo, StemIndex, Watermarker
from rag_audio.provenance.fingerprint import make_fingerprint
from rag_audio.provenance.fingerprint_store import SqlFingerprints
from rag_audio.provenance.recording import FinishedOutput, MadeWith, make_record, signed
from rag_audio.signing import ClaimedOutput, Signer, put_in_place, sidecar_of


class DeliveryParts(Protocol):
    """What delivery works with."""

    @property
    def embedder(self) -> Embedder: ...
    @property
    def index(self) -> StemIndex: ...
    @property
    def ledger(self) -> Ledger: ...
    @property
    def fingerprints(self) -> SqlFingerprints: ...
    @property
    def signer(self) -> Signer: ...
    @property
    def watermarker(self) -> Watermarker: ...
    @property
    def masters(self) -> Path: ...
    @property
    def device(self) -> str: ...


class Delivery:
    """Gives out the takes of one plan.

    Args:
        info: of the model that made them.
    """

    def __init__(
        self,
        parts: DeliveryParts,
        request: GenerationRequest,
        plan: ConditioningPlan,
        info: ModelInfo,
    ) -> None:
        self.parts, self.request, self.plan = parts, request, plan
        self._made = MadeWith(
            info, parts.embedder.space, parts.index.name, parts.watermarker.name, parts.device
        )

    def give_out(
        self, take: Audio, seed: int, target: Path, checks: Mapping[str, Any] | None = None
    ) -> GenerationResult:
        """Mark, write under a temporary name, log, and only then rename into place.

        Args:
            checks: what the output gate measured, for the record.
        """
        number = self.parts.ledger.next_output_id()
        marked = self.parts.watermarker.embed(take, Mark(number))
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.stem}.{number}.part{target.suffix}")
        master = self.parts.masters / f"{number}.wav"
        try:
            tags = file_tags(number, self.plan.licenses)
            audio.save(marked or take, part, subtype=self.request.subtype, tags=tags)
            self.parts.masters.mkdir(parents=True, exist_ok=True, mode=0o700)
            audio.save(take, master, subtype="FLOAT")
            master.chmod(0o600)
            signature = self.parts.signer.sign(part, self._claim(number, take, marked))
            fingerprint = make_fingerprint(marked or take)
            similar = likeness(take, self.plan.references, self.parts.embedder, self.parts.index)
            kept = {"sha256": fingerprint.sha256, "landmarks": len(fingerprint.hashes)}
            output = FinishedOutput(
                number, take, marked, part, target.name, seed, similar,
                {**(checks or {}), "fingerprint": kept},
            )  # fmt: skip
            record = signed(
                make_record(self.request, self.plan, output, self._made), target, signature
            )
            self.parts.ledger.append(record)
            # After the entry: a fingerprint without one would name an output that never was. An
            # entry whose fingerprint is missing is of a file that nobody got.
            self.parts.fingerprints.put(number, fingerprint)
        except BaseException:
            part.unlink(missing_ok=True)
            sidecar_of(part).unlink(missing_ok=True)
            master.unlink(missing_ok=True)
            raise
        files = put_in_place(part, target, signature)
        return GenerationResult(marked or take, files, self.plan, record)

    def _claim(self, number: int, take: Audio, marked: Audio | None) -> ClaimedOutput:
        name = None if marked is None else self.parts.watermarker.name
        lines = credit_lines(self.plan.licenses)
        return ClaimedOutput(number, self.plan, self._made.info, name, take.duration_s, lines)
