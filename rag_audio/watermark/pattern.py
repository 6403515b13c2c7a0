"""Which cell carries what: chips, pilot and interleaving, drawn from the secret key.

Without the key the pattern looks random (SHAKE-256 as a keyed generator, FIPS 202), so nobody else
can read the mark, write one, or take it out without taking sound with it.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PILOT_SHARE = 0.2
"""Share of the cells that carry no data and say where a block starts."""


@dataclass(frozen=True, eq=False)
class Pattern:
    """One block.

    Attributes:
        chips: ``[F, B]`` of ±1: F frames, B bands; the sign that each cell gets for a 1.
        bit: ``[F, B]``: the code bit that a cell carries; -1: pilot, always a 1.
    """

    chips: NDArray[np.float32]
    bit: NDArray[np.int32]

    @property
    def pilot(self) -> NDArray[np.float32]:
        """``[F, B]``: the chips of the pilot's cells, 0 elsewhere."""
        return np.where(self.bit < 0, self.chips, np.float32(0.0))

    def modulate(self, coded: NDArray[np.uint8]) -> NDArray[np.float32]:
        """``[F, B]`` of ±1: the chips, turned round where the code bit is 0."""
        signs = np.append(np.where(coded > 0, 1.0, -1.0), 1.0).astype(np.float32)
        return self.chips * signs[self.bit]

    def demodulate(
        self, cells: NDArray[np.float32], code_bits: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Per code bit: the sum of its cells times their chips, and the sum of their squares."""
        data = self.bit >= 0
        index = self.bit[data]
        values = cells[data].astype(np.float64)
        chips = self.chips[data].astype(np.float64)
        sums = np.bincount(index, values * chips, code_bits)
        squares = np.bincount(index, values**2, code_bits)
        return sums.astype(np.float64), squares.astype(np.float64)


def make_pattern(key: bytes, frames: int, bands: int, code_bits: int) -> Pattern:
    """The pattern of a key: a random fifth is pilot, code bits get equal shares of the rest.

    Signs are balanced within the pilot and each code bit, so that the mark adds no loudness.
    """
    cells = frames * bands
    order = np.argsort(_words(key, b"order", cells), kind="stable")
    pilot = round(cells * PILOT_SHARE)
    bit = np.full(cells, -1, np.int32)
    bit[order[pilot:]] = np.arange(cells - pilot) % code_bits
    # Signs alternate along a second random order of each group's own cells.
    shuffled = np.argsort(_words(key, b"signs", cells), kind="stable")
    grouped = shuffled[np.argsort(bit[shuffled], kind="stable")]
    chips = np.empty(cells, np.float32)
    chips[grouped] = 1.0 - 2.0 * (np.arange(cells) % 2)
    return Pattern(chips.reshape(frames, bands), bit.reshape(frames, bands))


def subkey(key: bytes, purpose: bytes) -> bytes:
    """A key for one purpose, from which neither the key nor other subkeys can be told."""
    return hmac.digest(key, b"rag-audio watermark " + purpose, "sha256")


def _words(key: bytes, purpose: bytes, count: int) -> NDArray[np.uint64]:
    stream = hashlib.shake_256(subkey(key, purpose)).digest(8 * count)
    return np.frombuffer(stream, "<u8").astype(np.uint64)
