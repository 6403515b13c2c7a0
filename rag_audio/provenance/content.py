"""Which output a sound is, by its landmarks: as it stands, or at another tempo or pitch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rag_audio.domain import Audio
from rag_audio.provenance.fingerprint import Fingerprint, Match, Peaks, Query, find_peaks, windows

ACCEPTED_SHARE = 0.35
"""Share of agreeing landmarks that names an output; ``benchmarks/bench_fingerprint.py``."""
ACCEPTED_LANDMARKS = 25
_TEMPOS = (1.0, 0.98, 1.02, 0.96, 1.04, 0.94, 1.06)
_SEMITONES = (0.0, -0.5, 0.5, -1.0, 1.0, -1.5, 1.5, -2.0, 2.0)


class Fingerprints(Protocol):
    """Where fingerprints of outputs are kept: :class:`.fingerprint_store.SqlFingerprints`."""

    def get(self, output: int) -> Fingerprint | None: ...
    def find(self, queries: Sequence[Query]) -> list[Match]: ...
    def count(self) -> int: ...


def fits_of(fingerprints: Fingerprints, peaks: Peaks) -> list[Match]:
    """Outputs that a sound is by its content, as it stands or at another tempo or pitch, best
    first; only matches that are good enough to name an output."""
    if peaks.times_s.size == 0 or not fingerprints.count():
        return []
    matches = fingerprints.find(windows(peaks))
    if not any(accepted(fit) for fit in matches):
        matches = at_other_speeds(fingerprints, peaks)
    return [fit for fit in matches if accepted(fit)]


def output_of(fingerprints: Fingerprints, heard: Audio) -> int | None:
    """Number of the output that a sound is by its content, whatever became of its mark."""
    fits = fits_of(fingerprints, find_peaks(heard))
    return fits[0].output if fits else None


def at_other_speeds(fingerprints: Fingerprints, peaks: Peaks) -> list[Match]:
    """Good matches of a sound whose tempo (±6 %) or pitch (±2 semitones) was changed, best first.

    One piece of the sound is tried at each of 62 combinations.
    """
    best: list[Match] = []
    for semitones in _SEMITONES:
        for tempo in _TEMPOS:
            if (tempo, semitones) != (1.0, 0.0):
                found = fingerprints.find(windows(peaks, tempo, semitones)[:1])
                best += [fit for fit in found if accepted(fit)]
    return sorted(best, key=lambda fit: -fit.share)


def accepted(fit: Match) -> bool:
    """Whether a match is good enough to name its output."""
    return fit.share >= ACCEPTED_SHARE and fit.agreeing >= ACCEPTED_LANDMARKS
