"""How like its references an output sounds, in the embedder's space."""

from __future__ import annotations

from collections.abc import Sequence

from rag_audio.domain import Audio, Reference, Segment
from rag_audio.domain.ports import Embedder, StemIndex


def cosines(
    audio: Audio,
    segments: Sequence[Segment],
    embedder: Embedder,
    index: StemIndex,
    window_s: float,
) -> list[list[float | None]]:
    """For each segment the cosine, -1…1, of each window of a sound to it, as the index holds it.

    Windows follow each other; what is left at the end counts from half a window on. None where
    the index does not hold the segment any more.
    """
    size = round(window_s * audio.sample_rate)
    starts = range(0, max(1, audio.frames - size // 2), size)
    windows = [Audio(audio.samples[:, at : at + size], audio.sample_rate) for at in starts]
    vectors = embedder.embed_audio(windows)
    found: list[list[float | None]] = []
    for segment in segments:
        same = [
            point.dense
            for point in index.find_stem(segment.stem.id)
            if abs(point.segment.start_s - segment.start_s) < 1e-3
        ]
        found.append([float(v) for v in vectors @ same[0]] if same else [None] * len(windows))
    return found


def likeness(
    take: Audio, references: Sequence[Reference], embedder: Embedder, index: StemIndex
) -> list[float | None]:
    """Cosine of the nearest window of the take to each reference's segment, as the index holds it.

    None for a segment that the index does not hold any more.
    """
    if not references:
        return []
    segments = [reference.segment for reference in references]
    rows = cosines(take, segments, embedder, index, embedder.window_s)
    return [max((value for value in row if value is not None), default=None) for row in rows]
