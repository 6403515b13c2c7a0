"""The walk through a library's folder: whatever lies there, it ends and names what it left out."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from indexer.scan import looks_like_music, scan
from rag_audio.storage.library_files import FolderFiles


def reasons(root: Path) -> dict[str, str]:
    return {item.path: item.reason for item in scan(FolderFiles(root)).rejected}


def test_files_come_in_order_of_path_without_hidden_ones_and_the_two_tables(
    tmp_path: Path,
) -> None:
    for name in ("b/z.wav", "b/a.wav", "a.wav", ".hidden.wav", ".git/x.wav", "b/stems.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"12")
    (tmp_path / "library.toml").touch()
    (tmp_path / "stems.csv").touch()
    found = scan(FolderFiles(tmp_path))
    assert [file.path for file in found.files] == ["a.wav", "b/a.wav", "b/stems.csv", "b/z.wav"]
    assert found.files[0].size == 2
    assert found.files[0].mtime_ns == (tmp_path / "a.wav").stat().st_mtime_ns
    assert found.rejected == []


def test_links_that_lead_out_loop_or_break_are_reported_and_inner_ones_followed(
    tmp_path: Path,
) -> None:
    root = tmp_path / "library"
    (root / "sub").mkdir(parents=True)
    (root / "a.wav").write_bytes(b"1")
    outside = tmp_path / "outside.wav"
    outside.write_bytes(b"1")
    (root / "in.wav").symlink_to(root / "a.wav")
    (root / "out.wav").symlink_to(outside)
    (root / "sub" / "up").symlink_to(root, target_is_directory=True)
    (root / "away").symlink_to(tmp_path, target_is_directory=True)
    (root / "self").symlink_to(root / "self")
    (root / "gone.wav").symlink_to(root / "nowhere.wav")
    assert [file.path for file in scan(FolderFiles(root)).files] == ["a.wav", "in.wav"]
    found = reasons(root)
    assert "leads out of the library" in found["out.wav"]
    assert "leads out of the library" in found["away"]
    assert "a link to a folder is not followed" in found["sub/up"]
    assert "runs in a circle" in found["self"]
    assert "leads nowhere" in found["gone.wav"]


def test_pipes_sockets_and_devices_are_reported_and_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "null.wav").symlink_to("/dev/null")
    place = Path.cwd()
    os.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s.wav")
        os.chdir(place)
        found = reasons(tmp_path)
    assert "a named pipe" in found["pipe.wav"]
    assert "a socket" in found["s.wav"]
    assert "leads out" in found["null.wav"]
    assert scan(FolderFiles(tmp_path)).files == []


def test_a_name_that_is_not_utf8_is_reported_readably(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.wav")).write_bytes(b"1")
    (tmp_path / os.fsdecode(b"dir\xff")).mkdir()
    (tmp_path / os.fsdecode(b"dir\xff") / "inside.wav").write_bytes(b"1")
    assert reasons(tmp_path) == {
        "caf\\xe9.wav": "the name is not UTF-8; rename it",
        "dir\\xff": "the name is not UTF-8; rename it",
    }
    assert scan(FolderFiles(tmp_path)).files == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_reported(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0)
    assert "the folder cannot be read" in reasons(tmp_path)["locked"]


def test_a_folder_that_vanishes_during_the_walk_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub").mkdir()
    real = os.scandir

    def removed_underneath(path: Path) -> object:
        if Path(path).name == "sub":
            raise FileNotFoundError(2, "No such file or directory")
        return real(path)

    monkeypatch.setattr(os, "scandir", removed_underneath)
    assert reasons(tmp_path) == {"sub": "the folder cannot be read: No such file or directory"}


def test_only_what_looks_like_music_is_worth_a_word(tmp_path: Path) -> None:
    heads = {
        "notes.txt": b"hello",
        "cover.jpg": b"\xff\xd8\xff",
        "score": b"MThd\x00\x00\x00\x06",
        "take.dat": b"RIFF\x00\x00\x00\x00WAVE",
        "video.avi": b"RIFF\x00\x00\x00\x00AVI ",
        "empty.mp3": b"",
        "photo": b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00",
        "voice note": b"\x00\x00\x00\x18ftypM4A \x00\x00\x00\x00",
    }
    for name, head in heads.items():
        (tmp_path / name).write_bytes(head)
    assert {name for name in heads if looks_like_music(FolderFiles(tmp_path), name)} == {
        "score",
        "take.dat",
        "empty.mp3",
        "video.avi",
        "voice note",
    }
