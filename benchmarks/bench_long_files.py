"""Long files: time and peak memory of ``index``, ``trace``, ``watermark embed`` and ``detect``.

    OMP_NUM_THREADS=1 python benchmarks/bench_long_files.py [--minutes 10 120] [--keep FOLDER]
        [--commands index trace embed detect] [--write benchmarks/RESULTS.md]

Every file is stereo at 48 kHz, 16-bit FLAC: sections of synthetic music in an order of their own,
and after two thirds an output, which ``trace`` has to find. Peak memory is the largest sum of what
a command and the processes that it started had resident, read from ``/proc`` every 20 ms (Linux);
pages of one library count in each process.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from rag_audio.audio.dsp import to_channels
from rag_audio.audio.reading import load

RATE = 48_000
SECTION_S, SECTIONS = 20.0, 9
PROGRAM = (sys.executable, "-m", "rag_audio.cli")
HEADING = "## Long files"
COMMANDS = ("index", "trace", "embed", "detect")
TABLES = (
    '[library]\nname = "mixes"\n[licenses.own]\nholder = "Me"\nspdx = "CC0-1.0"\n'
    'uses = ["prompt", "init_audio", "style"]\nterritories = ["WORLD"]\n',
    "path,license,artist,title\nmix.flac,own,Me,Mix\n",
)


def main() -> None:
    arguments = _arguments()
    folder = arguments.keep or Path(tempfile.mkdtemp(prefix="long-"))
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    try:
        home = make_home(folder / "demo")
        for minutes in arguments.minutes:
            file = folder / f"{minutes}min" / "mix.flac"
            if not file.exists():
                make_mix(file, 60.0 * minutes, folder / "demo" / "output.wav")
            for command in arguments.commands:
                rows.append((minutes, command, *measured(command, file, home, folder)))
                print("{} min {}: {:.0f} s, {:.0f} MB, {}".format(*rows[-1]), flush=True)
    finally:
        if arguments.keep is None:
            shutil.rmtree(folder)
    if arguments.write is not None:
        replace_section(arguments.write, "\n".join([HEADING, "", *report(rows), ""]))


def make_home(folder: Path) -> Path:
    """A home with the demo library and an output beside it, ``output.wav``."""
    if not folder.exists():
        words = ("demo", "--out", str(folder), "--json")
        subprocess.run([*PROGRAM, *words], check=True, stdout=subprocess.DEVNULL)
    return folder / "home"


def make_mix(file: Path, seconds: float, output: Path) -> None:
    """Write a mix of so many seconds, the output after two thirds of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    sections = [section(number) for number in range(SECTIONS)]
    output_samples = to_channels(load(output, sample_rate=RATE), 2).samples.T
    order = np.random.default_rng(1).integers(0, SECTIONS, round(seconds / SECTION_S))
    draft = file.with_name("draft.flac")
    with soundfile.SoundFile(draft, "w", RATE, 2, subtype="PCM_16") as out:
        for at, number in enumerate(order):
            if at == 2 * len(order) // 3:
                out.write(output_samples)
            out.write(sections[number])
    draft.rename(file)


def section(number: int) -> np.ndarray:
    """Twenty seconds of chords and drums, ``[T, 2]``."""
    rng = np.random.default_rng(number)
    made = np.zeros((round(SECTION_S * RATE), 2), np.float32)
    beat = round(RATE * 60 / rng.integers(84, 140))
    root = 110.0 * 2 ** (rng.integers(0, 12) / 12)
    time_s = np.arange(2 * beat) / RATE
    for start in range(0, len(made), beat // 2):
        room = made[start : start + 2 * beat]
        hz = root * 2 ** (rng.choice([0, 3, 5, 7, 10, 12, 15, 19]) / 12)
        tone = sum(np.sin(2 * np.pi * hz * n * time_s) / n for n in (1, 2, 3, 4))
        pan = rng.uniform(0.2, 0.8)
        note = 0.1 * tone * np.exp(-3 * time_s)
        room += np.stack([note * pan, note * (1 - pan)], 1)[: len(room)].astype(np.float32)
        hit = 0.15 * rng.standard_normal(len(time_s)) * np.exp(-rng.choice([20, 60]) * time_s)
        room += hit[: len(room), None].astype(np.float32)
    return np.clip(made, -0.95, 0.95)


def measured(command: str, file: Path, home: Path, folder: Path) -> tuple[float, float, str]:
    """Seconds, peak in MB and what came out of a command."""
    fresh = folder / "fresh"
    shutil.rmtree(fresh, ignore_errors=True)
    for name, text in zip(("library.toml", "stems.csv"), TABLES, strict=True):
        (file.parent / name).write_text(text)
    marked = folder / "marked.flac"
    words = {
        "index": ["index", str(file.parent), "--home", str(fresh)],
        "trace": ["trace", str(file), "--home", str(home)],
        "embed": ["watermark", "embed", str(file), str(marked), "--payload", "7"],
        "detect": ["watermark", "detect", str(file)],
    }[command]
    if command in ("embed", "detect"):
        words += ["--home", str(home)]
    began = time.monotonic()
    process = subprocess.Popen(
        [*PROGRAM, *words, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    peak = 0
    with process:
        while process.poll() is None:
            peak = max(peak, sum(map(resident, family(process.pid))))
            time.sleep(0.02)
        said = process.stdout.read() if process.stdout else b""
    marked.unlink(missing_ok=True)
    return time.monotonic() - began, peak / 1e6, told(command, process.returncode, said)


def told(command: str, code: int, said: bytes) -> str:
    """The answer in a few words."""
    if code not in (0, 1) or not said:
        return f"exit code {code}"
    document: dict[str, Any] = json.loads(said)
    if command == "index":
        return f"{document.get('segments')} segments, {len(document.get('rejected', ()))} rejected"
    if command == "trace":
        return f"output {document.get('output')} by {document.get('by')}"
    if command == "embed":
        return f"{document.get('snr_db', 0.0):.1f} dB below the music"
    return f"mark {document.get('payload')}"


def family(pid: int) -> list[int]:
    """A process and all that it started."""
    every = [pid]
    for parent in every:
        try:
            for task in Path(f"/proc/{parent}/task").iterdir():
                every += map(int, (task / "children").read_text().split())
        except OSError:
            continue
    return every


def resident(pid: int) -> int:
    """Bytes of memory that a process has."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def replace_section(path: Path, section: str) -> None:
    """Put the section into the file, in place of the one with its heading or at the end."""
    before, found, after = path.read_text(encoding="utf-8").partition(f"{HEADING}\n")
    _, following, rest = after.partition("\n## ")
    text = before + section + following + rest if found else f"{before.rstrip()}\n\n{section}"
    path.write_text(text, encoding="utf-8")


def report(rows: Sequence[tuple[int, str, float, float, str]]) -> list[str]:
    """The section of RESULTS.md."""
    lines = [
        "Stereo at 48 kHz, 16-bit FLAC; two cores, one thread; `OMP_NUM_THREADS=1 python "
        "benchmarks/bench_long_files.py`. Memory: the process and its children, at its highest.",
        "",
        "| command | length | time | peak memory | answer |",
        "|---|---|---|---|---|",
    ]
    for minutes, command, seconds, megabytes, answer in sorted(rows, key=lambda row: row[1]):
        lines.append(
            f"| {command} | {minutes} min | {seconds:.0f} s | {megabytes:.0f} MB | {answer} |"
        )
    return lines


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=int, nargs="+", default=[10, 120])
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    parser.add_argument("--keep", type=Path, help="keep home and files here, and use them again")
    parser.add_argument("--write", type=Path, help="replace the section of this file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
