from __future__ import annotations

from dataclasses import replace

import pytest

from rag_audio.domain import Key, StemKind
from rag_audio.retrieval.transposition_cost import effort_of
from tests.provenance.builders import stem

A_MINOR = Key(9, True)
SOUND = replace(stem(), bpm=90.0, key=A_MINOR)


@pytest.mark.parametrize(
    ("bpm", "key", "effort"),
    [
        (None, None, 0.0),
        (90.0, A_MINOR, 0.0),
        (180.0, None, 0.0),
        (45.0, None, 0.0),
        (90.0 * 2 ** (1 / 12), None, 1.0),
        (90.0 * 2 ** (-1 / 12), None, 1.0),
        (90.0 * 2**0.5, None, 6.0),
        (None, Key(0, False), 0.0),
        (None, Key(11, True), 2.0),
        (None, Key(7, True), 2.0),
        (90.0 * 2 ** (1 / 12), Key(11, True), 3.0),
    ],
)
def test_effort_is_counted_in_semitones(bpm: float | None, key: Key | None, effort: float) -> None:
    assert effort_of(SOUND, bpm, key) == pytest.approx(effort)


def test_a_key_that_a_stem_lacks_takes_no_effort_and_a_tempo_takes_an_unknown_one() -> None:
    drums = replace(SOUND, key=None)
    assert effort_of(drums, 90.0, A_MINOR) == 0.0
    untimed = replace(SOUND, bpm=None)
    assert effort_of(untimed, None, A_MINOR) == 0.0
    assert effort_of(untimed, 90.0, A_MINOR) is None


def test_a_score_is_brought_to_a_tempo_with_less_effort_than_a_recording() -> None:
    score = replace(SOUND, kind=StemKind.MIDI)
    effort, of_sound = effort_of(score, 120.0, None), effort_of(SOUND, 120.0, None)
    assert effort is not None
    assert of_sound is not None
    assert 0 < effort < of_sound / 2
