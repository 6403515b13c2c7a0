"""A score is found again in whatever key, tempo, note values or direction, and others are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_audio.audio.score_similarity import shared_notes
from rag_audio.audio.scores import NoteScore, ScoreNote, ScorePart

SEEDS = st.integers(0, 10_000)


def written(seed: int, notes: int = 60, drum: bool = False) -> NoteScore:
    """A melody in sixteenths at 100 beats a minute."""
    rng = np.random.default_rng(seed)
    starts = np.cumsum(rng.integers(1, 5, notes)) * 0.15
    pitches = 48 + rng.integers(0, 25, notes)
    lengths = rng.integers(1, 4, notes) * 0.15
    made = tuple(
        ScoreNote(float(start), float(start + length), int(pitch), 90)
        for start, length, pitch in zip(starts, lengths, pitches, strict=True)
    )
    return NoteScore((ScorePart(0, drum, made),), ((0.0, 100.0),), True, None, None)


def changed(
    score: NoteScore,
    *,
    semitones: int = 0,
    scale: float = 1.0,
    backwards: bool = False,
    at_s: float = 0.0,
) -> NoteScore:
    """Every note transposed, its times multiplied, and the whole turned round."""
    (part,) = score.parts
    end = max(note.end_s for note in part.notes)

    def moved(note: ScoreNote) -> ScoreNote:
        start, stop = (end - note.end_s, end - note.start_s) if backwards else (
            note.start_s, note.end_s,
        )  # fmt: skip
        return ScoreNote(at_s + start * scale, at_s + stop * scale, note.pitch + semitones, 90)

    notes = sorted((moved(note) for note in part.notes), key=lambda note: note.start_s)
    return replace(score, parts=(replace(part, notes=tuple(notes)),))


@settings(max_examples=40, deadline=None)
@given(
    SEEDS,
    st.integers(-48, 55),
    st.sampled_from([0.5, 0.62, 0.95, 1.0, 1.05, 1.5, 2.0, 3.1]),
    st.booleans(),
    st.sampled_from([0.0, 1.2, 7.2]),
)
def test_a_score_is_found_in_any_key_at_any_note_values_and_backwards(
    seed: int, semitones: int, scale: float, backwards: bool, at_s: float
) -> None:
    score = written(seed)
    other = changed(score, semitones=semitones, scale=scale, backwards=backwards, at_s=at_s)
    assert shared_notes(other, score) >= 0.97
    assert shared_notes(score, other) >= 0.97


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.integers(30, 90), st.booleans())
def test_other_scores_have_little_in_common(seed: int, notes: int, drum: bool) -> None:
    assert shared_notes(written(seed, drum=drum), written(seed + 1, notes, drum)) < 0.6


def test_a_part_of_a_score_is_found_and_few_notes_are_not() -> None:
    score = written(1)
    (part,) = score.parts
    for notes, wanted in ((40, 1.0), (23, 0.0)):
        piece = replace(score, parts=(replace(part, notes=part.notes[10 : 10 + notes]),))
        assert shared_notes(changed(piece, semitones=19), score) == wanted


@pytest.mark.parametrize("drum", [False, True])
def test_a_pattern_of_few_pitches_is_not_searched_for_backwards(drum: bool) -> None:
    rng = np.random.default_rng(3)
    starts = np.cumsum(rng.integers(1, 5, 60)) * 0.15
    notes = tuple(ScoreNote(at, at + 0.1, 36 + n % 3, 90) for n, at in enumerate(starts.tolist()))
    score = replace(written(1, drum=drum), parts=(ScorePart(0, drum, notes),))
    assert shared_notes(score, score) == 1.0
    assert shared_notes(changed(score, backwards=True), score) < 0.9
