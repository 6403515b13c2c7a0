"""What a ``Renderer`` takes of a home, where a test plays the stems itself."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from rag_audio.domain.disclosure import EVERYTHING
from rag_audio.generation.seed_audio import PlaySegment
from rag_audio.storage.cache import SoundCache
from tests.support.fakes import FakeEmbedder, FakeIndex


def rendering_home(
    play: PlaySegment,
    embedder: FakeEmbedder | None = None,
    index: FakeIndex | None = None,
    retries: int = 0,
) -> Any:
    """Stems sound as ``play`` says; the index is empty where none is given."""
    return SimpleNamespace(
        player=SimpleNamespace(play=play),
        embedder=embedder or FakeEmbedder(),
        index=index or FakeIndex(),
        retries=retries,
        cache=SoundCache(),
        disclosure=EVERYTHING,
    )
