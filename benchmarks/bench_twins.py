"""Whether one recording in two files is told from two recordings that sound alike.

    OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/bench_twins.py [--every N]

Needs ffmpeg and Debian's ``sonic-pi-samples`` and ``hydrogen-drumkits``. Every N-th sample of the
first is written again in other formats, rates and levels: of each copy it is told how often it
stays a twin of its original by :mod:`rag_audio.retrieval.twins`. Beside them are all pairs of
different recordings that last as long, among samples, and within each drum kit, whose layers are
one drum that is hit more or less hard: merging any of those is wrong. Layers that are one recording
at several levels (their waveforms correlate by more than 0.98) are counted by themselves.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import rag_audio
from benchmarks.figures import wilson
from benchmarks.real_material import SAMPLES
from rag_audio.audio.reading import load
from rag_audio.domain import Audio
from rag_audio.domain.ports import Embedder
from rag_audio.errors import RagAudioError
from rag_audio.retrieval.twins import SAME_LENGTH, SAME_SOUND

KITS = Path("/usr/share/hydrogen/data/drumkits")
COPIES: Mapping[str, Sequence[str]] = {
    "MP3, 128 kbit/s": ("-b:a", "128k", "copy.mp3"),
    "MP3, 64 kbit/s": ("-b:a", "64k", "copy.mp3"),
    "Vorbis, quality 4": ("-q:a", "4", "copy.ogg"),
    "WAV, 22.05 kHz": ("-ar", "22050", "copy.wav"),
    "FLAC, 48 kHz": ("-ar", "48000", "copy.flac"),
    "WAV, mono": ("-ac", "1", "copy.wav"),
    "WAV, 8 dB less": ("-af", "volume=-8dB", "copy.wav"),
}
BOUNDS = (0.98, 0.99, SAME_SOUND, 0.999)
SAME_WAVEFORM = 0.98


@dataclass(frozen=True, eq=False)
class Heard:
    """The first window of a file as the embedder hears it, and how long the file is."""

    vector: NDArray[np.float32]
    duration_s: float


def hear(file: Path, embedder: Embedder) -> Heard | None:
    """None where it cannot be read, or is silent or empty."""
    try:
        sound = load(file)
    except RagAudioError:
        return None
    frames = round(embedder.window_s * sound.sample_rate)
    window = Audio(np.ascontiguousarray(sound.samples[:, :frames]), sound.sample_rate)
    return Heard(embedder.embed_audio([window])[0], sound.duration_s)


def as_long(a: Heard, b: Heard) -> bool:
    """Whether two files last as long as twins do."""
    return abs(a.duration_s - b.duration_s) <= SAME_LENGTH * max(a.duration_s, b.duration_s)


def different(name: str, groups: Iterable[Sequence[tuple[Path, Heard]]]) -> None:
    """Print how near pairs of different recordings within groups are, and of one recording."""
    pairs = [
        (float(a.vector @ b.vector), first, second)
        for group in groups
        for (first, a), (second, b) in combinations(group, 2)
        if as_long(a, b)
    ]
    near = [pair for pair in pairs if pair[0] >= BOUNDS[0]]
    same = [pair for pair in near if correlation(*pair[1:]) > SAME_WAVEFORM]
    others = sorted(set(near) - set(same), key=lambda pair: -pair[0])
    for kind, found in ((name, others), (f"{name}: one recording at several levels", same)):
        counts = " | ".join(f"{sum(pair[0] >= bound for pair in found)}" for bound in BOUNDS)
        print(f"| {kind} | {len(pairs)} pairs | {counts} |")
    for cosine, first, second in others[:5]:
        print(f"    {cosine:.4f} {first.parent.name}/{first.name} {second.name}")


def correlation(a: Path, b: Path) -> float:
    """The highest normalised cross-correlation of two mono waveforms, 0…1."""
    x, y = (load(file).samples.mean(axis=0, dtype=np.float64) for file in (a, b))
    size = len(x) + len(y)
    crossed = np.fft.irfft(np.fft.rfft(x, size) * np.conj(np.fft.rfft(y, size)), size)
    return float(np.abs(crossed).max() / (np.linalg.norm(x) * np.linalg.norm(y) + 1e-12))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--every", type=int, default=3, help="every N-th sample is copied")
    every = parser.parse_args().every
    with tempfile.TemporaryDirectory() as name, rag_audio.open(Path(name) / "home") as workspace:
        embedder = workspace.home.embedder
        files = sorted(SAMPLES.glob("*.flac"))
        samples = {file: heard for file in files if (heard := hear(file, embedder)) is not None}
        print("| copies and pairs | of | " + " | ".join(f"≥ {bound:g}" for bound in BOUNDS) + " |")
        print("|---|---|" + "---|" * len(BOUNDS))
        for kind, (*options, target) in COPIES.items():
            near = []
            for file in list(samples)[::every]:
                copy = Path(name) / target
                command = ("ffmpeg", "-v", "error", "-y", "-i", str(file), *options, str(copy))
                subprocess.run(command, check=True)
                heard = hear(copy, embedder)
                is_long = heard is not None and as_long(heard, samples[file])
                near.append(float(heard.vector @ samples[file].vector) if is_long else 0.0)
            found = " | ".join(
                str(wilson(sum(one >= bound for one in near), len(near))) for bound in BOUNDS
            )
            print(f"| {kind} | {len(near)} copies | {found} |", flush=True)
        different("different samples", [list(samples.items())])
        kits: dict[Path, list[tuple[Path, Heard]]] = {}
        for file in sorted(KITS.rglob("*")):
            heard = hear(file, embedder) if file.suffix in (".wav", ".flac", ".aiff") else None
            if heard is not None:
                kits.setdefault(file.parent, []).append((file, heard))
        different("different hits within a drum kit", kits.values())


if __name__ == "__main__":
    main()
