"""Build the graph of an embedded index in a process of its own, on a copy.

Qdrant Edge builds in one call, in which no other thread of its process runs. Run as a program this
module builds one shard: ``python -m rag_audio.storage.edge_build FOLDER``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rag_audio.errors import BackendError
from rag_audio.storage.locks import try_lock, unlock

if TYPE_CHECKING:
    from rag_audio.domain.ports import Progress

BUILDING, BUILD_LOCK = "building", "build.lock"
"""In the index's folder: the copy that is being built, and the lock of whoever builds."""
_LOOK_S = 0.2
_NICE = 10


@contextmanager
def building(folder: Path) -> Iterator[bool]:
    """Be the one who builds an index during the block; False: another process is."""

    def private(name: str, flags: int) -> int:
        return os.open(name, flags | os.O_CLOEXEC, 0o600)

    with open(folder / BUILD_LOCK, "a", encoding="utf-8", opener=private) as lock:
        is_mine = try_lock(lock)
        try:
            yield is_mine
        finally:
            if is_mine:
                unlock(lock)


def build_shard(shard: Path, points: int, progress: Progress | None = None) -> None:
    """Build the shard in a folder, which nobody has open; this takes minutes where it is large.

    Args:
        points: that it holds. progress: is called now and then, and at the end with all of them.

    Raises:
        BackendError: it cannot be built.
    """
    command = [sys.executable, "-P", "-m", "rag_audio.storage.edge_build", str(shard)]
    places = os.pathsep.join(path for path in sys.path if path)
    child = subprocess.Popen(  # noqa: S603 (our own interpreter and module)
        command,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": places},
    )
    try:
        said = _wait(child, points, progress)
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
    if child.returncode:
        last = said.decode("utf-8", "replace").strip().splitlines()[-1:] or ["it was killed"]
        raise BackendError(f"the graph of the index cannot be built: {last[0][:200]}")
    if progress is not None:
        progress(points, points)


def _wait(child: subprocess.Popen[bytes], points: int, progress: Progress | None) -> bytes:
    while True:
        if progress is not None:
            progress(0, points)
        try:
            return child.communicate(timeout=_LOOK_S)[1]
        except subprocess.TimeoutExpired:
            continue


def main() -> None:
    """Build the shard in the folder that is named."""
    import qdrant_edge as edge

    os.nice(_NICE)
    shard = edge.EdgeShard.load(sys.argv[1])
    shard.optimize()
    shard.flush()
    shard.close()


if __name__ == "__main__":
    main()
