from __future__ import annotations

import os
import stat
from hashlib import sha256
from pathlib import Path

import pytest

from rag_audio.audio.child_process import Child, ChildPool
from rag_audio.audio.headers import suffix_of
from rag_audio.errors import BackendUnavailable, InvalidInput
from rag_audio.storage.files import (
    PRIVATE,
    PUBLIC,
    atomic_write,
    create_once,
    draft_folder,
    export,
    file_sha256,
    remove_if_unlocked,
    write_bytes,
)
from rag_audio.storage.locks import FileLock, lock_file


def test_a_file_is_replaced_whole_or_stays(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    with atomic_write(target) as draft:
        draft.write_text("one")
        assert not target.exists()
    with pytest.raises(ValueError, match="no more"), atomic_write(target) as draft:
        draft.write_text("half of tw")
        raise ValueError("no more")
    assert target.read_text() == "one"
    assert list(tmp_path.iterdir()) == [target]
    assert file_sha256(target) == sha256(b"one").hexdigest()


def test_an_export_that_cannot_be_written_is_refused_in_one_line(tmp_path: Path) -> None:
    missing = tmp_path / "none" / "a.txt"
    with pytest.raises(InvalidInput, match=r"cannot write .*a\.txt: No such file"), export(missing):
        pass


@pytest.mark.parametrize("mode", [PRIVATE, PUBLIC])
def test_a_small_file_has_its_mode_from_the_beginning(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "keys" / "a.key"
    write_bytes(path, b"one", mode)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert create_once(path, lambda: b"two") == b"one"
    assert create_once(path.with_name("b.key"), lambda: b"two") == b"two"


def test_what_is_locked_is_not_removed(tmp_path: Path) -> None:
    with draft_folder(tmp_path / "home") as draft:
        (draft / "a").touch()
        assert not remove_if_unlocked(draft)
    assert not draft.exists()
    (tmp_path / "left").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "left")
    assert not remove_if_unlocked(link)
    with (tmp_path / "file").open("w") as file:
        lock_file(file)
        assert not remove_if_unlocked(tmp_path / "file")
    assert remove_if_unlocked(tmp_path / "file") and remove_if_unlocked(tmp_path / "left")


def test_a_lock_names_its_holder_and_can_be_had_again(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock", "the index")
    with pytest.raises(BackendUnavailable, match=rf"in use by pid {os.getpid()} \("):
        FileLock(tmp_path / "lock", "the index")
    lock.release()
    lock.release()
    FileLock(tmp_path / "lock", "the index").release()


@pytest.mark.parametrize(
    ("head", "suffix"),
    [
        (b"RIFF\0\0\0\0WAVE", ".wav"), (b"RF64\0\0\0\0WAVE", ".wav"),
        (b"FORM\0\0\0\0AIFC", ".aiff"),
        (b"RIFF\0\0\0\0RMID", ".mid"), (b"MThd\0\0\0\6", ".mid"), (b"fLaC", ".flac"),
        (b"OggS", ".ogg"), (b"ID3\4", ".mp3"), (b"RIFF\0\0\0\0AVI ", ".avi"), (b"", None),
    ],
)  # fmt: skip
def test_files_are_known_by_how_they_begin(head: bytes, suffix: str | None) -> None:
    assert suffix_of(head) == suffix


def test_a_worker_process_is_used_again_and_replaced_when_it_ended() -> None:
    pool = ChildPool(1, lambda: Child("this", os.environ))
    with pool.lease() as first, pytest.raises(TimeoutError), pool.lease(0.01):
        pass
    assert first.exit_code(5.0) == 0  # it prints the Zen of Python, and ends
    with pool.lease() as second:
        assert second is not first
        with second.pipes(5.0) as (_, replies):
            assert b"Namespaces" in replies.read()
    pool.end_idle()
    assert not second.is_alive
