"""How long whole commands take, against an earlier checkout, in one run.

``OMP_NUM_THREADS=1 python benchmarks/bench_commands.py --before DIR [--repeats N]``

``DIR`` is a checkout of the earlier code, such as ``git worktree add DIR COMMIT`` makes. Every
command is a process of its own under this interpreter, with the code of either checkout first on
its path; the two alternate, and each works on its own copy of one home (the demo library, indexed
by the earlier code). Before anything is measured, each command is run once by either, so that byte
code and caches are there for both. Given are medians of wall time and of CPU time (user and
system, children included): on a busy machine the second is the one to compare.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import put_section

HEADING = "## Commands"
HERE = Path(__file__).parent.parent
_RUN = (sys.executable, "-c", "from rag_audio.cli import main; main()")

# What it is → its arguments, and the ratio to before that it is held against; None: seconds at
# most, in the second place.
COMMANDS: Mapping[str, tuple[Sequence[str], str]] = {
    "import rag_audio": ((), "< 0.1 s"),
    "--help": (("--help",), "≤ 0.5 s"),
    "search, filters only (tempo)": (("search", "--bpm", "80-130"), "≤ 0.4"),
    "search, filters only (artist)": (("search", "--artist", "Velda Quarn"), "≤ 0.4"),
    "search, words": (("search", "warm electric piano"), "≤ 0.8"),
    "ledger verify": (("ledger", "verify"), ""),
    "generate, 3 s": (
        ("generate", "slow warm piano", "--duration", "3", "--seed", "1", "--out", "made.wav"),
        "≤ 0.8",
    ),
}


@dataclass(frozen=True)
class Side:
    """One checkout with a home and a folder of its own."""

    code: Path
    home: Path
    folder: Path
    bytecode: Path

    def seconds(self, arguments: Sequence[str]) -> tuple[float, float]:
        """Wall and CPU seconds of one process; without arguments, of ``import rag_audio``.

        Raises:
            RuntimeError: the command failed.
        """
        command = (*_RUN, *arguments) if arguments else (sys.executable, "-c", "import rag_audio")
        environment = {
            **os.environ,
            "PYTHONPATH": str(self.code),
            "PYTHONPYCACHEPREFIX": str(self.bytecode),
            "RAG_AUDIO_HOME": str(self.home),
        }
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        used, start = _cpu_s(), time.perf_counter()
        done = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )
        wall = time.perf_counter() - start
        if done.returncode:
            raise RuntimeError(f"{self.code}: {' '.join(command)}: {done.stderr.strip()}")
        return wall, _cpu_s() - used


def _cpu_s() -> float:
    """CPU seconds of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _sides(before: Path, work: Path) -> tuple[Side, Side]:
    """The earlier code and this, with a copy each of one home."""
    sides = []
    for name, code in (("before", before), ("after", HERE)):
        folder = work / name
        folder.mkdir()
        sides.append(Side(code, folder / "home", folder, work / "bytecode"))
    first, second = sides
    first.seconds(("index", str(before / "data" / "demo")))
    shutil.copytree(first.home, second.home)
    return first, second


def measure(before: Path, repeats: int, work: Path) -> list[str]:
    """The rows of the table."""
    sides = _sides(before, work)
    rows = []
    for name, (arguments, aim) in COMMANDS.items():
        for side in sides:
            side.seconds(arguments)
        taken: tuple[list[tuple[float, float]], ...] = ([], [])
        for turn in range(repeats):
            for at in (0, 1) if turn % 2 == 0 else (1, 0):
                taken[at].append(sides[at].seconds(arguments))
        walls, cpus = (
            [statistics.median(one[kind] for one in side) for side in taken] for kind in (0, 1)
        )
        rows.append(
            f"| {name} | {walls[0]:.2f} | {walls[1]:.2f} | {walls[1] / walls[0]:.2f} | "
            f"{cpus[0]:.2f} | {cpus[1]:.2f} | {cpus[1] / cpus[0]:.2f} | {aim} |"
        )
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--before", type=Path, required=True, help="a checkout of earlier code")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        rows = measure(given.before.resolve(), given.repeats, Path(name))
    commit = subprocess.run(
        ["git", "-C", str(given.before), "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    section = f"""{HEADING}

`OMP_NUM_THREADS=1 python benchmarks/bench_commands.py --before DIR`: whole processes on the indexed demo library, {commit or given.before.name} (before)
and this code in turn in one run, medians of {given.repeats}; byte code and caches warm. {platform.machine()}, {os.cpu_count()} CPUs, load average {os.getloadavg()[0]:.1f}, Python {platform.python_version()}.
On a busy machine compare CPU time.

| command | before, s | after, s | ratio | before, CPU s | after, CPU s | ratio | aim |
|---|---:|---:|---:|---:|---:|---:|---|
{chr(10).join(rows)}
"""  # noqa: E501 - lines of a text
    put_section(HERE / "benchmarks" / "RESULTS.md", HEADING, section)


if __name__ == "__main__":
    main()
