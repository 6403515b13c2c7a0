"""Files that are measured and wait to be written, and the vectors of their sounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from indexer.index_points import clips, windows
from indexer.long_sounds import SpooledSound
from indexer.report import FileOutcome
from rag_audio.domain import Audio, Stem
from rag_audio.domain.landmarks import Landmarks
from rag_audio.domain.ports import Embedder
from rag_audio.domain.stems import FileState
from rag_audio.errors import BackendError

_EMBEDDED_AT_ONCE = 256
"""Of a batch, windows whose sound is in memory at once."""

Sounds = Mapping[str, tuple[Stem, Audio | SpooledSound]]
"""By id of the stem."""


@dataclass
class Batch:
    """Files that are measured and not yet written.

    Attributes:
        sounds, landmarks: of those stems that need them, by id.
        windows: of all sounds together.
    """

    states: list[tuple[FileState, FileOutcome]] = field(default_factory=list)
    sounds: dict[str, tuple[Stem, Audio | SpooledSound]] = field(default_factory=dict)
    landmarks: dict[str, Landmarks] = field(default_factory=dict)
    windows: int = 0


def embedded(embedder: Embedder, sounds: Sounds) -> dict[str, NDArray[np.float32]]:
    """The vectors of each stem's windows, ``[W, D]`` by id of the stem.

    Raises:
        BackendError: the embedder gave something else.
    """
    window_s = embedder.window_s
    all_clips = (clip for stem, sound in sounds.values() for clip in clips(stem, sound, window_s))
    made = []
    while some := list(islice(all_clips, _EMBEDDED_AT_ONCE)):
        made.append(_vectors(embedder, some))
    counts = [len(windows(stem.duration_s, window_s)) for stem, _ in sounds.values()]
    parts = np.split(np.concatenate(made), np.cumsum(counts)[:-1]) if made else []
    return dict(zip(sounds, parts, strict=True))


def _vectors(embedder: Embedder, some: list[Audio]) -> NDArray[np.float32]:
    vectors = embedder.embed_audio(some)
    if vectors.shape != (len(some), embedder.dimension):
        raise BackendError(f"the embedder gave vectors of shape {vectors.shape}")
    if not np.isfinite(vectors).all():
        raise BackendError("the embedder gave a vector that is not finite")
    return vectors
