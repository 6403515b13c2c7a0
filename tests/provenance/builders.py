"""Records and plans to put into a ledger."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from hashlib import sha256
from typing import Any

from rag_audio.domain import (
    AttributionRecord,
    Channel,
    ConditioningPlan,
    Influence,
    Key,
    License,
    PromptSpan,
    Reference,
    SeedPart,
    Segment,
    SourceUse,
    Stem,
    StemKind,
    Use,
)
from rag_audio.provenance.ledger.records import canonical, parse, record_from_json, record_to_json

LICENSE = License(
    "nightshift-2026",
    "lib",
    "Night Shift Recordings",
    "LicenseRef-NightShift-AI-1",
    frozenset({Use.PROMPT, Use.INIT_AUDIO}),
    valid_until=date(2030, 12, 31),
)


def digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def encode_record(record: AttributionRecord) -> bytes:
    """Its canonical JSON, all texts in it."""
    return canonical(record_to_json(record))


def decode_record(document: bytes) -> AttributionRecord:
    """The inverse of :func:`encode_record`."""
    return record_from_json(parse(document))


def stem(name: str = "break", artist: str = "Night Shift House Band") -> Stem:
    return Stem(
        id=digest(name),
        library="lib",
        path=f"drums/{name}.wav",
        kind=StemKind.AUDIO,
        license=LICENSE.id,
        duration_s=12.5,
        artist=artist,
        artist_declared=True,
        title=name.title(),
        tags=("drums", "boom bap"),
        bpm=92.0,
        bpm_confidence=1.0,
        key=Key(9, True),
    )


def reference(name: str = "break", artist: str = "Night Shift House Band") -> Reference:
    return Reference(Segment(stem(name, artist), 5.0, 10.0), score=0.73, rank=1)


def source(name: str = "break", artist: str = "Night Shift House Band", **more: Any) -> SourceUse:
    influence = Influence({Channel.PROMPT: 0.25, Channel.INIT: 0.125}, similar=0.61)
    return SourceUse(reference(name, artist), replace(LICENSE, **more), influence)


def record(output: int, *sources: SourceUse, **more: Any) -> AttributionRecord:
    made = AttributionRecord(
        output=output,
        created=datetime(2026, 11, 22, 12, 30, 1, 250_000, tzinfo=UTC),
        request={"prompt": "dusty boom bap — 92", "k": 3, "seed": None},
        plan={"enriched_prompt": "dusty boom bap, drums", "strength": 0.7},
        sources=sources or (source(),),
        model_share={Channel.PROMPT: 0.75, Channel.INIT: 0.875},
        model="stable-audio-mini",
        model_id=digest("model"),
        embedder_id="clap-mini:1",
        index_id="edge",
        untrained=True,
        seed=7,
        pcm_sha256=digest(f"pcm {output}"),
        marked_pcm_sha256=digest(f"marked {output}"),
        files={"out.wav": digest(f"file {output}")},
        watermark={"name": "spread-spectrum-1", "payload": output},
        versions={"torch": "2.13.0"},
    )
    return replace(made, **more)


def plan(**more: Any) -> ConditioningPlan:
    """Two references: the first gave 2 of 10 tokens and 3/4 of the seed, the second 1 and 1/4."""
    first, second = reference("break"), reference("keys")
    made = ConditioningPlan(
        prompt="slow dusty beat",
        enriched_prompt="slow dusty beat, boom bap, piano",
        spans=(
            PromptSpan(0, 15, "slow dusty beat", 7, None),
            PromptSpan(15, 25, ", boom bap", 2, first.stem.id),
            PromptSpan(25, 32, ", piano", 1, second.stem.id),
        ),
        negative_prompt="",
        references=(first, second),
        licenses=(LICENSE,),
        seed_parts=(
            SeedPart(0, 0.75, 1.0, 0, 0.0, 0.0),
            SeedPart(1, 0.25, 1.1, -2, 1.5, 4.0),
        ),
        channels=frozenset(Channel),
        strength=0.5,
        bpm=92.0,
        key=Key(9, True),
        duration_s=10.0,
        seed=7,
        steps=8,
        guidance=1.0,
        variations=1,
        model="stable-audio-mini",
    )
    return replace(made, **more)
