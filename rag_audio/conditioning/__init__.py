"""From references to what the model is given: a plan, and the seed audio it describes."""

from __future__ import annotations

from rag_audio.conditioning.clearance import claims_on, clear_plan
from rag_audio.conditioning.melody import BroughtMelody
from rag_audio.conditioning.planning import make_plan
from rag_audio.conditioning.replay import renew_plan, request_of
from rag_audio.conditioning.seeding import seed_audio
from rag_audio.domain import USE_OF

__all__ = [
    "USE_OF",
    "BroughtMelody",
    "claims_on",
    "clear_plan",
    "make_plan",
    "renew_plan",
    "request_of",
    "seed_audio",
]
