"""What measuring a recording costs when it is indexed: CPU seconds by stage, best of five.

    OMP_NUM_THREADS=1 python benchmarks/bench_analysis.py

30 s and 3 s of a rendered piece, stereo, 44.1 kHz. The stages that it times have the same names in
earlier versions, so that the same file run in an earlier checkout gives the figures of before; the
last rows are what librosa alone takes for a constant-Q transform and for a tempo.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rag_audio.audio import midi
from rag_audio.audio.analysis import analyse, chroma, find_pulse
from rag_audio.audio.channels import heard, views
from rag_audio.audio.dsp import loudness_lufs, resample
from rag_audio.audio.librosa_cache import librosa_ready
from rag_audio.domain import Audio
from rag_audio.retrieval.landmarks import RATE, make_landmarks
from training.pieces import compose

_REPEATS = 5


def _rendered(duration_s: float) -> Audio:
    with tempfile.NamedTemporaryFile(suffix=".mid") as file:
        file.write(compose(11, "test", 30.0).midi)
        file.flush()
        return midi.render(Path(file.name), duration_s=duration_s)


def _seconds(what: Callable[[], object]) -> float:
    what()
    best = float("inf")
    for _ in range(_REPEATS):
        start = time.process_time()
        what()
        best = min(best, time.process_time() - start)
    return best


def _stages(sound: Audio) -> dict[str, Callable[[], object]]:
    plain = resample(heard(sound), 22_050)
    samples = plain.samples[0]
    librosa = librosa_ready()
    found: dict[str, Callable[[], object]] = {
        "loudness": lambda: loudness_lufs(sound),
        "tempo and beats": lambda: find_pulse(plain),
        "chroma": lambda: chroma(plain),
        "analyse: all of these": lambda: analyse(sound),
        "landmarks": lambda: make_landmarks(views(resample(sound, RATE))),
    }
    try:
        from rag_audio.audio.loops import LONGEST_LOOP_S, find_rhythm

        if sound.duration_s < LONGEST_LOOP_S:
            found["onsets and loop fit"] = lambda: find_rhythm(sound)
    except ImportError:  # an earlier version
        pass
    found["librosa.cqt alone"] = lambda: librosa.cqt(
        samples, sr=22_050, hop_length=1024, n_bins=252, bins_per_octave=36
    )
    found["librosa.beat.beat_track alone"] = lambda: librosa.beat.beat_track(y=samples, sr=22_050)
    return found


def main() -> None:
    print("| stage | 30 s | 3 s |")
    print("|---|---:|---:|")
    columns = [_stages(_rendered(seconds)) for seconds in (30.0, 3.0)]
    for name in dict.fromkeys(name for column in columns for name in column):
        told = [f"{_seconds(c[name]):.3f}" if name in c else "–" for c in columns]
        print(f"| {name} | {' | '.join(told)} |")


if __name__ == "__main__":
    main()
