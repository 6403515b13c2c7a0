"""What the files of every library keep to: in a folder, in S3, and in others of fsspec."""

from __future__ import annotations

import pickle
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indexer.scan import scan
from rag_audio.errors import ConfigError, UnreadableFile
from rag_audio.storage.blobs import BlobStore, FolderBlobs
from rag_audio.storage.fsspec_blobs import open_store
from rag_audio.storage.library_files import (
    CopyRoom,
    LibraryFiles,
    local_file,
    open_library,
    stored_file,
)
from tests.support.s3 import s3_bucket, s3_server


@dataclass
class Library:
    """Files, and the store in which a test puts them."""

    files: LibraryFiles
    store: BlobStore
    room: CopyRoom

    def anew(self) -> LibraryFiles:
        """As the next run sees it."""
        return open_library(self.files.place, self.room)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with s3_server() as address:
        yield address


@pytest.fixture(params=["folder", "memory", "s3"])
def library(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Library]:
    room = CopyRoom(tmp_path / "copies", 1 << 20)
    if request.param == "folder":
        (tmp_path / "files").mkdir()
        yield Library(open_library(tmp_path / "files", room), FolderBlobs(tmp_path / "files"), room)
        return
    if request.param == "memory":
        yield opened(f"memory://{uuid.uuid4().hex}/label", room)
        return
    with s3_bucket(request.getfixturevalue("server")) as url:
        yield opened(f"{url}/some/label", room)


def opened(url: str, room: CopyRoom) -> Library:
    return Library(open_library(url, room), open_store(url, room.folder, 1), room)


def test_names_and_what_lies_there(library: Library) -> None:
    for key in ("library.toml", "keys/a.wav", "keys/deep/b.wav", "Größe.wav"):
        library.store.put(key, key.encode())
    files = library.files
    assert sorted(files.listing("")) == [
        ("Größe.wav", False), ("keys", True), ("library.toml", False),
    ]  # fmt: skip
    assert sorted(files.listing("keys")) == [("a.wav", False), ("deep", True)]
    assert files.entry("keys").is_folder and not files.entry("keys/a.wav").is_folder
    assert files.entry("keys/a.wav").size == len("keys/a.wav")
    assert files.files_below("keys") == 2
    assert not list(files.strays())


def test_another_content_is_another_state(library: Library) -> None:
    library.store.put("a.wav", b"one")
    first = library.files.entry("a.wav")
    assert library.anew().entry("a.wav") == first
    assert 0 <= first.state < 1 << 63
    library.store.put("a.wav", b"two")
    assert library.anew().entry("a.wav").state != first.state


def test_files_are_read(library: Library) -> None:
    library.store.put("keys/a.wav", b"RIFF and more")
    files = library.files
    assert files.head("keys/a.wav", 4) == b"RIFF" and files.head("keys/a.wav", 99)[-4:] == b"more"
    assert files.head("keys/none.wav", 4) == b"" and files.head("keys", 4) == b""
    with files.local("keys/a.wav") as path:
        assert path.name == "a.wav" and path.read_bytes() == b"RIFF and more"
    with files.local("keys/none.wav") as path:
        assert path.name == "none.wav" and not path.exists()


def test_a_file_is_opened_by_another_process(library: Library) -> None:
    library.store.put("keys/a.wav", b"RIFF")
    sent = pickle.loads(pickle.dumps(library.files.file("keys/a.wav")))  # noqa: S301
    assert str(sent) == f"{library.files.place}/keys/a.wav"
    with local_file(sent) as here:
        assert here.path.read_bytes() == b"RIFF"
        told = library.files.entry("keys/a.wav")
        assert not here.version or (here.size, here.state) == (told.size, told.state)


def test_the_song_of_a_score_has_the_score_s_file(library: Library) -> None:
    library.store.put("a.mid", b"MThd")
    library.store.put("b.mid#2", b"b2")
    with local_file(library.files.file("a.mid#3")) as here:
        assert here.path.name == "a.mid#3" and here.path.with_name("a.mid").read_bytes() == b"MThd"
    with local_file(library.files.file("b.mid#2")) as here:
        assert here.path.read_bytes() == b"b2"


def test_the_first_of_several_paths_that_is_there(library: Library) -> None:
    library.store.put("b.wav", b"b")
    library.store.put("c.wav", b"c")
    found = stored_file(library.files.place, ["a.wav", "b.wav", "c.wav"], library.room)
    with local_file(found) as here:
        assert here.path.read_bytes() == b"b"
    gone = stored_file(library.files.place, ["x.wav", "y.wav"], library.room)
    with pytest.raises((UnreadableFile, FileNotFoundError)), local_file(gone) as here:
        here.path.read_bytes()


NAMES = st.sampled_from(
    ["a.wav", "b.mid", "x", "Drums", ".hidden", "__MACOSX", "a.logicx", "c.asd"]
)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sets(st.lists(NAMES, min_size=1, max_size=3).map("/".join), max_size=6))
def test_a_bucket_is_walked_as_a_folder_is(tmp_path: Path, keys: set[str]) -> None:
    kept = {
        key for key in keys if not any(other.startswith(f"{key}/") for other in keys)
    }  # else a name would be file and folder
    folder, name = tmp_path / uuid.uuid4().hex, uuid.uuid4().hex
    folder.mkdir()
    room = CopyRoom(tmp_path / "copies", 1 << 20)
    url = f"memory://{name}"
    for store in (FolderBlobs(folder), open_store(url, room.folder, 1)):
        for key in kept:
            store.put(key, key.encode())
    there, here = scan(open_library(url, room)), scan(open_library(folder, room))
    assert [(one.path, one.size) for one in there.files] == [
        (one.path, one.size) for one in here.files
    ]
    assert (there.junk, there.other, there.rejected) == (here.junk, here.other, here.rejected)
    assert [one.path for one in there.aside] == [one.path for one in here.aside]


def test_keys_that_no_file_can_have_are_told(tmp_path: Path) -> None:
    with s3_server() as address, s3_bucket(address) as url:
        import boto3

        client, bucket = boto3.client("s3"), url.removeprefix("s3://")
        for key in ("a//b.wav", "../c.wav", "d", "d/e.wav", "n" * 300, "fine.wav", "made/"):
            client.put_object(Bucket=bucket, Key=f"label/{key}", Body=b"1")
        found = scan(open_library(f"{url}/label/", CopyRoom(tmp_path, 1 << 20)))
    assert [one.path for one in found.files] == ["d/e.wav", "fine.wav"]
    assert {one.path: one.reason for one in found.rejected} == {
        "a//b.wav": "its key is no path of a file",
        "../c.wav": "its key is no path of a file",
        "d": "other keys go on from it as from a folder: give it another name",
        "n" * 300: "its name is longer than 255 bytes",
    }


def test_a_url_with_a_password_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds a user or a secret") as caught:
        open_library("s3://me:secret@bucket/label", CopyRoom(tmp_path, 1))
    assert "secret@" not in caught.value.message
