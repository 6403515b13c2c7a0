"""Jobs that share passes of the model against jobs one by one, in one run.

    python benchmarks/bench_batching.py --jobs 8 --takes 1 2 4 8 --rounds 3 --threads 1

Accepts jobs that differ in prompt, seed and strength, and runs them as a worker does, with so many
takes in a pass: retrieval, plan, sampling, guardrails, mark and ledger entry. The settings take
turns within a round, and the median over the rounds is printed: seconds of the clock and of the
CPU per output (other work on the machine makes the clock unreliable, and the CPU less so), until
half of the jobs had ended, and how far samples are from those made alone. ``--model-only`` leaves
out all but the sampler.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import rag_audio
from rag_audio.domain import Audio
from rag_audio.domain.ports import DiffusionInput, Generator, Member
from rag_audio.resources import data_dir

PROMPTS = ("warm electric piano", "slow drums", "calm guitar at night", "fast house groove")
Measured = dict[str, float]


def main() -> None:
    arguments = parse()
    import torch

    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory(prefix="rag-") as name:
        home = Path(name) / "home"
        with rag_audio.open(home) as workspace:
            if arguments.model_only:
                measure = sampler(workspace.home.generator(None), arguments)
            else:
                workspace.index(data_dir("demo"))
                measure = worker(workspace, arguments)
            measure(1)
            alone: list[Audio] = []
            rows: dict[int, list[Measured]] = {takes: [] for takes in arguments.takes}
            for _ in range(arguments.rounds):
                for takes in arguments.takes:
                    row, made = timed(measure, takes, arguments.jobs)
                    alone = alone or made
                    row["furthest_sample"] = furthest(alone, made)
                    rows[takes].append(row)
            print(json.dumps(summary(arguments, rows, workspace.home.device), indent=2))


def timed(
    measure: Callable[[int], tuple[list[Audio], float]], takes: int, jobs: int
) -> tuple[Measured, list[Audio]]:
    began, spent = time.monotonic(), time.process_time()
    made, half_s = measure(takes)
    wall, cpu = time.monotonic() - began, time.process_time() - spent
    return {"wall_s": wall / jobs, "cpu_s": cpu / jobs, "half_ended_s": half_s}, made


def sampler(
    model: Generator, arguments: argparse.Namespace
) -> Callable[[int], tuple[list[Audio], float]]:
    """Batches of the model itself."""
    info = model.info
    members = [
        Member(
            DiffusionInput(
                PROMPTS[i % len(PROMPTS)],
                "",
                min(arguments.duration, info.max_duration_s),
                arguments.steps or info.default_steps,
                info.default_guidance,
                (i,),
            )
        )
        for i in range(arguments.jobs)
    ]

    def measure(takes: int) -> tuple[list[Audio], float]:
        made: list[Audio] = []
        began, half_s = time.monotonic(), 0.0
        for i in range(0, len(members), takes):
            for outcome in model.generate_together(members[i : i + takes]):
                if not isinstance(outcome, tuple):
                    raise outcome
                made.extend(outcome)
            if not half_s and len(made) * 2 >= len(members):
                half_s = time.monotonic() - began
        return made, half_s

    return measure


def worker(
    workspace: Any, arguments: argparse.Namespace
) -> Callable[[int], tuple[list[Audio], float]]:
    """A worker of the service, on jobs that wait."""
    from rag_audio.service.queue import SqlJobs
    from rag_audio.service.runner import Runner, Worker

    jobs = SqlJobs(workspace.home.database)
    runner = Runner(workspace.home, jobs)

    def measure(takes: int) -> tuple[list[Audio], float]:
        accepted = [jobs.accept("generation", asked(i, arguments)) for i in range(arguments.jobs)]
        one = Worker(runner, jobs, threading.Event(), takes)
        while held := one.claim():
            runner.run_together(held)
        made: list[Audio] = []
        ended: list[float] = []
        for job in accepted:
            found = jobs.find(job.id)
            if found is None or found.result is None or found.finished_at is None:
                raise SystemExit(f"a job did not end well: {found}")
            master = workspace.home.master(found.result["outputs"][0]["output"])
            made.append(master)
            ended.append(found.finished_at - accepted[0].created_at)
        return made, sorted(ended)[(len(ended) - 1) // 2]

    return measure


def asked(i: int, arguments: argparse.Namespace) -> dict[str, Any]:
    document: dict[str, Any] = {
        "prompt": PROMPTS[i % len(PROMPTS)],
        "seed": i,
        "duration_s": arguments.duration,
        "strength": 0.4 + 0.05 * (i % 4),
    }
    return document | ({"steps": arguments.steps} if arguments.steps else {})


def furthest(alone: list[Audio], made: list[Audio]) -> float:
    """The largest difference of two samples, of full scale."""
    pairs = zip(alone, made, strict=True)
    return max(float(np.abs(one.samples - two.samples).max()) for one, two in pairs)


def summary(
    arguments: argparse.Namespace, rows: dict[int, list[Measured]], device: str
) -> dict[str, Any]:
    names = ("wall_s", "cpu_s", "half_ended_s", "furthest_sample")
    return {
        "what": "sampler" if arguments.model_only else "worker",
        "device": device,
        "threads": arguments.threads,
        "jobs": arguments.jobs,
        "rounds": arguments.rounds,
        "duration_s": arguments.duration,
        "per_output": {
            str(takes): {
                name: float(f"{statistics.median(row[name] for row in of):.3g}") for name in names
            }
            for takes, of in rows.items()
        },
    }


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--jobs", type=int, default=8)
    parser.add_argument("--takes", type=int, nargs="+", default=[1, 2, 4, 8], help="begin with 1")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--duration", type=float, default=10.0, help="seconds of each output")
    parser.add_argument("--steps", type=int, default=0, help="0: as the model likes")
    parser.add_argument("--model-only", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    main()
