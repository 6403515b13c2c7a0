"""Arrange a melody that the user brought: the instrument, the octave, and the other references."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rag_audio.audio.dsp import to_channels
from rag_audio.audio.pitch_tracking import (
    LONGEST_S,
    Tune,
    require_clear,
    require_length,
    transcribe,
)
from rag_audio.audio.scores import first_instrument, middle_of
from rag_audio.domain import (
    USE_OF,
    Audio,
    AudioAs,
    Channel,
    ConditioningPlan,
    GenerationRequest,
    Key,
    Melody,
    Mix,
    Note,
    Rights,
    Stem,
)
from rag_audio.domain.json_documents import Disclosure
from rag_audio.errors import InvalidInput, RequestRefused
from rag_audio.generation.seed_layout import MIN_CONFIDENCE
from rag_audio.retrieval.recognition import ForeignFinding

PlayNotes = Callable[[Sequence[Note], str, float, int], Audio]
"""Plays notes: (notes, General MIDI name, seconds, sample rate)."""

BESIDE_OTHERS = 0.6
"""The melody's share of the seed's energy where references play too."""

FURTHEST = 0.7
"""The usual strength goes no further with a melody; see docs/controls.md."""

DEFAULT_INSTRUMENT = "Acoustic Grand Piano"


@dataclass(frozen=True)
class BroughtMelody:
    """A tune with what is known of the file that it was heard in.

    Attributes:
        source_sha256: of the file's bytes. source_rights: what the user stated about it.
        stems: what was recognised in it, each licensed to seed the sound.
    """

    tune: Tune
    source_sha256: str
    source_rights: str | None
    stems: tuple[Stem, ...] = ()


def require_room(request: GenerationRequest) -> None:
    """Let a request pass that leaves its melody a way into the sound.

    Raises:
        InvalidInput: the init channel is closed, nothing of the seed is kept, or latents are mixed.
    """
    if not has_room(request):
        raise InvalidInput(
            "a melody is sound, and the seed's sound is not used",
            hint="--channels prompt,init, and a strength below 1; or --audio-as search",
        )
    if request.mix is Mix.LATENT:
        raise InvalidInput(
            "a melody is mixed as sound, not as latents", hint="--mix waveform with --audio"
        )


def has_room(request: GenerationRequest) -> bool:
    """Whether the seed's sound is used at all."""
    return Channel.INIT in request.channels and request.strength != 1.0


def key_of(brought: BroughtMelody) -> Key | None:
    """The key of its notes, where it is clear."""
    key, confidence = brought.tune.key()
    return key if confidence >= MIN_CONFIDENCE else None


def cast(
    brought: BroughtMelody,
    request: GenerationRequest,
    speakers: Sequence[Stem],
    sources: tuple[int, ...],
    *,
    alone: bool,
) -> tuple[Melody, str]:
    """The part that a tune plays, and a note that says so.

    The instrument is the one that the request names (``midi_instruments``, ``instrumentation``, the
    prompt), else that of the first stem that gives words. The notes move by octaves to where that
    instrument plays melodies.

    Args:
        speakers: stems that give words to the plan.
        sources: indices of what was recognised in the file.
        alone: whether no reference plays beside it.
    """
    instrument, why = _instrument(request, speakers)
    tune = brought.tune
    octaves = _octaves(tune.notes, middle_of(instrument))
    notes = tuple(replace(note, pitch=note.pitch + 12 * octaves) for note in tune.notes)
    melody = Melody(
        notes=notes,
        period_s=tune.length_s,
        instrument=instrument,
        weight=1.0 if alone else BESIDE_OTHERS,
        source_sha256=brought.source_sha256,
        source_rights=brought.source_rights,
        sources=sources,
    )
    moved = f", {abs(octaves)} octave{'s' * (abs(octaves) > 1)} " if octaves else ""
    moved += ("higher" if octaves > 0 else "lower") if octaves else ""
    return melody, f"melody: {len(notes)} notes{moved}, by {instrument} ({why})"


def _instrument(request: GenerationRequest, speakers: Sequence[Stem]) -> tuple[str, str]:
    if request.midi_instruments:
        return request.midi_instruments[0], "as asked"
    asked = first_instrument((*request.instrumentation, request.prompt))
    if asked is not None:
        return asked, "as asked"
    for stem in speakers:
        own = next((name for name in stem.instruments if name != "Drums"), None)
        own = own or first_instrument((*stem.tags, stem.title))
        if own is not None:
            return own, f"as in {stem.title or stem.path}"
    return DEFAULT_INSTRUMENT, "nobody named another"


def _octaves(notes: Sequence[Note], middle: int) -> int:
    """How many octaves to move, so that the tune lies about a pitch, and within 0…127."""
    pitches = [note.pitch for note in notes]
    octaves = round((middle - float(np.median(pitches))) / 12)
    least, most = math.ceil(-min(pitches) / 12), (127 - max(pitches)) // 12
    return max(least, min(most, octaves))


def melody_audio(
    melody: Melody, play: PlayNotes, duration_s: float, sample_rate: int, channels: int
) -> Audio:
    """The melody as it seeds a piece ``[channels, T]``: from its beginning, again and again.

    A repetition that the piece's end would cut short still begins: there is no silent end.
    """
    notes = [
        replace(note, start_s=note.start_s + begin, end_s=note.end_s + begin)
        for begin in np.arange(0.0, duration_s, melody.period_s).tolist()
        for note in melody.notes
        if note.start_s + begin < duration_s
    ]
    made = play(notes, melody.instrument, duration_s, sample_rate)
    return to_channels(made, channels)


# Whether the sound that a request brings is followed as a melody, and what tune that is.

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
