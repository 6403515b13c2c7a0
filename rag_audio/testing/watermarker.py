"""What every :class:`rag_audio.domain.ports.Watermarker` must do."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from rag_audio.domain import Audio
from rag_audio.domain.ports import Mark, Watermarker
from rag_audio.errors import InvalidInput
from rag_audio.testing.sounds import band, refused

MARK = Mark(0x5A_1234_5678)
MIN_SNR_DB = 33.0
"""The mark lies at least so far below the music."""


class WatermarkerContract:
    """Subclass it as ``Test…`` and give :meth:`make`."""

    watermarker: ClassVar[Watermarker]

    def make(self) -> Watermarker:
        """The watermarker; it is made once for all tests of the class."""
        raise NotImplementedError

    @classmethod
    def setup_class(cls) -> None:
        """Makes the watermarker; pytest calls this."""
        cls.watermarker = cls().make()

    def marked(self, audio: Audio, mark: Mark = MARK) -> Audio:
        """The audio with a mark, which there is enough of it to carry."""
        marked = self.watermarker.embed(audio, mark)
        assert marked is not None, "the sound is long and loud enough for a mark"
        assert (marked.sample_rate, marked.samples.shape) == (
            audio.sample_rate,
            audio.samples.shape,
        )
        return marked

    def test_a_mark_is_found_again_in_any_number_of_channels(self) -> None:
        for channels in (1, 2, 6):
            found = self.watermarker.detect(self.marked(band(channels=channels)))
            assert found.mark == MARK
            assert found.confidence > 0.8
            assert (found.tempo, found.semitones) == (1.0, 0.0)

    def test_a_mark_is_found_at_any_rate(self) -> None:
        for rate in (16_000, 22_050, 32_000, 48_000, 96_000):
            assert self.watermarker.detect(self.marked(band(rate=rate))).mark == MARK

    def test_a_mark_is_found_in_sound_that_comes_in_pieces(self) -> None:
        marked = self.marked(band())
        pieces = [
            Audio(part, marked.sample_rate) for part in np.array_split(marked.samples, 7, axis=1)
        ]
        assert self.watermarker.detect_pieces(iter(pieces)).mark == MARK

    def test_the_flag_by_hand_is_kept(self) -> None:
        marked = self.marked(band(), Mark(7, by_hand=True))
        assert self.watermarker.detect(marked).mark == Mark(7, by_hand=True)

    def test_marking_twice_gives_the_same_samples(self) -> None:
        assert np.array_equal(self.marked(band()).samples, self.marked(band()).samples)

    def test_the_mark_is_far_below_the_music(self) -> None:
        audio = band()
        added = self.marked(audio).samples.astype(np.float64) - audio.samples
        power = np.sum(audio.samples.astype(np.float64) ** 2)
        assert 10 * np.log10(power / np.sum(added**2)) >= MIN_SNR_DB

    def test_full_scale_stays_full_scale(self) -> None:
        loud = band()
        marked = self.marked(Audio(np.clip(loud.samples * 4, -1, 1), loud.sample_rate))
        assert np.abs(marked.samples).max() <= 1
        assert self.watermarker.detect(marked).mark == MARK

    def test_unmarked_audio_is_not_detected(self) -> None:
        found = self.watermarker.detect(band())
        assert found.mark is None
        assert found.confidence < 0.3

    def test_silence_carries_no_mark(self) -> None:
        for frames in (0, 1, 1000, 200_000):
            silence = Audio(np.zeros((2, frames), np.float32), 44_100)
            assert self.watermarker.embed(silence, MARK) is None
            found = self.watermarker.detect(silence)
            assert (found.mark, found.confidence) == (None, 0.0)

    def test_too_short_a_sound_carries_no_mark(self) -> None:
        short = band(seconds=0.05)
        assert self.watermarker.embed(short, MARK) is None
        assert self.watermarker.detect(short).mark is None

    def test_samples_that_are_not_numbers_are_refused(self) -> None:
        audio = band(seconds=1)
        audio.samples[0, 5] = np.nan
        with refused(InvalidInput, "marking NaN"):
            self.watermarker.embed(audio, MARK)
        with refused(InvalidInput, "looking for a mark in NaN"):
            self.watermarker.detect(audio)

    def test_a_number_of_more_than_40_bits_is_refused(self) -> None:
        for number in (-1, 2**40):
            with refused(InvalidInput, f"the number {number}"):
                self.watermarker.embed(band(seconds=6), Mark(number))
