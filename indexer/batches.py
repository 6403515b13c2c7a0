"""Vectors of sounds, and files that are measured, with the vectors of their windows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from indexer.index_points import clips, windows
from indexer.long_sounds import SpooledSound, discard
from indexer.measure import MeasuredFile, MeasureJob, Outcome, Render, measure
from rag_audio.domain import Audio
from rag_audio.domain.ports import Embedder
from rag_audio.errors import BackendError

_EMBEDDED_AT_ONCE = 256
"""Of a batch, windows whose sound is in memory at once."""

Sounds = Mapping[str, tuple[float, Audio | SpooledSound]]
"""Length of the stem in seconds, and its sound, by id of the stem."""


def prepare(job: MeasureJob, render: Render, embedder: Embedder) -> Outcome:
    """Measure one file and embed its windows: all that can be done to it without the home.

    It needs nothing but the file, and what it gives can be sent to another process: facts, vectors
    and landmarks, and no sound.

    Raises:
        BackendError: the embedder failed.
    """
    outcome = measure(job, render)
    if not isinstance(outcome, MeasuredFile) or outcome.sound is None:
        return outcome
    try:
        made = embedded(embedder, {outcome.stem: (outcome.duration_s, outcome.sound)})
    finally:
        discard(outcome.sound)
    return replace(outcome, sound=None, vectors=made[outcome.stem])


def embedded(embedder: Embedder, sounds: Sounds) -> dict[str, NDArray[np.float32]]:
    """The vectors of each stem's windows, ``[W, D]`` by id of the stem.

    Raises:
        BackendError: the embedder gave something else.
    """
    window_s = embedder.window_s
    all_clips = (
        clip for length, sound in sounds.values() for clip in clips(length, sound, window_s)
    )
    made = []
    while some := list(islice(all_clips, _EMBEDDED_AT_ONCE)):
        made.append(_vectors(embedder, some))
    counts = [len(windows(length, window_s)) for length, _ in sounds.values()]
    parts = np.split(np.concatenate(made), np.cumsum(counts)[:-1]) if made else []
    return dict(zip(sounds, parts, strict=True))


def _vectors(embedder: Embedder, some: list[Audio]) -> NDArray[np.float32]:
    vectors = embedder.embed_audio(some)
    if vectors.shape != (len(some), embedder.dimension):
        raise BackendError(f"the embedder gave vectors of shape {vectors.shape}")
    if not np.isfinite(vectors).all():
        raise BackendError("the embedder gave a vector that is not finite")
    return vectors
