from __future__ import annotations

import numpy as np
import pytest

from rag_audio.domain import Audio
from rag_audio.domain.landmarks import VERSION, Landmarks
from rag_audio.errors import InvalidInput
from rag_audio.retrieval.landmarks import make_landmarks
from tests.retrieval.sounds import RATE, melody

COLUMNS = ("hashes", "times_ms", "spans_ms", "pitches", "peak_times_ms", "peak_pitches")
SOUND = melody(1, 4.0)
KEPT = make_landmarks([SOUND])


def test_landmarks_come_back_from_their_bytes() -> None:
    again = Landmarks.from_bytes(KEPT.to_bytes())
    for name in COLUMNS:
        assert np.array_equal(getattr(again, name), getattr(KEPT, name))
    assert again.duration_s == KEPT.duration_s
    assert again.sha256 == KEPT.sha256


def test_landmarks_are_the_same_each_time_and_few() -> None:
    assert make_landmarks([SOUND]).to_bytes() == KEPT.to_bytes()
    assert 0 < KEPT.hashes.size <= 75 * SOUND.duration_s


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not landmarks"),
        (b"RIFF" + KEPT.to_bytes()[4:], "not landmarks"),
        (KEPT.to_bytes()[:-1], "bytes long"),
        (KEPT.to_bytes()[:4] + b"\xff\x00" + KEPT.to_bytes()[6:], f"version {VERSION}"),
    ],
)
def test_bytes_that_are_no_landmarks_are_refused(data: bytes, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        Landmarks.from_bytes(data)


@pytest.mark.parametrize("frames", [0, 1, 500, 3 * RATE])
def test_silence_and_next_to_nothing_have_no_landmarks(frames: int) -> None:
    kept = make_landmarks([Audio(np.zeros((1, frames), np.float32), RATE)])
    assert kept.hashes.size == 0
    assert Landmarks.from_bytes(kept.to_bytes()).duration_s == frames / RATE


def test_a_sound_that_is_given_twice_is_kept_once() -> None:
    assert make_landmarks([SOUND, SOUND]).to_bytes() == KEPT.to_bytes()
    opposite = Audio(-SOUND.samples, RATE)
    assert make_landmarks([SOUND, opposite]).to_bytes() == KEPT.to_bytes()


def test_what_only_one_of_several_sounds_holds_is_kept() -> None:
    other = melody(2, 4.0)
    both = make_landmarks([SOUND, other])
    assert set(KEPT.hashes) <= set(both.hashes)
    assert len(set(make_landmarks([other]).hashes) & set(both.hashes)) > 50


def test_landmarks_need_a_sound() -> None:
    with pytest.raises(InvalidInput, match="at least one sound"):
        make_landmarks([])
