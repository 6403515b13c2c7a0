"""How often readers name the key that a plan takes a passage to stand in, by how clear it is.

    OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/bench_key_clarity.py [--windows N]

Passages of 8 s of the scores of Debian's ``openttd-openmsx``, drawn at random. The plan reads
notes alone; two readers hear the sound: the one of :mod:`benchmarks.real_reader`, and
librosa's plain constant-Q chroma with the profiles of Krumhansl and Kessler. A key and its relative
count as one. A passage takes 2 s of one core.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import librosa
import numpy as np
from numpy.typing import NDArray

from benchmarks.figures import wilson
from benchmarks.real_material import SCORES
from benchmarks.real_reader import RATE, hear
from rag_audio.audio import midi
from rag_audio.audio.key_profiles import CLEAR_KEY, KNOWN_KEY
from rag_audio.audio.scores import NoteScore, parse
from rag_audio.domain import Key
from rag_audio.generation.harmony import harmony_of_score
from rag_audio.generation.stem_listener import with_key

SECONDS = 8.0
# Krumhansl and Kessler 1982, tonic first.
_MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
_MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)
BANDS = ((0.0, KNOWN_KEY), (KNOWN_KEY, CLEAR_KEY), (CLEAR_KEY, 1.0))


@dataclass(frozen=True)
class Read:
    """One passage: its clarity, and who names which pair of relative keys (by the major tonic)."""

    clarity: float
    ours: int | None
    measured: int | None
    readers: tuple[int | None, int | None]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--windows", type=int, default=8, help="of each score")
    given = parser.parse_args()
    files = sorted(SCORES.glob("*.mid"))
    if not files:
        raise SystemExit(f"{SCORES} has no scores: apt-get install openttd-openmsx")
    found: list[Read] = []
    for number, file in enumerate(files, start=1):
        score = parse(file)
        length = max(note.end_s for part in score.parts for note in part.notes) - SECONDS
        rng = np.random.default_rng([23, number])
        found += [
            read
            for start in rng.uniform(0.0, max(length, 0.0), given.windows)
            if (read := _read(score, float(start))) is not None
        ]
        print(f"{number} of {len(files)} scores", flush=True)
    print(
        "\n| clarity | passages | both readers agree | first reader | second reader "
        "| first reader and the key that indexing measures |\n|---|---:|---|---|---|---|"
    )
    for low, high in (*BANDS, (0.0, 1.0)):
        own = [one for one in found if low <= one.clarity < high]
        first, second, between, measured = (
            wilson(sum(hits), len(hits))
            for hits in (
                [one.readers[0] == one.ours for one in own],
                [one.readers[1] == one.ours for one in own],
                [one.readers[0] == one.readers[1] for one in own],
                [one.readers[0] == one.measured for one in own],
            )
        )
        print(f"| {low:g} to {high:g} | {len(own)} | {between} | {first} | {second} | {measured} |")


def _read(score: NoteScore, start_s: float) -> Read | None:
    scores = midi.scores_of_keys(score, start_s, start_s + SECONDS)
    harmony = with_key(harmony_of_score(score, start_s, SECONDS), scores)
    if harmony.key is None:
        return None
    made = midi.render(score, sample_rate=RATE, start_s=start_s, duration_s=SECONDS)
    samples = made.samples.mean(axis=0)
    chroma = librosa.feature.chroma_cqt(y=samples, sr=RATE).mean(axis=1)
    best = int(np.argmax(scores))
    measured = _pair(Key(best % 12, best >= 12))
    readers = _pair(hear(samples).key), _pair(_plain(chroma))
    return Read(harmony.key_clarity, _pair(harmony.key), measured, readers)


def _plain(chroma: NDArray[np.float32]) -> Key:
    fits = [
        (float(np.corrcoef(chroma, np.roll(profile, tonic))[0, 1]), tonic, minor)
        for minor, profile in ((False, _MAJOR), (True, _MINOR))
        for tonic in range(12)
    ]
    _, tonic, minor = max(fits)
    return Key(tonic, minor)


def _pair(key: Key | None) -> int | None:
    return None if key is None else (key.tonic + 3) % 12 if key.minor else key.tonic


if __name__ == "__main__":
    main()
