from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from rag_audio.audio.dsp import loudness_lufs, resample
from rag_audio.audio.reading import load
from rag_audio.audio.writing import save
from rag_audio.domain import Audio
from rag_audio.domain.ports import Mark
from rag_audio.errors import InvalidInput, RagAudioError
from rag_audio.resources import data_dir
from rag_audio.watermark.grid import BLOCK_S
from rag_audio.watermark.quality import noise_to_mask_db
from rag_audio.watermark.spread_spectrum import SpreadSpectrumWatermarker
from tests.watermark import material

KEY = b"the key of these tests, 32 bytes"
MARK = Mark(987_654_321_012)
SOUNDS: dict[str, Callable[..., Audio]] = {
    "band": material.band,
    "pad": material.pad,
    "beat": material.beat,
    "noise": material.noise,
}


@cache
def watermarker() -> SpreadSpectrumWatermarker:
    return SpreadSpectrumWatermarker(KEY)


@cache
def marked(sound: str, rate: int = 44_100) -> Audio:
    made = watermarker().embed(SOUNDS[sound](rate=rate), MARK)
    assert made is not None
    return made


def through_file(audio: Audio, path: Path, bitrate_kbps: int | None = None) -> Audio:
    save(audio, path, bitrate_kbps=bitrate_kbps)
    return load(path)


@pytest.mark.parametrize("sound", SOUNDS)
def test_any_crop_of_five_seconds_of_an_mp3_is_read(sound: str, tmp_path: Path) -> None:
    copy = through_file(marked(sound), tmp_path / "copy.mp3", 128)
    seconds = 8.0 if sound == "noise" else 5.0  # noise has its energy where there are no cells
    starts = np.random.default_rng(1).uniform(0, copy.duration_s - seconds, 8)
    heard = [watermarker().detect(material.crop(copy, start, seconds)).mark for start in starts]
    assert heard == [MARK] * len(starts)


@pytest.mark.parametrize("sound", SOUNDS)
@pytest.mark.parametrize("rate", [22_050, 48_000])
def test_the_mark_survives_resampling_and_back(sound: str, rate: int) -> None:
    copy = resample(resample(marked(sound), rate), 44_100)
    assert watermarker().detect(material.crop(copy, 3.21, 5.0)).mark == MARK


@pytest.mark.parametrize("rate", [16_000, 22_050, 48_000])
def test_a_mark_made_at_another_rate_survives_mp3_and_crop(rate: int, tmp_path: Path) -> None:
    copy = through_file(marked("band", rate), tmp_path / "copy.mp3")
    assert watermarker().detect(material.crop(copy, 2.5, 5.0)).mark == MARK


def test_the_mark_survives_flac(tmp_path: Path) -> None:
    copy = through_file(marked("band"), tmp_path / "copy.flac")
    assert watermarker().detect(material.crop(copy, 1.0, 5.0)).mark == MARK


@pytest.mark.parametrize("gain", [-1.0, 0.01, 0.25, 1.9])
def test_the_mark_survives_gain_and_polarity(gain: float) -> None:
    loud = marked("band")
    turned = Audio(loud.samples * np.float32(gain), loud.sample_rate)
    assert watermarker().detect(material.crop(turned, 4.0, 5.0)).mark == MARK


def test_the_mark_survives_a_mono_downmix_and_a_lost_channel() -> None:
    both = marked("band")
    mono = Audio(both.samples.mean(axis=0, keepdims=True), both.sample_rate)
    left = Audio(np.ascontiguousarray(both.samples[:1]), both.sample_rate)
    assert watermarker().detect(mono).mark == MARK
    assert watermarker().detect(left).mark == MARK


def test_the_mark_survives_one_channel_turned_upside_down() -> None:
    both = marked("band")
    turned = Audio(both.samples * np.array([[1], [-1]], np.float32), both.sample_rate)
    assert watermarker().detect(turned).mark == MARK


def test_a_marked_piece_inside_other_music_is_read() -> None:
    before, after = material.band(20, seed=4), material.band(20, seed=5)
    joined = np.concatenate([before.samples, marked("band").samples, after.samples], axis=1)
    assert watermarker().detect(Audio(joined, 44_100)).mark == MARK


@pytest.mark.parametrize("start_s", [0.5, 1.0, 3.3])
def test_the_offset_says_where_a_block_starts(start_s: float) -> None:
    whole = watermarker().detect(marked("band")).offset_s
    found = watermarker().detect(material.crop(marked("band"), start_s, 8.0)).offset_s
    error = (found + start_s - whole + BLOCK_S / 2) % BLOCK_S - BLOCK_S / 2
    assert abs(error) < 0.02
    assert 0 <= found < BLOCK_S


@pytest.mark.parametrize("sound", SOUNDS)
def test_loudness_hardly_moves(sound: str) -> None:
    before = loudness_lufs(SOUNDS[sound]())
    assert abs(loudness_lufs(marked(sound)) - before) < 0.1


@pytest.mark.parametrize("sound", SOUNDS)
def test_the_mark_lies_33_db_below_the_sound(sound: str) -> None:
    assert material.snr_db(SOUNDS[sound](), marked(sound)) >= 33


@pytest.mark.parametrize("sound", SOUNDS)
def test_what_was_added_is_masked_on_average(sound: str) -> None:
    assert noise_to_mask_db(SOUNDS[sound](), marked(sound)) < -3


def test_another_key_reads_nothing() -> None:
    found = SpreadSpectrumWatermarker(b"another key, just as long as it").detect(marked("band"))
    assert found.mark is None
    assert found.confidence < 0.3


def test_two_hundred_unmarked_windows_give_no_mark() -> None:
    sounds = [make(52.0, 16_000, 1, seed) for seed, make in enumerate(SOUNDS.values())]
    windows = [material.crop(sound, start, 5.0) for sound in sounds for start in range(0, 47)]
    windows += [material.crop(material.band(25, 16_000, 2, 9), start, 8.0) for start in range(16)]
    assert len(windows) >= 200
    found = [
        watermarker().detect(window, search=number % 10 == 0).mark
        for number, window in enumerate(windows)
    ]
    assert found == [None] * len(windows)


def test_a_click_or_one_loud_second_does_not_pretend_to_carry_a_mark() -> None:
    click = np.zeros((1, 441_000), np.float32)
    click[0, 200_000] = 1.0
    assert watermarker().embed(Audio(click, 44_100), MARK) is None


def test_a_mark_that_was_written_can_be_read_however_short_the_sound() -> None:
    for seconds in (1.0, 2.0, 3.0, 4.0, 5.0):
        made = watermarker().embed(material.band(seconds), MARK)
        assert made is None or watermarker().detect(made).mark == MARK
    assert made is not None


def test_a_short_key_is_refused() -> None:
    with pytest.raises(InvalidInput, match="16 bytes"):
        SpreadSpectrumWatermarker(b"short")


def test_the_demo_music_carries_the_mark(tmp_path: Path) -> None:
    from rag_audio.audio.midi import render

    try:
        scores = sorted(data_dir("demo").rglob("*.mid"))[:3]
        data_dir("soundfont")
    except RagAudioError:
        scores = []
    if not scores:
        pytest.skip("this installation has no demo library")
    for score in scores:
        sound = render(score, duration_s=12.0)
        made = watermarker().embed(sound, MARK)
        assert made is not None, score.name
        copy = through_file(made, tmp_path / f"{score.stem}.mp3", 128)
        assert watermarker().detect(material.crop(copy, 3.7, 5.0)).mark == MARK, score.name
