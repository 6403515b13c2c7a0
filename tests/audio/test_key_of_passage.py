"""A piece may stand in another key in one passage than as a whole."""

from __future__ import annotations

from rag_audio.audio.key_profiles import key_of
from rag_audio.audio.midi import scores_of_keys
from rag_audio.audio.scores import NoteScore, ScoreNote, ScorePart
from rag_audio.domain import Key


def scale(*pitches: int, at_s: float) -> tuple[ScoreNote, ...]:
    return tuple(
        ScoreNote(at_s + n * 0.5, at_s + n * 0.5 + 0.5, p, 90) for n, p in enumerate(pitches)
    )


def test_each_passage_has_the_key_of_its_own_notes() -> None:
    c_major = (48, 52, 55, 60, 62, 64, 65, 67, 69, 71, 72, 55, 59, 62, 65, 48, 52, 55, 60, 48)
    notes = (*scale(*c_major, at_s=0.0), *scale(*(p + 4 for p in c_major), at_s=10.0))
    score = NoteScore((ScorePart(0, False, notes),), ((0.0, 120.0),), True, None, (4, 4))
    assert key_of(scores_of_keys(score, 0.0, 10.0))[0] == Key(0, False)
    assert key_of(scores_of_keys(score, 10.0, 20.0))[0] == Key(4, False)
    assert key_of(scores_of_keys(score, 30.0, 40.0)) == (None, 0.0)
