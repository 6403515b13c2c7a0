"""What maps sound and words into one space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from rag_audio.domain import Audio

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]
    """``[N, D]``, rows of unit length."""


class Embedder(Protocol):
    """Maps sound and words into one space; several threads may call it at once.

    Attributes:
        space: id of the space: a hash of weights and preprocessing.
        name: for people.
        dimension: D.
        sample_rate: Hz that windows are resampled to.
        window_s: seconds of one window; shorter clips are repeat-padded.
        untrained: True when the weights are random.
        text_weight: 0…1; how far its sense of words may be trusted beside keywords.
    """

    space: str
    name: str
    dimension: int
    sample_rate: int
    window_s: float
    untrained: bool
    text_weight: float

    def embed_audio(self, clips: Sequence[Audio]) -> Vectors:
        """One unit vector per clip of at most ``window_s`` seconds; longer ones are cut."""
        ...

    def embed_text(self, texts: Sequence[str]) -> Vectors:
        """One unit vector per text."""
        ...
