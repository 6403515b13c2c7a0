"""What people do to music on purpose: tempo, pitch, speed, mixes, marks over marks."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest
from scipy import signal

from rag_audio.audio.dsp import resample, stretch
from rag_audio.domain import Audio
from rag_audio.domain.ports import Mark
from rag_audio.watermark.spread_spectrum import SpreadSpectrumWatermarker
from tests.watermark import material

KEY = b"the key of these tests, 32 bytes"
MARK = Mark(987_654_321_012)
SECONDS = 20.0


@cache
def watermarker() -> SpreadSpectrumWatermarker:
    return SpreadSpectrumWatermarker(KEY)


@cache
def marked(seed: int = 0, number: int = MARK.payload) -> Audio:
    made = watermarker().embed(material.band(SECONDS, seed=seed), Mark(number))
    assert made is not None
    return made


@pytest.mark.parametrize("tempo", [0.95, 1.05])
def test_a_change_of_tempo_is_found_and_named(tempo: float) -> None:
    found = watermarker().detect(stretch(marked(), 1 / tempo, 0))
    assert found.mark == MARK
    assert found.tempo == pytest.approx(tempo, abs=0.004)
    assert found.semitones == pytest.approx(0.0, abs=0.2)


@pytest.mark.parametrize("semitones", [-1, 1])
def test_a_change_of_pitch_is_found_and_named(semitones: int) -> None:
    found = watermarker().detect(stretch(marked(), 1.0, semitones))
    assert found.mark == MARK
    assert found.semitones == pytest.approx(semitones, abs=0.2)
    assert found.tempo == pytest.approx(1.0, abs=0.004)


def test_a_change_of_speed_is_a_change_of_both() -> None:
    faster = Audio(resample(marked(), 42_000).samples, 44_100)
    found = watermarker().detect(faster)
    assert found.mark == MARK
    assert found.tempo == pytest.approx(1.05, abs=0.004)
    assert found.semitones == pytest.approx(12 * np.log2(1.05), abs=0.2)


def test_without_the_search_only_the_file_s_own_tempo_is_heard() -> None:
    changed = stretch(marked(), 1 / 1.05, 0)
    assert watermarker().detect(changed, search=False).mark is None


def test_two_marked_sounds_mixed_are_both_found() -> None:
    other = Mark(1_234)
    both = marked().samples + marked(seed=3, number=other.payload).samples
    found = watermarker().detect(Audio(0.5 * both, 44_100))
    assert {found.mark, *found.others} == {MARK, other}


def test_of_marks_over_marks_the_newest_is_the_answer_and_the_older_is_named() -> None:
    sound, marks = marked(), [Mark(5), Mark(77)]
    for mark in marks:
        again = watermarker().embed(sound, mark)
        assert again is not None
        sound = again
        assert watermarker().detect(sound).mark == mark
    assert MARK in watermarker().detect(sound).others


def test_confidence_over_time_falls_where_the_marked_music_ends() -> None:
    after = material.band(SECONDS, seed=8).samples
    joined = Audio(np.concatenate([marked().samples, after], axis=1), 44_100)
    over_time = watermarker().detect(joined).over_time
    inside = [c for time_s, c in over_time if time_s < SECONDS - 5]
    outside = [c for time_s, c in over_time if time_s > SECONDS + 5]
    assert inside
    assert outside
    assert min(inside) > 2 * max(outside)


def test_a_long_file_is_read_piece_by_piece_and_says_where_the_mark_is() -> None:
    plain = material.band(60.0, 24_000, 1, seed=6)

    def pieces() -> Iterator[Audio]:
        for _ in range(3):
            yield plain
        yield resample(Audio(marked().samples[:1], 44_100), 24_000)

    found = watermarker().detect_pieces(pieces(), search=False)
    assert found.mark == MARK
    assert 180.0 <= found.offset_s < 190.0
    early = [confidence for time_s, confidence in found.over_time if time_s < 175.0]
    assert len(early) == 3
    assert max(early) < 0.3 < min(c for time_s, c in found.over_time if time_s > 185.0)


def test_a_lone_organ_behind_a_low_pass_is_heard_against_its_own_bands() -> None:
    organ = material.organ(30.0)
    made = watermarker().embed(organ, MARK)
    assert made is not None
    assert material.snr_db(organ, made) >= 33
    sos = signal.butter(6, 4000.0, "lowpass", fs=44_100, output="sos")
    muffled = Audio(signal.sosfilt(sos, made.samples, axis=1).astype(np.float32), 44_100)
    assert watermarker().detect(muffled, search=False).mark == MARK


def test_retired_keys_are_still_read_and_new_marks_carry_the_new_key() -> None:
    after = SpreadSpectrumWatermarker(b"the key that came after it, long", retired=[KEY])
    assert after.detect(marked()).mark == MARK
    again = after.embed(material.band(SECONDS), MARK)
    assert again is not None
    assert watermarker().detect(again).mark is None
    assert after.detect(again).mark == MARK
