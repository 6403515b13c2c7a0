"""A delivered output in another format: with the same credits, mark and statements as the first."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from rag_audio import audio
from rag_audio.credits import credit_lines, file_tags
from rag_audio.domain import AttributionRecord, unmet_promises
from rag_audio.enforcing import unmet_line
from rag_audio.errors import OutputRefused
from rag_audio.files import file_sha256
from rag_audio.plans import plan_from_json
from rag_audio.ports import ModelInfo
from rag_audio.signing import ClaimedOutput, OpenedFile, Signer, put_in_place, sidecar_of

_NO_WORDS: dict[str, Any] = {
    "prompt": "",
    "enriched_prompt": "",
    "spans": [],
    "negative_prompt": "",
    "notes": [],
}
"""Credentials quote no words, which may have been erased from the record."""


def write_copy(
    signer: Signer,
    record: AttributionRecord,
    file: Path,
    target: Path,
    *,
    bitrate_kbps: int | None = None,
) -> tuple[str, ...]:
    """Write a delivered file into another format, tagged and signed; the names of what is written.

    The sound is that of the file, mark included. Its content credentials say that the delivered
    file was opened and converted, and hold that file's own.

    Args:
        record: of the output.
        file: as it was delivered. target: its ending chooses the format.
        bitrate_kbps: of MP3; None: the format's own default.

    Raises:
        UnreadableFile: the file cannot be read.
        InvalidInput: the format cannot be written.
        OutputRefused: it is not the file that the ledger knows, or the copy cannot be signed.
            Nothing is written then.
    """
    digest = file_sha256(file)
    if digest not in record.files.values():
        raise OutputRefused(
            f"{file.name} is not copied: it is not output {record.output} as it was delivered",
            hint="copy the delivered file: one that was changed since is not signed as the output",
        )
    sound = audio.load(file, max_duration_s=None)
    plan = plan_from_json({**record.plan, **_NO_WORDS})
    marks = map(unmet_line, unmet_promises(record.checks))
    part = target.with_name(f".{target.stem}.{secrets.token_hex(8)}.part{target.suffix}")
    try:
        tags = file_tags(record.output, plan.licenses, marks)
        audio.save(sound, part, tags=tags, bitrate_kbps=bitrate_kbps)
        claim = ClaimedOutput(
            record.output,
            plan,
            _model_of(record, sound.sample_rate, sound.channels),
            str(record.watermark["name"]) if "payload" in record.watermark else None,
            sound.duration_s,
            credit_lines(plan.licenses),
            OpenedFile(file, digest, record.output),
            converted=True,
            shares=([one.influence.used for one in record.sources], record.model_share),
        )
        return put_in_place(part, target, signer.sign(part, claim))
    finally:
        part.unlink(missing_ok=True)
        sidecar_of(part).unlink(missing_ok=True)


def _model_of(record: AttributionRecord, sample_rate: int, channels: int) -> ModelInfo:
    """The model as the record knows it: credentials name it, its weights and whether it was
    trained, and nothing else of it."""
    return ModelInfo(
        name=record.model,
        id=record.model_id,
        family="",
        sample_rate=sample_rate,
        channels=channels,
        max_duration_s=0.0,
        max_prompt_tokens=0,
        default_steps=0,
        default_guidance=0.0,
        default_strength=0.0,
        untrained=record.untrained,
    )
