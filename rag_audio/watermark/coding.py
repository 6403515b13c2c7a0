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

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

CONSTRAINT = 15
GENERATORS = (0o46321, 0o51271, 0o63667, 0o70535, 0o73277, 0o76513)
RATE = len(GENERATORS)

_STATES = 1 << (CONSTRAINT - 1)
_HALF = _STATES // 2
_NEVER = -1e9
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


def decode(soft: NDArray[np.float64], known: Sequence[int] = ()) -> NDArray[np.uint8]:
    """``[6 N]`` soft bits (positive: 1; scale does not matter) → the ``[N]`` likeliest bits.

    Viterbi's algorithm, all 16384 states at once in each step, three times round the circle. Every
    generator begins and ends with a tap, so that of the four branches between two states and their
    two successors two have the same code bits and two the opposite: one gain serves all four.

    Args:
        known: what the first bits are; the others are then told apart more surely.
    """
    received = soft.reshape(-1, RATE)
    scale = float(np.abs(received).max()) or 1.0
    gains = (received / scale).astype(np.float32) @ _signs()  # [N, _HALF]
    steps = len(gains)
    score = np.zeros(_STATES, np.float32)
    survivors = np.empty((_TURNS * steps, _HALF, 2), np.bool_)
    low, high = np.empty(_HALF, np.float32), np.empty(_HALF, np.float32)
    for step, survivor in enumerate(survivors):
        gain = gains[step % steps]
        reached = np.empty((_HALF, 2), np.float32)
        for bit, signed in enumerate((gain, -gain)):
            np.add(score[:_HALF], signed, out=low)
            np.subtract(score[_HALF:], signed, out=high)
            np.greater(high, low, out=survivor[:, bit])
            np.maximum(low, high, out=reached[:, bit])
        if step % steps < len(known):
            reached[:, 1 - known[step % steps]] = _NEVER
        score = reached.ravel()
    return _trace_back(survivors.reshape(-1, _STATES), int(score.argmax()), steps)


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
def _signs() -> NDArray[np.float32]:
    """``[6, _HALF]``: signs of the code bits where both the newest and the oldest bit are 0."""
    return np.ascontiguousarray(2.0 * _outputs()[:_STATES:2].T - 1.0, np.float32)
