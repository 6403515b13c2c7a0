"""Places of files: how they are named, what their local copies take, and what fails how."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from rag_audio.errors import BackendUnavailable, ConfigError, MissingExtra
from rag_audio.storage.blobs import FolderBlobs
from rag_audio.storage.fsspec_blobs import open_store
from tests.support.s3 import s3_away, s3_bucket, s3_server


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_server() as address, s3_bucket(address) as url:
        yield url


def test_a_folder_keeps_the_names_of_files(tmp_path: Path) -> None:
    store = FolderBlobs(tmp_path)
    store.put("masters/1.wav", b"RIFF")
    assert (tmp_path / "masters" / "1.wav").read_bytes() == b"RIFF"
    assert (tmp_path / "masters" / "1.wav").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "masters").stat().st_mode & 0o777 == 0o700
    with store.local("masters/1.wav") as path:
        assert path == tmp_path / "masters" / "1.wav"


def test_only_a_url_needs_another_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fsspec.registry")
    known = sys.modules["fsspec.registry"]._registry  # with what another test imported

    for name in ("fsspec", "s3fs"):
        monkeypatch.delitem(known, "s3", raising=False)
        monkeypatch.setitem(sys.modules, name, None)
        open_store(str(tmp_path), tmp_path, 1).put("a", b"1")
        with pytest.raises(MissingExtra) as caught:
            open_store("s3://bucket/x", tmp_path, 1)
        assert "rag-audio[s3]" in caught.value.hint
        monkeypatch.undo()


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("s3://user:secret@bucket/x", "holds a user or a secret"),
        ("nothing://bucket", "is no place for files"),
        ("s3://", "names no bucket"),
    ],
)
def test_what_is_no_place(tmp_path: Path, place: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        open_store(place, tmp_path, 1)
    assert "secret@" not in caught.value.message


def test_a_bucket_that_is_not_there(tmp_path: Path, bucket: str) -> None:
    store = open_store(f"{bucket}-none/x", tmp_path, 1)
    for ask in (lambda: store.stat("a"), lambda: store.page(), lambda: store.put("a", b"")):
        with pytest.raises(ConfigError, match="there is no bucket"):
            ask()


def test_an_object_that_stands_for_the_folder_of_the_prefix_is_passed_over(
    tmp_path: Path, bucket: str
) -> None:
    import boto3

    client = boto3.client("s3")
    for key in ("made/", "made/masters/"):
        client.put_object(Bucket=bucket.removeprefix("s3://"), Key=key, Body=b"")
    store = open_store(f"{bucket}/made", tmp_path, 1)
    store.put("masters/1.wav", b"1")
    store.put("masters/2.wav", b"2")
    assert [info.key for info in store.page(limit=1)] == ["masters/1.wav"]
    assert [info.key for info in store.page(after="masters/1.wav", limit=1)] == ["masters/2.wav"]


def test_a_server_that_does_not_answer(tmp_path: Path) -> None:
    pytest.importorskip("s3fs")
    with s3_away():
        store = open_store("s3://bucket/x", tmp_path, 1)
        with pytest.raises(BackendUnavailable, match="s3://bucket/x cannot be used") as caught:
            store.put("a", b"")
    assert "127.0.0.1" not in caught.value.public


def test_a_copy_is_fetched_once_while_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(f"memory://{uuid.uuid4().hex}", tmp_path / "copies", 250)
    system, fetched = store._system, []  # type: ignore[attr-defined]
    real = type(system).get_file
    monkeypatch.setattr(
        type(system), "get_file", lambda *a, **k: (fetched.append(a[1]), real(*a, **k))[1]
    )
    for name in "abc":
        store.put(name, bytes(100))

    def use(name: str) -> None:
        with store.local(name) as path:
            assert path.stat().st_size == 100

    for name in "aabab":
        use(name)
    assert len(fetched) == 2
    with store.local("a") as held:
        use("c")  # One of the others has to go.
        use("b")
        assert held.read_bytes() == bytes(100)
    assert sum(file.stat().st_size for file in (tmp_path / "copies").iterdir()) <= 250
    assert not list((tmp_path / "copies").glob("use-*"))


def test_leftovers_of_killed_processes_go(tmp_path: Path) -> None:
    copies = tmp_path / "copies"
    left = copies / "use-killed"
    left.mkdir(parents=True)
    (left / "lock").touch()
    os.utime(left, (1, 1))
    store = open_store(f"memory://{uuid.uuid4().hex}", copies, 1000)
    store.put("a", b"1")
    with store.local("a"):
        assert not left.exists()


def test_a_range_asks_for_no_more_than_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(f"memory://{uuid.uuid4().hex}", tmp_path, 1)
    store.put("a", bytes(250))
    system, asked = store._system, []  # type: ignore[attr-defined]
    real = type(system).cat_file
    monkeypatch.setattr(
        type(system),
        "cat_file",
        lambda self, path, start, end: (asked.append(end - start), real(self, path, start, end))[1],
    )
    with store.open("a", 100, 50) as file:
        file.read()
    assert sum(asked) == 50


def test_many_copies_are_not_looked_through_for_each_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(f"memory://{uuid.uuid4().hex}", tmp_path / "copies", 100_000)
    looked: list[Path] = []
    real = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda self: (looked.append(self), real(self))[1])
    for number in range(800):
        store.put(f"{number}.wav", bytes(250))
        with store.local(f"{number}.wav"):
            pass
    assert len(looked) < 200
    held = [path.stat().st_size for path in real(tmp_path / "copies")]
    assert 85_000 <= sum(held) <= 102_000
