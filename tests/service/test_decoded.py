"""What uploads are decoded to: bounded, in use or gone, and never more than the disk has."""

from __future__ import annotations

import errno
import tempfile
import threading
from collections import namedtuple
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_audio.service import decoder_pool
from rag_audio.service.decoder_pool import DecodedFiles, Writing

MOST, SPARE = 1000, 300
_Usage = namedtuple("_Usage", "total used free")
IDS = st.sampled_from([letter * 32 for letter in "abcdef"])
STEPS = st.one_of(
    st.tuples(st.just("begin"), IDS, st.integers(1, 700)),
    st.tuples(st.just("end"), IDS, st.floats(0, 1)),
    st.tuples(st.just("lease"), IDS, st.just(0)),
    st.tuples(st.just("release"), IDS, st.just(0)),
)


def bytes_in(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir()) if folder.is_dir() else 0


class Disk:
    """A disk of so many bytes that only one folder is on."""

    def __init__(self, folder: Path, size: int, patched: pytest.MonkeyPatch) -> None:
        self.folder, self.size = folder, size
        patched.setattr(decoder_pool.shutil, "disk_usage", lambda _: _Usage(size, 0, self.free))
        patched.setattr(decoder_pool, "LEAST_BYTES", 1)

    @property
    def free(self) -> int:
        return self.size - bytes_in(self.folder)


@settings(max_examples=60, deadline=None)
@given(size=st.integers(SPARE, 2500), steps=st.lists(STEPS, max_size=25))
def test_what_is_promised_is_there_and_what_is_kept_is_bounded(
    size: int, steps: list[tuple[str, str, float]]
) -> None:
    with (
        tempfile.TemporaryDirectory() as name,
        pytest.MonkeyPatch.context() as patched,
        ExitStack() as all_,
    ):
        disk = Disk(Path(name, "decoded"), size, patched)
        files = DecodedFiles(disk.folder, MOST, SPARE, patience_s=0.0)
        writing: dict[str, tuple[Writing, ExitStack]] = {}
        leases: dict[str, ExitStack] = {}
        for do, id_, value in steps:
            if do == "begin" and id_ not in writing:
                block = all_.enter_context(ExitStack())
                try:
                    made = block.enter_context(files.writing(id_, int(value)))
                except OSError as error:
                    assert error.errno == errno.ENOSPC
                else:
                    writing[id_] = (made, block)
            elif do == "end" and id_ in writing:
                made, block = writing.pop(id_)
                made.sound.write_bytes(bytes(int(value * made.most_bytes)))
                block.close()
            elif do == "lease" and id_ not in leases:
                block = all_.enter_context(ExitStack())
                if block.enter_context(files.lease(id_)):
                    leases[id_] = block
            elif do == "release" and id_ in leases:
                leases.pop(id_).close()
            promised = sum(one.most_bytes - one.bytes for one, _ in writing.values())
            assert disk.free - promised >= min(SPARE, size)
            assert all(files.of(one).sound.exists() for one in leases)
            if not leases and do in ("begin", "end"):
                in_flight = sum(one.most_bytes for one, _ in writing.values())
                assert bytes_in(disk.folder) <= max(0, MOST - in_flight) or in_flight > MOST


def test_what_is_in_use_stays_and_goes_afterwards(tmp_path: Path) -> None:
    files = DecodedFiles(tmp_path, 100, 0)

    def add(id_: str, in_use: ExitStack | None = None) -> None:
        with files.writing(id_, 80, in_use) as made:
            made.sound.write_bytes(bytes(80))

    add("a" * 32)
    with files.lease("a" * 32) as there, ExitStack() as in_use:
        assert there
        add("b" * 32)
        assert {file.stem for file in tmp_path.iterdir()} == {"a" * 32}
        add("d" * 32, in_use)
        assert {file.stem for file in tmp_path.iterdir()} == {"a" * 32, "d" * 32}
    add("c" * 32)
    assert {file.stem for file in tmp_path.iterdir()} == {"c" * 32}
    with files.lease("a" * 32) as there:
        assert not there


def test_who_finds_the_room_promised_to_another_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Disk(tmp_path, 1000, monkeypatch)
    files, promised = DecodedFiles(tmp_path, 10_000, 0, patience_s=10.0), list[int]()

    def second() -> None:
        with files.writing("b" * 32, 900) as made:
            promised.append(made.most_bytes)

    with files.writing("a" * 32, 900) as made:
        thread = threading.Thread(target=second)
        thread.start()
        made.sound.write_bytes(bytes(50))
    thread.join(10.0)
    assert promised == [900]


def test_what_is_kept_makes_way_for_what_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Disk(tmp_path, 1000, monkeypatch)
    files = DecodedFiles(tmp_path, 10_000, 100)
    with files.writing("a" * 32, 800) as made:
        made.sound.write_bytes(bytes(800))
    files.require_room(500)
    assert not files.of("a" * 32).sound.exists()
    with pytest.raises(OSError, match="No space"):
        files.require_room(901)


def test_what_fails_leaves_nothing_and_gives_its_room_back(tmp_path: Path) -> None:
    files = DecodedFiles(tmp_path, 100, 0, patience_s=0.0)
    with pytest.raises(ValueError), files.writing("a" * 32, 90) as made:
        made.sound.write_bytes(bytes(10))
        raise ValueError
    assert not list(tmp_path.iterdir())
    with files.writing("b" * 32, 90) as made:
        assert made.most_bytes == 90
