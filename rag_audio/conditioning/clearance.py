"""Rights held against a plan once more: when it is old, when the model starts, when it is done."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from rag_audio.domain import USE_OF, Channel, ConditioningPlan, HeldBy, License, Rights, Stem
from rag_audio.errors import RequestRefused
from rag_audio.refusals import Refusal, most_curable


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
