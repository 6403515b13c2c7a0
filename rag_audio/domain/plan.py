"""What will be given to the model, and the JSON form of a whole plan."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rag_audio.domain.codec import Document, FieldForm, as_text, encode, json_form, read, read_noun
from rag_audio.domain.controls import Enforcement, Layer, Mix
from rag_audio.domain.licensing import License
from rag_audio.domain.music import Key, bar_s
from rag_audio.domain.request import Channel, Controls
from rag_audio.domain.stems import Reference
from rag_audio.errors import InvalidInput

MAX_NOTES = 1024
_NOTE = re.compile(r"(\d+\.\d{3})-(\d+\.\d{3}):(\d{1,3})")
_PLAN_FORMAT = 1
_ROUNDING_S = 1e-6


@dataclass(frozen=True)
class PromptSpan:
    """``enriched_prompt[start:end]``, the words one reference (or, stem None, the user) gave."""

    start: int
    end: int
    text: str
    tokens: int
    stem: str | None


@json_form(later=("rendered", "instruments", "layer", ("start_s", "end_s"), "hits_s"))
@dataclass(frozen=True)
class SeedPart:
    """One reference's part in the seed audio.

    Attributes:
        reference: index into :attr:`ConditioningPlan.references`.
        weight: share of the references' mix by energy over the whole piece; all weights sum to 1.
        time_ratio: output duration / input duration of the stretch.
        semitones: transposition.
        gain_db: applied after conforming, before the weight.
        loop_s: length of the loop after stretching; 0 when the part needs no loop.
        rendered: played from its score at the wanted tempo and key, not stretched.
        instruments: General MIDI names in place of the score's, by number of notes; drums stay.
        layer: what of the reference; None: all of it.
        start_s, end_s: where in the piece it sounds; None: to the end.
        hits_s: when in the piece a one-shot is struck, in seconds; empty: it is not placed so.
    """

    reference: int
    weight: float
    time_ratio: float
    semitones: int
    gain_db: float
    loop_s: float
    rendered: bool = False
    instruments: tuple[str, ...] = ()
    layer: Layer | None = None
    start_s: float = 0.0
    end_s: float | None = None
    hits_s: tuple[float, ...] = ()

    @property
    def is_whole(self) -> bool:
        """All of the reference, all the time."""
        return self.layer is None and self.start_s == 0.0 and self.end_s is None


@dataclass(frozen=True)
class Note:
    """A note of a tune: seconds from its beginning, and a MIDI pitch, 60 = middle C."""

    start_s: float
    end_s: float
    pitch: int

    def __post_init__(self) -> None:
        if not 0 <= self.start_s < self.end_s < math.inf:
            raise InvalidInput(f"a note cannot last from {self.start_s:g} to {self.end_s:g} s")
        if not 0 <= self.pitch <= 127:
            raise InvalidInput(f"the pitch of a note must be 0…127, got {self.pitch}")


def notes_to_text(notes: Iterable[Note]) -> str:
    """``0.500-0.980:64 …``: start, end and pitch. A text, so that a ledger sets it aside."""
    return " ".join(f"{note.start_s:.3f}-{note.end_s:.3f}:{note.pitch}" for note in notes)


def notes_from_text(text: str) -> tuple[Note, ...]:
    """The inverse of :func:`notes_to_text`.

    Raises:
        InvalidInput: it holds something else, or no note.
    """
    notes = []
    for word in text.split():
        found = _NOTE.fullmatch(word)
        if found is None:
            raise InvalidInput(f"{word[:40]!r} is not a note", hint="write it like 0.500-0.980:64")
        notes.append(Note(float(found[1]), float(found[2]), int(found[3])))
    return tuple(notes)


@json_form(forms={"notes": FieldForm(notes_to_text, lambda text: notes_from_text(as_text(text)))})
@dataclass(frozen=True)
class Melody:
    """The tune that seeds a plan, played by an instrument of the soundfont.

    Attributes:
        notes: as they are played, in order of start.
        period_s: it begins again after this long.
        instrument: a General MIDI name.
        weight: its share of the seed's energy, 0 < w ≤ 1; references share the rest.
        source_sha256: of the bytes of the file that it was heard in.
        source_rights: ``own`` or ``licensed``: what the user stated about the file, if anything.
        sources: indices into the plan's references: what was recognised in the file.
    """

    notes: tuple[Note, ...]
    period_s: float
    instrument: str
    weight: float
    source_sha256: str
    source_rights: str | None = None
    sources: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= len(self.notes) <= MAX_NOTES:
            raise InvalidInput(f"a melody has 1…{MAX_NOTES} notes, got {len(self.notes)}")
        if not max(note.end_s for note in self.notes) <= self.period_s < math.inf:
            raise InvalidInput(f"a melody's notes must end within its {self.period_s:g} s")
        if not 0 < self.weight <= 1:
            raise InvalidInput(f"a melody's weight must be in (0, 1], got {self.weight:g}")


@dataclass(frozen=True)
class HeldBy:
    """A claim on a reference's bytes that holds beside, or in place of, its own license.

    Attributes:
        stem: id. license: key of one of :attr:`ConditioningPlan.licenses`.
        artist: as that license's library declares them, or empty.
    """

    stem: str
    license: str
    artist: str


@dataclass(frozen=True)
class Clash:
    """How far the pitched parts of a seed are from one harmony; 0 is none.

    Attributes:
        chroma: 0…1, how much their pitch classes disagree, bar by bar.
        roughness: 0…1, how rough the partials of one part make those of another.
    """

    chroma: float
    roughness: float


@dataclass(frozen=True)
class InheritedSource:
    """A source of the sound that an edit began with.

    Attributes:
        reference: index into :attr:`ConditioningPlan.references`.
        used: its share of each channel there, before the edit.
    """

    reference: int
    used: Mapping[Channel, float]


@json_form(later=("bar_line_s",))
@dataclass(frozen=True)
class Edit:
    """How a plan's output comes from another sound.

    Attributes:
        kind: ``inpaint``, ``extend`` or ``vary``.
        parent: number of the output of ours that was edited; None: a file from elsewhere.
        ancestors: the parent, its parent, and so on.
        source_sha256: of the edited file's bytes.
        source_rights: ``own`` or ``licensed``: what the user stated about the file, if anything.
        regions: (start, end) of what was made, in seconds of the output.
        kept: share of the output, 0…1, that is the edited sound: by time; of ``vary`` the share
            of the starting latents' energy.
        bar_line_s: a bar line of the output, in seconds from its beginning; may lie before it.
    """

    kind: str
    parent: int | None
    ancestors: tuple[int, ...]
    source_sha256: str
    source_rights: str | None
    regions: tuple[tuple[float, float], ...]
    kept: float
    inherited: tuple[InheritedSource, ...] = ()
    bar_line_s: float = 0.0


@json_form(
    later=(
        "enforcement",
        "controls",
        "edit",
        "mix",
        "melody",
        "artist",
        "windows_on_bars",
        "held_by",
        "clash",
    ),
)
@dataclass(frozen=True)
class ConditioningPlan:
    """What will be given to the model. Pure data: it can be printed, logged and replayed.

    Attributes:
        melody: plays in the seed beside the references' parts, or alone.
        artist: whose style was asked for, as the library wrote the name.
        held_by: of references whose bytes several licenses claim; empty for all others.
        windows_on_bars: a piece longer than the model's window is made of windows that all begin on
            bar lines; False: as the first releases placed them.
        clash: between the parts that have pitch; None: fewer than two do, or nobody listened.
    """

    prompt: str
    enriched_prompt: str
    spans: tuple[PromptSpan, ...]
    negative_prompt: str
    references: tuple[Reference, ...]
    licenses: tuple[License, ...]
    seed_parts: tuple[SeedPart, ...]
    channels: frozenset[Channel]
    strength: float
    bpm: float | None
    key: Key | None
    duration_s: float
    seed: int
    steps: int
    guidance: float
    variations: int
    model: str
    notes: tuple[str, ...] = ()
    enforcement: Enforcement = field(default_factory=Enforcement)
    controls: Controls = field(default_factory=Controls)
    edit: Edit | None = None
    mix: Mix = Mix.WAVEFORM
    melody: Melody | None = None
    artist: str | None = None
    held_by: tuple[HeldBy, ...] = ()
    windows_on_bars: bool = False
    clash: Clash | None = None

    def claims_on(self, reference: Reference) -> tuple[tuple[License, str], ...]:
        """The licenses that hold for a reference, each with the artist it names, its own first.

        Raises:
            KeyError: the plan lacks the license.
        """
        known = {license.key: license for license in self.licenses}
        stem = reference.stem
        own = (stem.license_key, stem.artist)
        held = [(one.license, one.artist) for one in self.held_by if one.stem == stem.id] or [own]
        held.sort(key=lambda claim: (claim != own, claim[0] != own[0], claim))
        return tuple((known[key], artist) for key, artist in held)

    @property
    def own_references(self) -> int:
        """How many references, from the first, give words or sound themselves; those behind them
        only came along with an edited sound."""
        if self.edit is None:
            return len(self.references)
        ids = [reference.stem.id for reference in self.references]
        used = {part.reference for part in self.seed_parts}
        used |= {ids.index(span.stem) for span in self.spans if span.stem in ids}
        used |= set(() if self.melody is None else self.melody.sources)
        return max(used, default=-1) + 1

    @property
    def bar_s(self) -> float:
        """Length of a bar of the piece in seconds; 0.0: its tempo is not known."""
        return bar_s(self.bpm, self.controls.time_signature)

    @property
    def is_seeded(self) -> bool:
        """Whether it starts from sound: of references, or of a melody."""
        return bool(self.seed_parts) or self.melody is not None

    @property
    def references_weight(self) -> float:
        """The references' share of the seed's energy; a melody has the rest."""
        return 1.0 if self.melody is None else 1.0 - self.melody.weight


def plan_to_json(plan: ConditioningPlan) -> Document:
    """A whole plan as a JSON object; ``plan_from_json`` gives an equal plan back."""
    return {"format": _PLAN_FORMAT, **encode(plan)}


def plan_from_json(document: Mapping[str, Any]) -> ConditioningPlan:
    """The inverse of :func:`plan_to_json`.

    Raises:
        InvalidInput: the document is not a plan, or contradicts itself.
    """
    plan = read_noun("plan", document, _plan)
    _check_plan(plan)
    return plan


def _plan(document: Mapping[str, Any]) -> ConditioningPlan:
    if document["format"] != _PLAN_FORMAT:
        raise InvalidInput(f"a plan of format {document['format']!r} cannot be read")
    return read(ConditioningPlan, document)


def _check_plan(plan: ConditioningPlan) -> None:
    for part in plan.seed_parts:
        if not 0 <= part.reference < len(plan.references):
            raise InvalidInput(f"the plan seeds from reference {part.reference}, which it lacks")
        if not (part.weight >= 0 and 0 < part.time_ratio < math.inf and part.loop_s >= 0):
            raise InvalidInput(f"the plan's seed part {part} is out of range")
        end_s = plan.duration_s if part.end_s is None else part.end_s
        if not 0 <= part.start_s < end_s < math.inf:
            raise InvalidInput(f"the plan's seed part {part} sounds nowhere")
        if not all(part.start_s - _ROUNDING_S <= at < end_s for at in part.hits_s):
            raise InvalidInput(f"the plan's seed part {part} is struck where it does not sound")
    for source in () if plan.melody is None else plan.melody.sources:
        if not 0 <= source < len(plan.references):
            raise InvalidInput(
                f"the plan attributes its melody to reference {source}, which it lacks"
            )
    for span in plan.spans:
        if plan.enriched_prompt[span.start : span.end] != span.text:
            raise InvalidInput(f"the plan's prompt does not hold {span.text!r} where it says so")
    if not 0 < plan.strength <= 1:
        raise InvalidInput(f"the plan's strength must be in (0, 1], got {plan.strength:g}")
    if not 0 < plan.duration_s < math.inf:
        raise InvalidInput(f"the plan's duration must be positive, got {plan.duration_s:g}")
