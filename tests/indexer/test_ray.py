"""A Ray cluster measures and embeds a library as processes of this machine do."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rag_audio.domain.stems import EngineName
from rag_audio.errors import BackendError, MissingExtra
from rag_audio.storage.database import connect, sqlite_url
from tests.indexer.conftest import Bench
from tests.indexer.library import tone
from tests.support.fakes import FakeEmbedder, dump


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One of this machine alone, whatever the environment names."""
    ray = pytest.importorskip("ray")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    yield
    ray.shutdown()


class Broken(FakeEmbedder):
    """An embedder whose worker dies with a file, the first time."""

    def __init__(self) -> None:
        super().__init__()
        marker = Path(os.environ["DIES_ONCE"])
        if not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("embedder", [FakeEmbedder, Broken])
def test_a_cluster_makes_the_index_that_this_machine_makes(
    embedder: type[FakeEmbedder], bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIES_ONCE", str(bench.root.parent / "died"))
    for number in range(6):
        tone(bench.root / f"{number}.wav", 150 + 50 * number, seconds=1 + 11 * (number == 3))
    (bench.root / "6.wav").write_bytes(b"broken")
    bench.tables("**,full,The Band,,,,,,")
    whole = bench.run()
    other = Bench(bench.root, connect(sqlite_url(bench.root.parent / "other" / "ledger.db")))
    report = other.run(engine=EngineName.RAY, make_embedder=embedder)
    assert (report.indexed, report.rejected) == (whole.indexed, whole.rejected)
    rows, vectors = dump(bench.index)
    again, vectors_again = dump(other.index)
    assert again == rows
    assert np.abs(vectors_again - vectors).max() < 1e-6


def test_an_embedder_that_only_this_process_has_is_refused(bench: Bench) -> None:
    tone(bench.root / "a.wav")
    bench.tables("**,full,The Band,,,,,,")
    with pytest.raises(BackendError, match="cannot be made on another machine"):
        bench.run(engine=EngineName.RAY)


def test_without_ray_its_extra_is_named(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    tone(bench.root / "a.wav")
    bench.tables("**,full,The Band,,,,,,")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match="ray"):
        bench.run(engine=EngineName.RAY, make_embedder=FakeEmbedder)
