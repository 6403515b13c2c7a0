"""Re-embedding a library into another embedding space, beside a process that searches all the time.

Files of 0.61 s of noise, five windows each, through the product's own classes (catalogue, embedded
index, decoding processes, :class:`indexer.reembedding.Reembedding`); vectors are made of a file's
first samples, so that each search has one right answer. A second process serves the index, as
``rag-audio serve`` does, and searches without a pause; it also opens the index anew now and then,
as a process does that has just been started::

    python benchmarks/bench_reembedding.py --segments 50000 --work /tmp/reembedding

Printed are the searches that failed or found something else than they should, the times of the
switch and of the way back, and the searches' times. The folder is removed at the end.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import date
from hashlib import sha256
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from indexer.index_points import points, windows
from indexer.reembedding import Reembedding, ReembeddingReport, switch_back
from rag_audio.domain import Audio, License, SegmentFilter, Stem, StemKind
from rag_audio.domain.ports import SpaceState
from rag_audio.domain.stems import FileState
from rag_audio.errors import RagAudioError
from rag_audio.provenance.ledger.rights_log import SqlRightsLog
from rag_audio.storage.catalogue import SqlCatalogue
from rag_audio.storage.database import connect, sqlite_url
from rag_audio.storage.edge_spaces import EdgeSpaces
from rag_audio.storage.index_socket import IndexHost
from rag_audio.storage.shared_index import SharedIndex

RATE, FRAMES, WINDOW_S, PER_STEM = 8000, 4880, 0.2, 5
LIBRARY = "bench"
ALL = SegmentFilter(license_keys=frozenset({f"{LIBRARY}/all"}))
OLD, NEW = "space-old", "space-new"
DIMENSIONS = {OLD: 512, NEW: 384}
ASKED = 64
"""Stems that are searched for, in turn."""


class NoiseEmbedder:
    """A vector that a clip's first samples decide: :class:`rag_audio.domain.ports.Embedder`."""

    name, untrained, text_weight = "noise", True, 0.0
    sample_rate, window_s = RATE, WINDOW_S

    def __init__(self, space: str) -> None:
        self.space, self.dimension = space, DIMENSIONS[space]

    def embed_audio(self, clips: Sequence[Audio]) -> NDArray[np.float32]:
        rows = np.zeros((len(clips), self.dimension), np.float32)
        for row, clip in zip(rows, clips, strict=True):
            count = min(self.dimension, clip.frames)
            row[:count] = clip.samples[0, :count] * (1 if self.space == OLD else -1)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        raise NotImplementedError


def noise(number: int) -> NDArray[np.float32]:
    """The sound of a file, as it is read again."""
    sound = np.random.default_rng(number).integers(-12000, 12000, FRAMES)
    return (sound / 32768).astype(np.float32)


def make_home(work: Path, stems: int) -> None:
    """A library of so many files, and a home in which it is indexed in the old space."""
    root, embedder = work / "library", NoiseEmbedder(OLD)
    root.mkdir(parents=True)
    catalogue = open_catalogue(work)
    catalogue.put_library(LIBRARY, "Bench", str(root))
    catalogue.put_licenses(LIBRARY, [license_of()])
    index = SharedIndex(work / "home" / "index", space=OLD, dimension=DIMENSIONS[OLD])
    for first in range(0, stems, 500):
        states, new = [], []
        for number in range(first, min(first + 500, stems)):
            stem, sound = make_file(root, number)
            where = windows(stem.duration_s, WINDOW_S)
            cuts = [
                Audio(sound[None, round(at * RATE) : round((at + length) * RATE)], RATE)
                for at, length in where
            ]
            new += points(stem, where, list(embedder.embed_audio(cuts)))
            status = (root / stem.path).stat()
            place = (stem.path, status.st_size, status.st_mtime_ns)
            states.append(FileState(*place, "declared", OLD, stem))
        index.upsert(new)
        catalogue.put_files(LIBRARY, states)
    catalogue.seal(LIBRARY)
    index.close()


def make_file(root: Path, number: int) -> tuple[Stem, NDArray[np.float32]]:
    path, sound = root / f"{number:06}.wav", noise(number)
    soundfile.write(path, sound, RATE, subtype="PCM_16")
    stem = Stem(
        id=sha256(path.read_bytes()).hexdigest(),
        library=LIBRARY,
        path=path.name,
        kind=StemKind.AUDIO,
        license="all",
        duration_s=FRAMES / RATE,
        artist=f"Artist {number % 100}",
        title=f"{number:06}",
        tags=("noise",),
    )
    return stem, sound


def license_of() -> License:
    return License(
        id="all",
        library=LIBRARY,
        holder="Bench",
        spdx="LicenseRef-Bench",
        uses=frozenset(),
        territories=frozenset({"WORLD"}),
        valid_until=date(2099, 1, 1),
        credit="",
    )


def open_catalogue(work: Path) -> SqlCatalogue:
    return SqlCatalogue(connect(sqlite_url(work / "home" / "ledger.db")), SqlRightsLog())


def query(number: int, space: str) -> NDArray[np.float32]:
    """The vector of a file's first window."""
    first = Audio(noise(number)[None, : round(WINDOW_S * RATE)], RATE)
    return NoiseEmbedder(space).embed_audio([first])[0]


def searcher(work: Path, stems: int) -> None:
    """Serve the index and search until a line is read; print what was seen."""
    folder = work / "home" / "index"
    served = SharedIndex(folder, space=OLD, dimension=DIMENSIONS[OLD])
    served.keep()
    host = IndexHost(served, folder)
    host.start()
    asked = {one: [query(n, one) for n in range(min(ASKED, stems))] for one in (OLD, NEW)}
    seen: dict[str, int] = {"searches": 0, "failed": 0, "wrong": 0, OLD: 0, NEW: 0}
    times: list[float] = []

    def search(index: SharedIndex, space: str, number: int) -> None:
        began = time.perf_counter()
        try:
            hits = index.search_dense(asked[space][number], ALL, 10)
            seen["wrong"] += hits[0].segment.stem.title != f"{number:06}"
        except RagAudioError as error:
            seen["failed"] += 1
            sys.stderr.write(f"{error.message}\n")
        seen["searches"] += 1
        seen[space] += 1
        times.append(time.perf_counter() - began)

    ended = work / "ended"
    spaces, looked, number = EdgeSpaces(folder), 0.0, 0
    while not ended.exists():
        number = (number + 1) % min(ASKED, stems)
        search(served, OLD, number)
        if time.perf_counter() - looked > 1:
            looked = time.perf_counter()
            states = {one.state: one.space for one in spaces.spaces(counted=False)}
            if states[SpaceState.CURRENT] == NEW:
                fresh = SharedIndex(folder, space=NEW, dimension=DIMENSIONS[NEW])
                search(fresh, NEW, number)
                fresh.release()
        time.sleep(0.01)
    host.stop()
    served.close()
    ms = np.percentile(np.array(times) * 1e3, [50, 99, 100]).round(1).tolist()
    sys.stdout.write(json.dumps({**seen, "p50_ms": ms[0], "p99_ms": ms[1], "most_ms": ms[2]}))


class Timed:
    """Embedding spaces whose switch is timed."""

    def __init__(self, spaces: EdgeSpaces) -> None:
        self._spaces, self.switched_s = spaces, 0.0

    def switch(self, space: str, embedder: str | None = None, before: str | None = None) -> None:
        began = time.perf_counter()
        self._spaces.switch(space, embedder, before)
        self.switched_s = time.perf_counter() - began


def reembed(work: Path) -> None:
    """Fill, switch and go back, beside the other process."""
    catalogue, spaces = open_catalogue(work), EdgeSpaces(work / "home" / "index")
    old = SharedIndex(work / "home" / "index", space=OLD, dimension=DIMENSIONS[OLD])
    timed = Timed(spaces)

    def task(step: str) -> ReembeddingReport:
        new = spaces.open_space(NEW, DIMENSIONS[NEW])
        made = Reembedding(old, new, NoiseEmbedder(NEW), catalogue, render=no_midi)
        try:
            return made.fill() if step == "fill" else made.switch(timed)  # type: ignore[arg-type]
        finally:
            new.close()

    filled = task("fill")
    rate = filled.segments / filled.seconds
    say(f"filled: {filled.segments} segments in {filled.seconds:.1f} s ({rate:.0f} /s)")
    began = time.perf_counter()
    switched = task("switch")
    say(f"switched: {timed.switched_s * 1e3:.1f} ms; with the comparison {switched.seconds:.1f} s, "
        f"until the space was free {time.perf_counter() - began:.1f} s")  # fmt: skip
    time.sleep(5)
    began = time.perf_counter()
    switch_back(catalogue, timed, NEW, OLD)  # type: ignore[arg-type]
    say(f"rolled back: {timed.switched_s * 1e3:.1f} ms; with the rows of the files "
        f"{time.perf_counter() - began:.2f} s")  # fmt: skip
    old.close()


def no_midi(path: Path) -> Audio:
    raise AssertionError(f"{path} is no MIDI file")


def say(line: str) -> None:
    print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--segments", type=int, default=50_000)
    parser.add_argument("--work", type=Path, default=Path("reembedding-bench"))
    parser.add_argument("--searcher", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    stems = max(1, given.segments // PER_STEM)
    if given.searcher:
        searcher(given.work, stems)
        return
    try:
        began = time.perf_counter()
        make_home(given.work, stems)
        say(f"made {stems} files and their segments in {time.perf_counter() - began:.1f} s")
        command = [sys.executable, __file__, "--searcher", "--work", str(given.work)]
        command += ["--segments", str(given.segments)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            time.sleep(5)
            try:
                reembed(given.work)
            finally:
                (given.work / "ended").touch()
            say(f"searches meanwhile: {child.communicate()[0].strip().splitlines()[-1]}")
    finally:
        shutil.rmtree(given.work, ignore_errors=True)


if __name__ == "__main__":
    main()
