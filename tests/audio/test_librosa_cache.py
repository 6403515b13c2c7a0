"""Processes that meet librosa for the first time at the same moment, or are killed over it."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rag_audio.audio import librosa_cache

# Of the gufuncs only the two that are called are compiled, for float32: the same race, sooner over.
USES_LIBROSA = """
import numba
import numpy as np
from rag_audio.audio.librosa_cache import librosa_ready

whole = numba.guvectorize

def restricted(types, *rest, **options):
    some = whole([line for line in types if "float32" in line], *rest, **options)
    return lambda f: some(f) if f.__name__ in ("_localmax", "_pi_wrapper") else f

numba.guvectorize = restricted
noise = np.random.default_rng(0).standard_normal(22050, dtype=np.float32)
librosa_ready().estimate_tuning(y=noise, sr=22050)
"""

# Another function, which the published folder lacks: numba keeps what it makes of it.
COMPILES_MORE = (
    USES_LIBROSA
    + """
import librosa
librosa.core.constantq.__dict__["__num_two_factors"](np.int32(8))
"""
)


def start(folder: Path, code: str = USES_LIBROSA) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "NUMBA_CACHE_DIR": str(folder),
        "XDG_CACHE_HOME": str(folder.with_name("caches")),
        "TMPDIR": str(folder.parent),
        "NUMBA_DEBUG_CACHE": "1",  # tells what is written
        "NUMBA_OPT": "0",  # compiles in half the time
    }
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def contents(published: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(published)): path.read_bytes()
        for path in sorted(published.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where two processes that started at once left what one of them compiled."""
    folder = tmp_path_factory.mktemp("compiled") / "numba"
    killed = start(folder)
    while not any(folder.rglob("*.nbc")) and killed.poll() is None:
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)  # between two of its files
    assert killed.wait() == -signal.SIGKILL
    processes = [start(folder) for _ in range(2)]
    said = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert sum("data saved to" in lines for lines in said) == 1
    assert all("data loaded from" in lines for lines in said if "data saved to" not in lines)
    return folder


def published_in(folder: Path) -> Path:
    (published,) = folder.glob("v1-*")
    return published


def test_of_processes_that_start_at_once_one_compiles_and_none_dies(folder: Path) -> None:
    assert any(name.endswith(".nbc") for name in contents(published_in(folder)))


def test_what_a_process_compiles_besides_stays_its_own(folder: Path) -> None:
    before = contents(published_in(folder))
    process = start(folder, COMPILES_MORE)
    said = process.communicate()[0]
    assert process.returncode == 0, said
    assert "data saved to" in said
    assert contents(published_in(folder)) == before


def test_a_process_leaves_no_folder_of_its_own(folder: Path) -> None:
    process = start(folder)
    said = process.communicate()[0]
    assert process.returncode == 0, said
    left = set(folder.glob("process-*"))
    kept_by_the_killed_one = {path for path in left if any(path.rglob("*.nbc"))}
    assert left == kept_by_the_killed_one
    assert len(left) == 1


@pytest.fixture
def first_call_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of this test. Everything is loaded, but the next call is again the first."""
    import numba

    librosa_cache.librosa_ready()
    before = numba.config.CACHE_DIR
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "numba"))
    librosa_cache.librosa_ready.cache_clear()
    yield tmp_path / "numba"
    numba.config.CACHE_DIR = before


def test_it_waits_while_another_process_is_at_it(first_call_again: Path) -> None:
    first_call_again.mkdir(mode=0o700)
    with (first_call_again / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiting = threading.Thread(target=librosa_cache.librosa_ready, daemon=True)
        waiting.start()
        waiting.join(0.5)
        assert waiting.is_alive()
        fcntl.flock(held, fcntl.LOCK_UN)
        waiting.join(120)
        assert not waiting.is_alive()
    assert librosa_cache.librosa_ready().__name__ == "librosa"


def test_it_lets_the_next_one_in(first_call_again: Path) -> None:
    librosa_cache.librosa_ready()
    lock = first_call_again / "lock"
    assert lock.stat().st_mode & 0o777 == 0o600
    with lock.open("a") as free:
        fcntl.flock(free, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_folders_of_dead_processes_go_and_those_of_living_ones_stay(first_call_again: Path) -> None:
    dead, living, new = (first_call_again / f"process-{name}" for name in ("a", "b", "c"))
    for path in (dead, living, new):
        path.mkdir(parents=True)
        (path / "lock").touch()
    first_call_again.chmod(0o700)
    with (living / "lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        for path in (dead, living):
            os.utime(path, (1, 1))
        librosa_cache.librosa_ready()
    assert not dead.exists()
    assert living.exists()
    assert new.exists()


@pytest.mark.parametrize("obstacle", ["a file", "writable by all", "somebody's link to a lock"])
def test_without_a_folder_to_trust_the_work_goes_on(obstacle: str, first_call_again: Path) -> None:
    target = first_call_again.with_name("target")
    if obstacle == "a file":
        first_call_again.touch()
    else:
        first_call_again.mkdir()
        first_call_again.chmod(0o777 if obstacle == "writable by all" else 0o700)
        if obstacle == "somebody's link to a lock":
            (first_call_again / "lock").symlink_to(target)
    assert librosa_cache.librosa_ready().__name__ == "librosa"
    assert not target.exists()
    if obstacle == "writable by all":
        assert not list(first_call_again.iterdir())


def test_what_others_may_write_is_not_loaded(tmp_path: Path) -> None:
    everybodys = tmp_path / "everybodys"
    everybodys.mkdir()
    everybodys.chmod(0o1777)
    process = start(everybodys)
    said = process.communicate()[0]
    assert process.returncode == 0, said
    assert not list(everybodys.iterdir())
