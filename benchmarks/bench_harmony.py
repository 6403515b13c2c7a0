"""Whether what sounds together in a seed fits together, on two real libraries.

    OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/bench_harmony.py [--work DIR]

Plans are made for 30 prompts of our own, without a tempo and at one that is asked for: as they were
made before (``mix all``: the best that may sound, all of it) and as they are made now. A plan in
which fewer than two parts have pitch has no clash. Then the threshold: parts of one score, four
bars long, against each other, and against parts of other scores, with the best of seven
transpositions.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import rag_audio
from benchmarks.figures import over_groups
from benchmarks.real_material import SCORES, lay_out
from rag_audio.audio.scores import parse
from rag_audio.domain import ConditioningPlan, GenerationRequest, Mix
from rag_audio.generation.harmony import disagreement, harmony_of_score
from rag_audio.generation.percussion import is_drums, is_one_shot
from rag_audio.generation.seed_layout import has_tempo
from rag_audio.generation.voices import MOST_DISAGREEMENT
from rag_audio.pipeline.workspace import Workspace

PROMPTS = (
    "a waltz on acoustic guitar", "smoky jazz trio", "drum loop with bass", "ambient drone",
    "slow piano ballad", "lo-fi hip hop", "fast rock with electric guitar", "calm harp and strings",
    "funky synth bass line", "dark electronic atmosphere", "ragtime piano", "breakbeat with guitar",
    "country banjo and fiddle", "orchestral brass fanfare", "blues with organ and saxophone",
    "techno loop with a deep kick", "flute melody over soft strings", "tabla and drone",
    "glitchy percussion", "accordion dance", "choir and piano", "industrial noise loop",
    "vibraphone jazz", "drum and bass", "spanish guitar", "honky-tonk piano with drums",
    "marching drums and trumpet", "music box lullaby", "rock organ", "marimba groove",
)  # fmt: skip
BPM = (None, 100.0, 140.0)
_BARS, _SHIFTS = 4, range(-3, 4)


def show_plans(workspace: Workspace, mix: Mix) -> None:
    """One row for each way to ask for a tempo."""
    for bpm in BPM:
        plans, seconds = [], []
        for prompt in PROMPTS:
            begun = time.monotonic()
            plans.append(workspace.plan(GenerationRequest(prompt, bpm=bpm, mix=mix, seed=1)))
            seconds.append(time.monotonic() - begun)
        clashes = [0.0 if plan.clash is None else plan.clash.chroma for plan in plans]
        rough = [plan.clash.roughness for plan in plans if plan.clash is not None]
        print(
            f"| {mix.value} | {bpm or 'none'} | {sum(bool(p.seed_parts) for p in plans)} "
            f"| {np.mean([len(p.seed_parts) for p in plans]):.1f} "
            f"| {over_groups([[clash] for clash in clashes])} "
            f"| {sum(c > MOST_DISAGREEMENT for c in clashes)} "
            f"| {np.mean(rough) if rough else 0.0:.3f} ({len(rough)}) "
            f"| {sum(map(_untimely, plans))} | {np.median(seconds):.2f} |"
        )


def _untimely(plan: ConditioningPlan) -> bool:
    """Whether something without a tempo is laid under one."""
    stems = [plan.references[part.reference].stem for part in plan.seed_parts]
    return plan.bpm is not None and any(
        not has_tempo(stem) and not (is_one_shot(stem) and is_drums(stem)) for stem in stems
    )


def show_threshold() -> None:
    """How much parts of one score disagree, and parts of two."""
    parts: list[tuple[int, NDArray[np.float64]]] = []
    for n, file in enumerate(sorted(SCORES.glob("*.mid"))):
        score = parse(file)
        bar_s = 240 / score.tempos[0][1]
        start_s = round(min(30.0, score.end_s / 3) / bar_s) * bar_s
        tuned = [replace(score, parts=(part,)) for part in score.parts if not part.drum]
        for played in (*tuned, score):
            chroma = harmony_of_score(played, start_s, _BARS * bar_s).chroma(bar_s)
            if len(chroma) == _BARS and np.mean(chroma.sum(axis=1) > 0) > 0.7:
                parts.append((n, chroma))
    own, others = [], []
    for (n, one), (m, other) in combinations(parts, 2):
        if n == m:
            own.append(disagreement(one, other))
        else:
            others.append(min(disagreement(one, np.roll(other, k, axis=1)) for k in _SHIFTS))
    print(f"\n| of | pairs | below {MOST_DISAGREEMENT:g} | quartiles |\n|---|---:|---:|---|")
    for name, found in (("one score", own), ("two, at the best transposition", others)):
        quartiles = ", ".join(f"{q:.2f}" for q in np.quantile(found, (0.25, 0.5, 0.75)))
        print(f"| {name} | {len(found)} | {_share(found):.0%} | {quartiles} |")


def _share(found: Sequence[float]) -> float:
    return float(np.mean(np.array(found) <= MOST_DISAGREEMENT))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, help="a folder to keep the indexed libraries in")
    work = parser.parse_args().work or Path(tempfile.mkdtemp())
    roots = lay_out(work / "lib")
    with rag_audio.open(work / "home") as workspace:
        for root in roots:
            workspace.index(root)
        print(
            "| mix | tempo | plans with a seed | parts | clash, mean of all plans "
            "| clash above the threshold | roughness (plans) | no tempo under one | s a plan |\n"
            "|---|---|---:|---:|---:|---:|---:|---:|---:|"
        )
        for mix in (Mix.ALL, Mix.WAVEFORM):
            show_plans(workspace, mix)
    show_threshold()


if __name__ == "__main__":
    main()
