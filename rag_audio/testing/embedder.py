"""What every :class:`rag_audio.domain.ports.Embedder` must do."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from rag_audio.domain import Audio
from rag_audio.domain.ports import Embedder
from rag_audio.errors import InvalidInput
from rag_audio.testing.sounds import noise, refused


class EmbedderContract:
    """Subclass it as ``Test…`` and give :meth:`make`."""

    embedder: ClassVar[Embedder]

    def make(self) -> Embedder:
        """The embedder; it is made once for all tests of the class."""
        raise NotImplementedError

    @classmethod
    def setup_class(cls) -> None:
        """Makes the embedder; pytest calls this."""
        cls.embedder = cls().make()

    def test_it_says_what_it_is(self) -> None:
        assert self.embedder.space
        assert self.embedder.name
        assert self.embedder.dimension > 0
        assert self.embedder.sample_rate >= 8_000
        assert self.embedder.window_s > 0
        assert isinstance(self.embedder.untrained, bool)
        assert 0 <= self.embedder.text_weight <= 1

    def test_sounds_and_words_become_unit_vectors_of_one_dimension(self) -> None:
        heard = self.embedder.embed_audio(
            [noise(1.0), noise(0.5, rate=22_050, channels=2), noise(self.embedder.window_s + 2)]
        )
        read = self.embedder.embed_text(["funky drums", "", "Ümläute und 日本語"])
        for vectors in (heard, read):
            assert vectors.shape == (3, self.embedder.dimension)
            assert vectors.dtype == np.float32
            assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() <= 1e-5

    def test_nothing_in_nothing_out(self) -> None:
        assert self.embedder.embed_audio([]).shape == (0, self.embedder.dimension)
        assert self.embedder.embed_text([]).shape == (0, self.embedder.dimension)

    def test_the_same_clip_has_the_same_vector_in_any_company(self) -> None:
        clip, other = noise(self.embedder.window_s + 3, seed=1), noise(2.0, seed=2)
        alone = self.embedder.embed_audio([clip])[0]
        assert np.array_equal(alone, self.embedder.embed_audio([clip])[0])
        assert np.abs(alone - self.embedder.embed_audio([other, clip])[1]).max() <= 1e-6
        words = self.embedder.embed_text(["a slow pad"])[0]
        beside = self.embedder.embed_text(["hard techno drums " * 9, "a slow pad"])[1]
        assert np.abs(words - beside).max() <= 1e-6

    def test_opposite_polarity_is_heard_and_other_stereo_is_its_mean(self) -> None:
        plain, wide = noise(2.0), noise(2.0, channels=2)
        opposite = Audio(np.concatenate([plain.samples, -plain.samples]), 44_100)
        mean = Audio(wide.samples.mean(axis=0, keepdims=True), 44_100)
        vectors = self.embedder.embed_audio([plain, opposite, mean, wide])
        assert float(vectors[0] @ vectors[1]) > 0.9999
        assert np.abs(vectors[2] - vectors[3]).max() <= 1e-6

    def test_silence_and_one_sample_have_a_vector(self) -> None:
        silence = Audio(np.zeros((1, 44_100), dtype=np.float32), 44_100)
        sample = Audio(np.full((2, 1), 0.5, dtype=np.float32), 44_100)
        vectors = self.embedder.embed_audio([silence, sample])
        assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() <= 1e-5

    def test_clips_without_sound_or_with_nan_are_refused(self) -> None:
        broken = noise(1.0)
        broken.samples[0, 5] = np.nan
        for clip in (broken, Audio(np.zeros((1, 0), dtype=np.float32), 44_100)):
            with refused(InvalidInput, "a clip without sound or with NaN"):
                self.embedder.embed_audio([clip])
