"""Re-embedding: a new embedding space is filled beside searches, switched to, and back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient

from indexer.reembedding import Reembedding, ReembeddingReport, switch_back
from rag_audio.domain import SegmentFilter
from rag_audio.domain.licensing import Revocation, RevocationOf
from rag_audio.domain.ports import SpaceState, StemIndex
from rag_audio.errors import BackendUnavailable, LibraryError, RagAudioError
from rag_audio.storage.database import connect, sqlite_url
from rag_audio.storage.edge_spaces import EdgeSpaces
from rag_audio.storage.qdrant_server import ServerIndex, ServerSpaces
from rag_audio.storage.shared_index import SharedIndex
from tests.indexer.conftest import Bench, no_midi
from tests.indexer.library import tone
from tests.support.fakes import FakeEmbedder

ALL = SegmentFilter(license_keys=frozenset({"night-shift/full"}))
OLD, NEW, WIDER = "fake-1", "fake-2", 24


def wider() -> FakeEmbedder:
    """Of another space, with vectors of another length and shorter windows."""
    made = FakeEmbedder(NEW)
    made.dimension, made.window_s = WIDER, 4.0
    return made


@dataclass
class Spaces:
    """A library that is indexed in one space, and what embeds it into another."""

    bench: Bench
    folder: Path

    def __post_init__(self) -> None:
        self.spaces = EdgeSpaces(self.folder)
        self.bench.index = self.reader(OLD)

    def reader(self, space: str) -> SharedIndex:
        dimension = 16 if space == OLD else WIDER
        return SharedIndex(self.folder, space=space, dimension=dimension)

    def beside(self) -> StemIndex:
        return self.spaces.open_space(NEW, WIDER)

    def task(self, new: StemIndex) -> Reembedding:
        bench = self.bench
        return Reembedding(bench.index, new, wider(), bench.catalogue, no_midi, workers=0)

    def fill(self) -> ReembeddingReport:
        new = self.beside()
        try:
            return self.task(new).fill()
        finally:
            new.close()

    def switch(self, **options: Any) -> ReembeddingReport:
        new = self.beside()
        try:
            return self.task(new).switch(self.spaces, "the-new-one", **options)
        finally:
            new.close()

    def payloads(self, space: str) -> dict[str, Any]:
        index = self.reader(space)
        try:
            return {one.segment.stem.id: one.segment.stem for one in index.scroll()}
        finally:
            index.close()


@pytest.fixture
def two(quick: Callable[..., Any], tmp_path: Path) -> Iterator[Spaces]:
    """In memory where that can be: an index syncs some hundred files."""
    memory = Path("/dev/shm")  # noqa: S108 (a folder of our own is made in it)
    place = memory if os.access(memory, os.W_OK) else tmp_path
    with tempfile.TemporaryDirectory(dir=place) as folder:
        made = _made(Path(folder))
        yield made
        made.bench.index.close()
        made.bench.engine.dispose()


def _made(folder: Path) -> Spaces:
    bench = Bench(folder / "library", connect(sqlite_url(folder / "home" / "ledger.db")))
    for n in range(6):
        tone(bench.root / f"{n}.wav", 200 + 40 * n, seconds=2 + 5 * (n % 2))
    bench.tables("**,full,The Band,,,,drums,,")
    made = Spaces(bench, folder / "home" / "index")
    assert bench.run().indexed == 6
    return made


def asked(target: str) -> Revocation:
    return Revocation(RevocationOf.STEM, target, "", "tester", datetime.now(UTC))


def titles(index: StemIndex, dimension: int) -> list[str]:
    query = np.ones(dimension, np.float32) / np.float32(np.sqrt(dimension))
    return sorted({hit.segment.stem.title for hit in index.search_dense(query, ALL, 50)})


def test_all_stems_are_embedded_with_their_payloads_and_windows_of_the_new_length(
    two: Spaces,
) -> None:
    report = two.fill()
    assert (report.embedded, report.skipped, report.rejected, report.switched) == (6, 0, (), False)
    assert two.spaces.embedder_in_use() is None
    again = two.fill()
    assert (again.embedded, again.skipped, again.segments) == (0, 6, report.segments)
    before = two.payloads(OLD)
    assert two.switch().switched
    assert two.payloads(NEW) == before
    two.bench.index.close()
    states = {one.space: (one.points, one.state) for one in two.spaces.spaces()}
    assert states == {OLD: (6, SpaceState.PREVIOUS), NEW: (report.segments, SpaceState.CURRENT)}
    assert report.segments > 6
    assert two.spaces.embedder_in_use() == "the-new-one"


def test_searches_go_on_in_one_space_while_another_is_filled_and_switched_to_and_back(
    two: Spaces,
) -> None:
    found: list[tuple[str, list[str]]] = []
    failed: list[RagAudioError] = []
    ended = threading.Event()
    started = threading.Event()

    def search() -> None:
        """As processes do that start, search a few times and end, and one that stays."""
        staying = two.reader(OLD)
        while not ended.is_set():
            states = {one.state: one.space for one in two.spaces.spaces(counted=False)}
            space = states.get(SpaceState.CURRENT, OLD)
            fresh = two.reader(space)
            try:
                found.append((OLD, titles(staying, 16)))
                found.append((space, titles(fresh, 16 if space == OLD else WIDER)))
            except RagAudioError as error:
                failed.append(error)
            finally:
                fresh.close()
            started.set()
        staying.close()

    def searched_twice() -> bool:
        """Whether a round of searches has begun and ended since the call."""
        for _ in range(2):
            started.clear()
            if not started.wait(60):
                return False
        return True

    searcher = threading.Thread(target=search)
    searcher.start()
    try:
        assert searched_twice()
        two.fill()
        two.switch()
        assert searched_twice()
        switch_back(two.bench.catalogue, two.spaces, NEW, OLD)
        assert searched_twice()
    finally:
        ended.set()
        searcher.join(60)
    assert not failed
    assert {space for space, _ in found} == {OLD, NEW}
    assert {tuple(names) for _, names in found} == {tuple("012345")}


def test_what_is_indexed_changed_removed_or_revoked_meanwhile_is_so_in_the_new_space(
    two: Spaces,
) -> None:
    two.fill()
    bench = two.bench
    tone(bench.root / "late.wav", 700, seconds=3)
    (bench.root / "1.wav").unlink()
    bench.tables("**,full,The Band,,,,strings,,")
    assert bench.run(prune=True).indexed == 1
    (revoked,) = [one for one in bench.catalogue.stems() if one.path == "2.wav"]
    bench.catalogue.revoke(asked(revoked.id))
    report = two.switch()
    assert (report.embedded, report.updated, report.removed > 0) == (1, 4, True)
    index = two.reader(NEW)
    assert titles(index, WIDER) == ["0", "3", "4", "5", "late"]
    index.close()
    assert {one.tags for one in two.payloads(NEW).values() if one.id != revoked.id} == {
        ("strings",)
    }


def test_stems_that_change_or_go_before_the_switch_are_not_taken_from_those_there_before(
    two: Spaces,
) -> None:
    bench = two.bench
    filled = two.fill()
    (bench.root / "1.wav").unlink()
    bench.tables("**,full,The Band,,,,strings,,")
    bench.run(prune=True)
    both = filled.then(two.switch())
    assert (both.embedded, both.skipped, both.updated) == (6, 0, 5)


def test_a_source_that_is_revoked_while_it_is_embedded_is_not_found(two: Spaces) -> None:
    new = two.beside()
    task = two.task(new)
    (stem,) = [one for one in two.bench.catalogue.stems() if one.path == "2.wav"]
    embed = task.embedder.embed_audio

    def revoke_and_embed(clips: Any) -> Any:
        if not two.bench.catalogue.revocations():
            two.bench.catalogue.revoke(asked(stem.id))
        return embed(clips)

    task.embedder.embed_audio = revoke_and_embed  # type: ignore[method-assign]
    task.fill()
    assert titles(new, WIDER) == ["0", "1", "3", "4", "5"]
    new.close()


def test_the_next_run_in_either_space_measures_nothing_again(two: Spaces) -> None:
    two.fill()
    two.switch()
    bench = two.bench
    bench.index.close()
    bench.embedder, bench.index = wider(), two.reader(NEW)
    assert (bench.run().skipped, bench.run().altered) == (6, ())
    bench.index.close()
    switch_back(bench.catalogue, two.spaces, NEW, OLD)
    bench.embedder, bench.index = FakeEmbedder(OLD), two.reader(OLD)
    assert (bench.run().skipped, bench.run().altered) == (6, ())
    bench.index.close()


def test_files_that_are_gone_or_changed_keep_the_old_space_in_use(two: Spaces) -> None:
    (two.bench.root / "3.wav").unlink()
    (two.bench.root / "4.wav").write_bytes(b"something else")
    report = two.fill()
    reasons = {one.path: one.reason for one in report.rejected}
    assert set(reasons) == {"night-shift/3.wav", "night-shift/4.wav"}
    assert "not those that were indexed" in reasons["night-shift/4.wav"]
    with pytest.raises(LibraryError, match="2 stems could not be embedded"):
        two.switch()
    assert [one.space for one in two.spaces.spaces() if one.state is SpaceState.CURRENT] == [OLD]
    assert two.switch(incomplete=True).switched


def test_it_is_not_switched_while_a_library_is_being_indexed(two: Spaces) -> None:
    two.fill()
    with two.bench.catalogue.claim("night-shift"), pytest.raises(BackendUnavailable):
        two.switch()
    assert [one.space for one in two.spaces.spaces() if one.state is SpaceState.CURRENT] == [OLD]


KILLED = """
import sys
from pathlib import Path
import indexer.reembedding as reembedding
from rag_audio.storage.catalogue import SqlCatalogue
from rag_audio.storage.database import connect, sqlite_url
from rag_audio.storage.edge_spaces import EdgeSpaces
from rag_audio.storage.shared_index import SharedIndex
from tests.indexer.conftest import no_midi
from tests.indexer.test_reembedding import NEW, OLD, WIDER, wider
reembedding.BATCH_WINDOWS = 1
home = Path(sys.argv[1])
new = EdgeSpaces(home / "index").open_space(NEW, WIDER)
put = new.upsert
def told(points):
    put(points)
    print("put", flush=True)
    sys.stdin.readline()
new.upsert = told
old = SharedIndex(home / "index", space=OLD, dimension=16)
catalogue = SqlCatalogue(connect(sqlite_url(home / "ledger.db")))
reembedding.Reembedding(old, new, wider(), catalogue, no_midi, workers=0).fill()
"""


def test_a_run_that_was_killed_goes_on_where_it_was(two: Spaces) -> None:
    two.bench.index.close()
    two.bench.index = two.reader(OLD)
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(two.folder.parent)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert child.stdout is not None and child.stdin is not None
    for number in range(3):
        assert child.stdout.readline().strip() == "put"
        if number < 2:
            child.stdin.write("on\n")
            child.stdin.flush()
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    report = two.fill()
    assert (report.embedded, report.skipped) == (3, 3)
    two.switch()
    assert set(two.payloads(NEW)) == set(two.payloads(OLD))


def test_a_servers_collections_are_filled_and_switched_the_same_way(two: Spaces) -> None:
    client = QdrantClient(":memory:")
    old = ServerIndex(space=OLD, dimension=16, client=client)
    old.upsert(list(two.bench.index.scroll()))
    spaces = ServerSpaces(client=client)
    new = spaces.open_space(NEW, WIDER)
    task = replace(two.task(new), old=old)
    assert task.fill().embedded == 6
    report = task.switch(spaces, "the-new-one", "the-old-one")
    assert (report.embedded, report.skipped, report.switched) == (0, 6, True)
    assert spaces.embedder_in_use() == "the-new-one"
    assert titles(new, WIDER) == titles(old, 16) == list("012345")
    switch_back(two.bench.catalogue, spaces, NEW, OLD)
    assert spaces.embedder_in_use() == "the-old-one"
