"""A stem from what is declared, what its file says of itself, and what was measured, in order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID, uuid5

from indexer.licenses import Declared
from indexer.measure import Measured
from rag_audio.domain import Audio, Segment, Stem
from rag_audio.domain.ports import IndexedSegment
from rag_audio.storage.keywords import encode_document

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


TAG_CONFIDENCE = 0.9
"""File tags are written by people or by their programs: below declared, above measured."""

_Value = TypeVar("_Value")


def make_stem(library: str, path: str, declared: Declared, measured: Measured) -> Stem:
    """The stem of one file. A title that nobody gave is the file's name."""
    tags = measured.tags
    bpm, bpm_confidence = _best(declared.bpm, tags.bpm, measured.bpm, measured.bpm_confidence)
    key, key_confidence = _best(declared.key, tags.key, measured.key, measured.key_confidence)
    return Stem(
        id=measured.stem,
        library=library,
        path=path,
        kind=measured.kind,
        license=declared.license.id,
        duration_s=measured.duration_s,
        artist=declared.artist or tags.artist,
        artist_declared=bool(declared.artist),
        title=declared.title or tags.title or _title_of(path),
        tags=declared.tags,
        bpm=bpm,
        bpm_confidence=bpm_confidence,
        key=key,
        key_confidence=key_confidence,
        downbeat_s=measured.downbeat_s if declared.downbeat_s is None else declared.downbeat_s,
        isrc=declared.isrc or tags.isrc,
        iswc=declared.iswc,
        loudness_lufs=measured.loudness_lufs,
        instruments=measured.instruments,
        time_signature=measured.time_signature,
    )


def _best(
    declared: _Value | None, tagged: _Value | None, measured: _Value | None, confidence: float
) -> tuple[_Value | None, float]:
    if declared is not None:
        return declared, 1.0
    if tagged is not None:
        return tagged, TAG_CONFIDENCE
    return measured, confidence if measured is not None else 0.0


def _title_of(path: str) -> str:
    return " ".join(re.split(r"[\s_\-.]+", PurePosixPath(path).stem)).strip()


# A stem's windows and the points that the index holds for them.

MIN_PARTIAL_S = 2.0
MIN_NEW_S = 0.25
"""A last, shorter window is kept when it is this long and brings this much new sound."""

_NAMESPACE = UUID("5d8f2a8e-3c1b-5f0e-9a57-6a1d3f0c7b42")

Window = tuple[float, float]
"""(start_s, duration_s)."""


def windows(duration_s: float, window_s: float) -> list[Window]:
    """Windows of ``window_s`` seconds, each half a window after the one before, and the rest.

    A sound no longer than one window is one window.
    """
    if duration_s <= window_s:
        return [(0.0, duration_s)]
    hop_s = window_s / 2
    found: list[Window] = []
    while (start_s := len(found) * hop_s) + window_s <= duration_s:
        found.append((start_s, window_s))
    rest_s = round(duration_s - start_s, 6)
    if rest_s >= MIN_PARTIAL_S and rest_s - hop_s >= MIN_NEW_S:
        found.append((start_s, rest_s))
    return found


def point_id(library: str, stem: str, start_s: float) -> str:
    """The UUID of a segment's point: the same for the same library, bytes and start."""
    return str(uuid5(_NAMESPACE, f"{library}\n{stem}\n{round(start_s * 1000)}"))


def point_ids(stem: Stem, window_s: float) -> frozenset[str]:
    """The points that a stem must have."""
    starts = (start for start, _ in windows(stem.duration_s, window_s))
    return frozenset(point_id(stem.library, stem.id, start) for start in starts)


def clips(stem: Stem, sound: Audio, window_s: float) -> list[Audio]:
    """The sound of each window; views, not copies."""
    rate = sound.sample_rate
    return [
        Audio(sound.samples[:, round(start * rate) : round((start + length) * rate)], rate)
        for start, length in windows(stem.duration_s, window_s)
    ]


def points(
    stem: Stem, where: Sequence[Window], vectors: Sequence[NDArray[np.float32]]
) -> list[IndexedSegment]:
    """A stem's points, one per window and vector."""
    sparse = encode_document(stem.caption)
    return [
        IndexedSegment(
            point_id(stem.library, stem.id, start),
            Segment(stem, start, length),
            vector,
            sparse,
        )
        for (start, length), vector in zip(where, vectors, strict=True)
    ]
