"""What is kept of a stem so that it is found again: the peaks of its spectrogram, and their hashes.

Three peaks make a *landmark*. Its hash holds what a change of tempo, of pitch or of speed leaves as
it is: the leaps in semitones between the peaks, and the ratio of the times between them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from rag_audio.errors import InvalidInput

Numbers = NDArray[np.int64]

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
            raise InvalidInput("these bytes are no landmarks of a stem")
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
        return cls(*columns, duration_s)

    @property
    def sha256(self) -> str:
        """Hash of :meth:`to_bytes`."""
        return sha256(self.to_bytes()).hexdigest()
