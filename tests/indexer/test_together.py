"""Several processes that index one library end in the index that one of them alone makes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import text

from indexer.build import IndexReport
from rag_audio.domain import Audio
from rag_audio.provenance.ledger.ledger import SqlLedger
from rag_audio.storage.catalogue import SqlCatalogue
from rag_audio.storage.database import connect, sqlite_url, writing
from rag_audio.storage.index_shards import SqlShards
from rag_audio.storage.landmarks import SqlLandmarks
from rag_audio.storage.shared_index import SharedIndex
from tests.indexer.conftest import Bench
from tests.indexer.joined_run import WAIT_S
from tests.indexer.library import tone, write_tables
from tests.support.fakes import FakeEmbedder, dump

pytestmark = pytest.mark.usefixtures("quick")

FILES = 40
SLOWLY = {"pause_s": 0.03}


def write_files(root: Path) -> Path:
    """Files of five shards; some have two windows, some have the bytes of another shard's."""
    for number in range(FILES):
        same = number - 20 if number % 10 == 5 and number > 20 else number
        tone(root / f"{number:02}.wav", 150 + 17 * same, seconds=0.5 + 11 * (same % 7 == 0))
    (root / "33.wav").write_bytes(b"broken")
    write_tables(root, "**,full,The Band,,,,,,\n03.wav,words,,Three,,,,,\n25.wav,,,Twin,,,,,")
    return root


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, place: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    (place / "home").mkdir()
    return sqlite_url(place / "home" / "ledger.db")


@contextmanager
def running(library: Path, home: Path, url: str, **said: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process that indexes the library, or helps one that does."""
    home.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "tests.indexer.joined_run", str(library), str(home), url]
    with subprocess.Popen(
        [*command, json.dumps(said)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(file: Path) -> None:
    end = time.monotonic() + WAIT_S
    while not file.exists():
        assert time.monotonic() < end
        time.sleep(0.02)


def report_of(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    said, _ = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0
    found: dict[str, Any] = json.loads(said)
    return found


def counts(report: dict[str, Any]) -> tuple[Any, ...]:
    """What does not depend on who came first: of two copies the later one counts as updated."""
    measured = report["indexed"] + report["updated"]
    return measured, report["skipped"], report["rejected"], report["segments"]


State = tuple[Sequence[Any], NDArray[np.float32], list[Any]]


def state_of(home: Path, url: str) -> State:
    """Points, vectors, and the catalogue's rows."""
    index = SharedIndex(home / "index", space="fake-1", dimension=16)
    rows, vectors = dump(index)
    index.close()
    engine = connect(url)
    files = SqlCatalogue(engine).files("night-shift").values()
    known = [(one.path, one.stem, one.declared, one.measured_by) for one in files]
    assert SqlLandmarks(engine).ids() == {one.stem.id for one in files}
    ledger = SqlLedger(engine)
    assert (ledger.verify(), ledger.notes()) == ([], [])
    assert SqlShards(engine).run("night-shift") is None
    engine.dispose()
    return rows, vectors, known


def assert_same(one: State, other: State) -> None:
    assert one[0] == other[0]
    assert one[2] == other[2]
    assert np.abs(one[1] - other[1]).max() < 1e-6


def alone(library: Path, home: Path) -> tuple[State, dict[str, Any]]:
    """What one process makes, and its report."""
    url = sqlite_url(home / "ledger.db")
    with running(library, home, url, name="alone") as process:
        report = report_of(process)
    return state_of(home, url), report


@pytest.fixture(scope="module")
def made_alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, State, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("together")
    library = write_files(folder / "library")
    return library, *alone(library, folder / "home")


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_two_processes_make_the_index_that_one_makes(
    made_alone: tuple[Path, State, dict[str, Any]], place: Path, url: str
) -> None:
    home, both = place / "home", {"together": ["a", "b"], **SLOWLY}
    library, calm, whole = made_alone
    with (
        running(library, home, url, name="a", **both) as a,
        running(library, home, url, name="b", **both) as b,
    ):
        parts = report_of(a), report_of(b)
    assert_same(state_of(home, url), calm)
    # One of them reports on the whole library, the other one on what it did.
    (ours, told) = sorted(parts, key=lambda part: int(part["indexed"]))
    assert counts(told) == counts(whole)
    assert 0 < ours["indexed"] < whole["indexed"]


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("killed", ["a", "b"])
def test_the_shard_of_a_killed_process_is_done_again(
    killed: str, made_alone: tuple[Path, State, dict[str, Any]], place: Path, url: str
) -> None:
    """``a`` coordinates, ``b`` joins it."""
    home, both = place / "home", {"together": ["a", "b"], **SLOWLY}
    ends = {killed: {"after": 5, "then": "SIGKILL"}}
    library, calm, whole = made_alone
    with running(library, home, url, name="a", **both, **ends.get("a", {})) as a:
        wait_for(home / "a.started")
        with running(library, home, url, name="b", **both, **ends.get("b", {})) as b:
            dead, left = (a, b) if killed == "a" else (b, a)
            report = report_of(left)
            assert dead.wait(WAIT_S) == -signal.SIGKILL
    assert_same(state_of(home, url), calm)
    assert counts(report) == counts(whole)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_process_that_slept_writes_nothing_over_a_later_run(place: Path) -> None:
    library = write_files(place / "library")
    home, both = place / "home", {"together": ["a", "b"], **SLOWLY}
    home.mkdir()
    url = sqlite_url(home / "ledger.db")
    with running(library, home, url, name="a", **both) as a:
        wait_for(home / "a.started")
        late = {"after": 5, "then": "SIGSTOP"}
        with running(library, home, url, name="b", **both, **late) as b:
            report_of(a)
            for number in range(FILES):
                if number % 3:
                    tone(library / f"{number:02}.wav", 2000 + number)
            calm, _ = alone(library, place / "calm")
            with running(library, home, url, name="c") as c:
                report_of(c)
            assert_same(state_of(home, url), calm)
            b.send_signal(signal.SIGCONT)
            report_of(b)
    assert_same(state_of(home, url), calm)


class Thief(FakeEmbedder):
    """Lets another worker take the shards whose files are just being embedded, once."""

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self.bench, self.calls = bench, 0

    def embed_audio(self, clips: Sequence[Audio]) -> NDArray[np.float32]:
        self.calls += 1
        if self.calls == 2:
            with writing(self.bench.engine) as db:
                db.execute(text("UPDATE index_shards SET lease_token = 'b', lease_until = 0"))
        return super().embed_audio(clips)


def test_files_whose_lease_was_lost_meanwhile_are_left_to_its_next_worker(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(bench.root)
    monkeypatch.setattr("indexer.build.BATCH_FILES", 5)
    whole: IndexReport = bench.run()
    other = Bench(bench.root, connect(sqlite_url(bench.root.parent / "other" / "ledger.db")))
    other.embedder = Thief(other)
    written: list[int] = []
    put = SqlCatalogue.put_files

    def counted(self: SqlCatalogue, name: str, files: Any, *more: Any) -> None:
        written.append(len(files))
        put(self, name, files, *more)

    monkeypatch.setattr(SqlCatalogue, "put_files", counted)
    report = other.run()
    assert (report.indexed, report.rejected) == (whole.indexed, whole.rejected)
    assert dump(other.index)[0] == dump(bench.index)[0]
    # The first batch was written, the second one given up, and both done again with the rest.
    assert sum(written) == FILES - 2 + written[0]
