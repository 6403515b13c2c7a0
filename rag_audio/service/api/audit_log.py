"""The audit log: who did what, a JSON line each, in files of its own. No prompts, no secrets.

What anybody can cause without end (wrong keys, refused scopes, too many requests) is written a few
times in each window of a minute, and then counted: one more line at the window's end says how many
there were. An attacker can thus neither fill the disk nor push older lines out by rotation.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rag_audio.errors import BackendUnavailable
from rag_audio.storage.files import LineLog

WINDOW_S = 60.0
FEW = 5
"""Lines of one kind and one name in a window."""
MOST_LINES = 50
"""Lines of one kind in a window, whatever the names."""
MOST_COUNTS = 100
"""Names that are counted apart in a window; the others are counted together."""
OTHERS = "others"


@dataclass
class _Window:
    began: float
    at: str
    lines: Counter[str] = field(default_factory=Counter)
    named: Counter[tuple[str, str]] = field(default_factory=Counter)
    counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)


class AuditLog:
    """Writes the audit log; clock: seconds, rising."""

    def __init__(self, file: LineLog, clock: Callable[[], float] = time.monotonic) -> None:
        self._file, self._clock = file, clock
        self._lock = threading.Lock()
        self._window = _Window(clock(), _now())

    def write(self, what: str, **said: Any) -> None:
        """Note that something happened.

        Args:
            said: ids, scopes, addresses; nothing that a person wrote.

        Raises:
            BackendUnavailable: it cannot be written, and so it must not happen.
        """
        line = json.dumps({"at": _now(), "what": what, **said}, ensure_ascii=True)
        try:
            self._file.append(line)
        except OSError as error:
            raise BackendUnavailable(
                f"the audit log {str(self._file.path)!r} cannot be written: {error}",
                hint="free some space, and let its owner write to it",
            ) from error

    def write_often(self, what: str, by: str, name: str, **said: Any) -> None:
        """Note something that may happen without end; after a few times it is only counted.

        Args:
            by: what ``name`` is, such as ``client`` or ``key``.
            said: as for :meth:`write`; it is not in the line with the count.
        """
        with self._lock:
            self._end_window(at_once=False)
            window = self._window
            shown = window.named[what, name] < FEW and window.lines[what] < MOST_LINES
            if shown:
                window.named[what, name] += 1
                window.lines[what] += 1
            else:
                counted = (what, by, name)
                if counted not in window.counts and len(window.counts) >= MOST_COUNTS:
                    counted = (what, by, OTHERS)
                window.counts[counted] += 1
        if shown:
            self.write(what, **{by: name}, **said)

    def flush(self, at_once: bool = True) -> None:
        """Write down what was counted, once the window is over or at once."""
        with self._lock:
            self._end_window(at_once)

    def _end_window(self, at_once: bool) -> None:
        moment = self._clock()
        if not at_once and moment - self._window.began < WINDOW_S:
            return
        ended, self._window = self._window, _Window(moment, _now())
        for (what, by, name), count in ended.counts.items():
            self.write(what, **{by: name}, more=count, since=ended.at)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
