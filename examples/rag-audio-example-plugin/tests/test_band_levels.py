"""The contract of embedders, and what this one adds."""

from __future__ import annotations

import pytest
from rag_audio_example_plugin import BandLevels, make_embedder

from rag_audio.errors import InvalidInput
from rag_audio.testing import EmbedderContract
from rag_audio.testing.sounds import noise, tune


class TestBandLevels(EmbedderContract):
    def make(self) -> BandLevels:
        return BandLevels()


def test_sounds_of_one_kind_lie_nearer_than_those_of_another() -> None:
    hiss, other_hiss, notes = BandLevels().embed_audio(
        [noise(2.0, seed=1), noise(2.0, seed=2), tune(2.0)]
    )
    assert hiss @ other_hiss > 0.99
    assert hiss @ notes < 0.9


def test_the_argument_says_how_many_bands() -> None:
    assert make_embedder("", device="cpu").dimension == 32
    assert make_embedder("64", device="cpu").dimension == 64
    for wrong in ("many", "3", "513"):
        with pytest.raises(InvalidInput, match=wrong):
            make_embedder(wrong, device="cpu")
