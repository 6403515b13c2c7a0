"""The nouns of rag-audio: frozen dataclasses, validated on construction, with no heavy import.

Arrays are written ``[C, T]``: C channels, T samples. Times are seconds, tempos beats per minute.
Everything is imported from here; the modules below only keep what belongs together.
"""

from __future__ import annotations

from rag_audio.domain.coercion import Audio
from rag_audio.domain.controls import Aim, AudioAs, Enforcement, Layer, Mix, Mixing
from rag_audio.domain.identifiers import WORLD
from rag_audio.domain.licensing import License, Rights, Share, Splits, Use
from rag_audio.domain.music import Key
from rag_audio.domain.plan import (
    Clash,
    ConditioningPlan,
    Edit,
    HeldBy,
    InheritedSource,
    Melody,
    Note,
    PromptSpan,
    SeedPart,
)
from rag_audio.domain.record import (
    AttributionRecord,
    GenerationResult,
    Influence,
    OtherClaim,
    Played,
    SourceUse,
    unmet_promises,
)
from rag_audio.domain.request import USE_OF, Channel, Controls, GenerationRequest
from rag_audio.domain.stems import (
    DerivedTag,
    Reference,
    SampleType,
    Segment,
    SegmentFilter,
    Stem,
    StemKind,
)

__all__ = [
    "USE_OF",
    "WORLD",
    "Aim",
    "AttributionRecord",
    "Audio",
    "AudioAs",
    "Channel",
    "Clash",
    "ConditioningPlan",
    "Controls",
    "DerivedTag",
    "Edit",
    "Enforcement",
    "GenerationRequest",
    "GenerationResult",
    "HeldBy",
    "Influence",
    "InheritedSource",
    "Key",
    "Layer",
    "License",
    "Melody",
    "Mix",
    "Mixing",
    "Note",
    "OtherClaim",
    "Played",
    "PromptSpan",
    "Reference",
    "Rights",
    "SampleType",
    "SeedPart",
    "Segment",
    "SegmentFilter",
    "Share",
    "SourceUse",
    "Splits",
    "Stem",
    "StemKind",
    "Use",
    "unmet_promises",
]
