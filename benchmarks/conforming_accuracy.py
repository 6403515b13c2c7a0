"""How exactly references are conformed, on sounds whose truth is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rag_audio.audio.analysis import analyse
from rag_audio.audio.dsp import loudness_lufs
from rag_audio.domain import Audio, Key, Segment
from rag_audio.domain.music import COMMON
from rag_audio.generation.seed_audio import PlaySegment, conform, seed_audio
from rag_audio.generation.take_selection import tempo_near
from tests.generation.test_conforming import attacks_s, cut
from tests.generation.test_planning import plan_of, reference
from tests.generation.test_take_selection import RATE, take

SOURCE_BPM = (72, 84, 92, 100, 108, 126, 140, 176)
TARGET_BPM = (80.0, 96.0, 120.0)
A_MAJOR = Key.parse("A major")


@dataclass(frozen=True)
class Conformed:
    """One reference: error of tempo (share), whether the key was right, worst error of a beat."""

    tempo: float
    key: bool
    beats_s: float


def references() -> list[Conformed]:
    """Chords and clicks, conformed from every source tempo to every target, keys in turn."""
    found = []
    for n, bpm in enumerate(SOURCE_BPM):
        source = take(bpm, 0, 24.0)
        for m, wanted in enumerate(TARGET_BPM):
            key = Key((9 + 5 * n + 2 * m) % 12, (n + m) % 4 == 3)
            one = reference("a", bpm=float(bpm), key=A_MAJOR)
            plan = plan_of(one, bpm=wanted, key=key, duration_s=10.0)
            (part,) = plan.seed_parts
            made = conform(one.segment, part, cut(source), RATE, COMMON)
            heard = analyse(made)
            # Of what was made: a source in half or double time is brought to that octave.
            bpm_made = bpm / part.time_ratio
            tempo = abs(tempo_near(heard.bpm or 1.0, wanted) / wanted - 1)
            beats = float(np.abs(attacks_s(made, bpm_made)).max())
            found.append(Conformed(tempo, heard.key in (key, key.relative()), beats))
    return found


def loudness_gaps_lu() -> list[float]:
    """Two parts of equal weight, one quiet and low, one loud and bright: LU between them."""
    gaps = []
    for low, high, gain in ((-24, 12, 0.05), (-12, 7, 0.3), (-24, 0, 0.5), (0, 12, 0.02)):
        sounds = {"low": take(96, low).samples * gain, "high": take(96, high).samples}
        both = (reference("low", bpm=96.0), reference("high", bpm=96.0))
        plan = plan_of(*both, bpm=96.0, weights=(1, 1))
        seed = seed_audio(plan, _apart(sounds), RATE, 2)
        assert seed is not None  # noqa: S101 - both may seed
        levels = [loudness_lufs(Audio(seed.samples[c : c + 1], RATE)) for c in range(2)]
        gaps.append(abs(levels[0] - levels[1]))
    return gaps


def _apart(sounds: dict[str, np.ndarray]) -> PlaySegment:
    """Each part in a channel of its own, so that the mix can be taken apart."""

    def load(segment: Segment, rate: int, *_how: object) -> Audio:
        samples = sounds[segment.stem.id][:, : 10 * rate].astype(np.float32)
        rows = [samples, np.zeros_like(samples)]
        return Audio(np.concatenate(rows if segment.stem.id == "low" else rows[::-1]), rate)

    return load
