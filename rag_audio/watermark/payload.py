"""What the mark says, as bits: a number, a flag, and a keyed tag that tells a mark from noise.

Layout, most significant bit first: 2 bits version, 2 bits generation, 1 bit "by hand", 40 bits
number, 32 bits tag. The tag is HMAC-SHA256 (RFC 2104) of the first 45 bits, truncated: a decoder
that was given noise, or another key's mark, accepts it with probability 2^-32 per attempt. The
generation counts how often a sound was marked, modulo 4, so that of two marks in one sound the
newer can be told.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rag_audio.errors import InvalidInput
from rag_audio.ports import Mark

VERSION = 2
GENERATIONS = 4
NUMBER_BITS = 40
TAG_BITS = 32
MESSAGE_BITS = 2 + 2 + 1 + NUMBER_BITS + TAG_BITS

Bits = NDArray[np.uint8]


@dataclass(frozen=True)
class Message:
    """All that a mark carries: what its owner wanted, and its generation, 0…3."""

    mark: Mark
    generation: int = 0


def pack(message: Message, key: bytes) -> Bits:
    """The ``[MESSAGE_BITS]`` bits of a message.

    Args:
        key: secret for the tag.

    Raises:
        InvalidInput: the number does not fit in 40 bits.
    """
    mark = message.mark
    if not 0 <= mark.payload < 2**NUMBER_BITS:
        raise InvalidInput(f"the payload must be 0…2^{NUMBER_BITS}-1, got {mark.payload}")
    head = VERSION * GENERATIONS + message.generation % GENERATIONS
    head = (head << 1 | int(mark.by_hand)) << NUMBER_BITS | mark.payload
    return _to_bits(head << TAG_BITS | _tag(head, key), MESSAGE_BITS)


def unpack(bits: Bits, key: bytes) -> Message | None:
    """What ``[MESSAGE_BITS]`` bits spell; None when the tag or the version is wrong."""
    word = int("".join("1" if bit else "0" for bit in bits), 2)
    head, tag = word >> TAG_BITS, word & (1 << TAG_BITS) - 1
    version, generation = divmod(head >> (NUMBER_BITS + 1), GENERATIONS)
    if tag != _tag(head, key) or version != VERSION:
        return None
    mark = Mark(head & (1 << NUMBER_BITS) - 1, bool(head >> NUMBER_BITS & 1))
    return Message(mark, generation)


def _tag(head: int, key: bytes) -> int:
    digest = hmac.digest(key, b"rag-audio watermark tag" + head.to_bytes(6, "big"), "sha256")
    return int.from_bytes(digest[: TAG_BITS // 8], "big")


def _to_bits(word: int, count: int) -> Bits:
    return np.array([word >> place & 1 for place in reversed(range(count))], np.uint8)
