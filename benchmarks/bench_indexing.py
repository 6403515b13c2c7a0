"""Files a second of the indexer, part by part, and whether all engines make the same index.

    PYTHONPATH=. python benchmarks/bench_indexing.py --files 500 --seconds 30 \\
        --before ../before --parts local declared ray ray-cluster

The files are notes, chords and drums made here, stereo at 44.1 kHz. ``local`` declares neither
tempo nor key, ``declared`` both. Each is indexed into an empty home with the embedded models by a
process of its own; ``--before`` names a checkout of an older release, which indexes the same files
in the same run with its own code, turn about, ``--rounds`` times. Told are files a second in all,
and from the first that was written on (without the start of workers), and the processor seconds of
all processes for a file; the start of Ray is told apart. ``ray`` is one machine, beside ``local``;
``ray-cluster`` is three nodes, of which one is killed twice and put back. Of every two indexes ids,
payloads and the largest difference of a vector are compared.
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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

RATE = 44_100
_TOML = """
[library]
name = "Bench"
[licenses.all]
holder = "Nobody"
spdx = "LicenseRef-Bench-1"
uses = ["prompt", "init_audio", "style"]
territories = ["WORLD"]
"""
_RUN = """
import json, resource, sys, time
from pathlib import Path
import rag_audio
root, home = Path(sys.argv[1]), sys.argv[2]
workers, more = int(sys.argv[3]), json.loads(sys.argv[4])
class Told:
    times = []
    def started(self, files, skipped): pass
    def advanced(self, path, outcome): self.times.append(time.monotonic())
def cpu():
    both = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    return sum(one.ru_utime + one.ru_stime for one in map(resource.getrusage, both))
with rag_audio.open(home) as it:
    it.home.embedder.embed_text(["warm"])
    start = 0.0
    if more.get("engine") == "ray":
        import ray
        from indexer.engines.ray import connect
        began = time.monotonic()
        connect(ray)
        start = time.monotonic() - began
    began, before = time.monotonic(), cpu()
    report = it.index(root, workers=workers, progress=Told(), **more)
    wall, used = time.monotonic() - began, cpu() - before
later = [one for one in Told.times if one > Told.times[0] + 0.05]
steady = len(later) / (later[-1] - Told.times[0]) if later else 0.0
print(json.dumps({"wall_s": wall, "cpu_s": used, "steady": steady, "start_s": start,
                  "indexed": report.indexed, "segments": report.segments}))
"""
_DUMP = """
import sys
from pathlib import Path
import numpy as np
import rag_audio
with rag_audio.open(sys.argv[1]) as it:
    points = list(it.home.index.scroll())
np.savez(sys.argv[2], ids=[p.id for p in points], payloads=[repr(p.segment) for p in points],
         vectors=np.stack([p.dense for p in points]))
"""


def song(number: int, seconds: float) -> np.ndarray:
    """Notes, chords and drums, ``[T, 2]``; another one for each number."""
    rng = np.random.default_rng(number)
    frames, beat = round(seconds * RATE), 60 / rng.integers(80, 150)
    made = np.zeros((2, frames))
    scale = 55 * 2 ** ((rng.integers(12) + np.array([0, 2, 3, 5, 7, 8, 10])) / 12)
    for step in range(int(seconds / beat * 2)):
        at = round(step * beat / 2 * RATE)
        length = min(round(rng.uniform(0.2, 1.2) * RATE), frames - at)
        t = np.arange(length) / RATE
        hz = rng.choice(scale) * 2 ** rng.integers(0, 5)
        tone = sum(np.sin(2 * np.pi * hz * h * t) / h for h in range(1, 6)) * np.exp(-4 * t)
        left = rng.uniform(0.1, 0.9)
        made[:, at : at + length] += 0.12 * np.outer([left, 1 - left], tone)
        if step % 2 == 0:
            hit = rng.standard_normal(min(4000, frames - at))
            made[:, at : at + hit.size] += 0.2 * hit * np.exp(-np.arange(hit.size) / 600)
    return np.clip(made, -1, 1).T


def make_library(root: Path, files: int, seconds: float, *, declared: bool, sounds: Path) -> Path:
    """A library of links to the sounds, which are made where they are missing."""
    sounds.mkdir(parents=True, exist_ok=True)
    root.mkdir(parents=True)
    for number in range(files):
        sound = sounds / f"{number:05}-{seconds:g}.wav"
        if not sound.is_file():
            soundfile.write(sound, song(number, seconds), RATE, subtype="PCM_16")
        os.link(sound, root / f"{number:05}.wav")
    (root / "library.toml").write_text(_TOML)
    said = "120,A minor" if declared else ","
    (root / "stems.csv").write_text(f"path,license,artist,bpm,key\n**,all,Nobody,{said}\n")
    return root


def python(code: str, *given: str, checkout: Path | None = None) -> str:
    """What a program prints that uses this code, or that of a checkout."""
    where = str(checkout or Path(__file__).resolve().parents[1])
    environment = {**os.environ, "PYTHONPATH": where}
    made = subprocess.run(
        [sys.executable, "-P", "-c", code, *given],
        env=environment,
        cwd=where,
        check=True,
        stdout=subprocess.PIPE,
    )
    return made.stdout.decode().strip().splitlines()[-1] if made.stdout else ""


def index(
    library: Path, home: Path, workers: int, checkout: Path | None = None, **more: Any
) -> dict[str, Any]:
    """One run into an empty home."""
    shutil.rmtree(home, ignore_errors=True)
    said = python(_RUN, str(library), str(home), str(workers), json.dumps(more), checkout=checkout)
    found: dict[str, Any] = json.loads(said)
    return found


def compare(home: Path, other: Path, folder: Path) -> str:
    """Whether two homes hold the same points."""
    for name, where in (("a", home), ("b", other)):
        python(_DUMP, str(where), str(folder / f"{name}.npz"))
    a, b = (np.load(folder / f"{name}.npz") for name in "ab")
    if a["ids"].tolist() != b["ids"].tolist():
        return "OTHER IDS"
    same = a["payloads"].tolist() == b["payloads"].tolist()
    apart = float(np.abs(a["vectors"] - b["vectors"]).max())
    return f"same ids, {'same' if same else 'OTHER'} payloads, vectors within {apart:.1e}"


@contextmanager
def cluster_that_loses_nodes(nodes: int, cores: int, after_s: float) -> Iterator[list[float]]:
    """A Ray cluster on this machine whose last node is killed twice while the block runs."""
    import threading

    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": cores})
    workers = [cluster.add_node(num_cpus=cores) for _ in range(nodes - 1)]
    ended, killed = threading.Event(), []

    def kill() -> None:
        for _ in range(2):
            if ended.wait(after_s):
                return
            cluster.remove_node(workers.pop(), allow_graceful=False)
            killed.append(time.monotonic())
            workers.append(cluster.add_node(num_cpus=cores))

    thread = threading.Thread(target=kill)
    os.environ["RAY_ADDRESS"] = cluster.address
    thread.start()
    try:
        yield killed
    finally:
        ended.set()
        thread.join()
        del os.environ["RAY_ADDRESS"]
        cluster.shutdown()


def main() -> None:
    """Print a line for each part."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--before", type=Path)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--kill-after", type=float, default=20.0)
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()) / "bench-indexing"
    )
    parts = ("local", "declared", "none", "ray", "ray-cluster")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    asked = parser.parse_args()
    work = asked.folder / f"run-{os.getpid()}"
    work.mkdir(parents=True)
    try:
        for part in asked.parts:
            run_part(part, asked, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def run_part(part: str, asked: argparse.Namespace, work: Path) -> None:
    """Measure one part."""
    declared = part == "declared"
    root = work / ("declared" if declared else "plain")
    if not root.is_dir():
        sounds = asked.folder / "sounds"
        make_library(root, asked.files, asked.seconds, declared=declared, sounds=sounds)
    home, other = work / f"home-{part}", work / "home-other"
    if part == "ray-cluster":
        with cluster_that_loses_nodes(3, 1, asked.kill_after) as killed:
            tell(part, asked.files, index(root, home, asked.workers, engine="ray"))
        print(f"{part}: nodes killed: {len(killed)}", flush=True)
        index(root, other, asked.workers)
        print(f"{part}: {compare(home, other, work)}", flush=True)
        return
    more = {"ray": {"engine": "ray"}, "none": {"analysis": "none"}}.get(part, {})
    beside = asked.before.resolve() if part in ("local", "declared") and asked.before else None
    name = "local" if part == "ray" else "before"
    ratios = []
    for _ in range(asked.rounds):
        found = index(root, home, asked.workers, **more)
        tell(part, asked.files, found)
        if part == "ray" or beside is not None:
            like = index(root, other, asked.workers, beside)
            tell(f"{part}, {name}", asked.files, like)
            ratios.append(ratio(found, like))
    for what, values in zip(_RATIOS, np.array(ratios).T, strict=False):
        print(f"{part}: {np.median(values):.2f} × {name} by {what}", flush=True)
    if ratios:
        print(f"{part}: {compare(home, other, work)}", flush=True)


_RATIOS = ("files a second in all", "files a second without the start", "files a processor second")


def ratio(found: dict[str, Any], like: dict[str, Any]) -> list[float]:
    """By how much one run is faster than another."""
    return [
        like["wall_s"] / found["wall_s"],
        found["steady"] / max(like["steady"], 1e-9),
        like["cpu_s"] / found["cpu_s"],
    ]


def tell(part: str, files: int, found: dict[str, Any]) -> None:
    """One line."""
    start = f", Ray started in {found['start_s']:.1f} s" if found["start_s"] else ""
    print(
        f"{part}: {found['indexed']} files in {found['wall_s']:.1f} s, "
        f"{files / found['wall_s']:.2f} files/s, {found['steady']:.2f} without the start, "
        f"{found['cpu_s'] / files:.3f} processor s a file{start}",
        flush=True,
    )


if __name__ == "__main__":
    main()
