"""The nouns of a plan as JSON documents and back: complete, so that a plan can be replayed.

The documents hold JSON's own types only, and no number that canonical JSON (RFC 8785) cannot hold:
an integer past 2^53 and a float that is not finite are written as strings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any, TypeVar

from rag_audio.domain import (
    Aim,
    Channel,
    ConditioningPlan,
    Controls,
    Edit,
    Enforcement,
    InheritedSource,
    Key,
    Layer,
    License,
    Mix,
    Played,
    PromptSpan,
    Reference,
    SeedPart,
    Segment,
    Share,
    Splits,
    Stem,
    StemKind,
    Use,
)
from rag_audio.errors import InvalidInput, RagAudioError

Document = dict[str, Any]
"""One JSON object."""

_Noun = TypeVar("_Noun")
_SAFE_INTEGER = 2**53 - 1
_PLAN_FORMAT = 1


def license_to_json(license: License) -> Document:
    """A license as a JSON object; sets are sorted lists, days and date-times ISO 8601.

    What a license of the first releases could not say is there only where it says something, so
    that their documents keep their hashes.
    """
    document: Document = {
        "id": license.id,
        "library": license.library,
        "holder": license.holder,
        "spdx": license.spdx,
        "uses": sorted(use.value for use in license.uses),
        "territories": sorted(license.territories),
        "valid_from": license.valid_from.isoformat() if license.valid_from else None,
        "valid_until": license.valid_until.isoformat() if license.valid_until else None,
        "credit": license.credit,
        "max_similarity": _number(license.max_similarity),
    }
    splits = {
        kind: [{"holder": one.holder, "share": one.share, "ipi": one.ipi} for one in shares]
        for kind, shares in license.splits.kinds().items()
        if shares
    }
    later: Document = {
        "excluded": sorted(license.excluded),
        "timezone": "" if license.timezone == "UTC" else license.timezone,
        "splits": splits,
        "ipi": license.ipi,
    }
    return document | {name: value for name, value in later.items() if value}


def license_from_json(document: Mapping[str, Any]) -> License:
    """The inverse of :func:`license_to_json`.

    Raises:
        InvalidInput: the document lacks a field or one has the wrong form.
    """
    return _read("license", document, _license)


def stem_to_json(stem: Stem) -> Document:
    """A stem as a JSON object; the key is written as in ``A minor``."""
    return {
        "id": stem.id,
        "library": stem.library,
        "path": stem.path,
        "kind": stem.kind.value,
        "license": stem.license,
        "duration_s": _number(stem.duration_s),
        "artist": stem.artist,
        "artist_declared": stem.artist_declared,
        "title": stem.title,
        "tags": list(stem.tags),
        "bpm": _maybe_number(stem.bpm),
        "bpm_confidence": _number(stem.bpm_confidence),
        "key": _maybe_key_text(stem.key),
        "key_confidence": _number(stem.key_confidence),
        "downbeat_s": _maybe_number(stem.downbeat_s),
        "isrc": stem.isrc,
        "loudness_lufs": _maybe_number(stem.loudness_lufs),
        "instruments": list(stem.instruments),
        **({"iswc": stem.iswc} if stem.iswc else {}),
    }


def stem_from_json(document: Mapping[str, Any]) -> Stem:
    """The inverse of :func:`stem_to_json`.

    Raises:
        InvalidInput: the document lacks a field or one has the wrong form.
    """
    return _read("stem", document, _stem)


def reference_to_json(reference: Reference) -> Document:
    """A reference with its segment and stem as a JSON object."""
    return {
        "stem": stem_to_json(reference.stem),
        "start_s": _number(reference.segment.start_s),
        "duration_s": _number(reference.segment.duration_s),
        "score": _number(reference.score),
        "rank": reference.rank,
    }


def reference_from_json(document: Mapping[str, Any]) -> Reference:
    """The inverse of :func:`reference_to_json`.

    Raises:
        InvalidInput: the document lacks a field or one has the wrong form.
    """
    return _read("reference", document, _reference)


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
                "weight": _number(part.weight),
                "time_ratio": _number(part.time_ratio),
                "semitones": part.semitones,
                "gain_db": _number(part.gain_db),
                "loop_s": _number(part.loop_s),
                **({"rendered": True} if part.rendered else {}),
                **({"instruments": list(part.instruments)} if part.instruments else {}),
                **_placed_to_json(part),
            }
            for part in plan.seed_parts
        ],
        "channels": sorted(channel.value for channel in plan.channels),
        "strength": _number(plan.strength),
        "bpm": _maybe_number(plan.bpm),
        "key": _maybe_key_text(plan.key),
        "duration_s": _number(plan.duration_s),
        "seed": plan.seed if abs(plan.seed) <= _SAFE_INTEGER else str(plan.seed),
        "steps": plan.steps,
        "guidance": _number(plan.guidance),
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
    return later


def _placed_to_json(part: SeedPart) -> Document:
    """Layer and section of a part, where it has any."""
    placed: Document = {}
    if part.layer is not None:
        placed["layer"] = part.layer.value
    if part.start_s or part.end_s is not None:
        placed |= {"start_s": _number(part.start_s), "end_s": _maybe_number(part.end_s)}
    return placed


def played_to_json(played: Played) -> Document:
    """A part that a source played, as a JSON object."""
    return {
        "layer": played.layer,
        "start_s": _number(played.start_s),
        "end_s": _number(played.end_s),
        "weight": _number(played.weight),
    }


def played_from_json(document: Mapping[str, Any]) -> Played:
    """The inverse of :func:`played_to_json`.

    Raises:
        InvalidInput: the document lacks a field or one has the wrong form.
    """
    return _read("part that was played", document, _played)


def _played(document: Mapping[str, Any]) -> Played:
    return Played(
        _text(document["layer"]),
        _real(document["start_s"]),
        _real(document["end_s"]),
        _real(document["weight"]),
    )


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
        "regions": [[_number(start), _number(end)] for start, end in edit.regions],
        "kept": _number(edit.kept),
        "inherited": [
            {
                "reference": source.reference,
                "used": {channel.value: _number(share) for channel, share in source.used.items()},
            }
            for source in edit.inherited
        ],
    }


def _edit(document: Mapping[str, Any]) -> Edit:
    return Edit(
        kind=_text(document["kind"]),
        parent=_maybe(_integer, document["parent"]),
        ancestors=tuple(_integer(number) for number in _items(document["ancestors"])),
        source_sha256=_text(document["source_sha256"]),
        source_rights=_maybe(_text, document["source_rights"]),
        regions=tuple((_real(start), _real(end)) for start, end in _items(document["regions"])),
        kept=_real(document["kept"]),
        inherited=tuple(
            InheritedSource(
                _integer(source["reference"]),
                {Channel(name): _real(share) for name, share in dict(source["used"]).items()},
            )
            for source in _items(document["inherited"])
        ),
    )


def plan_from_json(document: Mapping[str, Any]) -> ConditioningPlan:
    """The inverse of :func:`plan_to_json`.

    Raises:
        InvalidInput: the document is not a plan, or contradicts itself.
    """
    plan = _read("plan", document, _plan)
    _check_plan(plan)
    return plan


def _license(document: Mapping[str, Any]) -> License:
    return License(
        id=_text(document["id"]),
        library=_text(document["library"]),
        holder=_text(document["holder"]),
        spdx=_text(document["spdx"]),
        uses=frozenset(Use(use) for use in _items(document["uses"])),
        territories=frozenset(_text(code) for code in _items(document["territories"])),
        valid_from=_maybe(_moment, document["valid_from"]),
        valid_until=_maybe(_moment, document["valid_until"]),
        credit=_text(document["credit"]),
        max_similarity=_real(document["max_similarity"]),
        excluded=frozenset(_text(code) for code in _items(document.get("excluded", []))),
        timezone=_text(document.get("timezone", "UTC")),
        splits=Splits(
            **{
                kind: tuple(_share(share) for share in _items(shares))
                for kind, shares in dict(document.get("splits", {})).items()
            }
        ),
        ipi=_text(document.get("ipi", "")),
    )


def _share(document: Mapping[str, Any]) -> Share:
    return Share(_text(document["holder"]), _real(document["share"]), _text(document["ipi"]))


def _moment(value: Any) -> date:
    """A day, or a date-time with its offset."""
    text = _text(value)
    return datetime.fromisoformat(text) if "T" in text else date.fromisoformat(text)


def _stem(document: Mapping[str, Any]) -> Stem:
    return Stem(
        id=_text(document["id"]),
        library=_text(document["library"]),
        path=_text(document["path"]),
        kind=StemKind(document["kind"]),
        license=_text(document["license"]),
        duration_s=_real(document["duration_s"]),
        artist=_text(document["artist"]),
        artist_declared=_truth(document["artist_declared"]),
        title=_text(document["title"]),
        tags=tuple(_text(tag) for tag in _items(document["tags"])),
        bpm=_maybe(_real, document["bpm"]),
        bpm_confidence=_real(document["bpm_confidence"]),
        key=_maybe(Key.parse, document["key"]),
        key_confidence=_real(document["key_confidence"]),
        downbeat_s=_maybe(_real, document["downbeat_s"]),
        isrc=_text(document["isrc"]),
        iswc=_text(document.get("iswc", "")),
        loudness_lufs=_maybe(_real, document["loudness_lufs"]),
        instruments=tuple(_text(name) for name in _items(document["instruments"])),
    )


def _reference(document: Mapping[str, Any]) -> Reference:
    segment = Segment(
        _stem(document["stem"]), _real(document["start_s"]), _real(document["duration_s"])
    )
    return Reference(segment, score=_real(document["score"]), rank=_integer(document["rank"]))


def _plan(document: Mapping[str, Any]) -> ConditioningPlan:
    if document["format"] != _PLAN_FORMAT:
        raise InvalidInput(f"a plan of format {document['format']!r} cannot be read")
    return ConditioningPlan(
        prompt=_text(document["prompt"]),
        enriched_prompt=_text(document["enriched_prompt"]),
        spans=tuple(
            PromptSpan(
                start=_integer(span["start"]),
                end=_integer(span["end"]),
                text=_text(span["text"]),
                tokens=_integer(span["tokens"]),
                stem=_maybe(_text, span["stem"]),
            )
            for span in _items(document["spans"])
        ),
        negative_prompt=_text(document["negative_prompt"]),
        references=tuple(_reference(item) for item in _items(document["references"])),
        licenses=tuple(_license(item) for item in _items(document["licenses"])),
        seed_parts=tuple(
            SeedPart(
                reference=_integer(part["reference"]),
                weight=_real(part["weight"]),
                time_ratio=_real(part["time_ratio"]),
                semitones=_integer(part["semitones"]),
                gain_db=_real(part["gain_db"]),
                loop_s=_real(part["loop_s"]),
                rendered=_truth(part.get("rendered", False)),
                instruments=tuple(_text(n) for n in _items(part.get("instruments", []))),
                layer=_maybe(Layer, part.get("layer")),
                start_s=_real(part.get("start_s", 0.0)),
                end_s=_maybe(_real, part.get("end_s")),
            )
            for part in _items(document["seed_parts"])
        ),
        channels=frozenset(Channel(channel) for channel in _items(document["channels"])),
        strength=_real(document["strength"]),
        bpm=_maybe(_real, document["bpm"]),
        key=_maybe(Key.parse, document["key"]),
        duration_s=_real(document["duration_s"]),
        seed=_integer(document["seed"]),
        steps=_integer(document["steps"]),
        guidance=_real(document["guidance"]),
        variations=_integer(document["variations"]),
        model=_text(document["model"]),
        notes=tuple(_text(note) for note in _items(document["notes"])),
        enforcement=_enforcement(document.get("enforcement")),
        controls=_controls(document.get("controls")),
        edit=_maybe(_edit, document.get("edit")),
        mix=Mix(document.get("mix", Mix.WAVEFORM.value)),
    )


def _controls(document: Mapping[str, Any] | None) -> Controls:
    if document is None:
        return Controls()
    signature = document["time_signature"]
    beats, unit = (None, None) if signature is None else map(_integer, _items(signature))
    return Controls(
        time_signature=None if beats is None or unit is None else (beats, unit),
        bars=_maybe(_integer, document["bars"]),
        instrumentation=tuple(_text(word) for word in _items(document["instrumentation"])),
        mood=tuple(_text(word) for word in _items(document["mood"])),
    )


def _enforcement(document: Mapping[str, Any] | None) -> Enforcement:
    if document is None:
        return Enforcement()
    aims = frozenset(Aim(aim) for aim in _items(document["aims"]))
    return Enforcement(aims, _integer(document["candidates"]))


def _check_plan(plan: ConditioningPlan) -> None:
    for part in plan.seed_parts:
        if not 0 <= part.reference < len(plan.references):
            raise InvalidInput(f"the plan seeds from reference {part.reference}, which it lacks")
        if not (part.weight >= 0 and 0 < part.time_ratio < math.inf and part.loop_s >= 0):
            raise InvalidInput(f"the plan's seed part {part} is out of range")
        end_s = plan.duration_s if part.end_s is None else part.end_s
        if not 0 <= part.start_s < end_s < math.inf:
            raise InvalidInput(f"the plan's seed part {part} sounds nowhere")
    for span in plan.spans:
        if plan.enriched_prompt[span.start : span.end] != span.text:
            raise InvalidInput(f"the plan's prompt does not hold {span.text!r} where it says so")
    if not 0 < plan.strength <= 1:
        raise InvalidInput(f"the plan's strength must be in (0, 1], got {plan.strength:g}")
    if not 0 < plan.duration_s < math.inf:
        raise InvalidInput(f"the plan's duration must be positive, got {plan.duration_s:g}")


def _read(what: str, document: Mapping[str, Any], build: Callable[[Any], _Noun]) -> _Noun:
    """Run ``build`` and say in one line which document was wrong when it fails."""
    try:
        return build(document)
    except KeyError as error:
        raise InvalidInput(f"the {what} lacks {error.args[0]!r}") from error
    except (TypeError, ValueError, AttributeError, IndexError) as error:
        raise InvalidInput(f"the {what} cannot be read: {error}") from error
    except RagAudioError as error:
        raise InvalidInput(f"the {what} cannot be read: {error.message}", error.hint) from error


def _number(value: float) -> float | int | str:
    return value if math.isfinite(value) else str(value)


def _maybe_number(value: float | None) -> float | int | str | None:
    return None if value is None else _number(value)


def _maybe_key_text(key: Key | None) -> str | None:
    return None if key is None else str(key)


def _maybe(read: Callable[[Any], _Noun], value: Any) -> _Noun | None:
    return None if value is None else read(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, got {value!r}")
    return value


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"expected true or false, got {value!r}")
    return value


def _real(value: Any) -> float:
    """A number; a string is read only where it stands for a number JSON cannot hold."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise TypeError(f"expected a number, got {value!r}")
    number = float(value)
    if isinstance(value, str) and math.isfinite(number):
        raise TypeError(f"expected a number, got {value!r}")
    return number


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise TypeError(f"expected a whole number, got {value!r}")
    return int(value)


def _items(value: Any) -> list[Any]:
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"expected a list, got {value!r}")
    return list(value)
