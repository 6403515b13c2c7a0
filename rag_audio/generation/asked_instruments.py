"""What instruments a request asks for by its words."""

from __future__ import annotations

from collections.abc import Set

from rag_audio.domain import GenerationRequest, Stem
from rag_audio.domain.lexicon import broader, concepts, concepts_in

_MADE_ON_DRUMS = frozenset(
    ("dance", "hip hop", "rock", "funk", "disco", "reggae", "breakbeat", "dubstep", "samba")
)


def instruments_asked_for(request: GenerationRequest) -> frozenset[str]:
    """The concepts of instruments and drums that the words of a request name."""
    words = ", ".join((request.prompt, *request.instrumentation))
    names = (one.concept for one in concepts_in(words))
    return frozenset(name for name in names if concepts()[name].kind in ("instrument", "drum"))


def asks_for_a_beat(request: GenerationRequest) -> bool:
    """Whether the words of a request name drums, or music that is made on drums."""
    words = ", ".join((request.prompt, *request.instrumentation))
    named = kinds_of(words)
    return bool(named & _MADE_ON_DRUMS) or any(concepts()[name].kind == "drum" for name in named)


def is_said_of(stem: Stem, asked: Set[str]) -> bool:
    """Whether what is known of a stem in words names an asked instrument, or a sort of it."""
    return bool(asked & kinds_of(stem.caption))


def kinds_of(text: str) -> frozenset[str]:
    """The concepts that a text names, with what is broader."""
    own = [one.concept for one in concepts_in(text)]
    return frozenset((*own, *(up for one in own for up in broader(one))))
