"""Causal influence, measured on the embedded models: is it what it says, and is the cheap one good?

    OMP_NUM_THREADS=1 python benchmarks/bench_influence.py [--quick] [--write FILE]

Plans are made from the demo library with random weights. Held to: the cheap estimate ranks sources
as the exact values do (Spearman >= 0.9), a planted dummy (weight 0, no words) gets <= 2 %, exact
duplicates share equally, a planted dominant source (nine tenths of the energy of the mix, and all
words) comes first >= 95 %. Leave-one-out stands beside the cheap estimate as the obvious
alternative, and the two other recorded distances beside the one that values are of.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

import rag_audio
from benchmarks.figures import put_section
from rag_audio.cli.demo import _lay_out_library
from rag_audio.domain import ConditioningPlan
from rag_audio.pipeline.renderer import Renderer
from rag_audio.pipeline.workspace import Workspace
from rag_audio.provenance import influence
from rag_audio.provenance.counterfactual import MEASURES, Laboratory
from rag_audio.resources import data_dir

PROMPTS = (
    "slow dusty drums and warm keys",
    "bright plucked guitar, lively",
    "calm ambient pad, slow",
    "deep house bass groove",
    "marching brass, festive",
    "fast jungle break",
    "sunny reggae offbeat",
    "winter piano, sparse",
    "funky horns and a tight groove",
    "night drive synth arpeggio",
    "drifting cinematic strings",
    "afrobeat melody with brass",
    "heavy bass line, dark",
    "vibraphone bells, gentle",
    "live band soul",
    "electronic chords, hypnotic",
    "happy dance tune",
    "sad slow chords",
    "energetic drums only",
    "dub echoes, deep bass",
    "folk tune on plucked strings",
    "warm organ, relaxed",
    "a full arrangement at a fast tempo",
    "minimal percussion loop",
    "jazz trio, late evening",
    "dreamy lead melody",
)
HEADING = "## Causal influence"


@dataclass(frozen=True)
class Case:
    """The values of one plan: exact, cheap and by leaving one out, and what they took.

    All are ``[k, measures]``; the first measure is the one that values and shares are of.
    """

    exact: np.ndarray
    cheap: np.ndarray
    left_out: np.ndarray
    seconds: float
    runs: int


def main() -> None:
    arguments = _arguments()
    count, players, steps = (4, 4, 4) if arguments.quick else (arguments.plans, 5, None)
    lines: list[str] = []

    def say(line: str = "") -> None:
        print(line, flush=True)
        lines.append(line)

    with tempfile.TemporaryDirectory() as folder:
        work = arguments.work or Path(folder)
        with rag_audio.open(work / "home") as workspace:
            if not workspace.home.index.count():
                workspace.index(_library(work))
            plans = [_plan(workspace, i, players, steps) for i in range(count)]
            rng = np.random.default_rng(0)
            ranked = plans[: arguments.ranked]
            say(f"{plans[0].steps} steps, outputs of {plans[0].duration_s:g} s.")
            _planted(plans, workspace, say)
            if ranked:
                _ranks(
                    [_weighted(plan, rng.dirichlet(np.ones(players))) for plan in ranked],
                    workspace,
                    say,
                )
    if arguments.write is not None:
        _write(arguments.write, lines, arguments.quick)


def _ranks(
    plans: Sequence[ConditioningPlan], workspace: Workspace, say: Callable[..., None]
) -> None:
    cases = [_case(plan, workspace) for plan in plans]
    players = len(cases[0].exact)
    say(f"\nThe cheap estimate, {len(plans)} plans of {players} references, random weights.\n")
    say("| estimate | distance | runs | Spearman with exact, pooled | mean of plans | lowest |")
    say("|---|---|---:|---:|---:|---:|")
    cheap = len(influence.cheap_coalitions(players))
    for name, rows, used in (
        ("cheap (KernelSHAP)", [c.cheap for c in cases], cheap),
        ("leave one out", [c.left_out for c in cases], players + 1),
    ):
        for m, measure in enumerate(MEASURES):
            each = [_spearman(row[:, m], c.exact[:, m]) for row, c in zip(rows, cases, strict=True)]
            pooled = _spearman(
                np.concatenate([row[:, m] for row in rows]),
                np.concatenate([c.exact[:, m] for c in cases]),
            )
            say(
                f"| {name} | {measure} | {used} | {pooled:.3f} | {np.mean(each):.3f} | "
                f"{min(each):.3f} |"
            )
    seconds = float(np.mean([c.seconds for c in cases]))
    say(f"\nExact: {cases[0].runs} runs, {seconds:.0f} s a plan.")


def _planted(
    plans: Sequence[ConditioningPlan], workspace: Workspace, say: Callable[..., None]
) -> None:
    dummies, gaps, firsts, sums = [], [], [], []
    chosen = [_first(plan, 3) for plan in plans]
    chosen = [plan for plan in chosen if len(plan.seed_parts) == 3]
    for plan in chosen:
        dummy = _case(_weighted(plan, np.array([0.5, 0.5, 0.0]), wordless=[2]), workspace)
        dummies.append([_share(row, 2) for row in dummy.exact.T])
        for dominant in range(3):
            weights = np.full(3, 0.05)
            weights[dominant] = 0.9
            others = [j for j in range(3) if j != dominant]
            case = _case(_weighted(plan, weights, wordless=others), workspace)
            firsts.append(case.exact.argmax(axis=0) == dominant)
            sums.append([_share(row, dominant) for row in case.exact.T])
        twice = _case(_weighted(_twice(plan), np.array([0.3, 0.3, 0.4])), workspace)
        largest = np.maximum(np.abs(twice.exact).max(axis=0), 1e-12)
        gaps.append(np.abs(twice.exact[0] - twice.exact[1]) / largest)
    say(
        f"\nPlanted sources: {len(chosen)} plans of three references that sound (of {len(plans)}; "
        "in the others one gives words only), exact values. Values and shares are of the spectral "
        "distance; the two others are recorded beside it.\n"
    )
    say(f"| property | held to | {' | '.join(MEASURES)} |\n|---|---|---:|---:|---:|")
    columns = [f"{100 * worst:.2f} %" for worst in np.max(dummies, axis=0)]
    say(f"| share of a planted dummy, highest | ≤ 2 % | {' | '.join(columns)} |")
    columns = [f"{100 * worst:.2f} %" for worst in np.max(gaps, axis=0)]
    say(f"| exact duplicates differ, highest, of the largest | 0 | {' | '.join(columns)} |")
    columns = [f"{count} of {len(firsts)}" for count in np.sum(firsts, axis=0)]
    say(f"| planted dominant source comes first | ≥ 95 % | {' | '.join(columns)} |")
    columns = [f"{100 * mean:.0f} %" for mean in np.median(sums, axis=0)]
    say(f"| its share, median | | {' | '.join(columns)} |")


def _case(plan: ConditioningPlan, workspace: Workspace) -> Case:
    home = workspace.home
    generator = home.generator(None)
    renderer = Renderer(home, generator, {})
    started = time.perf_counter()
    lab = Laboratory(plan, (plan.seed,), generator, home.embedder, renderer.seed_audio, None)
    players = len(plan.references)
    values = {s: lab.value(s).mean(axis=(0, 1)) for s in range(1 << players)}
    seconds = time.perf_counter() - started
    few = {s: values[s] for s in influence.cheap_coalitions(players)}
    return Case(
        influence.exact(np.stack([values[s] for s in range(1 << players)])),
        influence.estimate(few, players),
        _leave_one_out(values, players),
        seconds,
        lab.runs,
    )


def _leave_one_out(values: Mapping[int, influence.Values], players: int) -> influence.Values:
    """What is lost when one player alone is missing ``[k, ...]``; duplicates get nothing."""
    full = (1 << players) - 1
    return np.stack([values[full] - values[full & ~(1 << i)] for i in range(players)])


def _plan(workspace: Workspace, i: int, players: int, steps: int | None) -> ConditioningPlan:
    prompt = PROMPTS[i % len(PROMPTS)]
    return workspace.plan(prompt, k=players, seed=500 + i, steps=steps, duration_s=10.0)


def _weighted(
    plan: ConditioningPlan, weights: np.ndarray, wordless: Sequence[int] = ()
) -> ConditioningPlan:
    """Other shares of the sound; of the ``wordless`` references no word stays."""
    parts = tuple(replace(part, weight=float(weights[part.reference])) for part in plan.seed_parts)
    spans = plan.spans
    silent = {plan.references[i].stem.id for i in wordless}
    spans = tuple(span for span in spans if span.stem not in silent)
    text = ", ".join(span.text.strip(" ,") for span in spans)
    return replace(plan, seed_parts=parts, spans=spans, enriched_prompt=text)


def _first(plan: ConditioningPlan, players: int) -> ConditioningPlan:
    kept = {reference.stem.id for reference in plan.references[:players]}
    return replace(
        plan,
        references=plan.references[:players],
        seed_parts=tuple(part for part in plan.seed_parts if part.reference < players),
        spans=tuple(span for span in plan.spans if span.stem is None or span.stem in kept),
    )


def _twice(plan: ConditioningPlan) -> ConditioningPlan:
    """The first reference in the place of the second as well."""
    parts = {part.reference: part for part in plan.seed_parts}
    gone = plan.references[1].stem.id
    copy = replace(parts[0], reference=1)
    return replace(
        plan,
        references=(plan.references[0], plan.references[0], *plan.references[2:]),
        seed_parts=tuple(sorted((parts[0], copy, parts[2]), key=lambda part: part.reference)),
        spans=tuple(span for span in plan.spans if span.stem != gone),
    )


def _share(values: np.ndarray, i: int) -> float:
    return float(max(values[i], 0.0) / max(values[values > 0].sum(), 1e-12))


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    return float(spearmanr(a, b).statistic)


def _library(work: Path) -> Path:
    renders = json.loads((data_dir("demo") / "demo.json").read_text(encoding="utf-8"))["renders"]
    return _lay_out_library(work / "library", renders, quiet=True)


def _write(path: Path, lines: list[str], quick: bool) -> None:
    """Replace the section in the results, or add it at the end."""
    command = f"OMP_NUM_THREADS=1 python benchmarks/bench_influence.py{' --quick' if quick else ''}"
    section = f"{HEADING}\n\n`{command}`, on the embedded models.\n\n"
    section += "\n".join(lines).strip() + "\n"
    put_section(path, HEADING, section)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few plans of four references")
    parser.add_argument("--plans", type=int, default=26, help="for the planted sources")
    parser.add_argument("--ranked", type=int, default=10, help="for the cheap estimate; 0: none")
    parser.add_argument("--work", type=Path, help="keep the indexed home here")
    parser.add_argument("--write", type=Path, help="put the section into this file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
