"""Error correction: a tail-biting convolutional code of rate 1/6 with a soft Viterbi decoder.

The code has constraint length 15 and free distance 56. It is the one that Mars Pathfinder and
Cassini sent with, (15, 1/6): Divsalar & Pollara, "Turbo codes for deep-space communications", JPL
TDA Progress Report 42-120, 1995, gives the context, Dolinar, "A new code for Galileo", TDA Progress
Report 42-93, 1988, the four generators that it shares with Galileo's. Tail-biting (Ma & Wolf, IEEE
Transactions on Communications 34(2), 1986) starts the encoder in the state it ends in, so that a
short message pays for no tail. The
decoder goes round the circular trellis more than once (Shao, Lin & Fossorier, "Two decoding
algorithms for tailbiting codes", IEEE Transactions on Communications 51(10), 2003).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

CONSTRAINT = 15
GENERATORS = (0o46321, 0o51271, 0o63667, 0o70535, 0o73277, 0o76513)
RATE = len(GENERATORS)

_STATES = 1 << (CONSTRAINT - 1)
_TURNS = 3  # the first settles where to start, the last what follows the end; the second is read


def encode(bits: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """``[N]`` message bits → ``[6 N]`` code bits."""
    outputs = _outputs()
    state = 0
    for bit in bits[-(CONSTRAINT - 1) :]:
        state = (state << 1 | int(bit)) & (_STATES - 1)
    coded = np.empty((len(bits), RATE), np.uint8)
    for step, bit in enumerate(bits):
        register = state << 1 | int(bit)
        coded[step] = outputs[register]
        state = register & (_STATES - 1)
    return coded.ravel()


def decode(soft: NDArray[np.float64]) -> NDArray[np.uint8]:
    """``[6 N]`` soft bits (positive: 1; scale does not matter) → the ``[N]`` likeliest bits.

    Viterbi's algorithm, all 16384 states at once in each step, three times round the circle.
    """
    received = soft.reshape(-1, RATE)
    steps = len(received)
    gains = received @ _signs().T  # [N, 64]: one column per possible six code bits
    branch = _branch_index()
    score = np.zeros(_STATES)
    survivors = np.empty((_TURNS * steps, _STATES), np.bool_)
    for turn in range(_TURNS):
        for step in range(steps):
            gain = gains[step][branch]  # [2, states]
            low = np.repeat(score[: _STATES // 2], 2) + gain[0]
            high = np.repeat(score[_STATES // 2 :], 2) + gain[1]
            np.greater(high, low, out=survivors[turn * steps + step])
            score = np.maximum(low, high)
        score -= score.max()
    return _trace_back(survivors, int(score.argmax()), steps)


def _trace_back(survivors: NDArray[np.bool_], state: int, steps: int) -> NDArray[np.uint8]:
    """The bits of the turn before the last, going back from the end of the last."""
    bits = np.empty(steps, np.uint8)
    for back in range(1, 2 * steps + 1):
        bits[-back % steps] = state & 1
        state = state >> 1 | int(survivors[len(survivors) - back, state]) << (CONSTRAINT - 2)
    return bits


@cache
def _outputs() -> NDArray[np.uint8]:
    """``[2^15, 6]``: code bits of every content of the register (newest bit lowest)."""
    registers = np.arange(2 * _STATES)[:, None] & np.array(GENERATORS)[None, :]
    for shift in (8, 4, 2, 1):
        registers = registers ^ registers >> shift
    outputs: NDArray[np.uint8] = (registers & 1).astype(np.uint8)
    return outputs


@cache
def _signs() -> NDArray[np.float64]:
    """``[64, 6]``: the sign of each code bit in each of their 64 combinations."""
    bits = np.arange(1 << RATE)[:, None] >> np.arange(RATE)[None, :] & 1
    return 2.0 * bits - 1.0


@cache
def _branch_index() -> NDArray[np.intp]:
    """``[2, states]``: combination of code bits on the two branches that enter each state."""
    words = (_outputs().astype(np.intp) << np.arange(RATE)).sum(axis=1)
    index: NDArray[np.intp] = words.reshape(2, _STATES)
    return index
