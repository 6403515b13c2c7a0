"""How long it takes to recognise what is in 30 seconds of foreign sound, and what is found.

    OMP_NUM_THREADS=1 python -m benchmarks.bench_inspection

Indexes the demo library and lets the gate look into files of 30 s in stereo, as ``--audio``,
``inpaint`` and ``extend`` do: bytes, watermark, outputs and stems. The first file is not counted:
it loads what is loaded once.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import rag_audio
from rag_audio.audio import midi, writing
from rag_audio.audio.dsp import loop_to, mono, resample
from rag_audio.domain import Audio
from rag_audio.resources import data_dir

RATE, SECONDS = 44_100, 30.0
STEM = "velda-quarn/last-tram-keys.mid"
Sound = NDArray[np.float32]


def main() -> None:
    """Print a table for ``RESULTS.md``."""
    with tempfile.TemporaryDirectory(prefix="rag-") as name:
        folder = Path(name)
        with rag_audio.open(folder / "home") as workspace:
            workspace.index(data_dir("demo"))
            stems = len(workspace.home.catalogue.stems())
            gate = workspace.pipeline.gate
            rights = workspace.pipeline.rights
            gate.inspector(rights()).inspect(_write(folder / "first.wav", _noise()))
            print(f"{stems} stems, {SECONDS:.0f} s of stereo each.\n")
            print("| file | found | processor seconds | wall seconds |\n|---|---|---:|---:|")
            for what, make in FILES.items():
                file = _write(folder / "mine.wav", make())
                used, waited = [], []
                for _ in range(3):
                    processor, wall = time.process_time(), time.perf_counter()
                    finding = gate.inspector(rights()).inspect(file)
                    used.append(time.process_time() - processor)
                    waited.append(time.perf_counter() - wall)
                found = ", ".join(one.name for one in finding.stems) or "nothing"
                print(
                    f"| {what} | {found} | {statistics.median(used):.1f} | "
                    f"{statistics.median(waited):.1f} |",
                    flush=True,
                )


def _stem() -> Sound:
    played = mono(midi.render(data_dir("demo") / STEM, sample_rate=RATE))
    return loop_to(played, round(SECONDS * RATE), crossfade=441).samples[0]


def _noise() -> Sound:
    rng = np.random.default_rng(1)
    return (rng.standard_normal(round(SECONDS * RATE)) * 0.05).astype(np.float32)


def _faster(sound: Sound) -> Sound:
    return resample(Audio(sound[None], RATE), round(RATE / 1.03)).samples[0]


def _gated(sound: Sound) -> Sound:
    return sound * (np.arange(sound.size) / RATE % 0.6 < 0.4)


FILES: dict[str, Callable[[], Sound]] = {
    "a stem, the same in both channels": _stem,
    "L = s + n, R = n - s": lambda: np.stack([_stem() + _noise(), _noise() - _stem()]),
    "3 % faster": lambda: _faster(_stem()),
    "backwards": lambda: _stem()[::-1],
    "gated": lambda: _gated(_stem()),
    "noise": _noise,
}


def _write(path: Path, sound: Sound) -> Path:
    stereo = np.stack([sound, sound]) if sound.ndim == 1 else sound
    writing.save(Audio(np.ascontiguousarray(stereo / 2, dtype=np.float32), RATE), path)
    return path


if __name__ == "__main__":
    main()
