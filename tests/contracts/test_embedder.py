"""The contract of embedders, run by each of ours."""

from __future__ import annotations

import pytest

from rag_audio.domain.ports import Embedder
from rag_audio.models.clap import ClapEmbedder
from rag_audio.models.clap_laion import LaionClapEmbedder
from rag_audio.testing import EmbedderContract
from tests.models.checkpoints import laion_file, mini_clap, small_tokenizer
from tests.models.laion_shim import laion_clap_runs
from tests.support.fake_embedder import FakeEmbedder

pytestmark = pytest.mark.xdist_group("clap")


class TestClap(EmbedderContract):
    def make(self) -> Embedder:
        return ClapEmbedder(mini_clap(), batch_size=2)


class TestLaionClap(EmbedderContract):
    def make(self) -> Embedder:
        with laion_clap_runs(small_tokenizer()):
            return LaionClapEmbedder(laion_file(), tokenizer=small_tokenizer(), batch_size=2)


class TestFake(EmbedderContract):
    def make(self) -> Embedder:
        return FakeEmbedder()
