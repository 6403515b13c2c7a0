"""When an alignment is good enough to name its stem.

Unrelated music seldom reaches an evidence of 40. What goes above it without being the stem is other
performances: one drum kit that plays the same pattern at another tempo, one instrument that plays
the same figure in another key. They agree in many peaks, but not to the millisecond, and not in
most. What one change explains (none, a shift of pitch, another speed) is seldom met by chance and
needs little exactness; what differs in tempo, or in both, has to show more. Measured by
``benchmarks/bench_recognition.py``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from rag_audio.recognition.alignment import Alignment

LEAST_EVIDENCE = 40.0
_LEAST_PEAKS, _LEAST_S = 12, 1.5
_SAME_SEMITONES, _SAME_DRIFT_S = 0.1, 0.012
_SPEED_SEMITONES = 0.06
_LEAST_EXACTNESS = 0.4


@dataclass(frozen=True)
class _Claim:
    """Least share of the stem's peaks, exactness and evidence."""

    share: float
    exactness: float
    evidence: float

    def holds(self, fit: Alignment) -> bool:
        return (
            fit.agreeing >= self.share * fit.of
            and fit.exactness >= self.exactness
            and fit.evidence >= self.evidence
        )


_AT_OTHER_PITCH_AND_TEMPO = (
    _Claim(0.65, 0.55, 0.0),
    _Claim(0.0, 0.6, 120.0),
    _Claim(0.0, 0.75, 90.0),
)
_AT_OTHER_TEMPO = (_Claim(0.9, 0.55, 0.0), _Claim(0.65, 0.7, 0.0), _Claim(0.0, 0.8, 100.0))


def accepted(fit: Alignment) -> bool:
    """Whether an alignment names its stem."""
    length_s = fit.end_s - fit.start_s
    if fit.evidence < LEAST_EVIDENCE or fit.agreeing < _LEAST_PEAKS or length_s < _LEAST_S:
        return False
    same_tempo = abs(fit.tempo - 1) * length_s <= _SAME_DRIFT_S
    if same_tempo or abs(fit.semitones - 12 * math.log2(fit.tempo)) <= _SPEED_SEMITONES:
        return fit.exactness >= _LEAST_EXACTNESS
    if abs(fit.semitones) <= _SAME_SEMITONES:
        return any(claim.holds(fit) for claim in _AT_OTHER_TEMPO)
    return any(claim.holds(fit) for claim in _AT_OTHER_PITCH_AND_TEMPO)


def confidence(fit: Alignment) -> float:
    """0…1, 0.5 at the evidence that just suffices."""
    return fit.evidence / (fit.evidence + LEAST_EVIDENCE)
