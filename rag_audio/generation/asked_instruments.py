"""What instruments a request asks for by its words, and where a score plays them."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace

import numpy as np

from rag_audio.audio.midi import part_name
from rag_audio.audio.scores import NoteScore
from rag_audio.domain import GenerationRequest, Segment, Stem
from rag_audio.domain.lexicon import broader, concepts, concepts_in

_WORTH_MOVING = 0.05
"""Another passage is taken where the asked instruments have this much more of its notes."""

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
    named = _kinds_of(words)
    return bool(named & _MADE_ON_DRUMS) or any(concepts()[name].kind == "drum" for name in named)


def passage_of(segment: Segment, score: NoteScore, asked: Set[str]) -> Segment:
    """The passage of a score, as long as a segment, that the asked instruments play most of.

    The segment itself, unless another has clearly more of them; passages begin half their length
    apart, as the windows that are indexed. How much an instrument plays is how long its notes
    sound.
    """
    step_s, last_s = segment.duration_s / 2, segment.stem.duration_s - segment.duration_s
    theirs = [bool(asked & _kinds_of(part_name(part))) for part in score.parts]
    if last_s <= 0 or not any(theirs):
        return segment
    begin, end, is_asked = np.array(
        [
            (note.start_s, note.end_s, wanted)
            for part, wanted in zip(score.parts, theirs, strict=True)
            for note in part.notes
        ]
    ).T

    starts = [*np.arange(0, last_s + 1e-9, step_s).tolist(), segment.start_s]
    theirs_s, all_s = [], []
    for start_s in starts:
        until = np.minimum(end, start_s + segment.duration_s)
        sounding = np.maximum(until - np.maximum(begin, start_s), 0.0)
        theirs_s.append(float(sounding @ is_asked))
        all_s.append(float(sounding.sum()))
    # A lone note in a rest is not what was meant: a thin passage counts as one of mean density.
    shares = np.array(theirs_s) / np.maximum(all_s, max(float(np.mean(all_s)), 1e-9))
    best = int(shares.argmax())
    if shares[best] <= shares[-1] + _WORTH_MOVING:
        return segment
    return replace(segment, start_s=starts[best])


def is_said_of(stem: Stem, asked: Set[str]) -> bool:
    """Whether what is known of a stem in words names an asked instrument, or a sort of it."""
    return bool(asked & _kinds_of(stem.caption))


def _kinds_of(text: str) -> frozenset[str]:
    """The concepts that a text names, with what is broader."""
    own = [one.concept for one in concepts_in(text)]
    return frozenset((*own, *(up for one in own for up in broader(one))))
