"""Small libraries on disk, and the indexer around them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine

from indexer.build import IndexReport, index_library
from rag_audio.domain import Audio
from rag_audio.domain.ports import StemIndex
from rag_audio.provenance.ledger.rights_log import SqlRightsLog
from rag_audio.storage.catalogue import SqlCatalogue
from rag_audio.storage.database import connect, sqlite_url
from tests.indexer.library import quick_analysis, use_quick_analysis, write_tables
from tests.support.fakes import FakeEmbedder, FakeIndex

TODAY = date(2026, 6, 1)


def no_midi(path: Path) -> Audio:
    """A renderer for libraries without MIDI."""
    raise AssertionError(f"{path} is no MIDI file")


def hum(path: Path) -> Audio:
    """A renderer that needs no soundfont: 12 s of a tone."""
    t = np.arange(12 * 16_000) / 16_000
    return Audio((0.3 * np.sin(2 * np.pi * 220 * t)).astype(np.float32)[None, :], 16_000)


@dataclass
class Bench:
    """A library folder, and a home to index it into."""

    root: Path
    engine: Engine
    index: StemIndex = field(default_factory=FakeIndex)
    embedder: FakeEmbedder = field(default_factory=FakeEmbedder)

    def __post_init__(self) -> None:
        self.catalogue = SqlCatalogue(self.engine, SqlRightsLog())

    def tables(self, rows: str, licenses: str | None = None) -> None:
        """Write ``library.toml`` and ``stems.csv``."""
        write_tables(self.root, rows, licenses)

    def run(self, **options: Any) -> IndexReport:
        """Index it, in this process unless told otherwise."""
        given: dict[str, Any] = {"workers": 0, "on": TODAY, "render": hum, **options}
        return index_library(
            self.root,
            embedder=self.embedder,
            index=self.index,
            catalogue=self.catalogue,
            **given,
        )

    def reasons(self, report: IndexReport) -> dict[str, str]:
        """Rejections by path."""
        return {item.path: item.reason for item in report.rejected}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    root = tmp_path / "library"
    root.mkdir()
    return Bench(root, connect(sqlite_url(tmp_path / "home" / "ledger.db")))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Audio], Any]]:
    """Analysis that only knows silence: what is measured matters to other tests."""
    use_quick_analysis(monkeypatch.setattr)
    yield quick_analysis


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: a killed process loses nothing that a disk would
    have kept, and making indexes on a busy disk takes minutes."""
    memory = Path("/dev/shm")  # noqa: S108 (a folder of our own is made in it)
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)
