"""Which passage of a score plays: one of what is asked for."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rag_audio.audio.key_profiles import CLEAR_KEY, clarity, profile_scores, with_overtones
from rag_audio.audio.midi import part_name
from rag_audio.audio.scores import NoteScore
from rag_audio.domain import Segment
from rag_audio.generation.asked_instruments import kinds_of

_WORTH_MOVING = 0.05
"""Another passage is taken where the asked instruments have this much more of its notes."""

_NEARLY = 0.75
"""Of the most that the asked instruments have: a passage in a clearer key may have so much less."""

_THIN = 0.5
"""Of the mean density of notes: what has less is not taken for its key."""

Row = NDArray[np.float64]


def passage_of(segment: Segment, score: NoteScore, asked: Set[str], *, clear: bool) -> Segment:
    """The passage of a score, as long as a segment, that the asked instruments play most of.

    The segment itself, unless another has clearly more of them; passages begin half their length
    apart, as the windows that are indexed. How much an instrument plays is how long its notes
    sound.

    Args:
        clear: of the passages that have nearly as much of what is asked for, take that in the
            clearest key, unless the segment's own is clear: most readers name the same one then.
    """
    step_s, last_s = segment.duration_s / 2, segment.stem.duration_s - segment.duration_s
    notes = _Notes.of(score, asked)
    if last_s <= 0 or not notes.begin_s.size or not (clear or notes.is_asked.any()):
        return segment
    starts = np.array([*np.arange(0, last_s + 1e-9, step_s), segment.start_s])
    theirs, every, *tones = notes.sounding(starts, segment.duration_s).T
    # A lone note in a rest is not what was meant: a thin passage counts as one of mean density.
    shares = theirs / np.maximum(every, max(float(every.mean()), 1e-9))
    best = int(shares.argmax())
    if clear:
        is_open = (shares >= _NEARLY * shares[best]) & (every >= _THIN * every.mean())
        clear_by = np.where(is_open, _clarity(np.stack(tones, axis=1)), -1.0)
        if clear_by[-1] >= CLEAR_KEY or clear_by.max() < 0:
            return segment
        best = int(clear_by.argmax())
    elif shares[best] <= shares[-1] + _WORTH_MOVING:
        return segment
    return replace(segment, start_s=float(starts[best]))


@dataclass(frozen=True)
class _Notes:
    """The notes of a score, a row for each."""

    begin_s: Row
    end_s: Row
    pitch: NDArray[np.int64]
    level: Row  # 0 for drums, which have no pitch
    is_asked: Row

    @classmethod
    def of(cls, score: NoteScore, asked: Set[str]) -> _Notes:
        theirs = [bool(asked & kinds_of(part_name(part))) for part in score.parts]
        rows = [
            (note.start_s, note.end_s, note.pitch, 0.0 if part.drum else note.velocity, wanted)
            for part, wanted in zip(score.parts, theirs, strict=True)
            for note in part.notes
        ]
        begin, end, pitch, level, wanted = np.array(rows, dtype=float).reshape(-1, 5).T
        return cls(begin, end, pitch.astype(int), level, wanted)

    def sounding(self, starts_s: Row, length_s: float) -> Row:
        """Seconds that notes sound in each window ``[W, 14]``: those that are asked for, all, and
        by level those of each pitch class from C up."""
        classes = np.eye(12)[self.pitch % 12] * self.level[:, None]
        weights = np.column_stack((self.is_asked, np.ones(self.level.size), classes))
        until = np.concatenate((starts_s, starts_s + length_s))
        sounded = _since(self.begin_s, weights, until) - _since(self.end_s, weights, until)
        return np.maximum(sounded[starts_s.size :] - sounded[: starts_s.size], 0.0)


def _since(times_s: Row, weights: Row, until_s: Row) -> Row:
    """Weighted sums ``[T, C]`` of the seconds from each of ``times_s`` until a later time."""
    order = np.argsort(times_s, kind="stable")
    ordered, heavy = times_s[order], weights[order]
    nothing = np.zeros((1, weights.shape[1]))
    count = np.concatenate((nothing, np.cumsum(heavy, axis=0)))
    sums = np.concatenate((nothing, np.cumsum(heavy * ordered[:, None], axis=0)))
    before = np.searchsorted(ordered, until_s)
    return np.asarray(until_s[:, None] * count[before] - sums[before])


def _clarity(tones: Row) -> Row:
    """How clear the key of each window ``[W, 12]`` is, by the notes and as they sound."""
    return clarity((profile_scores(tones) + profile_scores(with_overtones(tones))) / 2)
