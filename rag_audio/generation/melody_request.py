"""Whether the sound that a request brings is followed as a melody, and what tune that is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from rag_audio.audio.pitch_tracking import (
    LONGEST_S,
    require_clear,
    require_length,
    transcribe,
)
from rag_audio.domain import (
    USE_OF,
    Audio,
    AudioAs,
    Channel,
    ConditioningPlan,
    GenerationRequest,
    Mix,
    Rights,
    Stem,
)
from rag_audio.domain.disclosure import Disclosure
from rag_audio.errors import RequestRefused
from rag_audio.generation.melody_arrangement import BroughtMelody, has_room, require_room
from rag_audio.retrieval.recognition import ForeignFinding

Followed = tuple[BroughtMelody | None, tuple[str, ...]]
"""A melody or none, and notes that say why."""


def melody_of(
    request: GenerationRequest,
    findings: Sequence[ForeignFinding],
    rights: Rights,
    load: Callable[[Path], Audio],
) -> Followed:
    """The melody to follow in the request's sound; None where it is for the search.

    Asked for nothing, a sound is followed that is one clear voice and nothing that we know, where
    the request leaves it a way into the seed. The notes say which way it went.

    Args:
        findings: what is known of the request's files, let in already.
        load: reads the sound.

    Raises:
        InvalidInput: its melody is asked for, and there is none that can be followed, or no way
            for it into the sound.
    """
    if request.audio is None or request.audio_as is AudioAs.SEARCH:
        return None, ()
    path = Path(request.audio)
    (finding,) = (one for one in findings if one.path == request.audio)
    asked = request.audio_as is AudioAs.MELODY
    if asked:
        require_room(request)
    elif finding.is_known or request.mix is Mix.LATENT or not has_room(request):
        return None, ()
    heard = load(path)
    if asked:
        require_length(heard, path.name)
    elif heard.duration_s > LONGEST_S:
        return None, ()
    tune = transcribe(heard)
    if asked:
        require_clear(tune, path.name)
    elif not tune.is_evident:
        return None, (f"{path.name} is not one voice alone: references like it were sought",)
    # Of an output without sources, too, what the user states decides.
    unsourced = not finding.stems and not finding.sources
    counts = unsourced or not (finding.output is not None or finding.is_mostly_stems)
    stated = request.audio_rights if counts else None
    brought = BroughtMelody(tune, finding.sha256, stated, _stems(finding, rights))
    if asked:
        return brought, ()
    why = "is one voice: its melody is followed; --audio-as search looks for sound like it"
    return brought, (f"{path.name} {why}",)


def require_as_planned(
    plan: ConditioningPlan,
    request: GenerationRequest,
    findings: Sequence[ForeignFinding],
    disclosure: Disclosure,
) -> None:
    """Let a plan pass that owes its melody to all that is known of the melody's file now.

    Args:
        findings: what is known of the request's files, let in already.

    Raises:
        RequestRefused: the file is another one, or a stem or an output was recognised in it since.
    """
    if plan.melody is None:
        return
    finding = next((one for one in findings if one.path == request.audio), None)
    told = {plan.references[i].stem.id for i in plan.melody.sources}
    found = [] if finding is None else [one.copies[0] for one in finding.stems]
    new = [stem for stem in (*found, *(finding.sources if finding else ())) if stem.id not in told]
    if finding is None or finding.sha256 != plan.melody.source_sha256:
        reason = "the plan's melody was heard in another file"
    elif new:
        reason = (
            f"the melody's file was recognised as {disclosure.stem(new[0])} since it was planned"
        )
    else:
        return
    raise RequestRefused(f"refused: {reason}", hint="make a new plan")


def _stems(finding: ForeignFinding, rights: Rights) -> tuple[Stem, ...]:
    """What was recognised, each as a library has it that licenses its sound."""
    use = USE_OF[Channel.INIT]
    found = [
        next(copy for copy in one.copies if rights.refusal(copy, use) is None)
        for one in finding.stems
    ]
    return tuple(dict.fromkeys((*found, *finding.sources)))
