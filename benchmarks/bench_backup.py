"""Backups of a home with very many files: time, memory, and whether every file comes back.

The files are a stand-in of a few bytes each where a home's files lie: of six, one is an unmarked
master, of an output that is in the ledger; four are what a job delivered; one is an upload. The
ledger is written through the product's own class, and the embedded index holds a thousand points.

Then, each in a process of its own: ``rag-audio backup``; the same with ``--since`` that archive,
after one file in a hundred was changed, one removed and one added; and ``rag-audio restore`` of the
second with ``--earlier`` the first. Before the restore the home's masters, outputs and uploads are
removed, which saves room and is what a restore is for. While an archive is made another process
searches the index all the time: once one that serves it, as ``rag-audio serve`` does, and once one
that opens it for each search::

    python benchmarks/bench_backup.py --files 10000 60000 600000 --data /tmp/backup-bench

After the restore every file's name and content and every entry of the log is compared; the exit
status is 1 where something differs. 600,000 files take about 5 GB, which are removed at the end.
Memory is the most that the process ever held (``ru_maxrss``). This process imports nothing large,
because a child's peak begins with that of the process which started it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

POINTS = 1000
MOST_TOLD = 10
OUTPUTS_AT_ONCE = 500
OF_SIX = 6
"""One master, four files of outputs, one upload."""
PARTS = ("masters", "outputs", "uploads")
CHANGED, REMOVED = 7, 57
"""Of a hundred sixes, those of which an output's file is changed, and another six is removed."""


@dataclass(frozen=True)
class Measured:
    """A command's process: its seconds, its peak of memory in bytes, what it printed."""

    seconds: float
    memory: int
    said: dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, nargs="+", default=[10_000])
    parser.add_argument("--data", type=Path, default=Path("backup-bench"))
    parser.add_argument("--step", choices=["build", "add", "search"], help=argparse.SUPPRESS)
    parser.add_argument("--served", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step == "search":
        search(given.data, given.served)
    elif given.step is not None:
        {"build": build, "add": add}[given.step](given.data, sixes(given.files[0]))
    else:
        rows, faults = [], 0
        for files in given.files:
            try:
                rows += measure(given.data / "work", files)
                faults += compare(given.data / "work", sixes(files))
            finally:
                shutil.rmtree(given.data / "work", ignore_errors=True)
        print("\n| files | step | s | files a second | archive, MB | memory, MB |")
        print("|---:|---|---:|---:|---:|---:|")
        print("\n".join(rows))
        sys.exit(1 if faults else 0)


def sixes(files: int) -> int:
    return max(100, files // OF_SIX)


def measure(work: Path, files: int) -> list[str]:
    """Build, archive twice and restore; rows of the table."""
    if work.exists():
        raise SystemExit(f"{work} is there already: remove it, or name another folder")
    work.mkdir(parents=True)
    home, count = work / "home", sixes(files)
    step(work, "build", count)
    full, later, again = work / "full.tar", work / "later.tar", work / "again"
    with searches(work, served=True):
        first = rag_audio("backup", full, "--home", home)
    step(work, "add", count)
    with searches(work, served=False):
        second = rag_audio("backup", later, "--since", full, "--home", home)
    for part in PARTS:
        shutil.rmtree(home / part)
    third = rag_audio("restore", later, "--earlier", full, "--home", again)
    return [
        row(files, "backup", first, full),
        row(files, "backup --since", second, later),
        row(files, "restore --earlier", third, None),
    ]


def row(files: int, name: str, found: Measured, archive: Path | None) -> str:
    """A line of the table; files are those archived, left out or brought back."""
    handled = found.said["files"] + found.said["left_out"]
    size = "" if archive is None else f"{archive.stat().st_size / 1e6:.0f}"
    return (
        f"| {files:,} | {name} | {found.seconds:.1f} | {handled / found.seconds:,.0f} "
        f"| {size} | {found.memory / 1e6:.0f} |"
    )


def rag_audio(*arguments: object) -> Measured:
    """The product's own command, in a process of its own."""
    command = [sys.executable, "-m", "rag_audio.cli", *map(str, arguments), "--json"]
    say(f"rag-audio {arguments[0]} {Path(str(arguments[1])).name}")
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        said = _output(child).read()
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - began
    say(f"{seconds:.1f} s, {used.ru_maxrss * 1024 / 1e6:.0f} MB of memory")
    if child.returncode:
        raise SystemExit(f"rag-audio {arguments[0]} ended with {child.returncode}")
    return Measured(seconds, used.ru_maxrss * 1024, json.loads(said))


def _output(child: subprocess.Popen[bytes]) -> IO[bytes]:
    if child.stdout is None:
        raise SystemExit("no output")
    return child.stdout


def step(work: Path, name: str, count: int) -> None:
    """A part of this file in a process of its own."""
    command = [sys.executable, __file__, "--step", name, "--data", str(work)]
    subprocess.run([*command, "--files", str(count * OF_SIX)], check=True)


# The files.


def names_of(number: int) -> Iterator[str]:
    """The names of six files, from 1 on."""
    yield f"masters/{number}.wav"
    job = f"outputs/{sha256(b'job %d' % (number // 4)).hexdigest()[:24]}/{number // 4:08x}"
    for suffix in ("wav", "c2pa", "json", "png"):
        yield f"{job}/take-{number % 4 + 1}.{suffix}"
    yield f"uploads/{sha256(b'upload %d' % number).hexdigest()[:24]}.wav"


def content_of(name: str, state: str = "first") -> bytes:
    return f"{name} {state}\n".encode()


def is_changed(name: str, number: int) -> bool:
    return number % 100 == CHANGED and not name.startswith("masters/")


def is_removed(number: int) -> bool:
    return number % 100 == REMOVED


def write(home: Path, number: int) -> None:
    for name in names_of(number):
        target = home / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content_of(name))


def expected(count: int) -> Iterator[tuple[str, bytes]]:
    """All files that come back, as they were when the second archive was made."""
    for number in range(1, count + count // 100 + 1):
        if number <= count and is_removed(number):
            continue
        for name in names_of(number):
            changed = number <= count and is_changed(name, number)
            yield name, content_of(name, "later" if changed else "first")


def build(work: Path, count: int) -> None:
    """A home with so many outputs and six times as many files."""
    began = time.perf_counter()
    append(work, count)
    put_index(work)
    for number in range(1, count + 1):
        write(work / "home", number)
        if number % 10_000 == 0:
            say(f"files: {OF_SIX * number:,} of {OF_SIX * count:,}")
    say(f"made in {time.perf_counter() - began:.0f} s")


def add(work: Path, count: int) -> None:
    """What happens between the archives."""
    more = count // 100
    append(work, more)
    for number in range(count + 1, count + more + 1):
        write(work / "home", number)
    for number in range(1, count + 1):
        if is_removed(number):
            for name in names_of(number):
                (work / "home" / name).unlink()
        elif number % 100 == CHANGED:
            for name in filter(lambda name: is_changed(name, number), names_of(number)):
                (work / "home" / name).write_bytes(content_of(name, "later"))


def append(work: Path, count: int) -> None:
    """Log so many more outputs; their numbers are given in one statement."""
    import rag_audio as product
    from rag_audio.provenance.ledger.tables import LOCK, counter, counter_checksum
    from rag_audio.storage.database import writing
    from tests.provenance.builders import record

    with product.open(work / "home") as opened:
        ledger = opened.home.ledger
        with writing(opened.home.database, LOCK) as db:
            first = int(db.execute(counter.select()).one().last_output) + 1
            last = first + count - 1
            checksum = counter_checksum(last, 1)
            db.execute(counter.update().values(last_output=last, checksum=checksum))
        for start in range(first, last + 1, OUTPUTS_AT_ONCE):
            numbers = range(start, min(start + OUTPUTS_AT_ONCE, last + 1))
            ledger.append_many([record(number) for number in numbers])
            if start % 10_000 == 1:
                say(f"ledger: {numbers[-1]:,} of {last:,} outputs")
        ledger.checkpoint()


# The index, and who searches in it.


def put_index(work: Path) -> None:
    import numpy as np

    import rag_audio as product
    from indexer.index_points import points
    from rag_audio.domain import Stem, StemKind

    rng = np.random.default_rng(1)
    stem = Stem(
        id="0" * 64,
        library="bench",
        path="a.wav",
        kind=StemKind.AUDIO,
        license="all",
        duration_s=10.0 * POINTS,
        artist="Somebody",
    )
    where = [(10.0 * at, 10.0) for at in range(POINTS)]
    with product.open(work / "home") as opened:
        rows = rng.standard_normal((POINTS, opened.home.embedder.dimension)).astype(np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        opened.home.index.upsert(points(stem, where, list(rows)))


@contextmanager
def searches(work: Path, served: bool) -> Iterator[None]:
    """Another process searches until the block ends; then it says how that went."""
    command = [sys.executable, __file__, "--step", "search", "--data", str(work)]
    ended, begun = work / "ended", work / "begun"
    with subprocess.Popen([*command, *(["--served"] if served else [])]) as child:
        try:
            while not begun.exists() and child.poll() is None:
                time.sleep(0.05)
            yield
        finally:
            ended.touch()
    ended.unlink()
    begun.unlink(missing_ok=True)
    if child.returncode:
        raise SystemExit("the process that searches failed")


def search(work: Path, served: bool) -> None:
    import numpy as np

    import rag_audio as product
    from rag_audio.domain import SegmentFilter
    from rag_audio.storage.index_socket import IndexHost
    from rag_audio.storage.shared_index import SharedIndex

    which = SegmentFilter(license_keys=frozenset({"bench/all"}))
    times: list[float] = []
    with product.open(work / "home") as opened:
        index = opened.home.index
        if not isinstance(index, SharedIndex):
            raise SystemExit("the home has no embedded index")
        query = np.ones(opened.home.embedder.dimension, np.float32)
        host = IndexHost(index, work / "home" / "index")
        if served:
            index.keep()
            host.start()
        while not (work / "ended").exists():
            began = time.perf_counter()
            if len(index.search_dense(query, which, 10)) != 10:
                raise SystemExit("a search found too few")
            times.append(time.perf_counter() - began)
            if not served:
                index.release()
            (work / "begun").touch()
            time.sleep(0.02 if served else 1.0)
        host.stop()
    how = "served to the backup" if served else "opened for each search"
    say(f"index, {how}: {len(times):,} searches meanwhile, all answered, p50 "
        f"{np.median(times) * 1e3:.1f} ms, the longest {max(times) * 1e3:.0f} ms")  # fmt: skip


# What came back.


def compare(work: Path, count: int) -> int:
    """Compare the restored home with what was there; how many things differ."""
    home, again = work / "home", work / "again"
    faults, wanted = 0, 0
    say("comparing what came back")

    def fault(what: str) -> None:
        nonlocal faults
        faults += 1
        if faults <= MOST_TOLD:
            print(f"differs: {what}")

    for name, content in expected(count):
        wanted += 1
        try:
            if (again / name).read_bytes() != content:
                fault(f"{name} has another content")
        except OSError as error:
            fault(f"{name}: {error.strerror}")
    there = sum(1 for part in PARTS for _ in files_below(again / part))
    if there != wanted:
        fault(f"{there} files came back, and there were {wanted}")
    for file in (home / "keys").iterdir():
        if (again / "keys" / file.name).read_bytes() != file.read_bytes():
            fault(f"keys/{file.name}")
    entries = compare_logs(home / "ledger.db", again / "ledger.db", fault)
    say(f"compared {wanted:,} files and {entries:,} entries: {faults} differ")
    return faults


def compare_logs(before: Path, after: Path, fault: Callable[[str], None]) -> int:
    """The entries that were archived come first in what came back; how many they are."""
    asked = "SELECT seq, document FROM ledger_entries WHERE seq > ? ORDER BY seq LIMIT 1000"
    size = 0
    with closing(sqlite3.connect(before)) as one, closing(sqlite3.connect(after)) as other:
        while rows := one.execute(asked, (size,)).fetchall():
            if rows != other.execute(asked, (size,)).fetchall()[: len(rows)]:
                fault(f"entries after {size}")
            size = rows[-1][0]
    return size


def files_below(folder: Path) -> Iterator[str]:
    for _, _, names in os.walk(folder):
        yield from names


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
