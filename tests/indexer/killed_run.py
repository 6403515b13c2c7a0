"""Indexes a library until it is done, or until somebody kills it. Run by ``test_kill.py``.

Arguments: library, home, kind of index, and for a refresh the number of the write to the index
before which it kills itself.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from datetime import date
from itertools import count
from pathlib import Path
from typing import Any

import indexer.build
from indexer.build import IndexReport, index_library
from rag_audio.audio import analysis
from rag_audio.domain.ports import StemIndex
from rag_audio.provenance.ledger.rights_log import SqlRightsLog
from rag_audio.storage.catalogue import SqlCatalogue
from rag_audio.storage.database import connect, sqlite_url
from tests.indexer.conftest import no_midi
from tests.indexer.library import later_analysis, use_quick_analysis
from tests.support.fakes import FakeEmbedder, FakeIndex


def open_index(kind: str, home: Path) -> StemIndex:
    """The index of a home: ``fake`` or ``edge``."""
    if kind == "fake":
        return FakeIndex(home / "index")
    from rag_audio.storage.qdrant_edge import EdgeIndex

    return EdgeIndex(home / "index", space="fake-1", dimension=16)


def run(library: Path, home: Path, index: StemIndex, *, refresh: bool = False) -> IndexReport:
    """One run with small batches, so that there are many moments to be killed at."""
    engine = connect(sqlite_url(home / "ledger.db"))
    try:
        return index_library(
            library,
            embedder=FakeEmbedder(),
            index=index,
            catalogue=SqlCatalogue(engine, SqlRightsLog()),
            render=no_midi,
            prune=True,
            workers=0,
            on=date(2026, 6, 1),
            refresh=refresh,
        )
    finally:
        engine.dispose()


def kill_before(step: int, write: Callable[..., None]) -> Callable[..., None]:
    """A write that kills this process when it is called the ``step``-th time."""
    numbers = count(1)

    def guarded(*given: Any) -> None:
        if next(numbers) == step:
            os.kill(os.getpid(), signal.SIGKILL)
        write(*given)

    return guarded


if __name__ == "__main__":
    use_quick_analysis()
    indexer.build.BATCH_FILES = 3
    refreshes = len(sys.argv) > 4
    opened = open_index(sys.argv[3], Path(sys.argv[2]))
    if refreshes:
        analysis.analyse = later_analysis  # type: ignore[assignment]
        opened.upsert = kill_before(int(sys.argv[4]), opened.upsert)  # type: ignore[method-assign]
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    run(Path(sys.argv[1]), Path(sys.argv[2]), opened, refresh=refreshes)
