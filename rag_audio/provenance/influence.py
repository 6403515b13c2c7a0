"""How much each reference conditioned an output: the exact shares, read off the plan.

These are shares of what was *given* to the model, not of what it did with it; whether a source was
heard in the result is another question, answered by other numbers and never blended with these.
"""

from __future__ import annotations

from rag_audio.domain import Channel, ConditioningPlan, Edit

Shares = dict[Channel, float]
"""A share, 0…1, per channel."""


def used_shares(plan: ConditioningPlan) -> tuple[dict[int, Shares], Shares]:
    """The exact share of each conditioning channel that each reference supplied.

    The prompt channel counts tokens: a reference owns the tokens of the spans it added. The init
    channel counts energy: a reference owns its weight in the seed mix, times the part of the
    starting latents' energy that is signal (:func:`signal_share`). The model owns what is left:
    the user's own words, and the noise; of an edit also the edited file, and of a melody that the
    user brought its share of the seed, as far as no source of them is known. What was recognised in
    the melody's file shares the melody's weight. A channel that is closed belongs to the model
    wholly.

    Returns:
        The shares by index into ``plan.references``, and the model's remainder; in each channel
        all of them sum to 1.
    """
    shares: dict[int, Shares] = {
        index: dict.fromkeys(Channel, 0.0) for index in range(len(plan.references))
    }
    if Channel.PROMPT in plan.channels:
        _add_prompt(plan, shares)
    if Channel.INIT in plan.channels:
        _add_init(plan, shares)
    if plan.edit is not None:
        _add_inherited(plan.edit, shares)
    rest = {
        channel: max(0.0, 1.0 - sum(share[channel] for share in shares.values()))
        for channel in Channel
    }
    return shares, rest


def signal_share(strength: float) -> float:
    """Share of the starting latents' energy that is the seed audio and not noise, 0…1.

    A flow starts from ``(1 - s) * signal + s * noise`` with both of unit variance (Liu et al.
    2022, "Flow Straight and Fast", eq. 1), so the signal holds (1-s)² of (1-s)² + s².
    """
    kept = (1.0 - strength) ** 2
    return kept / (kept + strength**2)


def _add_inherited(edit: Edit, shares: dict[int, Shares]) -> None:
    """What was kept has the shares that its sources had in it; the new part has the plan's."""
    for share in shares.values():
        for channel in Channel:
            share[channel] *= 1.0 - edit.kept
    for source in edit.inherited:
        for channel, share_then in source.used.items():
            shares[source.reference][channel] += edit.kept * share_then


def _add_prompt(plan: ConditioningPlan, shares: dict[int, Shares]) -> None:
    total = sum(span.tokens for span in plan.spans)
    if total == 0:
        return
    for span in plan.spans:
        owners = [i for i, ref in enumerate(plan.references) if ref.stem.id == span.stem]
        for owner in owners:  # several windows of one stem share its words evenly
            shares[owner][Channel.PROMPT] += span.tokens / total / len(owners)


def _add_init(plan: ConditioningPlan, shares: dict[int, Shares]) -> None:
    kept = signal_share(plan.strength)
    melody = plan.melody
    if melody is not None:
        for source in melody.sources:
            shares[source][Channel.INIT] += kept * melody.weight / len(melody.sources)
    total = sum(part.weight for part in plan.seed_parts)
    for part in plan.seed_parts if total > 0 else ():
        share = plan.references_weight * part.weight / total
        shares[part.reference][Channel.INIT] += kept * share
