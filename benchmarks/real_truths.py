"""What :mod:`benchmarks.real_reader` gets right of sounds whose tempo and key are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.conditioning_material import FIRST_SEED
from benchmarks.figures import Figure, over_groups
from benchmarks.real_material import LOOP_BEATS, SAMPLES, SCORES
from benchmarks.real_reader import RATE, Curve, at_rate, key_of
from benchmarks.real_sources import disagreement, notes_chroma, score
from rag_audio.audio.midi import render
from rag_audio.domain import Key
from training.corpus import make_clip

SECONDS = 8.0
_COMPOSED = 40
_BAR_FRAMES = 40


@dataclass(frozen=True, eq=False)
class Known:
    """A sound in mono at 22.05 kHz, its tempo, and its key; None: it has none."""

    samples: Curve
    bpm: float
    key: Key | None


def known_sounds() -> dict[str, Callable[[], Known | None]]:
    """Windows of the scores at other tempos and keys, the loops repeated, and composed pieces.

    A score's key is that of the notes in its window, by the reader's own profiles: only hearing
    them is tested. Composed pieces have the key that they were composed in.

    Returns:
        By name, what makes each; None: the tempo changes in the window.
    """
    made: dict[str, Callable[[], Known | None]] = {}
    for number, file in enumerate(sorted(SCORES.glob("*.mid"))):
        made[f"score-{file.stem}"] = partial(_played, file, number)
    for name, beats in LOOP_BEATS.items():
        made[f"loop-{name}"] = partial(_repeated, name, beats)
    for number in range(_COMPOSED):
        made[f"composed-{number:02d}"] = partial(_composed, FIRST_SEED + number)
    return made


def _played(file: Path, number: int) -> Known | None:
    rng = np.random.default_rng([17, number])
    ratio, semitones = 2.0 ** rng.uniform(-0.3, 0.3), int(rng.integers(-5, 7))
    times, tempi = score(file).get_tempo_changes()
    start = float(rng.uniform(0.1, 0.7)) * score(file).get_end_time()
    length = SECONDS * ratio
    if np.any((times > start) & (times < start + length)):
        return None
    bpm = float(tempi[np.searchsorted(times, start, side="right") - 1]) * ratio
    made = render(
        file, sample_rate=RATE, start_s=start, duration_s=length, tempo_ratio=ratio,
        semitones=semitones,
    )  # fmt: skip
    notes = np.roll(notes_chroma(file, start, length).sum(axis=1), semitones)
    return Known(_cut(made.samples.mean(axis=0)), bpm, key_of(notes))


def _repeated(name: str, beats: int) -> Known:
    samples, rate = soundfile.read(SAMPLES / f"{name}.flac", dtype="float32", always_2d=True)
    loop = at_rate(samples.mean(axis=1), rate)
    times_over = int(np.ceil(SECONDS * rate / samples.shape[0]))
    bpm = 60 * beats * rate / samples.shape[0]
    return Known(_cut(np.tile(loop, times_over)), bpm, None)


def _composed(seed: int) -> Known:
    clip = make_clip(seed, sample_rate=RATE, duration_s=SECONDS, split="test", effects=True)
    heard = _cut(np.asarray(clip.samples).mean(axis=0))
    return Known(heard, float(clip.facts.bpm), clip.facts.key)


def _cut(samples: Curve) -> Curve:
    return samples[: round(SECONDS * RATE)]


def clash_scale() -> tuple[Figure, Figure]:
    """Disagreement of the two busiest parts of one score in 8 s, and of those of two scores."""
    files: list[Path] = sorted(SCORES.glob("*.mid"))
    leads, others = [], []
    for file in files:
        busy = sorted(
            (number for number, part in enumerate(score(file).instruments) if not part.is_drum),
            key=lambda number: -len(score(file).instruments[number].notes),
        )
        start = 0.3 * score(file).get_end_time()
        rows = [_bars(notes_chroma(file, start, SECONDS, number)) for number in busy[:2]]
        leads.append(rows[0])
        others.append(rows[-1])
    same = [disagreement(a, b) for a, b in zip(leads, others, strict=True)]
    apart = [disagreement(a, b) for a, b in zip(leads, [*others[1:], others[0]], strict=True)]
    return over_groups([[one] for one in same]), over_groups([[one] for one in apart])


def _bars(frames: Curve) -> Curve:
    """Sums over two seconds ``[bars, 12]``."""
    return np.stack([
        frames[:, first : first + _BAR_FRAMES].sum(axis=1)
        for first in range(0, frames.shape[1], _BAR_FRAMES)
    ])  # fmt: skip
