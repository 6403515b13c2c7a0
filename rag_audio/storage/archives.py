"""Reading tar files of any number of members."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

_GZIP = b"\x1f\x8b"


@contextmanager
def opened(archive: Path) -> Iterator[tarfile.TarFile]:
    """An archive to read, compressed or not."""
    with archive.open("rb") as raw:
        mode: Literal["r:gz", "r:"] = "r:gz" if raw.read(2) == _GZIP else "r:"
        raw.seek(0)
        with tarfile.open(fileobj=raw, mode=mode) as tar:
            yield tar


def members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The members in order, of which none is kept in memory."""
    while member := tar.next():
        tar.members.clear()  # type: ignore[attr-defined]  # It keeps all there ever were.
        yield member
