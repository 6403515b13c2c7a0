"""What every Watermarker must do; a new one adds a line to MAKERS."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from rag_audio.domain import Audio
from rag_audio.errors import InvalidInput
from rag_audio.ports import Mark, Watermarker
from rag_audio.watermark import SpreadSpectrumWatermarker
from tests.watermark.material import band, snr_db

MAKERS: dict[str, Callable[[], Watermarker]] = {
    "spread-spectrum": lambda: SpreadSpectrumWatermarker(b"a key of the contract test"),
}
MARK = Mark(0x5A_1234_5678)


@pytest.fixture(scope="module", params=MAKERS)
def watermarker(request: pytest.FixtureRequest) -> Watermarker:
    return MAKERS[request.param]()


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_a_mark_is_found_again(watermarker: Watermarker, channels: int) -> None:
    audio = band(channels=channels)
    marked = watermarker.embed(audio, MARK)
    assert marked is not None
    assert (marked.sample_rate, marked.samples.shape) == (audio.sample_rate, audio.samples.shape)
    found = watermarker.detect(marked)
    assert found.mark == MARK
    assert found.confidence > 0.8
    assert (found.tempo, found.semitones) == (1.0, 0.0)


@pytest.mark.parametrize("rate", [16_000, 22_050, 32_000, 48_000, 96_000])
def test_a_mark_is_found_at_any_rate(watermarker: Watermarker, rate: int) -> None:
    marked = watermarker.embed(band(rate=rate), MARK)
    assert marked is not None
    assert watermarker.detect(marked).mark == MARK


def test_the_flag_by_hand_is_kept(watermarker: Watermarker) -> None:
    marked = watermarker.embed(band(), Mark(7, by_hand=True))
    assert marked is not None
    assert watermarker.detect(marked).mark == Mark(7, by_hand=True)


def test_marking_twice_gives_the_same_samples(watermarker: Watermarker) -> None:
    once, again = (watermarker.embed(band(), MARK) for _ in range(2))
    assert once is not None
    assert again is not None
    assert np.array_equal(once.samples, again.samples)


def test_the_mark_is_far_below_the_music(watermarker: Watermarker) -> None:
    audio = band()
    marked = watermarker.embed(audio, MARK)
    assert marked is not None
    assert snr_db(audio, marked) >= 33


def test_full_scale_stays_full_scale(watermarker: Watermarker) -> None:
    loud = band()
    loud = Audio(np.clip(loud.samples * 4, -1, 1), loud.sample_rate)
    marked = watermarker.embed(loud, MARK)
    assert marked is not None
    assert np.abs(marked.samples).max() <= 1
    assert watermarker.detect(marked).mark == MARK


def test_unmarked_audio_is_not_detected(watermarker: Watermarker) -> None:
    found = watermarker.detect(band())
    assert found.mark is None
    assert found.confidence < 0.3


@pytest.mark.parametrize("frames", [0, 1, 1000, 200_000])
def test_silence_carries_no_mark(watermarker: Watermarker, frames: int) -> None:
    silence = Audio(np.zeros((2, frames), np.float32), 44_100)
    assert watermarker.embed(silence, MARK) is None
    found = watermarker.detect(silence)
    assert (found.mark, found.confidence) == (None, 0.0)


def test_too_short_a_sound_carries_no_mark(watermarker: Watermarker) -> None:
    short = band(seconds=0.05)
    assert watermarker.embed(short, MARK) is None
    assert watermarker.detect(short).mark is None


def test_samples_that_are_not_numbers_are_refused(watermarker: Watermarker) -> None:
    audio = band(seconds=1)
    audio.samples[0, 5] = np.nan
    with pytest.raises(InvalidInput, match="NaN"):
        watermarker.embed(audio, MARK)
    with pytest.raises(InvalidInput, match="NaN"):
        watermarker.detect(audio)


@pytest.mark.parametrize("number", [-1, 2**40])
def test_a_number_of_more_than_40_bits_is_refused(watermarker: Watermarker, number: int) -> None:
    with pytest.raises(InvalidInput, match=str(number)):
        watermarker.embed(band(seconds=6), Mark(number))
