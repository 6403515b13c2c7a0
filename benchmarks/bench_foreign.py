"""How far foreign audio is from the stem it was taken from, and from all others.

``python benchmarks/bench_foreign.py`` renders the demo library, spoils pieces of five seconds as
files on the way are spoilt, and prints quantiles of :func:`.copy_distance` beside
the threshold of :mod:`.recognition`. The last lines are pieces of *other* stems: the
smallest one decides how high the threshold may be.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from rag_audio.audio import midi, writing
from rag_audio.audio.copy_distance import copy_distance
from rag_audio.audio.dsp import mono, resample, stretch
from rag_audio.audio.reading import load
from rag_audio.domain import Audio
from rag_audio.resources import data_dir
from rag_audio.retrieval.recognition import COPY_THRESHOLD, PIECE_S

RATE = 22_050
SCORES = 14


def _quiet(piece: Audio) -> Audio:
    return Audio(piece.samples * np.float32(0.1), piece.sample_rate)


def _mp3(piece: Audio) -> Audio:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.mp3"
        writing.save(piece, path, bitrate_kbps=64)
        return load(path)


def _mixed(level_db: float, other: Audio) -> Callable[[Audio], Audio]:
    def mix(piece: Audio) -> Audio:
        there = other.samples[:, : piece.frames]
        gain = np.sqrt(np.mean(piece.samples**2) / max(1e-12, float(np.mean(there**2))))
        return Audio(piece.samples + there * gain * np.float32(10 ** (level_db / 20)), RATE)

    return mix


def main() -> None:
    """Print the table."""
    files = sorted(data_dir("demo").rglob("*.mid"))[:: max(1, 46 // SCORES)][:SCORES]
    stems = [mono(midi.render(path, sample_rate=RATE, duration_s=20.0)) for path in files]
    frames = round(PIECE_S * RATE)
    pieces = [
        [Audio(s.samples[:, at : at + frames], RATE) for at in (3_217, 3_217 + frames)]
        for s in stems
    ]
    ways: dict[str, Callable[[Audio], Audio]] = {
        "as it is": lambda piece: piece,
        "quieter, 16 kHz": lambda piece: resample(
            Audio(piece.samples * np.float32(0.1), RATE), 16_000
        ),
        "MP3 64 kbit/s": _mp3,
        "another at -12 dB": _mixed(-12.0, stems[-1]),
        "another at -6 dB": _mixed(-6.0, stems[-1]),
        "another at 0 dB": _mixed(0.0, stems[-1]),
        "2 % faster": lambda piece: stretch(piece, 1 / 1.02, 0),
        "a semitone up": lambda piece: stretch(piece, 1.0, 1),
    }
    print(f"{'piece of the stem':22} {'min':>6} {'median':>7} {'max':>6}  below {COPY_THRESHOLD}")
    for name, spoil in ways.items():
        found = [
            copy_distance(spoil(piece), stem)
            for stem, own in zip(stems[:-1], pieces[:-1], strict=True)
            for piece in own
        ]
        _line(name, found)
    began = time.perf_counter()
    other = {
        (files[i].stem, files[j].stem): copy_distance(pieces[i][0], stem)
        for i in range(len(stems))
        for j, stem in enumerate(stems)
        if i != j
    }
    took = time.perf_counter() - began
    _line("of another stem", list(other.values()))
    for (piece, stem), distance in sorted(other.items(), key=lambda pair: pair[1])[:6]:
        print(f"    {distance:.3f}  {piece} in {stem}")
    print(f"{1000 * took / len(other):.0f} ms a comparison")


def _line(name: str, found: list[float]) -> None:
    low, middle, high = np.quantile(found, [0.0, 0.5, 1.0])
    below = sum(distance < COPY_THRESHOLD for distance in found)
    print(f"{name:22} {low:6.3f} {middle:7.3f} {high:6.3f}  {below}/{len(found)}")


if __name__ == "__main__":
    main()
