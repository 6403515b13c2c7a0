"""Killed at any moment and run again, the indexer ends in the same index."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from indexer.build import IndexReport
from rag_audio.audio import analysis
from tests.indexer.killed_run import open_index, run
from tests.indexer.library import later_analysis, tone, write_tables
from tests.support.fakes import Row, dump

KILLS = {"edge": 20, "fake": 6}
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick")]

State = tuple[list[Row], "np.ndarray", list[tuple[str, str, str]]]


def first_state(root: Path) -> None:
    """24 files, some of two windows."""
    for i in range(24):
        tone(root / f"{i:02}.wav", 150 + 17 * i, seconds=0.5 + 11 * (i % 5 == 0))
    write_tables(root, "**,full,The Band,,,,,,\n03.wav,words,,Three,,,,,")


def second_state(root: Path) -> None:
    """Changed, copied, renamed, removed, broken, re-licensed and re-described files."""
    for i in (1, 5, 10):
        tone(root / f"{i:02}.wav", 900 + i, seconds=12)
    shutil.copy(root / "07.wav", root / "00 copy.wav")
    (root / "08.wav").rename(root / "a renamed.wav")
    (root / "09.wav").unlink()
    (root / "12.wav").write_bytes(b"broken")
    for i in range(6):
        tone(root / f"new {i}.wav", 2000 + i, seconds=6 * i + 1)
    write_tables(
        root,
        """
        **,full,The Band,,,,,,
        03.wav,full,Another Band,Three,,,,,
        04.wav,expired,,,,,,,
        1?.wav,full,The Band,,99,A minor,edited,,
        """,
    )


def state_of(
    kind: str, library: Path, home: Path, *, refresh: bool = False
) -> tuple[State, IndexReport]:
    """What a run to the end leaves behind: points, vectors, and the catalogue's rows."""
    from rag_audio.provenance.ledger.ledger import SqlLedger
    from rag_audio.storage.catalogue import SqlCatalogue
    from rag_audio.storage.database import connect, sqlite_url
    from rag_audio.storage.landmarks import SqlLandmarks

    index = open_index(kind, home)
    try:
        report = run(library, home, index, refresh=refresh)
        rows, vectors = dump(index)
    finally:
        index.close()
    engine = connect(sqlite_url(home / "ledger.db"))
    catalogue, landmarks = SqlCatalogue(engine), SqlLandmarks(engine)
    files = catalogue.files("night-shift").values()
    kept = landmarks.ids()  # of the stem, too, whose license ended
    assert {file.stem.id for file in files} <= kept
    assert landmarks.load(kept).keys() == kept
    ledger = SqlLedger(engine)
    assert (ledger.verify(), ledger.notes(), report.altered) == ([], [], ())
    engine.dispose()
    known = [(file.path, file.declared, file.stem.id) for file in files]
    return (rows, vectors, known), report


def kill_once(kind: str, library: Path, home: Path, after_s: float) -> bool:
    """Starts a run and kills it; whether it was still at work."""
    command = [sys.executable, "-m", "tests.indexer.killed_run", str(library), str(home), kind]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(after_s)
        at_work = process.poll() is None
        process.kill()
    return at_work


@pytest.mark.parametrize("kind", ["fake", "edge"])
def test_killed_at_random_moments_the_index_ends_as_if_undisturbed(kind: str, place: Path) -> None:
    library, start = place / "library", place / "start"
    first_state(library)
    state_of(kind, library, start)
    second_state(library)
    shutil.copytree(start, place / "calm")
    began = time.monotonic()
    (rows, vectors, known), report = state_of(kind, library, place / "calm")
    took_s = time.monotonic() - began
    assert (report.pruned, len(report.rejected)) == (2, 2)

    draw = random.Random(20)
    at_work = 0
    for number in range(KILLS[kind]):
        home = place / f"home-{number}"
        # Half of the homes have a first index already, half begin with nothing.
        if number % 2:
            shutil.copytree(start, home)
        at_work += kill_once(kind, library, home, draw.uniform(0, took_s))
        (again, vectors_again, known_again), _ = state_of(kind, library, home)
        assert again == rows
        assert known_again == known
        assert np.abs(vectors_again - vectors).max() < 1e-6
        shutil.rmtree(home)
    assert at_work >= KILLS[kind] // 4


def test_killed_again_and_again_in_one_home_the_index_ends_the_same(place: Path) -> None:
    kind = "edge"
    library, home = place / "library", place / "home"
    first_state(library)
    (rows, vectors, known), report = state_of(kind, library, place / "calm")
    draw = random.Random(7)
    for _ in range(5):
        kill_once(kind, library, home, draw.uniform(0, max(0.05, report.seconds)))
    (again, vectors_again, known_again), _ = state_of(kind, library, home)
    assert again == rows
    assert known_again == known
    assert np.abs(vectors_again - vectors).max() < 1e-6


def rows_of(home: Path, *, aged: bool = False) -> dict[str, int]:
    """By which version the files of a home were measured; ``aged`` makes all of them older."""
    from rag_audio.provenance.ledger.rights_log import SqlRightsLog
    from rag_audio.storage.catalogue import SqlCatalogue
    from rag_audio.storage.database import connect, sqlite_url

    engine = connect(sqlite_url(home / "ledger.db"))
    catalogue = SqlCatalogue(engine, SqlRightsLog())
    rows = catalogue.files("night-shift")
    if aged:
        old = [replace(row, measured_by=0) for row in rows.values()]
        catalogue.put_files("night-shift", old)
        catalogue.seal("night-shift")
    engine.dispose()
    return {path: row.measured_by for path, row in rows.items()}


def test_a_refresh_that_was_killed_goes_on_where_it_stopped(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = "edge"
    library, start = place / "library", place / "start"
    first_state(library)
    (before, vectors, _), _ = state_of(kind, library, start)
    rows_of(start, aged=True)
    monkeypatch.setattr(analysis, "analyse", later_analysis)
    shutil.copytree(start, place / "calm")
    (rows, kept, known), report = state_of(kind, library, place / "calm", refresh=True)
    assert (report.refreshed, report.outdated, len(rows)) == (24, 0, len(before))
    assert kept.tobytes() == vectors.tobytes()

    for step in (5, 24):
        home = place / f"home-{step}"
        shutil.copytree(start, home)
        command = [sys.executable, "-m", "tests.indexer.killed_run", str(library), str(home), kind]
        killed = subprocess.run([*command, str(step)], cwd=Path(__file__).parents[2], check=False)
        assert killed.returncode == -signal.SIGKILL
        done = sum(rows_of(home).values())
        assert done == (step - 1) // 3 * 3
        index = open_index(kind, home)
        meanwhile, _ = dump(index)
        index.close()
        assert [row[0] for row in meanwhile] == [row[0] for row in rows], "nothing is missing"
        (again, vectors_again, known_again), last = state_of(kind, library, home, refresh=True)
        assert (again, known_again, last.refreshed) == (rows, known, 24 - done)
        assert vectors_again.tobytes() == vectors.tobytes()
