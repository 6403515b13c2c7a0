"""Bring a stored plan up to date: what the catalogue knows is taken from there.

A plan that was printed can be edited by anybody. So stems and licenses come from the catalogue by
the stems' ids, the shares of the prompt are counted again, and every number must lie where
:func:`rag_audio.generation.planning.make_plan` could have put it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from itertools import pairwise

from rag_audio.audio.midi import programs_of
from rag_audio.domain import (
    USE_OF,
    Channel,
    ConditioningPlan,
    GenerationRequest,
    HeldBy,
    License,
    Mix,
    PromptSpan,
    Reference,
    Rights,
    Segment,
    Stem,
    StemKind,
)
from rag_audio.domain.fields import fields_of
from rag_audio.domain.ports import ModelInfo
from rag_audio.domain.refusals import Refusal, most_curable, not_looked_at
from rag_audio.domain.stems import WithheldFile
from rag_audio.errors import InvalidInput, RequestRefused
from rag_audio.generation.drum_patterns import SHORTEST_GAP_S
from rag_audio.generation.seed_layout import first_silence_s

# What a plan that was shown says of its sources, compared with the current catalogue.
#
# The plan itself is kept; but stems are played and credited as the catalogue describes them.
# Where a description changed since, another piece would be made, or another credit line printed.

_FREE = frozenset(
    ("path", "title", "isrc", "iswc", "bpm_confidence", "key_confidence", "artist_declared")
)
"""What only identifies a stem, or only counts while a plan is made."""
_CREDITED = ("holder", "spdx", "credit", "splits", "ipi")
"""What an output says of a license. Dates, territories and uses are checked again instead."""
_AGAIN = "make a new plan"
_SHOWN = 60


def require_as_shown(shown: ConditioningPlan, renewed: ConditioningPlan) -> None:
    """Let a plan pass whose sources are described as they were when it was shown.

    Args:
        shown: as it was stored.
        renewed: the same with the current stems and licenses, in the same order.

    Raises:
        InvalidInput: a stem or its license is described otherwise; the message says which.
    """
    for told, now in zip(shown.references, renewed.references, strict=True):
        changed = changes(told.stem, now.stem)
        if changed:
            raise _changed(_name(told.stem), changed)
    before = {granted.key: granted for granted in shown.licenses}
    after = {granted.key: granted for granted in renewed.licenses}
    for key in dict.fromkeys((*before, *after)):
        changed = _license_changes(before.get(key), after.get(key))
        if changed:
            stem = next(
                (one.stem for one in shown.references if one.stem.license_key == key),
                shown.references[0].stem,
            )
            raise _changed(f"license {key} of {_name(stem)}", changed)
    if set(shown.held_by) != set(renewed.held_by):
        ids = {claim.stem for claim in {*shown.held_by} ^ {*renewed.held_by}}
        stem = next(one.stem for one in shown.references if one.stem.id in ids)
        raise _changed(_name(stem), ["other licenses claim its bytes now"])


def changes(told: Stem, now: Stem) -> list[str]:
    """What is described otherwise, in words: "bpm 92 is 61 now"; empty where nothing that counts
    is."""
    names = [field.name for field in fields(Stem) if field.name not in _FREE]
    return _differences(told, now, names)


def _license_changes(before: License | None, after: License | None) -> list[str]:
    if before is None or after is None:
        return ["it does not hold any more" if after is None else "it did not hold then"]
    return _differences(before, after, _CREDITED)


def _differences(told: object, now: object, names: Iterable[str]) -> list[str]:
    pairs = ((name, getattr(told, name), getattr(now, name)) for name in names)
    return [f"{name} {_shown(old)} is {_shown(new)} now" for name, old, new in pairs if old != new]


def _shown(value: object) -> str:
    if value in (None, "", ()):
        return "unknown"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _name(stem: Stem) -> str:
    return stem.title or stem.path


def _changed(what: str, changed: list[str]) -> InvalidInput:
    return InvalidInput(f"{what} changed since the plan was shown: {', '.join(changed)}", _AGAIN)


# A plan's rights are checked again: when it is old, when the model starts, when it is done.


def clear_plan(plan: ConditioningPlan, rights: Rights) -> ConditioningPlan:
    """The plan with the licenses as they stand in ``rights``.

    Each reference is asked for what the plan does with it: words for ``prompt``, sound for
    ``init_audio``, and for both channels of the plan when it does neither. A source of an edited
    sound is asked for the channels by which it reached that, one of a melody for ``init_audio``.

    Raises:
        RequestRefused: a reference may not be used so (any more); all of them are named.
    """
    reasons: list[str] = []
    against: list[Refusal] = []
    for i, reference in enumerate(plan.references):
        stem = reference.stem
        uses = [USE_OF[channel] for channel in _channels(plan, i)]
        found = [why for use in uses if (why := rights.why_not(stem, use)) is not None]
        reasons += [f"{stem.title or stem.path}: {why.reason}" for why in found]
        against += found
    best = most_curable(against)
    if best is not None:
        raise RequestRefused(
            f"refused: {reasons[against.index(best)]}",
            hint=f"ask again: a new plan will use what is licensed now; or else {best.cure}",
            reasons=list(dict.fromkeys(reasons)),
        )
    licenses, held_by = claims_on([reference.stem for reference in plan.references], rights)
    return replace(plan, licenses=licenses, held_by=held_by)


def claims_on(
    stems: Iterable[Stem], rights: Rights
) -> tuple[tuple[License, ...], tuple[HeldBy, ...]]:
    """The licenses of stems, each once, and who holds those whose bytes several claim."""
    licenses: dict[str, License] = {}
    held_by: dict[HeldBy, None] = {}
    for stem in stems:
        licenses |= {granted.key: granted for granted in rights.licenses_of(stem)}
        held_by |= {HeldBy(stem.id, *claim): None for claim in rights.claims_on(stem)}
    return tuple(licenses.values()), tuple(held_by)


def _channels(plan: ConditioningPlan, reference: int) -> list[Channel]:
    """The channels by which a reference reaches the model in a plan."""
    stem = plan.references[reference].stem.id
    used = []
    if any(span.stem == stem for span in plan.spans):
        used.append(Channel.PROMPT)
    if any(part.reference == reference for part in plan.seed_parts):
        used.append(Channel.INIT)
    if plan.melody is not None and reference in plan.melody.sources:
        used.append(Channel.INIT)
    for source in () if plan.edit is None else plan.edit.inherited:
        if source.reference == reference:
            used += [channel for channel, share in source.used.items() if share > 0]
    used = list(dict.fromkeys(used))
    return used or sorted(plan.channels)


_SLACK_S = 0.05
_WEIGHT_SLACK = 1e-6


def request_of(plan: ConditioningPlan, territory: str | None) -> GenerationRequest:
    """The request that an older plan stands for, within the limits of any request.

    Raises:
        InvalidInput: a value of the plan is out of range.
    """
    # A plan's licenses are those of its references, which are named.
    others = {"references", "model", "licenses"}
    alike = (fields_of(GenerationRequest).keys() & vars(plan).keys()) - others
    return GenerationRequest(
        **{name: getattr(plan, name) for name in alike},
        # Their length is said by the plan's duration.
        **vars(replace(plan.controls, bars=None)),
        references=tuple(dict.fromkeys(reference.stem.id for reference in plan.references)),
        k=0,
        territory=territory,
        midi_instruments=next((p.instruments for p in plan.seed_parts if p.instruments), ()),
        enforce=plan.enforcement.aims,
        candidates=plan.enforcement.candidates,
    )


def renew_plan(
    plan: ConditioningPlan,
    *,
    copies: Callable[[str], Sequence[Stem]],
    withheld: Callable[[str], Sequence[tuple[str, WithheldFile]]],
    rights: Rights,
    info: ModelInfo,
    count_tokens: Callable[[str], int],
    shown: bool = False,
) -> ConditioningPlan:
    """The plan with today's stems and licenses; it asks the model for the same as before.

    Args:
        plan: as read from a file.
        copies: the catalogue's stems of an id, in all libraries.
        withheld: files of an id that were not indexed, with their libraries, since their license
            granted nothing.
        shown: it was made and stored here, and shown to whoever asked for it: ranks and notes stay,
            and so must all that was said of its sources (:func:`require_as_shown`). The sources of
            an edited sound are compared with that sound by the caller.

    Raises:
        RequestRefused: a reference is not in the catalogue or not licensed (any more).
        InvalidInput: the plan contradicts itself or does not fit the model; or a source of a plan
            that was shown is described otherwise now.
    """
    if plan.model != info.name:
        raise InvalidInput(
            f"the plan was made for the model {plan.model!r}, this one is {info.name!r}",
            hint="make a new plan, or choose that model with --model",
        )
    if plan.edit is not None and not shown:
        raise InvalidInput(
            f"the plan is that of an edit ({plan.edit.kind}), not of a piece",
            hint=f"rag-audio {plan.edit.kind} FILE …, with the same seed",
        )
    own = plan.own_references
    references = tuple(
        _renewed(
            reference,
            reference.rank if shown else rank,
            _known(reference, plan, copies, withheld, rights),
            shown,
        )
        for rank, reference in enumerate(plan.references[:own], start=1)
    )
    renewed = replace(
        plan,
        references=(*references, *plan.references[own:]),
        spans=_counted(plan, {reference.stem.id for reference in references}, count_tokens),
        notes=plan.notes if shown else ("from an older plan; rights as they stand now",),
    )
    if sum(span.tokens for span in renewed.spans) > info.max_prompt_tokens:
        raise InvalidInput(f"the plan's prompt is longer than {info.max_prompt_tokens} tokens")
    _check_seed_parts(renewed)
    _check_melody(renewed)
    cleared = clear_plan(renewed, rights)
    if shown:
        require_as_shown(plan, cleared)
    return cleared


def _known(
    reference: Reference,
    plan: ConditioningPlan,
    copies: Callable[[str], Sequence[Stem]],
    withheld: Callable[[str], Sequence[tuple[str, WithheldFile]]],
    rights: Rights,
) -> Sequence[Stem]:
    """The catalogue's stems of a reference, at least one; those whose license holds, if any does.

    Raises:
        RequestRefused: there is none; where its license ended, that is the reason.
    """
    told = reference.stem
    known = list(copies(told.id)) if len(told.id) == 64 else []
    if known:
        return [one for one in known if rights.holds_for(one)] or known
    uses = [USE_OF[channel] for channel in sorted(plan.channels)]
    against = [
        (path, rights.why_not_any(stem, uses) or not_looked_at(stem.library))
        for path, stem in (
            (file.path, replace(told, library=library, license=file.license, artist=file.artist))
            for library, file in withheld(told.id)
        )
    ]
    if against:
        path, why = min(against, key=lambda one: one[1].obstacle)
        raise RequestRefused(
            f"refused: {path}: {why.reason}",
            hint=f"ask again: a new plan will use what is licensed now; or else {why.cure}",
        )
    raise RequestRefused(
        f"refused: the plan's reference {told.id[:12]!r} is in no indexed library",
        hint="index its library, or make a new plan",
    )


def _renewed(reference: Reference, rank: int, known: Sequence[Stem], shown: bool) -> Reference:
    # Its own library first; only the catalogue says under which license it lies there. Of a plan
    # that was shown, the copy that is described as it was then.
    told = reference.stem
    stem = min(
        known, key=lambda one: (one.library != told.library, shown and bool(changes(told, one)))
    )
    start, length = reference.segment.start_s, reference.segment.duration_s
    if not (start >= 0 and length > 0 and start + length <= stem.duration_s + _SLACK_S):
        raise InvalidInput(
            f"the plan's segment {start:g}+{length:g} s is not within {stem.path}, "
            f"which is {stem.duration_s:g} s long"
        )
    return Reference(Segment(stem, start, length), reference.score, rank, reference.fit)


def _counted(
    plan: ConditioningPlan, stems: set[str], count_tokens: Callable[[str], int]
) -> tuple[PromptSpan, ...]:
    """The spans with their tokens counted again: the user's words first, then each stem's."""
    spans = plan.spans
    first = spans[0] if spans else None
    if first is None or first.start != 0 or first.stem is not None or first.text != plan.prompt:
        raise InvalidInput("the plan's prompt does not begin with the user's own words")
    if any(one.end > two.start for one, two in pairwise(spans)) or (
        spans[-1].end != len(plan.enriched_prompt)
    ):
        raise InvalidInput("the plan's spans do not cover its prompt, one after another")
    counted, before = [], 0
    for span in spans:
        if span.stem is not None and span.stem not in stems:
            raise InvalidInput(f"the plan attributes words to {span.stem[:12]!r}, which it lacks")
        if span.stem is not None and Channel.PROMPT not in plan.channels:
            raise InvalidInput("a stem gives words in the plan, but its prompt channel is closed")
        total = count_tokens(plan.enriched_prompt[: span.end])
        counted.append(replace(span, tokens=max(0, total - before)))
        before = total
    return tuple(counted)


def _check_melody(plan: ConditioningPlan) -> None:
    melody = plan.melody
    if melody is None:
        return
    if Channel.INIT not in plan.channels or plan.mix is Mix.LATENT:
        raise InvalidInput("the plan has a melody, but its init channel is closed")
    programs_of((melody.instrument,))
    if (melody.weight < 1.0) != bool(plan.seed_parts):
        raise InvalidInput(
            f"the plan's melody has a weight of {melody.weight:g}, "
            f"beside {len(plan.seed_parts)} parts of references"
        )
    if not melody.sources and melody.source_rights is None:
        raise InvalidInput("the plan does not state the rights to the file of its melody")


def _check_seed_parts(plan: ConditioningPlan) -> None:
    parts = plan.seed_parts
    if not parts:
        return
    if Channel.INIT not in plan.channels:
        raise InvalidInput("the plan has seed audio, but its init channel is closed")
    total = sum(part.weight for part in parts)
    if abs(total - 1.0) > _WEIGHT_SLACK:
        raise InvalidInput(f"the weights of the plan's seed parts sum to {total:g}, not to 1")
    if len({(p.reference, p.layer, p.start_s, p.end_s) for p in parts}) != len(parts):
        raise InvalidInput("a reference seeds the plan twice")
    if plan.mix is Mix.LATENT and any(p.start_s or p.end_s is not None for p in parts):
        raise InvalidInput("the plan mixes latents, and arranges them in sections")
    for part in parts:
        segment = plan.references[part.reference].segment
        if not (
            0.25 <= part.time_ratio <= 4
            and abs(part.semitones) <= 12
            and abs(part.gain_db) <= 60
            and (not part.rendered or segment.stem.kind is StemKind.MIDI)
            and part.start_s < plan.duration_s
            and (part.end_s is None or part.end_s <= plan.duration_s + _SLACK_S)
            and part.loop_s <= segment.duration_s * part.time_ratio + _SLACK_S
            and not (part.hits_s and part.loop_s)
            and all(two - one >= SHORTEST_GAP_S for one, two in pairwise(part.hits_s))
        ):
            raise InvalidInput(f"the plan's seed part {part} is out of range")
    end_s = first_silence_s((p.start_s, p.end_s) for p in parts)
    if end_s is not None and end_s < plan.duration_s - _SLACK_S:
        raise InvalidInput(f"no part of the plan's seed sounds at {end_s:g} s")
