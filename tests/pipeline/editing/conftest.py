"""One small home with an output of its own, made once for all tests of edits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import rag_audio
from rag_audio.domain import GenerationResult
from rag_audio.pipeline.workspace import Workspace
from tests.support.small_library import write_library


@dataclass(frozen=True)
class Made:
    """A home, its library, and an output of it of ten seconds."""

    home: Path
    library: Path
    file: Path
    result: GenerationResult


@pytest.fixture(scope="package")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    base = tmp_path_factory.mktemp("edits")
    library = write_library(base / "library")
    with rag_audio.open(base / "home") as workspace:
        workspace.index(library)
        (result,) = workspace.generate(
            "warm electric piano",
            base / "take.wav",
            artist="Copper Lantern Trio",
            steps=4,
            duration_s=10.0,
            seed=11,
        )
    return Made(base / "home", library, base / "take.wav", result)


@pytest.fixture
def workspace(made: Made) -> Iterator[Workspace]:
    with rag_audio.open(made.home) as opened:
        yield opened
