"""The embedded index between processes: held while it is asked, waited for, let go."""

from __future__ import annotations

import errno
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import rag_audio
from rag_audio.errors import BackendError, BackendUnavailable, IndexMismatch, InvalidInput
from rag_audio.pipeline.workspace import Workspace
from rag_audio.service.api.services import Threads
from rag_audio.storage import locks, qdrant_edge, shared_index
from rag_audio.storage.index_socket import COPY, IndexHost, copy_served
from rag_audio.storage.qdrant_edge import EdgeIndex
from rag_audio.storage.shared_index import SharedIndex
from tests.contracts.test_stem_index import ANY, QUERY, SPACE, D, point, stem

Open = Callable[..., SharedIndex]
LONG_S = 60.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "index"


@pytest.fixture
def shared(path: Path) -> Iterator[Open]:
    """Opens the index as another process would: locks hold between files, not processes."""
    made: list[SharedIndex] = []

    def start(idle_s: float = LONG_S, space: str = SPACE) -> SharedIndex:
        made.append(SharedIndex(path, space=space, dimension=D, idle_s=idle_s))
        return made[-1]

    yield start
    for index in made:
        index.close()


@contextmanager
def refused() -> Iterator[None]:
    """Somebody has it, and nobody waits for long."""
    with pytest.MonkeyPatch.context() as hurried:
        hurried.setattr(locks, "WAIT_S", 0.2)
        with pytest.raises(BackendUnavailable, match="in use by pid"):
            yield


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def is_free(path: Path) -> bool:
    try:
        locks.FileLock(path / "lock", "it").release()
    except BackendUnavailable:
        return False
    return True


def test_two_that_ask_in_turn_are_both_answered(shared: Open) -> None:
    one, other = shared(), shared()
    for n in range(2):
        one.upsert([point(stem(f"a{n}"))])
        other.upsert([point(stem(f"b{n}"))])
        assert one.count() == other.count() == 2 * n + 2


def test_all_that_many_threads_of_several_holders_write_is_there(shared: Open) -> None:
    holders = [shared(), shared(), shared(idle_s=0.0)]

    def write(n: int) -> None:
        holders[n % 3].upsert([point(stem(f"{n}"))])
        assert holders[n % 3].find_stem(stem(f"{n}").id)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write, range(9)))
    assert {p.segment.stem.title for p in shared().scroll()} == {f"{n}" for n in range(9)}


def test_it_is_let_go_when_nobody_asks_and_opened_again(shared: Open, path: Path) -> None:
    index = shared(idle_s=0.0)
    index.upsert([point(stem("a"))])
    until(lambda: is_free(path))
    EdgeIndex(path, space=SPACE, dimension=D).close()
    assert index.count() == 1
    index.release()
    assert is_free(path)
    assert index.count() == 1


def test_what_takes_long_to_open_is_held_longer_unless_another_wants_it(
    shared: Open, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []

    class Slow(EdgeIndex):
        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(*args, **more)
            opened.append(self)
            time.sleep(1.0)

    monkeypatch.setattr(qdrant_edge, "EdgeIndex", Slow)
    index = shared(idle_s=0.0)
    for n in range(3):
        index.upsert([point(stem(f"{n}"))])
        time.sleep(0.2)
    assert len(opened) == 1
    assert shared().count() == 3
    assert len(opened) == 2


def test_it_is_held_while_somebody_goes_through_it(shared: Open, path: Path) -> None:
    index = shared(idle_s=0.0)
    index.upsert([point(stem(f"{n}")) for n in range(3)])
    going = index.scroll()
    next(going)
    with refused():
        shared().count()
    assert len(list(going)) == 2
    assert shared().count() == 3


def test_a_scroll_that_was_given_up_does_not_keep_it_from_closing(shared: Open, path: Path) -> None:
    index = shared()
    index.upsert([point(stem(f"{n}")) for n in range(3)])
    going = index.scroll()
    next(going)
    index.close()
    index.close()
    assert is_free(path)
    with pytest.raises(BackendError, match="closed"):
        index.count()


def test_who_waits_says_so_once_and_who_holds_it(
    shared: Open, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(locks, "SAY_AFTER_S", 0.0)
    path.mkdir(parents=True)
    lock = locks.FileLock(path / "lock", "it")
    timer = threading.Timer(0.3, lock.release)
    timer.start()
    assert shared().count() == 0
    timer.join()
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith("waiting: the index at") and "in use by pid" in said


def test_others_are_served_again_after_a_fault_of_accepting(
    shared: Open, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, other, stop = shared(idle_s=0.0), shared(idle_s=0.0), threading.Event()
    other.upsert([point(stem("a"))])
    assert kept.keep()
    accept, left = socket.socket.accept, [2]

    def fails(listener: socket.socket) -> Any:
        if left[0] > 0:
            left[0] -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return accept(listener)

    monkeypatch.setattr(socket.socket, "accept", fails)
    host, threads = IndexHost(kept, path), Threads(stop, (0.01,))
    host.start(threads.keep)
    assert other.count() == 1
    assert threads.restarts() == {"index-host": 2}
    stop.set()
    host.stop()
    threads.join(10)
    kept.close()


def test_whoever_keeps_it_serves_the_others(shared: Open, path: Path) -> None:
    kept, other = shared(idle_s=0.0), shared(idle_s=0.0)
    other.upsert([point(stem("a"))])
    assert kept.keep()
    with refused():
        other.count()
    host = IndexHost(kept, path)
    host.start()
    assert other.count() == 1
    assert not shared().keep()
    with refused():
        qdrant_edge.remove_index(path, lambda: True)
    late = shared()
    assert late.count() == 1
    host.stop()
    kept.close()
    # It asked through the one that has ended; now it asks for itself.
    assert late.count() == 1
    assert other.count() == 1


def test_whoever_keeps_it_waits_for_a_question_that_is_asked(shared: Open) -> None:
    asked = shared()
    asked.upsert([point(stem(f"{n}")) for n in range(3)])
    going = asked.scroll()
    next(going)
    with ThreadPoolExecutor(1) as thread:
        keeping = thread.submit(shared().keep)
        assert len(list(going)) == 2
        assert keeping.result(20)


def test_another_space_is_named_at_the_first_question(shared: Open, path: Path) -> None:
    shared().upsert([point(stem("a"))])
    with pytest.raises(IndexMismatch):
        shared(space="another").count()
    assert shared().count() == 1


def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """So few points have a graph."""
    monkeypatch.setattr(qdrant_edge, "EXACT_BELOW", 100)
    monkeypatch.setattr(shared_index, "BUILD_FROM", 5)


def unbuilt(index: SharedIndex) -> int:
    with index._using() as opened:
        assert isinstance(opened, EdgeIndex)
        return opened.unbuilt


def test_a_graph_is_built_on_a_copy_while_searches_and_other_processes_go_on(
    shared: Open, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large(monkeypatch)
    index, other = shared(), shared()
    index.upsert([point(stem(f"{n}"), dense=[1.0, n / 120]) for n in range(120)])
    before = [hit.id for hit in index.search_dense(QUERY, ANY, 120)]
    seen: list[int] = []
    build = shared_index.build_shard

    def searched(*given: Any) -> None:
        seen.append(other.count())
        seen.append(len(index.search_dense(QUERY, ANY, 120)))
        build(*given)

    monkeypatch.setattr(shared_index, "build_shard", searched)
    told: list[tuple[int, int]] = []
    index.build(lambda done, total: told.append((done, total)))
    assert seen == [120, 120] and told[-1] == (120, 120)
    assert unbuilt(index) == 0
    assert [hit.id for hit in index.search_dense(QUERY, ANY, 120)] == before
    index.upsert([point(stem("later"))])
    index.close()
    assert other.count() == 121
    other.close()
    assert not (path / "building").exists() and not (path / "shard.before").exists()


def test_what_is_written_while_a_graph_is_built_is_kept_and_it_is_built_again(
    shared: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    large(monkeypatch)
    index, other = shared(), shared()
    index.upsert([point(stem(f"{n}")) for n in range(120)])
    build, late = shared_index.build_shard, iter(("first", "second", "third"))

    def written(*given: Any) -> None:
        build(*given)
        name = next(late, None)
        if name == "second":
            index.upsert([point(stem(name))])
        elif name == "first":
            other.upsert([point(stem(name))])

    monkeypatch.setattr(shared_index, "build_shard", written)
    index.build()
    assert index.count() == 122 and unbuilt(index) == 0
    assert next(late, None) is None
    index.close()
    other.close()


def test_a_graph_that_cannot_be_built_is_a_warning_and_a_small_one_is_not_built(
    shared: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    index = shared()
    index.upsert([point(stem(f"{n}")) for n in range(120)])

    def fails(*given: Any) -> None:
        raise BackendError("no room")

    monkeypatch.setattr(shared_index, "build_shard", fails)
    index.build()
    assert not caplog.records
    large(monkeypatch)
    index.build()
    assert "searches take longer than they could: no room" in caplog.text
    assert index.count() == 120
    index.close()


def test_an_index_that_ended_while_a_built_shard_took_its_place_is_opened(
    shared: Open, path: Path
) -> None:
    index = shared()
    index.upsert([point(stem("a"))])
    index.close()
    (path / "shard").rename(path / "shard.before")
    again = shared()
    assert again.count() == 1
    again.close()


def test_files_of_the_log_that_are_renamed_meanwhile_are_synced(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shard prepares ``tmp-open-3`` in a thread of its own, and gives it its name."""
    index = EdgeIndex(path, space=SPACE, dimension=D)
    index.upsert([point(stem("before"))])
    prepared = path / "shard" / "wal" / "tmp-open-9"
    prepared.touch()
    opened, os_open = [], qdrant_edge.os.open

    def open_(file: Path, flags: int) -> int:
        if file == prepared and prepared.exists():
            prepared.unlink()
        opened.append(file)
        return os_open(file, flags)

    monkeypatch.setattr(qdrant_edge.os, "open", open_)
    index.upsert([point(stem("a"))])
    monkeypatch.undo()
    assert prepared in opened and opened[-1] == path / "shard" / "wal"
    index.close()


@pytest.mark.parametrize("page", [1, 3, 100])
def test_what_is_served_comes_whole_however_many_frames_it_takes(
    shared: Open, path: Path, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    keeper, other = shared(), shared()
    keeper.upsert([point(stem(f"{n:02d}" * 32)) for n in range(7)])
    wanted = [hit.id for hit in keeper.search_dense(QUERY, ANY, 6)]
    assert len(wanted) == 6 and keeper.keep()
    host = IndexHost(keeper, path)
    monkeypatch.setattr("rag_audio.storage.index_socket._HITS", page)
    host.start()
    try:
        assert [hit.id for hit in other.search_dense(QUERY, ANY, 6)] == wanted
        assert other.search_dense(QUERY, ANY, 0) == []
    finally:
        host.stop()


@pytest.fixture
def hosted(path: Path) -> Iterator[EdgeIndex]:
    index = EdgeIndex(path, space=SPACE, dimension=D)
    host = IndexHost(index, path)
    host.start()
    yield index
    host.stop()
    index.close()


def test_copies_that_are_made_while_others_write_hold_still(hosted: EdgeIndex, path: Path) -> None:
    """Whatever is written at once is in a copy wholly or not at all, and nothing older is not."""
    written, stop = [0], threading.Event()

    def write() -> None:
        while not stop.is_set():
            n = written[0]
            hosted.upsert([point(stem(f"{n}-{m}"), dense=[1.0, n / 10 + m / 50]) for m in (0, 1)])
            written[0] = n + 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for n in range(4):
            into = path.parent / f".backup-{n}"
            into.mkdir()
            until(lambda n=n: written[0] > 3 * n)  # type: ignore[misc]
            before = written[0]
            copy_served(path, into.name)
            after = written[0] + 1
            copy = EdgeIndex(into / COPY, space=SPACE, dimension=D)
            found = {p.segment.stem.title for p in copy.scroll()}
            assert 2 * before <= len(found) <= 2 * after
            assert found == {f"{k}-{m}" for k in range(len(found) // 2) for m in (0, 1)}
            best = copy.search_dense(QUERY, ANY, 5)
            assert [hit.segment.stem.title for hit in best][:2] == ["0-0", "0-1"]
            copy.close()
    finally:
        stop.set()
        writer.join()


@pytest.mark.parametrize("into", ["elsewhere", "..", ".backup-none", ".backup-x/y", ".backup-link"])
def test_a_copy_goes_into_a_folder_of_a_backup_and_nowhere_else(
    hosted: EdgeIndex, path: Path, into: str
) -> None:
    (path.parent / "elsewhere").mkdir()
    (path.parent / ".backup-link").symlink_to(path.parent / "elsewhere")
    with pytest.raises(InvalidInput, match="no folder of a backup"):
        copy_served(path, into)
    (path.parent / ".backup-1" / COPY).mkdir(parents=True)
    with pytest.raises(InvalidInput, match="is there already"):
        copy_served(path, ".backup-1")
    assert not any((path.parent / "elsewhere").iterdir())


def test_a_copy_needs_room(hosted: EdgeIndex, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path.parent / ".backup-1").mkdir()
    space = shutil.disk_usage(path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: space._replace(free=1_000_000))
    with pytest.raises(InvalidInput, match="a copy of the index needs"):
        copy_served(path, ".backup-1")


def test_two_generate_on_one_home_at_once(indexed_home: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(indexed_home, home)
    with rag_audio.open(home) as one, rag_audio.open(home) as other, ThreadPoolExecutor(2) as both:
        for workspace in (one, other):  # loading two models at once is not what is tried here
            _ = workspace.home.embedder, workspace.home.generator(None)

        def generate(workspace: Workspace, name: str) -> int:
            (made,) = workspace.generate(
                "warm piano", tmp_path / name, duration_s=1.0, steps=2, seed=1
            )
            return made.record.output

        made = both.map(generate, (one, other), ("a.wav", "b.wav"))
        assert sorted(made) == [1, 2]
        assert one.home.ledger.verify() == []
