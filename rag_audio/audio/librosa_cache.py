"""librosa with its compiled parts in place; no process ever reads what another one is writing.

librosa has numba compile some of its functions, most of them while it is imported, and numba keeps
the machine code in files that all processes of a user share. It writes the kernel and the wrapper
of a generalised ufunc one after the other and without a lock: when two processes compile the same
one at the same moment, or one is killed in between, the files of both may mix, and calling what
was loaded from them ends the process with a segmentation fault (numba issue 10128).

So the shared files are made once, by one process, and published whole by a rename; nobody writes
to them again. Every process reads them through a folder of its own that holds hard links to them,
and what it compiles besides stays in that folder (numba replaces files, it does not change them).
"""

from __future__ import annotations

import atexit
import fcntl
import hashlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from rag_audio.resources import cache_folder

_RATE = 22_050
_LOCK = "lock"
_OWN = "process-"
_NEW_S = 600.0  # its process may still be about to take its lock
_held: list[int] = []  # descriptors of the locks on this process's own folders


@lru_cache(maxsize=1)
def librosa_ready() -> ModuleType:
    """``librosa``, after every compiled function that this project reaches has been loaded.

    Once per installation one process compiles, about half a minute, while others that want the
    same wait for it; after that a process loads what was left. Our code gets librosa in no other
    way. The place is ``NUMBA_CACHE_DIR``, else the user's cache folder, else a temporary one: the
    first that is the user's alone. Where there is none, every process compiles for itself.
    """
    # Half of what librosa's import takes, and none of it compiled by numba: before the turn.
    import scipy.signal  # noqa: F401

    folder = cache_folder("compiled", os.environ.get("NUMBA_CACHE_DIR"))
    if folder is None:
        return _load(_scratch())
    published = folder / _key()
    if published.is_dir():
        return _load(_own_folder(folder, published) or _scratch())
    with _turn(folder):
        if published.is_dir():  # somebody else's turn brought it
            return _load(_own_folder(folder, published) or _scratch())
        own = _own_folder(folder, None)
        librosa = _load(own or _scratch())
        if own is not None:
            _publish(own, published)
        return librosa


def _load(own: Path) -> ModuleType:
    """librosa imported and called, with numba's files in ``own``."""
    import numba

    numba.config.CACHE_DIR = str(own)  # type: ignore[attr-defined]
    import librosa

    ready: ModuleType = librosa
    _call_what_is_compiled(ready)
    return ready


def _call_what_is_compiled(librosa: ModuleType) -> None:
    """As the callers do, by type of argument: numba compiles anew for each."""
    import numpy as np

    noise = np.random.default_rng(0).standard_normal(_RATE // 2, dtype=np.float32)
    librosa.estimate_tuning(y=noise, sr=_RATE)
    librosa.filters.wavelet(freqs=np.array([2000.0, 3000.0]), sr=_RATE)
    librosa.feature.melspectrogram(y=noise, sr=_RATE)
    librosa.onset.onset_strength(y=noise, sr=_RATE)


def _key() -> str:
    """A name for what the compiled code depends on, so that an upgrade publishes anew."""
    import llvmlite.binding as llvm

    source = find_spec("librosa")
    origin = Path(source.origin) if source is not None and source.origin else None
    parts = [
        sys.version,
        *(f"{name} {version(name)}" for name in ("numba", "llvmlite", "numpy", "librosa")),
        f"{origin} {origin.stat().st_mtime_ns}" if origin else "",
        llvm.get_host_cpu_name(),
        llvm.get_host_cpu_features().flatten(),
        *(f"{name}={os.environ[name]}" for name in sorted(os.environ) if _matters(name)),
    ]
    return "v1-" + hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


def _matters(name: str) -> bool:
    return name.startswith("NUMBA_") and name not in ("NUMBA_CACHE_DIR", "NUMBA_NUM_THREADS")


def _own_folder(folder: Path, published: Path | None) -> Path | None:
    """A folder for this process alone, with links to what is published; gone when it ends.

    One that a killed process left is removed by the next.
    """
    _sweep(folder)
    try:
        own = Path(tempfile.mkdtemp(prefix=_OWN, dir=folder))
        held = _locked(own / _LOCK)
        if published is not None:
            shutil.copytree(published, own, copy_function=_link, dirs_exist_ok=True)
    except OSError:
        return None
    if held is not None:
        _held.append(held)  # until the process ends, however it ends
    atexit.register(_remove, own, os.getpid())
    return own


def _scratch() -> Path:
    """An empty folder for this process alone, in the last resort."""
    own = Path(tempfile.mkdtemp(prefix="rag-audio-compiled-"))
    atexit.register(_remove, own, os.getpid())
    return own


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copy2(source, target)


def _remove(own: Path, process: int) -> None:
    if os.getpid() == process:  # not in a forked child
        shutil.rmtree(own, ignore_errors=True)


def _sweep(folder: Path) -> None:
    """Remove the folders whose process is gone: not new, and nobody holds their lock any more."""
    for left in folder.glob(_OWN + "*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime < _NEW_S:
                continue
        held = _locked(left / _LOCK, wait=False)
        if held is not None:
            shutil.rmtree(left, ignore_errors=True)
            os.close(held)


def _publish(own: Path, published: Path) -> None:
    """Copy what this process compiled to where all look for it; whole or not at all."""
    with suppress(OSError):
        made = Path(tempfile.mkdtemp(prefix=_OWN, dir=published.parent))
        shutil.copytree(own, made, ignore=shutil.ignore_patterns(_LOCK), dirs_exist_ok=True)
        made.rename(published)


@contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """Hold the user's lock until the block ends; where there can be none, go on without.

    The file stays: removing it would let a third process lock a new file of the same name.
    """
    descriptor = _locked(folder / _LOCK)
    try:
        yield
    finally:
        if descriptor is not None:
            # Said, not left to closing: a child forked meanwhile has the file open too.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)


def _locked(path: Path, *, wait: bool = True) -> int | None:
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # held by another, or a file system without locks
        os.close(descriptor)
        return None
    return descriptor
