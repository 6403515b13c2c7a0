"""Plans as JSON documents and back: complete, so that a plan can be replayed.

How numbers are written, see :mod:`rag_audio.json_forms`; the nouns in a plan are those of
:mod:`rag_audio.source_documents`, which can be had from here too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rag_audio.domain import (
    Aim,
    Channel,
    ConditioningPlan,
    Controls,
    Edit,
    Enforcement,
    HeldBy,
    InheritedSource,
    Key,
    Layer,
    Melody,
    Mix,
    PromptSpan,
    SeedPart,
)
from rag_audio.errors import InvalidInput
from rag_audio.json_forms import (
    SAFE_INTEGER,
    Document,
    as_integer,
    as_items,
    as_real,
    as_text,
    as_truth,
    maybe,
    maybe_key_text,
    maybe_number,
    number,
    read_noun,
)
from rag_audio.source_documents import (
    license_from_json,
    license_to_json,
    played_from_json,
    played_to_json,
    reference_from_json,
    reference_to_json,
    stem_from_json,
    stem_to_json,
)
from rag_audio.tunes import notes_from_text, notes_to_text

__all__ = [
    "controls_json",
    "license_from_json",
    "license_to_json",
    "melody_json",
    "plan_from_json",
    "plan_to_json",
    "played_from_json",
    "played_to_json",
    "reference_from_json",
    "reference_to_json",
    "stem_from_json",
    "stem_to_json",
]

_PLAN_FORMAT = 1


def plan_to_json(plan: ConditioningPlan) -> Document:
    """A whole plan as a JSON object; ``plan_from_json`` gives an equal plan back."""
    return {
        "format": _PLAN_FORMAT,
        "prompt": plan.prompt,
        "enriched_prompt": plan.enriched_prompt,
        "spans": [
            {
                "start": span.start,
                "end": span.end,
                "text": span.text,
                "tokens": span.tokens,
                "stem": span.stem,
            }
            for span in plan.spans
        ],
        "negative_prompt": plan.negative_prompt,
        "references": [reference_to_json(reference) for reference in plan.references],
        "licenses": [license_to_json(license) for license in plan.licenses],
        "seed_parts": [
            {
                "reference": part.reference,
                "weight": number(part.weight),
                "time_ratio": number(part.time_ratio),
                "semitones": part.semitones,
                "gain_db": number(part.gain_db),
                "loop_s": number(part.loop_s),
                **({"rendered": True} if part.rendered else {}),
                **({"instruments": list(part.instruments)} if part.instruments else {}),
                **_placed_to_json(part),
            }
            for part in plan.seed_parts
        ],
        "channels": sorted(channel.value for channel in plan.channels),
        "strength": number(plan.strength),
        "bpm": maybe_number(plan.bpm),
        "key": maybe_key_text(plan.key),
        "duration_s": number(plan.duration_s),
        "seed": plan.seed if abs(plan.seed) <= SAFE_INTEGER else str(plan.seed),
        "steps": plan.steps,
        "guidance": number(plan.guidance),
        "variations": plan.variations,
        "model": plan.model,
        "notes": list(plan.notes),
        **_later_fields(plan),
    }


def _later_fields(plan: ConditioningPlan) -> Document:
    """What plans of the first releases could not say: there only where it says something."""
    later: Document = {}
    if plan.enforcement != Enforcement():
        later["enforcement"] = {
            "aims": sorted(aim.value for aim in plan.enforcement.aims),
            "candidates": plan.enforcement.candidates,
        }
    if plan.controls != Controls():
        later["controls"] = controls_json(plan.controls)
    if plan.edit is not None:
        later["edit"] = _edit_to_json(plan.edit)
    if plan.mix is not Mix.WAVEFORM:
        later["mix"] = plan.mix.value
    if plan.melody is not None:
        later["melody"] = melody_json(plan.melody)
    if plan.artist is not None:
        later["artist"] = plan.artist
    if plan.windows_on_bars:
        later["windows_on_bars"] = True
    if plan.held_by:
        later["held_by"] = [vars(claim).copy() for claim in plan.held_by]
    return later


def melody_json(melody: Melody) -> Document:
    """A melody as a JSON object; its notes are one text, which a ledger sets aside."""
    return {
        "notes": notes_to_text(melody.notes),
        "period_s": number(melody.period_s),
        "instrument": melody.instrument,
        "weight": number(melody.weight),
        "source_sha256": melody.source_sha256,
        "source_rights": melody.source_rights,
        "sources": list(melody.sources),
    }


def _melody(document: Mapping[str, Any]) -> Melody:
    return Melody(
        notes=notes_from_text(as_text(document["notes"])),
        period_s=as_real(document["period_s"]),
        instrument=as_text(document["instrument"]),
        weight=as_real(document["weight"]),
        source_sha256=as_text(document["source_sha256"]),
        source_rights=maybe(as_text, document["source_rights"]),
        sources=tuple(as_integer(index) for index in as_items(document["sources"])),
    )


def _placed_to_json(part: SeedPart) -> Document:
    """Layer and section of a part, where it has any."""
    placed: Document = {}
    if part.layer is not None:
        placed["layer"] = part.layer.value
    if part.start_s or part.end_s is not None:
        placed |= {"start_s": number(part.start_s), "end_s": maybe_number(part.end_s)}
    return placed


def controls_json(controls: Controls) -> Document:
    """Controls as a JSON object; the time signature is a list of two numbers."""
    signature = controls.time_signature
    return {
        "time_signature": None if signature is None else list(signature),
        "bars": controls.bars,
        "instrumentation": list(controls.instrumentation),
        "mood": list(controls.mood),
    }


def _edit_to_json(edit: Edit) -> Document:
    return {
        "kind": edit.kind,
        "parent": edit.parent,
        "ancestors": list(edit.ancestors),
        "source_sha256": edit.source_sha256,
        "source_rights": edit.source_rights,
        "regions": [[number(start), number(end)] for start, end in edit.regions],
        "kept": number(edit.kept),
        "inherited": [
            {
                "reference": source.reference,
                "used": {channel.value: number(share) for channel, share in source.used.items()},
            }
            for source in edit.inherited
        ],
        **({"bar_line_s": number(edit.bar_line_s)} if edit.bar_line_s else {}),
    }


def _edit(document: Mapping[str, Any]) -> Edit:
    return Edit(
        kind=as_text(document["kind"]),
        parent=maybe(as_integer, document["parent"]),
        ancestors=tuple(as_integer(number) for number in as_items(document["ancestors"])),
        source_sha256=as_text(document["source_sha256"]),
        source_rights=maybe(as_text, document["source_rights"]),
        regions=tuple(
            (as_real(start), as_real(end)) for start, end in as_items(document["regions"])
        ),
        kept=as_real(document["kept"]),
        inherited=tuple(
            InheritedSource(
                as_integer(source["reference"]),
                {Channel(name): as_real(share) for name, share in dict(source["used"]).items()},
            )
            for source in as_items(document["inherited"])
        ),
        bar_line_s=as_real(document.get("bar_line_s", 0.0)),
    )


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
    return ConditioningPlan(
        prompt=as_text(document["prompt"]),
        enriched_prompt=as_text(document["enriched_prompt"]),
        spans=tuple(
            PromptSpan(
                start=as_integer(span["start"]),
                end=as_integer(span["end"]),
                text=as_text(span["text"]),
                tokens=as_integer(span["tokens"]),
                stem=maybe(as_text, span["stem"]),
            )
            for span in as_items(document["spans"])
        ),
        negative_prompt=as_text(document["negative_prompt"]),
        references=tuple(reference_from_json(item) for item in as_items(document["references"])),
        licenses=tuple(license_from_json(item) for item in as_items(document["licenses"])),
        seed_parts=tuple(
            SeedPart(
                reference=as_integer(part["reference"]),
                weight=as_real(part["weight"]),
                time_ratio=as_real(part["time_ratio"]),
                semitones=as_integer(part["semitones"]),
                gain_db=as_real(part["gain_db"]),
                loop_s=as_real(part["loop_s"]),
                rendered=as_truth(part.get("rendered", False)),
                instruments=tuple(as_text(n) for n in as_items(part.get("instruments", []))),
                layer=maybe(Layer, part.get("layer")),
                start_s=as_real(part.get("start_s", 0.0)),
                end_s=maybe(as_real, part.get("end_s")),
            )
            for part in as_items(document["seed_parts"])
        ),
        channels=frozenset(Channel(channel) for channel in as_items(document["channels"])),
        strength=as_real(document["strength"]),
        bpm=maybe(as_real, document["bpm"]),
        key=maybe(Key.parse, document["key"]),
        duration_s=as_real(document["duration_s"]),
        seed=as_integer(document["seed"]),
        steps=as_integer(document["steps"]),
        guidance=as_real(document["guidance"]),
        variations=as_integer(document["variations"]),
        model=as_text(document["model"]),
        notes=tuple(as_text(note) for note in as_items(document["notes"])),
        enforcement=_enforcement(document.get("enforcement")),
        controls=_controls(document.get("controls")),
        edit=maybe(_edit, document.get("edit")),
        mix=Mix(document.get("mix", Mix.WAVEFORM.value)),
        melody=maybe(_melody, document.get("melody")),
        artist=maybe(as_text, document.get("artist")),
        held_by=tuple(
            HeldBy(as_text(one["stem"]), as_text(one["license"]), as_text(one["artist"]))
            for one in as_items(document.get("held_by", []))
        ),
        windows_on_bars=as_truth(document.get("windows_on_bars", False)),
    )


def _controls(document: Mapping[str, Any] | None) -> Controls:
    if document is None:
        return Controls()
    signature = document["time_signature"]
    beats, unit = (None, None) if signature is None else map(as_integer, as_items(signature))
    return Controls(
        time_signature=None if beats is None or unit is None else (beats, unit),
        bars=maybe(as_integer, document["bars"]),
        instrumentation=tuple(as_text(word) for word in as_items(document["instrumentation"])),
        mood=tuple(as_text(word) for word in as_items(document["mood"])),
    )


def _enforcement(document: Mapping[str, Any] | None) -> Enforcement:
    if document is None:
        return Enforcement()
    aims = frozenset(Aim(aim) for aim in as_items(document["aims"]))
    return Enforcement(aims, as_integer(document["candidates"]))


def _check_plan(plan: ConditioningPlan) -> None:
    for part in plan.seed_parts:
        if not 0 <= part.reference < len(plan.references):
            raise InvalidInput(f"the plan seeds from reference {part.reference}, which it lacks")
        if not (part.weight >= 0 and 0 < part.time_ratio < math.inf and part.loop_s >= 0):
            raise InvalidInput(f"the plan's seed part {part} is out of range")
        end_s = plan.duration_s if part.end_s is None else part.end_s
        if not 0 <= part.start_s < end_s < math.inf:
            raise InvalidInput(f"the plan's seed part {part} sounds nowhere")
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
