"""What is kept of a stem so that it is found again: the peaks of its spectrogram, and their hashes.

Three peaks make a *landmark*. Its hash holds what a change of tempo, of pitch or of speed leaves as
it is: the leaps in semitones between the peaks, and the ratio of the times between them.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from rag_audio.domain import Audio
from rag_audio.errors import InvalidInput
from rag_audio.recognition.peaks import Numbers, Reals, find_peaks
from rag_audio.recognition.triples import find_triples, hashes_of

VERSION = 1
"""Of how landmarks are made and stored: landmarks of another version find nothing of this one."""
STEM_RANK = 5
"""Peaks of a stem that are kept have fewer than 5 stronger ones around them: some 20 a second."""
TRIPLES_EACH = 3
"""Landmarks that begin with one peak."""
_SAME_S, _SAME_SEMITONES = 0.03, 0.4
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


def make_landmarks(sounds: Sequence[Audio]) -> Landmarks:
    """What is kept of a stem.

    Args:
        sounds: the stem, as one or several sounds of one channel each and of the same length (its
            channels, or what they give when mixed); what all of them hold is kept once.

    Raises:
        InvalidInput: there is no sound.
    """
    if not sounds:
        raise InvalidInput("landmarks need at least one sound, got none")
    times, semitones, rows = np.zeros(0), np.zeros(0), []
    for sound in sounds:
        peaks = find_peaks(sound).strongest(STEM_RANK)
        new = ~_near(peaks.times_s, peaks.semitones, times, semitones)
        triples = find_triples(peaks, TRIPLES_EACH)
        kept = new[triples.first] | new[triples.second] | new[triples.third]
        columns = (hashes_of(triples), triples.times_s, triples.spans_s, triples.semitones)
        rows.append([column[kept] for column in columns])
        times = np.concatenate([times, peaks.times_s[new]])
        semitones = np.concatenate([semitones, peaks.semitones[new]])
    hashes, begins, spans, pitches = (np.concatenate(column) for column in zip(*rows, strict=True))
    order = np.lexsort((semitones, times))
    return Landmarks(
        hashes.astype(np.int64),
        _whole(begins * 1000),
        _whole(spans * 1000),
        _whole(pitches * 100),
        _whole(times[order] * 1000),
        _whole(semitones[order] * 100),
        max(sound.duration_s for sound in sounds),
    )


def _whole(values: Reals) -> Numbers:
    return np.maximum(np.rint(values), 0).astype(np.int64)


def _near(times: Reals, semitones: Reals, others: Reals, pitches: Reals) -> NDArray[np.bool_]:
    """Which of the first peaks are the same as one of the second."""
    order = np.argsort(others, kind="stable")
    others, pitches = others[order], pitches[order]
    low = np.searchsorted(others, times - _SAME_S)
    high = np.searchsorted(others, times + _SAME_S)
    return np.array(
        [
            bool((np.abs(pitches[a:b] - pitch) <= _SAME_SEMITONES).any())
            for a, b, pitch in zip(low, high, semitones, strict=True)
        ],
        dtype=bool,
    )
