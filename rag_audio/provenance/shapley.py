"""Shares of a joint effect: Shapley values from a value function over coalitions. Pure arithmetic.

A coalition of k players is a number of k bits; bit i says whether player i takes part. A value
function is an array whose first axis is the coalition, ``[2^k, ...]``; what follows (segments of
time, measures, seeds) is carried along.

Sources: L. S. Shapley, "A value for n-person games" (1953); S. Lundberg and S.-I. Lee, "A unified
approach to interpreting model predictions" (2017), whose kernel weights the regression; I. Covert
and S.-I. Lee, "Improving KernelSHAP" (2021), for sampling coalitions with their complements.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from math import comb, factorial

import numpy as np
from numpy.typing import NDArray

from rag_audio.errors import InvalidInput

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


def leave_one_out(values: Mapping[int, Values], players: int) -> Values:
    """What is lost when one player alone is missing ``[k, ...]``; duplicates get nothing."""
    full = (1 << players) - 1
    return np.stack([values[full] - values[full & ~(1 << i)] for i in range(players)])


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
