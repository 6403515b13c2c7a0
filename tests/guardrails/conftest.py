from __future__ import annotations

import pytest

from rag_audio import guardrails
from rag_audio.guardrails import Policy

LICENSED = "Copper Lantern Trio"
UNLICENSED = "Glass Harbor Ensemble"


@pytest.fixture(scope="session")
def policy() -> Policy:
    """One licensed artist, one of the library who is not, and everybody we know of."""
    roster = guardrails.load_roster(None)
    return Policy(frozenset({LICENSED}), frozenset({UNLICENSED}), roster)
