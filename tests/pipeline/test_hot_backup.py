"""Backups that are made while others work in the home: each is whole, and comes back."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rag_audio.cli.app import run
from rag_audio.errors import BackendUnavailable, InvalidInput
from rag_audio.pipeline import backup
from rag_audio.pipeline.backup import Done
from rag_audio.pipeline.home_files import HomeFiles
from rag_audio.provenance.credentials import watermark_keys
from rag_audio.provenance.ledger.ledger import SqlLedger
from rag_audio.storage.database import connect, sqlite_url
from rag_audio.storage.index_socket import IndexHost
from rag_audio.storage.locks import FileLock
from rag_audio.storage.qdrant_edge import EdgeIndex
from rag_audio.storage.shared_index import SharedIndex
from tests.contracts.test_stem_index import SPACE, D, point, stem
from tests.provenance.builders import record, source


class Home:
    """A home that is worked in: a master, an entry and embeddings for each output."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.key = path / "keys" / "watermark.key"
        self.keys = [watermark_keys.load_or_create(self.key)]
        self.ledger = SqlLedger(connect(sqlite_url(path / "ledger.db")), path / "keys/ledger.key")
        self.index = SharedIndex(path / "index", space=SPACE, dimension=D)
        (path / "masters").mkdir()

    def master(self, output: int) -> Path:
        return self.path / "masters" / f"{output}.wav"

    def make_output(self) -> int:
        """As the product does: embeddings of the source, the master, then the entry."""
        output = self.ledger.next_output_id()
        used = stem(f"{output}")
        self.index.upsert([point(used, start_s) for start_s in (0.0, 5.0)])
        draft = self.master(output).with_name(f".{output}.wav.{output:08x}.tmp")
        draft.write_bytes(bytes(100 * output))
        draft.replace(self.master(output))
        self.ledger.append(record(output, source(used.id)))
        return output

    def rotate(self) -> None:
        watermark_keys.rotate(self.key)
        self.keys.append(self.key.read_bytes())


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path / "home")
    made.make_output()
    yield made
    made.index.close()


@contextmanager
def repeating(*works: Callable[[], object]) -> Iterator[None]:
    """Each is done again and again by a thread of its own until the block ends."""
    stop, faults = threading.Event(), []

    def go(work: Callable[[], object]) -> None:
        try:
            while not stop.wait(0.005):
                work()
        except BaseException as fault:
            faults.append(fault)
            raise

    threads = [threading.Thread(target=go, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert faults == []


def assert_whole(home: Path, known: list[bytes]) -> int:
    """A home that came back holds all that its ledger speaks of; its outputs."""
    ledger = SqlLedger(connect(sqlite_url(home / "ledger.db")), home / "keys" / "ledger.key")
    assert ledger.verify() == []
    outputs = [entry.record.output for entry in ledger.outputs()]
    index = EdgeIndex(home / "index", space=SPACE, dimension=D)
    for output in outputs:
        assert (home / "masters" / f"{output}.wav").stat().st_size == 100 * output
        assert len(index.find_stem(stem(f"{output}").id)) == 2
    index.close()
    key = home / "keys" / "watermark.key"
    assert {*known} <= {key.read_bytes(), *watermark_keys.retired(key)}
    assert not [path for path in home.rglob(".*") if path.is_file()]
    return len(outputs)


@pytest.mark.parametrize("served", [True, False])
def test_backups_of_a_home_that_is_worked_in_are_whole(
    home: Home, tmp_path: Path, served: bool
) -> None:
    host = IndexHost(home.index, home.path / "index")
    if served:
        assert home.index.keep()
        host.start()
    sizes = []
    with repeating(home.make_output, home.rotate):
        for n in range(2):
            known, least = list(home.keys), home.ledger.size()
            backup.create(home.path, tmp_path / f"{n}.tar")
            sizes.append((known, least))
    host.stop()
    found = []
    for n, (known, least) in enumerate(sizes):
        backup.restore(tmp_path / f"{n}.tar", tmp_path / f"{n}")
        found.append(assert_whole(tmp_path / f"{n}", known))
        assert found[-1] >= least
        shutil.rmtree(tmp_path / f"{n}")
    assert found == sorted(found) and found[-1] > found[0]
    assert home.ledger.verify() == []
    assert not list(home.path.glob(".backup-*"))


def test_keys_are_those_of_one_moment(home: Home) -> None:
    """A rotation moves a key to a name that was not listed yet: it must be in either place."""
    reads = 0
    with repeating(home.rotate):
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            known = list(home.keys)
            read = HomeFiles(home.path, frozenset()).keys()
            assert {*known} <= {content for content, _ in read.values()}
            reads += 1
    assert reads and len(home.keys) > 2


def test_a_rotation_while_the_keys_are_read_loses_none(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, read_bytes, first = home.keys[0], Path.read_bytes, [True]

    def rotated_meanwhile(path: Path) -> bytes:
        if path == home.key and first:
            first.clear()
            home.rotate()
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", rotated_meanwhile)
    read = HomeFiles(home.path, frozenset()).keys()
    assert not first and before in {content for content, _ in read.values()}


def test_files_that_vanish_and_files_that_are_missed(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, missed = home.make_output(), home.make_output()
    others = HomeFiles.others

    def listed(self: HomeFiles) -> Iterator[tuple[Path, str]]:
        yield home.path / "uploads" / "u.wav", "uploads/u.wav"
        for path, name in others(self):
            if path == home.master(gone):
                path.unlink()
            if path != home.master(missed):
                yield path, name

    monkeypatch.setattr(HomeFiles, "others", listed)
    made = backup.create(home.path, tmp_path / "b.tar")
    assert any(f"the masters of 1 outputs were removed while the archive was made, such as "
               f"masters/{gone}.wav" in said for said in made.warnings)  # fmt: skip
    backup.restore(tmp_path / "b.tar", tmp_path / "again")
    held = {path.name for path in (tmp_path / "again" / "masters").iterdir()}
    assert held == {"1.wav", f"{missed}.wav"}


def test_what_is_only_passing_stays_out_and_what_is_not_is_told(home: Home, tmp_path: Path) -> None:
    for name in (
        "masters/.9.wav.0a1b2c3d.tmp", "uploads/.u1.part.wav", "outputs/j/t/.x.5.part.flac",
        "keys/.watermark.key.0123456789abcdef", "claims.lock",
    ):  # fmt: skip
        (home.path / name).parent.mkdir(parents=True, exist_ok=True)
        (home.path / name).write_bytes(b"x")
    (home.path / "song-wal").write_bytes(b"not a database's")
    (home.path / ".backup-mine").mkdir()
    (home.path / ".backup-mine" / "note").touch()
    killed = home.path / ".backup-killed"
    killed.mkdir()
    (killed / "backup.lock").touch()
    (home.path / "elsewhere").symlink_to(tmp_path)
    made = backup.create(home.path, tmp_path / "b.tar")
    assert "links are not archived, nor what they lead to: elsewhere" in made.warnings
    assert not killed.exists()
    backup.restore(tmp_path / "b.tar", tmp_path / "again")
    files = {
        path.relative_to(tmp_path / "again").as_posix()
        for path in (tmp_path / "again").rglob("*")
        if path.is_file() and "index" not in path.parts
    }
    kept = {path.name for path in (home.path / "keys").iterdir()} - {
        ".watermark.key.0123456789abcdef"
    }
    assert files == {
        "song-wal", ".backup-mine/note", "ledger.db", "masters/1.wav",
        *(f"keys/{name}" for name in kept),
    }  # fmt: skip


def test_a_lock_of_the_index_is_free_while_the_archive_is_written(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.index.close()
    others = HomeFiles.others

    def listed(self: HomeFiles) -> Iterator[tuple[Path, str]]:
        FileLock(home.path / "index" / "lock", "the index").release()
        return others(self)

    monkeypatch.setattr(HomeFiles, "others", listed)
    backup.create(home.path, tmp_path / "b.tar")


@pytest.mark.parametrize("free", [0, 2_000_000])
def test_a_full_disk_is_told_before_anything_is_written(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int
) -> None:
    home.index.close()
    space = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: space._replace(free=free))
    for name in ("b.tar", "b.tar.gz"):
        with pytest.raises(InvalidInput, match=r"needs .* MB, and|at .*, where"):
            backup.create(home.path, tmp_path / name)
    assert {path.name for path in tmp_path.iterdir()} == {"home"}
    assert not list(home.path.glob(".backup-*"))


def test_progress_goes_from_the_first_file_to_the_last(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[Done] = []
    made = backup.create(home.path, tmp_path / "b.tar", on_progress=told.append)
    sizes = [done.size for done in told]
    assert sizes == sorted(sizes) and len({done.files for done in told}) == made.files + 1
    assert 0 < told[0].all_files <= made.files and told[-1].size >= made.size
    home.index.close()
    assert run(["backup", str(tmp_path / "c.tar"), "--home", str(home.path), "--json"]) == 0
    assert capsys.readouterr().out.startswith("{")


def test_a_damaged_database_is_named(home: Home, tmp_path: Path) -> None:
    (home.path / "other.db").write_bytes(b"SQLite format 3\x00" + b"?" * 100)
    with pytest.raises(BackendUnavailable, match=r"other\.db.* cannot be copied"):
        backup.create(home.path, tmp_path / "b.tar")
