"""A stem from what is declared, what its file says of itself, and what was measured, in order."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TypeVar

from indexer.licenses import Declared
from indexer.measure import Measured
from rag_audio.domain import Stem

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
