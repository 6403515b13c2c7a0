"""What every blob store keeps to: folders, S3, and others of fsspec."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag_audio.errors import InvalidInput, UnreadableFile
from rag_audio.storage.blobs import BlobExists, BlobMissing, BlobStore, every
from rag_audio.storage.fsspec_blobs import open_store
from tests.support.s3 import s3_bucket, s3_server

CONTENT = bytes(range(256)) * 40


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with s3_server() as address:
        yield address


@pytest.fixture(params=["folder", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BlobStore]:
    copies = (tmp_path / "copies", 1 << 20)
    if request.param == "folder":
        yield open_store(str(tmp_path / "files"), *copies)
    elif request.param == "memory":
        yield open_store(f"memory://{uuid.uuid4().hex}", *copies)
    else:
        with s3_bucket(request.getfixturevalue("server")) as url:
            yield open_store(f"{url}/some/prefix", *copies)


def read(store: BlobStore, key: str, start: int = 0, length: int | None = None) -> bytes:
    with store.open(key, start, length) as file:
        return file.read()


def test_what_was_put_is_read(store: BlobStore, tmp_path: Path) -> None:
    (tmp_path / "sound.wav").write_bytes(CONTENT)
    store.put("masters/1.wav", tmp_path / "sound.wav")
    store.put("masters/Größe 2.wav", b"")
    assert read(store, "masters/1.wav") == CONTENT
    assert read(store, "masters/Größe 2.wav") == b""
    info = store.stat("masters/1.wav")
    assert info is not None and info.size == len(CONTENT) and info.version and info.modified > 1e9
    assert store.page("masters/")[0] == info


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(start=st.integers(0, 120), length=st.none() | st.integers(0, 130))
def test_a_range_is_that_part(store: BlobStore, start: int, length: int | None) -> None:
    if store.stat("a.bin") is None:
        store.put("a.bin", CONTENT[:100])
    end = None if length is None else start + length
    assert read(store, "a.bin", start, length) == CONTENT[:100][start:end]


def test_a_range_can_be_searched(store: BlobStore) -> None:
    store.put("a.bin", CONTENT)
    with store.open("a.bin", 100, 1000) as file:
        assert file.seek(-10, 2) == 990 and file.read(50) == CONTENT[1090:1100]
        assert file.seek(5) == 5 and file.read(3) == CONTENT[105:108]


def test_a_changed_blob_has_another_version(store: BlobStore) -> None:
    store.put("a.bin", b"one")
    first = store.stat("a.bin")
    assert first == store.stat("a.bin")
    store.put("a.bin", b"two")
    second = store.stat("a.bin")
    assert first is not None and second is not None and first.version != second.version


def test_what_is_not_there(store: BlobStore) -> None:
    store.put("folder/a.bin", b"1")
    for key in ("b.bin", "folder", "folder/a.bin/c"):
        assert store.stat(key) is None
        with pytest.raises(BlobMissing, match=f"there is no {key} in"):
            store.open(key)
        with pytest.raises(BlobMissing), store.local(key):
            pass
        with pytest.raises(BlobMissing):
            store.copy(key, "c.bin")
    store.delete("b.bin")


def test_a_new_blob_replaces_none(store: BlobStore, tmp_path: Path) -> None:
    store.put("1.wav", b"first", new=True)
    with pytest.raises(BlobExists):
        store.put("1.wav", b"second", new=True)
    with pytest.raises(BlobExists), store.writing("1.wav", new=True) as draft:
        draft.write_bytes(b"third")
    assert read(store, "1.wav") == b"first"


def test_of_several_that_put_a_new_blob_one_does(store: BlobStore) -> None:
    done, refused = [], []

    def put(number: int) -> None:
        try:
            store.put("1.wav", b"%d" % number, new=True)
            done.append(number)
        except BlobExists:
            refused.append(number)

    threads = [threading.Thread(target=put, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 1 and len(refused) == 5
    assert read(store, "1.wav") == b"%d" % done[0]


def test_a_draft_is_stored_at_its_end_or_not_at_all(store: BlobStore) -> None:
    with store.writing("a/b.wav") as draft:
        assert draft.suffix == ".wav"
        draft.write_bytes(b"whole")
        assert store.stat("a/b.wav") is None and store.page() == []
    assert read(store, "a/b.wav") == b"whole"
    with pytest.raises(ZeroDivisionError), store.writing("a/b.wav") as draft:
        draft.write_bytes(b"part")
        raise ZeroDivisionError
    assert read(store, "a/b.wav") == b"whole" and len(store.page()) == 1


def test_a_local_file_has_the_content_and_the_name(store: BlobStore, tmp_path: Path) -> None:
    store.put("a/song.wav", b"one")
    with store.local("a/song.wav") as first:
        assert first.name == "song.wav" and first.read_bytes() == b"one"
        with store.local("a/song.wav") as again:
            assert again.read_bytes() == b"one"
    store.put("a/song.wav", b"two")
    with store.local("a/song.wav") as path:
        assert path.read_bytes() == b"two"


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    names=st.lists(st.text("ab-./é", min_size=1, max_size=6), max_size=12), limit=st.integers(1, 4)
)
def test_pages_hold_each_key_once_and_in_order(
    store: BlobStore, names: list[str], limit: int
) -> None:
    run = uuid.uuid4().hex
    kept: list[str] = []
    for name in names:
        key = "/".join(part for part in name.split("/") if part.strip("."))
        if key and not any(f"{one}/".startswith(f"{key}/") or f"{key}/".startswith(f"{one}/")
                           for one in kept):  # fmt: skip
            store.put(f"{run}/{key}", b"1")
            kept.append(key)
    for prefix in (f"{run}/{inner}" for inner in ("", "a", "a/", "b/a")):
        found, after = [], ""
        while page := [info.key for info in store.page(prefix, after, limit)]:
            found += page
            after = page[-1]
            if len(page) < limit:
                break
        wanted = sorted(f"{run}/{key}" for key in kept)
        assert found == [key for key in wanted if key.startswith(prefix)]
        assert found == [info.key for info in every(store, prefix)]


def test_a_copy_is_a_blob_of_its_own(store: BlobStore) -> None:
    store.put("a.bin", b"one")
    store.copy("a.bin", "b/c.bin")
    store.delete("a.bin")
    assert store.stat("a.bin") is None and read(store, "b/c.bin") == b"one"


@pytest.mark.parametrize("key", ["", "/a", "a//b", "../a", "a/../b", "./a", "a/", "a\\b", "a\0"])
def test_other_names_are_no_keys(store: BlobStore, key: str) -> None:
    for ask in (store.stat, store.open, store.delete, lambda one: store.put(one, b"")):
        with pytest.raises(InvalidInput, match="is no key"):
            ask(key)


def test_a_file_that_is_not_there_is_not_put(store: BlobStore, tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="cannot be read"):
        store.put("a.bin", tmp_path / "none.bin")
    assert store.page() == []
