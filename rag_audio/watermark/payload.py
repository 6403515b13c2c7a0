"""What the mark says, as bits: a number, a flag, and a keyed tag that tells a mark from noise.

Layout 3, most significant bit first: 3 bits version, 8 bits generation, 1 bit "by hand", 40 bits
number, 32 bits tag. Layout 2, which was written before and is still read, has 2 bits of version and
2 of generation. The tag is HMAC-SHA256 (RFC 2104) of all bits before it, truncated, under a label
of its own for each layout: a decoder that was given noise, another key's mark or another layout's
accepts it with probability 2^-32 per attempt. Versions 4 to 7 are left for successors.

The generation counts how often a sound was marked, so that of several marks in one sound the newest
can be told: any mark of a later layout is newer than any of an earlier one, and within a layout
generations follow each other round a circle (:func:`newest`).
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from rag_audio.domain.ports import Mark
from rag_audio.errors import InvalidInput

NUMBER_BITS = 40
TAG_BITS = 32

_SMALL_BITS = 4
"""Generations of so many bits are small."""

Bits = NDArray[np.uint8]


@dataclass(frozen=True)
class Layout:
    """Which bits a message has, and under which label its tag is made.

    Attributes:
        version: what the first ``version_bits`` bits say; a later layout has a higher one.
        generation_bits: generations are counted modulo 2 to this power.
        label: what the tag's HMAC begins with.
    """

    version: int
    version_bits: int
    generation_bits: int
    label: bytes

    @property
    def head_bits(self) -> int:
        """Number of bits before the tag."""
        return self.version_bits + self.generation_bits + 1 + NUMBER_BITS

    @property
    def message_bits(self) -> int:
        """Number of bits of a message."""
        return self.head_bits + TAG_BITS

    @property
    def known(self) -> tuple[int, ...]:
        """The bits that every message begins with."""
        return tuple(self.version >> place & 1 for place in reversed(range(self.version_bits)))

    @property
    def likely(self) -> tuple[int, ...]:
        """The bits that a message begins with whose generation is small, as nearly all are."""
        return self.known + (0,) * max(0, self.generation_bits - _SMALL_BITS)

    @property
    def generations(self) -> int:
        """How many generations are told apart."""
        return 1 << self.generation_bits


LAYOUT_2 = Layout(2, 2, 2, b"rag-audio watermark tag")
LAYOUT_3 = Layout(3, 3, 8, b"rag-audio watermark tag 3")
LAYOUTS = (LAYOUT_3, LAYOUT_2)
"""All that are read, the latest first; the first is written."""


@dataclass(frozen=True)
class Message:
    """All that a mark carries: what its owner wanted, its generation, and its layout."""

    mark: Mark
    generation: int = 0
    layout: Layout = LAYOUT_3


def pack(message: Message, key: bytes) -> Bits:
    """The ``[layout.message_bits]`` bits of a message.

    Args:
        key: secret for the tag.

    Raises:
        InvalidInput: the number does not fit in 40 bits.
    """
    mark, layout = message.mark, message.layout
    if not 0 <= mark.payload < 2**NUMBER_BITS:
        raise InvalidInput(f"the payload must be 0…2^{NUMBER_BITS}-1, got {mark.payload}")
    head = layout.version * layout.generations + message.generation % layout.generations
    head = (head << 1 | int(mark.by_hand)) << NUMBER_BITS | mark.payload
    word, count = head << TAG_BITS | _tag(head, layout, key), layout.message_bits
    return np.array([word >> place & 1 for place in reversed(range(count))], np.uint8)


def unpack(bits: Bits, key: bytes, layout: Layout = LAYOUT_3) -> Message | None:
    """What ``[layout.message_bits]`` bits spell; None when the tag or the version is wrong."""
    word = int("".join("1" if bit else "0" for bit in bits), 2)
    head, tag = word >> TAG_BITS, word & (1 << TAG_BITS) - 1
    version, generation = divmod(head >> (NUMBER_BITS + 1), layout.generations)
    if tag != _tag(head, layout, key) or version != layout.version:
        return None
    mark = Mark(head & (1 << NUMBER_BITS) - 1, bool(head >> NUMBER_BITS & 1))
    return Message(mark, generation, layout)


def newest(messages: Iterable[Message]) -> frozenset[Message]:
    """Those of the latest generation; several where that cannot be told.

    Of the latest layout, the generations that are followed by the longest run of absent ones: the
    end of the row, wherever on the circle it lies. It is the newest by the serial number arithmetic
    of RFC 1982 too, where no two are half a circle apart.

    Args:
        messages: at least one.
    """
    every = frozenset(messages)
    layout = max((message.layout for message in every), key=lambda layout: layout.version)
    latest = frozenset(message for message in every if message.layout == layout)
    there = {message.generation for message in latest}
    gaps = {g: min((h - g - 1) % layout.generations for h in there) for g in there}
    longest = max(gaps.values())
    return frozenset(message for message in latest if gaps[message.generation] == longest)


def following(mark: Mark, messages: Iterable[Message]) -> Message:
    """A mark as the message that is newer than all of these.

    It is of the layout that is written, and of the generation after the newest one there.
    """
    same = [message for message in messages if message.layout == LAYOUTS[0]]
    if not same:
        return Message(mark)
    last = max(newest(same), key=lambda message: message.generation)
    return Message(mark, (last.generation + 1) % last.layout.generations)


def _tag(head: int, layout: Layout, key: bytes) -> int:
    said = head.to_bytes((layout.head_bits + 7) // 8, "big")
    digest = hmac.digest(key, layout.label + said, "sha256")
    return int.from_bytes(digest[: TAG_BITS // 8], "big")


# Error correction: a tail-biting convolutional code of rate 1/6 with a soft Viterbi decoder.
#
# The code has constraint length 15 and free distance 56. It is the one that Mars Pathfinder and
# Cassini sent with, (15, 1/6): Divsalar & Pollara, "Turbo codes for deep-space communications",
# JPL TDA Progress Report 42-120, 1995, gives the context, Dolinar, "A new code for Galileo", TDA
# Progress Report 42-93, 1988, the four generators that it shares with Galileo's. Tail-biting (Ma
# & Wolf, IEEE Transactions on Communications 34(2), 1986) starts the encoder in the state it ends
# in, so that a short message pays for no tail. The decoder goes round the circular trellis more
# than once (Shao, Lin & Fossorier, "Two decoding algorithms for tailbiting codes", IEEE
# Transactions on Communications 51(10), 2003).

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
