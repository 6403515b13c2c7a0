"""How like its references an output sounds, in the embedder's space."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rag_audio.domain import Audio, Reference
from rag_audio.ports import Embedder, StemIndex


def likeness(
    take: Audio, references: Sequence[Reference], embedder: Embedder, index: StemIndex
) -> list[float | None]:
    """Cosine of the nearest window of the take to each reference's segment, as the index holds it.

    None for a segment that the index does not hold any more.
    """
    if not references:
        return []
    size = round(embedder.window_s * take.sample_rate)
    starts = range(0, max(1, take.frames - size // 2), size)
    windows = [Audio(take.samples[:, at : at + size], take.sample_rate) for at in starts]
    vectors = embedder.embed_audio(windows)
    found: list[float | None] = []
    for reference in references:
        same = [
            point.dense
            for point in index.find_stem(reference.stem.id)
            if abs(point.segment.start_s - reference.segment.start_s) < 1e-3
        ]
        found.append(float(np.max(vectors @ same[0])) if same else None)
    return found
