"""How much each reference conditioned an output: the exact shares, read off the plan.

These are shares of what was *given* to the model, not of what it did with it; whether a source was
heard in the result is another question, answered by other numbers and never blended with these.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from math import comb, factorial

import numpy as np
from numpy.typing import NDArray

from rag_audio.domain import Channel, ConditioningPlan, Edit
from rag_audio.errors import InvalidInput

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


# Shares of a joint effect: Shapley values from a value function over coalitions. Pure arithmetic.
#
# A coalition of k players is a number of k bits; bit i says whether player i takes part. A value
# function is an array whose first axis is the coalition, ``[2^k, ...]``; what follows (segments
# of time, measures, seeds) is carried along.
#
# Sources: L. S. Shapley, "A value for n-person games" (1953); S. Lundberg and S.-I. Lee, "A
# unified approach to interpreting model predictions" (2017), whose kernel weights the regression;
# I. Covert and S.-I. Lee, "Improving KernelSHAP" (2021), for sampling coalitions with their
# complements.

Values = NDArray[np.float64]

MOST_EXACT = 6
"""With more players than this the exact values would cost too many runs."""


def exact(values: Values) -> Values:
    """Shapley values ``[k, ...]`` of ``values`` ``[2^k, ...]`` (Shapley 1953, eq. 13).

    Raises:
        InvalidInput: the number of coalitions is not a power of two.
    """
    coalitions = values.shape[0]
    players = coalitions.bit_length() - 1
    if coalitions != 1 << players:
        raise InvalidInput(f"values must be [2^k, ...], got {coalitions} coalitions")
    everyone = np.arange(coalitions)
    sizes = np.array([int(s).bit_count() for s in everyone])
    shares = np.zeros((players, *values.shape[1:]))
    for player in range(players):
        without = everyone[(everyone >> player & 1) == 0]
        weights = np.array([_weight(int(sizes[s]), players) for s in without])
        gains = values[without | 1 << player] - values[without]
        shares[player] = np.tensordot(weights, gains, axes=1)
    return shares


def cheap_coalitions(players: int, budget: int | None = None, seed: int = 0) -> tuple[int, ...]:
    """The coalitions that :func:`estimate` wants first: none, all, each alone, all but each.

    These 2k + 2 hold most of the kernel's weight. A larger budget adds pairs of a random coalition
    and its complement, drawn by the kernel's weight, until it is spent or there are no more.
    """
    full = (1 << players) - 1
    chosen = [0, full]
    chosen += [1 << i for i in range(players)] + [full & ~(1 << i) for i in range(players)]
    chosen = list(dict.fromkeys(chosen))
    rng = np.random.default_rng(seed)
    rest = [s for s in range(full + 1) if s not in chosen and s <= full & ~s]
    while rest and budget is not None and len(chosen) + 2 <= budget:
        weights = np.array([_kernel(s.bit_count(), players) for s in rest])
        drawn = rest.pop(int(rng.choice(len(rest), p=weights / weights.sum())))
        chosen += [drawn, full & ~drawn]
    return tuple(chosen)


def estimate(values: Mapping[int, Values], players: int) -> Values:
    """Shapley values ``[k, ...]`` estimated from the coalitions that were run (KernelSHAP).

    The additive game nearest to the values in the kernel's weights, held to give exactly what all
    players give together (Lundberg & Lee 2017, theorem 2). With all coalitions it is exact.

    Args:
        values: by coalition; must hold none, all, and enough others to tell the players apart,
            which :func:`cheap_coalitions` does.
    """
    full = (1 << players) - 1
    base, total = values[0], values[full] - values[0]
    if players == 0:
        return np.zeros((0, *base.shape))
    if players == 1:
        return np.asarray(total[None])
    inner = [s for s in values if s not in (0, full)]
    sizes: dict[int, int] = {}
    for coalition in inner:
        sizes[coalition.bit_count()] = sizes.get(coalition.bit_count(), 0) + 1
    # What the kernel gives to all coalitions of a size is shared by those that were run.
    weights = np.array(
        [
            _kernel(size, players) * comb(players, size) / sizes[size]
            for size in (s.bit_count() for s in inner)
        ]
    )
    members = np.array([[s >> i & 1 for i in range(players)] for s in inner], dtype=np.float64)
    gains = np.stack([values[s] - base for s in inner])
    flat = gains.reshape(len(inner), -1)
    # Lagrange multiplier for the sum: [A 1; 1' 0] [phi; m] = [b; total].
    system = np.ones((players + 1, players + 1))
    system[:players, :players] = members.T @ (weights[:, None] * members)
    system[players, players] = 0.0
    right = np.concatenate([members.T @ (weights[:, None] * flat), total.reshape(1, -1)])
    solved = np.linalg.solve(system, right)[:players]
    return np.asarray(solved.reshape(players, *base.shape))


@cache
def _weight(size: int, players: int) -> float:
    """Share of the orders of arrival in which a player meets just these ``size`` others."""
    return factorial(size) * factorial(players - size - 1) / factorial(players)


@cache
def _kernel(size: int, players: int) -> float:
    return (players - 1) / (comb(players, size) * size * (players - size))
