"""Marks over marks: after each of ten, is the newest the answer, and how many others are read?

    OMP_NUM_THREADS=1 python -m benchmarks.bench_remark [--depth 10] [--seeds 2]

The sounds are those of the tests: drums and chords, drums, held chords, a lone organ, noise. Every
sound is marked ten times with different numbers; what ``embed`` leaves alone counts as refused.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from rag_audio.audio.reading import load
from rag_audio.audio.writing import save
from rag_audio.domain import Audio
from rag_audio.domain.ports import Mark
from rag_audio.watermark.spread_spectrum import SpreadSpectrumWatermarker
from tests.watermark import material

KEY = b"the key of the benchmark of marks over marks"
SOUNDS = (
    ("band", 10.0, 44_100, 2), ("band", 10.0, 22_050, 1), ("band", 20.0, 44_100, 2),
    ("band", 20.0, 48_000, 1), ("band", 20.0, 16_000, 2), ("band", 60.0, 44_100, 2),
    ("beat", 10.0, 44_100, 2), ("noise", 10.0, 44_100, 2), ("pad", 10.0, 44_100, 2),
    ("pad", 60.0, 44_100, 2), ("organ", 10.0, 44_100, 2), ("organ", 60.0, 44_100, 2),
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--depth", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=2)
    arguments = parser.parse_args()
    print("| sound | seed | right newest | refused | read, after each mark | MP3 128 | SNR dB |")
    print("|---|---|---|---|---|---|---|")
    for name, seconds, rate, channels in SOUNDS:
        for seed in range(arguments.seeds if seconds <= 20 else 1):
            sound = getattr(material, name)(seconds, rate, channels, seed)
            row = _deep(sound, arguments.depth)
            print(f"| {name}, {seconds:.0f} s, {rate}, {channels} ch | {seed} | {row}", flush=True)


def _deep(plain: Audio, depth: int) -> str:
    marker = SpreadSpectrumWatermarker(KEY)
    sound, last = plain, Mark(0)
    right, refused = 0, 0
    read: list[int] = []
    for number in range(1, depth + 1):
        marked = marker.embed(sound, Mark(1_000 * number))
        if marked is None:
            refused += 1
            continue
        sound, last = marked, Mark(1_000 * number)
        found = marker.detect(sound, search=False)
        right += found.mark == last
        read.append(len(found.others) + (found.mark is not None))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "copy.mp3"
        save(sound, path, bitrate_kbps=128)
        found = marker.detect(load(path), search=False)
    said = "newest" if found.mark == last else f"{found.mark and found.mark.payload // 1_000}"
    return (
        f"{right} of {depth - refused} | {refused} | {' '.join(map(str, read))} "
        f"| {said}, {len(found.others)} others | {material.snr_db(plain, sound):.1f} |"
    )


if __name__ == "__main__":
    main()
