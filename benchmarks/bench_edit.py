"""Edits, measured on the embedded models: what is kept, seams, long extensions, trace, melodies.

    OMP_NUM_THREADS=1 python benchmarks/bench_edit.py [--quick] [--only null,seams,…] [--write FILE]

Held to: outside of the regions and their crossfades at most -90 dBFS of difference before marking,
and the mark alone after; no seam larger than the largest elsewhere on sustained clips; tempo within
1 % and loudness within 1 LU over three minutes in flat memory; the newest output and its ancestors
after three edits. Brackets are 95 % intervals: Wilson's for shares, bootstrap for means.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from edit_long import extensions, memory, seams
from edit_material import SONGS, row, share, song
from edit_melody import melodies

import rag_audio
from rag_audio.audio import writing
from rag_audio.audio.reading import load
from rag_audio.cli.demo import _lay_out_library
from rag_audio.domain import Audio
from rag_audio.domain.ports import Mark
from rag_audio.generation.splicing import CROSSFADE_S
from rag_audio.pipeline.workspace import Workspace
from rag_audio.resources import data_dir

PARTS = ("null", "chain", "seams", "extend", "memory", "melody")
Say = Callable[..., None]


def main() -> None:
    arguments = _arguments()
    lines: list[str] = []

    def say(line: str = "") -> None:
        print(line, flush=True)
        lines.append(line)

    quick = arguments.quick
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = arguments.work or Path(name)
        with rag_audio.open(folder / "home") as workspace:
            generator = workspace.home.generator(None)
            if not workspace.home.index.count() and {"null", "chain", "melody"} & arguments.only:
                renders = json.loads((data_dir("demo") / "demo.json").read_text())["renders"]
                workspace.index(_lay_out_library(folder / "library", renders, quiet=True))
            if "null" in arguments.only:
                nulls(workspace, folder, 3 if quick else 12, say)
            if "chain" in arguments.only:
                chains(workspace, folder, 1 if quick else 6, say)
            if "seams" in arguments.only:
                seams(generator, 5 if quick else 20, say)
            if "extend" in arguments.only:
                extensions(generator, 1 if quick else 6, say)
            if "memory" in arguments.only:
                memory(say)
            if "melody" in arguments.only:
                melodies(workspace, folder, 2 if quick else 8, say)
    say(f"\nMade in {(time.perf_counter() - started) / 60:.0f} minutes.")
    if arguments.write is not None:
        _write(arguments.write, lines, arguments)


def nulls(workspace: Workspace, folder: Path, count: int, say: Say) -> None:
    """In-painting of demo songs, as files of any rate and channel count: what changed outside?"""
    say("\n### In-painting: what is outside stays\n")
    say(
        "Two regions in each of eight bars of a demo song. Difference outside of them and of their "
        f"crossfades of {1000 * CROSSFADE_S:.0f} ms, largest sample, before marking (of the master "
        "that is kept); and of the delivered file from that master with the watermarker's own "
        "mark, inside and out, in steps of the 24 bit file.\n"
    )
    say("| file | rate, channels | null before marking, dBFS | delivered − marked master, LSB |")
    say("|---|---|---:|---:|")
    passed = exact = 0
    shapes = ((44_100, 2), (48_000, 1), (22_050, 2), (96_000, 2), (44_100, 8), (32_000, 6))
    for i in range(count):
        name, words, bpm = SONGS[i % len(SONGS)]
        rate, channels = shapes[i % len(shapes)]
        source = _in_channels(song(name, bpm, sample_rate=rate), channels)
        path, out = folder / "in.wav", folder / "out.wav"
        writing.save(source, path, subtype="FLOAT")
        regions = [(2.0 + i / 10, 3.5 + i / 10), (5.0, 6.5)]
        (result,) = workspace.inpaint(
            path, words, out, regions=regions, audio_rights="own", seed=i, steps=8
        )
        number = result.record.output
        master = workspace.home.master(number)
        if master is None:
            raise SystemExit(f"the master of output {number} is not kept")
        null = null_dbfs(source, master, regions)
        marked = workspace.home.watermarker.embed(master, Mark(number)) or master
        steps = np.abs(load(out).samples - marked.samples.clip(-1, 1)).max() * 2**23
        passed += null <= -90
        exact += steps <= 2**8
        shown = "equal, bit by bit" if np.isneginf(null) else f"{null:.1f}"
        title = name.split("/")[1]
        say(row(title, f"{rate} Hz, {channels}", shown, f"{steps:.1f} (24 bit)"))
    say(f"\nAt most -90 dBFS: {share(passed, count)}; delivered is the master and the mark, within "
        f"a step of 16 bit: {share(exact, count)}.")  # fmt: skip


def null_dbfs(a: Audio, b: Audio, regions: list[tuple[float, float]]) -> float:
    """Largest difference outside of the regions and their crossfades; -inf: none."""
    if a.samples.shape != b.samples.shape:
        return float("inf")
    keep = np.ones(a.frames, dtype=bool)
    for start, end in regions:
        first, last = (
            (time_s * a.sample_rate) for time_s in (start - CROSSFADE_S, end + CROSSFADE_S)
        )
        keep[int(first) : int(last) + 1] = False
    gap = np.abs(a.samples[:, keep] - b.samples[:, keep]).max(initial=0.0)
    return -np.inf if gap == 0 else float(20 * np.log10(gap))


def chains(workspace: Workspace, folder: Path, count: int, say: Say) -> None:
    """An output, in-painted, extended and varied; each traced as WAV and as MP3 of 128 kbit/s."""
    say("\n### Three edits in a row, traced\n")
    say("generate → inpaint → extend → vary, then `trace` of the last.\n")
    found = {"WAV": 0, "MP3 128 kbit/s": 0}
    complete = dict.fromkeys(found, 0)
    for i in range(count):
        path = folder / "0.wav"
        (made,) = workspace.generate(SONGS[i % len(SONGS)][1], path, seed=i, duration_s=10.0)
        (one,) = workspace.inpaint(
            path, "bright bells", folder / "1.wav", regions=[(3.0, 5.0)], seed=i
        )
        (two,) = workspace.extend(folder / "1.wav", "", folder / "2.wav", right_s=6.0, seed=i)
        (three,) = workspace.vary(folder / "2.wav", folder / "3.wav", strength=0.4, seed=i)
        line = [r.record.output for r in (two, one, made)]
        sources = {use.reference.stem.id for use in made.record.sources}
        writing.save(load(folder / "3.wav"), folder / "3.mp3", bitrate_kbps=128)
        for kind, name in (("WAV", "3.wav"), ("MP3 128 kbit/s", "3.mp3")):
            traced = workspace.trace(folder / name).to_json()
            right = traced["output"] == three.record.output and traced["ancestors"] == line
            found[kind] += right
            complete[kind] += right and {s["stem"] for s in traced["sources"]} >= sources
    say("| file | newest output and all ancestors | and every source of the first |")
    say("|---|---:|---:|")
    for kind, hits in found.items():
        say(row(kind, share(hits, count), share(complete[kind], count)))
    faults = workspace.home.ledger.verify()
    say(f"\n`ledger verify` finds {len(faults)} faults.")


def _in_channels(sound: Audio, channels: int) -> Audio:
    """Copies at falling levels: every channel has something of its own to keep."""
    rows = [sound.samples[i % sound.channels] * 0.9**i for i in range(channels)]
    return Audio(np.stack(rows), sound.sample_rate)


def _write(path: Path, lines: list[str], arguments: argparse.Namespace) -> None:
    quick = " --quick" if arguments.quick else ""
    some = "" if arguments.only == set(PARTS) else f" --only {','.join(sorted(arguments.only))}"
    command = f"OMP_NUM_THREADS=1 python benchmarks/bench_edit.py{quick}{some}"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = f"## Edits\n\n`{command}`, on the embedded models.\n" + "\n".join(lines).rstrip() + "\n"
    path.write_text(text, encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few cases of each part")
    parser.add_argument("--only", help=f"of {','.join(PARTS)}", default=",".join(PARTS))
    parser.add_argument("--work", type=Path, help="keep the indexed home here")
    parser.add_argument("--write", type=Path, help="put the tables into this file")
    arguments = parser.parse_args()
    arguments.only = set(arguments.only.split(","))
    if not arguments.only <= set(PARTS):
        parser.error(f"--only takes {', '.join(PARTS)}")
    return arguments


if __name__ == "__main__":
    main()
