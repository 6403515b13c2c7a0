"""Rotated logs: whatever is appended, by however many processes, stands there whole and once."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_audio.storage.files import LineLog

LETTERS = st.characters(exclude_characters="\n\r", exclude_categories=["Cs"])
ROOT = Path(__file__).parents[2]


def lines_of(path: Path) -> list[str]:
    """All lines that are kept, oldest first."""
    found = sorted(path.parent.glob(f"{path.name}.*"), key=lambda one: -int(one.suffix[1:]))
    return [line for one in (*found, path) for line in one.read_text("utf-8").split("\n")[:-1]]


@settings(max_examples=60)
@given(
    st.lists(st.text(LETTERS), min_size=1),
    st.integers(1, 60),
    st.integers(1, 4),
)
def test_the_newest_lines_stand_there_whole(lines: list[str], max_bytes: int, files: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        log = LineLog(path, max_bytes, files)
        for line in lines:
            log.append(line)
        kept = lines_of(path)
        assert kept == lines[len(lines) - len(kept) :]
        names = list(Path(folder).iterdir())
        assert len(names) <= files
        for name in names:
            size = name.stat().st_size
            assert size <= max_bytes or len(name.read_bytes().splitlines()) == 1
            assert stat.S_IMODE(name.stat().st_mode) == 0o600


def test_processes_that_rotate_at_once_lose_no_line(tmp_path: Path) -> None:
    path = tmp_path / "log"
    code = (
        "import sys; from pathlib import Path; from rag_audio.storage.files import LineLog\n"
        "log = LineLog(Path(sys.argv[1]), 400, 1000)\n"
        "for i in range(150): log.append(f'{sys.argv[2]}-{i} ' + 'x' * 30)\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(path), str(one)], cwd=ROOT)
        for one in range(3)
    ]
    assert [one.wait(60) for one in running] == [0, 0, 0]
    lines = lines_of(path)
    assert len(lines) == 450
    assert {line.split()[0] for line in lines} == {f"{a}-{i}" for a in range(3) for i in range(150)}
    assert all(line.endswith("x" * 30) for line in lines)


def test_a_line_that_could_not_be_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real, left = tmp_path / "log", os.write, [3]

    def full(handle: int, data: bytes) -> int:
        if not left:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(handle, bytes(data)[: left.pop()])

    log = LineLog(path, 1000, 2)
    log.append("first")
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="space"):
        log.append("second")
    monkeypatch.setattr(os, "write", real)
    log.append("third")
    assert path.read_text() == "first\nthird\n"


def test_what_is_no_plain_file_is_never_renamed(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    link.symlink_to(target)
    log = LineLog(link, 10, 3)
    for _ in range(5):
        log.append("a long line of a log")
    assert link.is_symlink() and len(target.read_text().splitlines()) == 5
    LineLog(Path("/dev/null"), 1, 1).append("nothing")
    assert Path("/dev/null").exists()
