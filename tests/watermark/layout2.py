"""How layout 2 was written, kept as it was in commit 17e3f1b: marks of then are read for ever.

Nothing here is to follow a change of the product: bits, tag, pattern and place are spelled out.
"""

from __future__ import annotations

import hmac

import numpy as np
from numpy.typing import NDArray

from rag_audio.audio.dsp import resample
from rag_audio.domain import Audio
from rag_audio.domain.ports import Mark
from rag_audio.watermark import grid, payload, spread_spectrum
from rag_audio.watermark.grid import make_pattern


def embed(audio: Audio, mark: Mark, key: bytes, generation: int = 0, turn: int = 0) -> Audio:
    """The sound with a mark of layout 2.

    Args:
        generation: 0…3. turn: cells that the mark begins later than it would alone.
    """
    digest = subkey(subkey(key, b"phase"), mark.payload.to_bytes(5, "big"))
    first_cell = (int.from_bytes(digest[:8], "big") + turn) % 72
    return write(audio, bits(mark, key, generation), key, first_cell)


def write(audio: Audio, message: NDArray[np.uint8], key: bytes, first_cell: int) -> Audio:
    """The sound with any message, from this cell of a block on."""
    pattern = make_pattern(key, 72, 91, len(message) * 6)
    signs = pattern.modulate(payload.encode(message))
    low = resample(audio, grid.RATE)
    energy = spread_spectrum.hop_energy(audio.samples, audio.sample_rate)
    change = spread_spectrum.mark_signal(low.samples, energy, signs, first_cell)
    added = resample(Audio(change, grid.RATE), audio.sample_rate).samples[:, : audio.frames]
    added = np.pad(added, ((0, 0), (0, audio.frames - added.shape[1])))
    return Audio(np.clip(audio.samples + added, -1.0, 1.0).astype(np.float32), audio.sample_rate)


def bits(mark: Mark, key: bytes, generation: int = 0) -> NDArray[np.uint8]:
    """2 bits version, 2 generation, 1 "by hand", 40 number, 32 tag."""
    head = f"{2:02b}{generation:02b}{int(mark.by_hand):b}{mark.payload:040b}"
    said = b"rag-audio watermark tag" + int(head, 2).to_bytes(6, "big")
    tag = int.from_bytes(hmac.digest(subkey(key, b"tag"), said, "sha256")[:4], "big")
    return np.array([int(bit) for bit in f"{head}{tag:032b}"], np.uint8)


def subkey(key: bytes, purpose: bytes) -> bytes:
    return hmac.digest(key, b"rag-audio watermark " + purpose, "sha256")
