"""What every Embedder must do; a new one adds a line to MAKERS."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from rag_audio.backends.clap import ClapEmbedder
from rag_audio.backends.clap_laion import LaionClapEmbedder
from rag_audio.domain import Audio
from rag_audio.errors import InvalidInput
from rag_audio.ports import Embedder
from tests.backends.checkpoints import laion_file, mini_clap, small_tokenizer
from tests.backends.laion_shim import laion_clap_runs
from tests.fake_embedder import FakeEmbedder

pytestmark = pytest.mark.xdist_group("clap")


def laion() -> Embedder:
    with laion_clap_runs(small_tokenizer()):
        return LaionClapEmbedder(laion_file(), tokenizer=small_tokenizer(), batch_size=2)


MAKERS: dict[str, Callable[[], Embedder]] = {
    "clap": lambda: ClapEmbedder(mini_clap(), batch_size=2),
    "laion-clap": laion,
    "fake": FakeEmbedder,
}


@pytest.fixture(scope="module", params=MAKERS)
def embedder(request: pytest.FixtureRequest) -> Embedder:
    return MAKERS[request.param]()


def noise(seconds: float, rate: int = 44_100, channels: int = 1, seed: int = 0) -> Audio:
    rng = np.random.default_rng(seed)
    shape = (channels, max(1, int(seconds * rate)))
    return Audio((0.1 * rng.standard_normal(shape)).astype(np.float32), rate)


def test_it_says_what_it_is(embedder: Embedder) -> None:
    assert embedder.space
    assert embedder.name
    assert embedder.dimension > 0
    assert embedder.sample_rate >= 8_000
    assert embedder.window_s > 0
    assert isinstance(embedder.untrained, bool)
    assert 0 <= embedder.text_weight <= 1


def test_sounds_and_words_become_unit_vectors_of_one_dimension(embedder: Embedder) -> None:
    heard = embedder.embed_audio(
        [noise(1.0), noise(0.5, rate=22_050, channels=2), noise(embedder.window_s + 2)]
    )
    read = embedder.embed_text(["funky drums", "", "Ümläute und 日本語"])
    for vectors in (heard, read):
        assert vectors.shape == (3, embedder.dimension)
        assert vectors.dtype == np.float32
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, abs=1e-5)


def test_nothing_in_nothing_out(embedder: Embedder) -> None:
    assert embedder.embed_audio([]).shape == (0, embedder.dimension)
    assert embedder.embed_text([]).shape == (0, embedder.dimension)


def test_the_same_clip_has_the_same_vector_in_any_company(embedder: Embedder) -> None:
    clip, other = noise(embedder.window_s + 3, seed=1), noise(2.0, seed=2)
    alone = embedder.embed_audio([clip])[0]
    assert np.array_equal(alone, embedder.embed_audio([clip])[0])
    assert np.abs(alone - embedder.embed_audio([other, clip])[1]).max() <= 1e-6
    words = embedder.embed_text(["a slow pad"])[0]
    assert (
        np.abs(words - embedder.embed_text(["hard techno drums " * 9, "a slow pad"])[1]).max()
        <= 1e-6
    )


def test_opposite_polarity_is_heard_and_other_stereo_is_its_mean(embedder: Embedder) -> None:
    plain, wide = noise(2.0), noise(2.0, channels=2)
    opposite = Audio(np.concatenate([plain.samples, -plain.samples]), 44_100)
    mean = Audio(wide.samples.mean(axis=0, keepdims=True), 44_100)
    vectors = embedder.embed_audio([plain, opposite, mean, wide])
    assert float(vectors[0] @ vectors[1]) > 0.9999
    assert np.abs(vectors[2] - vectors[3]).max() <= 1e-6


def test_silence_and_one_sample_have_a_vector(embedder: Embedder) -> None:
    silence = Audio(np.zeros((1, 44_100), dtype=np.float32), 44_100)
    sample = Audio(np.full((2, 1), 0.5, dtype=np.float32), 44_100)
    vectors = embedder.embed_audio([silence, sample])
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, abs=1e-5)


def test_clips_without_sound_or_with_nan_are_refused(embedder: Embedder) -> None:
    broken = noise(1.0)
    broken.samples[0, 5] = np.nan
    for clip in (broken, Audio(np.zeros((1, 0), dtype=np.float32), 44_100)):
        with pytest.raises(InvalidInput):
            embedder.embed_audio([clip])
