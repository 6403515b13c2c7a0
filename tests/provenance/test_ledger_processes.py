"""Several processes append at once, and some are killed: no gap, no fork, nothing lost.

``RAG_AUDIO_TEST_APPENDERS=8x500`` runs the full size.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest

from rag_audio.provenance.ledger.ledger import SqlLedger
from rag_audio.storage.database import connect, sqlite_url

PROCESSES, EACH = map(int, os.environ.get("RAG_AUDIO_TEST_APPENDERS", "4x60").split("x"))
KILLED = 2
ROOT = Path(__file__).parents[2]


class Appender:
    """One process, and what it said was acknowledged."""

    def __init__(self, url: str, name: str, count: int) -> None:
        self.said: list[tuple[int, int, str]] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.provenance.appender", url, name, str(count)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self._reader = Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.endswith("\n"):
                seq, number, leaf = line.split()
                self.said.append((int(seq), int(number), leaf))

    def wait(self) -> int:
        self._reader.join()
        return self.process.wait(240)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return sqlite_url(tmp_path / "ledger.db")


def test_processes_append_at_once_and_two_are_killed(url: str) -> None:
    SqlLedger(connect(url))
    # The victims would go on for ever: they are at work whenever their turn to be killed comes.
    counts = [1_000_000] * KILLED + [EACH] * (PROCESSES - KILLED)
    appenders = [Appender(url, f"process {i}", count) for i, count in enumerate(counts)]
    for victim, after in zip(appenders[:KILLED], (EACH // 3, EACH // 2), strict=True):
        while len(victim.said) < after and victim.process.poll() is None:
            victim._reader.join(0.01)
        victim.process.send_signal(signal.SIGKILL)
    codes = [appender.wait() for appender in appenders]
    assert codes == [-signal.SIGKILL] * KILLED + [0] * (PROCESSES - KILLED)
    ledger = SqlLedger(connect(url))
    entries = ledger.outputs()
    assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
    assert ledger.verify() == []
    known = {(entry.seq, entry.record.output, entry.leaf_hash) for entry in entries}
    acknowledged = {line for appender in appenders for line in appender.said}
    assert acknowledged <= known
    assert len(acknowledged) >= (PROCESSES - KILLED) * EACH + EACH // 3 + EACH // 2
    # A process that is killed between the commit and its word leaves one entry it never reported.
    assert len(known - acknowledged) <= KILLED
