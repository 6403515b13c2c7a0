"""Arrange a melody that the user brought: the instrument, the octave, and the other references."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rag_audio.audio.dsp import to_channels
from rag_audio.audio.instruments import first_instrument, middle_of
from rag_audio.audio.pitch_tracking import (
    Tune,
)
from rag_audio.domain import (
    Audio,
    Channel,
    GenerationRequest,
    Key,
    Melody,
    Mix,
    Note,
    Stem,
)
from rag_audio.errors import InvalidInput
from rag_audio.generation.seed_layout import MIN_CONFIDENCE

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
