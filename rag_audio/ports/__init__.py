"""The seams: what the main path asks of its backends.

One contract test per port runs over every implementation. Implementations are wired in
:mod:`rag_audio.workspace` and nowhere else. Everything is imported from here; the modules below
hold one port each, with what passes through it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rag_audio.ports.catalogue import (
    Catalogue,
    FileState,
    LibraryInfo,
    RightsChange,
    WithheldFile,
)
from rag_audio.ports.embedder import Embedder
from rag_audio.ports.generator import (
    DiffusionInput,
    Generator,
    Member,
    ModelInfo,
    Painting,
    Progress,
    SeedMix,
    StopAsked,
)
from rag_audio.ports.index import Hit, IndexedSegment, SparseVector, StemIndex
from rag_audio.ports.ledger import (
    Fault,
    InclusionProof,
    JsonObject,
    Ledger,
    LedgerEntry,
    LedgerEvent,
)
from rag_audio.ports.rights_log import RightsLog
from rag_audio.ports.watermarker import Detection, Mark, Watermarker

if TYPE_CHECKING:
    from rag_audio.ports.embedder import Vectors as Vectors

__all__ = [
    "Catalogue",
    "Detection",
    "DiffusionInput",
    "Embedder",
    "Fault",
    "FileState",
    "Generator",
    "Hit",
    "InclusionProof",
    "IndexedSegment",
    "JsonObject",
    "Ledger",
    "LedgerEntry",
    "LedgerEvent",
    "LibraryInfo",
    "Mark",
    "Member",
    "ModelInfo",
    "Painting",
    "Progress",
    "RightsChange",
    "RightsLog",
    "SeedMix",
    "SparseVector",
    "StemIndex",
    "StopAsked",
    "Watermarker",
    "WithheldFile",
]
