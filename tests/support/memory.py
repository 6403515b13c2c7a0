"""How much more memory a block of a test takes than there was before it."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Growth:
    """Of this process, to its highest."""

    mb = 0.0


@contextmanager
def growth() -> Iterator[Growth]:
    """Measures the block; skips the test where the system does not tell."""
    if not _RESET.exists():
        pytest.skip("the system does not say how much memory a process takes")
    gc.collect()
    _RESET.write_text("5")
    before, found = _now("VmRSS"), Growth()
    yield found
    found.mb = _now("VmHWM") - before


def _now(name: str) -> float:
    (line,) = (line for line in _STATUS.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024
