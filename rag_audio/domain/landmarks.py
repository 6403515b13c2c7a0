"""Landmarks of stems: what is kept of a stem so that it is found again, and where it is kept."""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rag_audio.errors import InvalidInput

Numbers = NDArray[np.int64]
Reals = NDArray[np.float64]

VERSION = 1
"""Of how landmarks are made and stored: landmarks of another version find nothing of this one."""
_HEAD = struct.Struct("<4sHdII")
_MAGIC = b"RALM"


@dataclass(frozen=True, eq=False)
class Landmarks:
    """What is kept of a stem.

    Attributes:
        hashes: ``[N]``, 0…2^31-1, one per landmark.
        times_ms: ``[N]``, when the landmark's first peak sounds.
        spans_ms: ``[N]``, from its first peak to its last.
        pitches: ``[N]``, of its first peak, in cents above the lowest frequency that is heard.
        peak_times_ms, peak_pitches: ``[P]``, of all peaks, in order of time.
        duration_s: of the sound.
    """

    hashes: Numbers
    times_ms: Numbers
    spans_ms: Numbers
    pitches: Numbers
    peak_times_ms: Numbers
    peak_pitches: Numbers
    duration_s: float

    def to_bytes(self) -> bytes:
        """All of it, with the version in its head."""
        head = _HEAD.pack(
            _MAGIC, VERSION, self.duration_s, self.hashes.size, self.peak_times_ms.size
        )
        columns = [
            self.hashes.astype("<i4"),
            self.times_ms.astype("<i4"),
            self.spans_ms.astype("<u2"),
            self.pitches.astype("<u2"),
            self.peak_times_ms.astype("<i4"),
            self.peak_pitches.astype("<u2"),
        ]
        return head + b"".join(column.tobytes() for column in columns)

    @classmethod
    def from_bytes(cls, data: bytes) -> Landmarks:
        """What :meth:`to_bytes` made.

        Raises:
            InvalidInput: these bytes are no landmarks, or of another version.
        """
        if len(data) < _HEAD.size or data[:4] != _MAGIC:
            raise InvalidInput("these bytes are not landmarks of a stem")
        _, version, duration_s, count, peaks = _HEAD.unpack_from(data)
        if version != VERSION:
            raise InvalidInput(f"landmarks must be of version {VERSION}, got version {version}")
        kinds = [("<i4", count)] * 2 + [("<u2", count)] * 2 + [("<i4", peaks), ("<u2", peaks)]
        wanted = _HEAD.size + sum(np.dtype(kind).itemsize * size for kind, size in kinds)
        if len(data) != wanted:
            raise InvalidInput(f"landmarks must be {wanted} bytes long, got {len(data)}")
        at, columns = _HEAD.size, []
        for kind, size in kinds:
            columns.append(np.frombuffer(data, kind, size, at).astype(np.int64))
            at += np.dtype(kind).itemsize * size
        hashes, times, spans, pitches, peak_times, peak_pitches = columns
        return cls(hashes, times, spans, pitches, peak_times, peak_pitches, duration_s)

    @property
    def sha256(self) -> str:
        """Hash of :meth:`to_bytes`."""
        return sha256(self.to_bytes()).hexdigest()


@dataclass(frozen=True, eq=False)
class Postings:
    """Landmarks of stems that have hashes in common with a question; ``[P]`` in any order.

    Attributes:
        probes: which of the asked hashes, an index into them.
        stems: which stem, an index into ``stem_ids``.
        times_ms, spans_ms, pitches: of the landmark, as in :class:`.Landmarks`.
        stem_ids: ids of the stems that occur.
    """

    probes: Numbers
    stems: Numbers
    times_ms: Numbers
    spans_ms: Numbers
    pitches: Numbers
    stem_ids: tuple[str, ...]

    def of(self, rows: NDArray[Any]) -> Postings:
        """Some of them: a mask or indices."""
        return Postings(
            self.probes[rows],
            self.stems[rows],
            self.times_ms[rows],
            self.spans_ms[rows],
            self.pitches[rows],
            self.stem_ids,
        )


class LandmarkStore(Protocol):
    """The landmarks of a library's stems, by hash and by stem."""

    def sharing(self, hashes: Numbers, exclude: Collection[str] = ()) -> Postings:
        """Every landmark of the stems that has one of the hashes.

        Args:
            hashes: ``[N]`` different ones in ascending order; 30 s of sound ask for some 50,000.
            exclude: ids of stems that are not asked about.
        """
        ...

    def load(self, stem_ids: Collection[str]) -> Mapping[str, Landmarks]:
        """All that is kept of these stems; those that have nothing are left out."""
        ...
