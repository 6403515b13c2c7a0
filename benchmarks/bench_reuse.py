"""What keeping stems, seed audio, their latents and prompts in memory saves, on the demo library.

``OMP_NUM_THREADS=1 python benchmarks/bench_reuse.py [--repeats N] [--work DIR]``

Each request is made with everything forgotten before it and with everything kept from the time
before, in turn, on one open home: the median of each and their ratio. Beside it: when the first
progress is told, and how long after it a stop takes, against the time of one step.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import rag_audio
from rag_audio.cli.demo import _lay_out_library
from rag_audio.domain import GenerationRequest
from rag_audio.errors import Cancelled
from rag_audio.pipeline.edit_orders import INPAINT, Order
from rag_audio.pipeline.editing import Editor
from rag_audio.pipeline.workspace import Workspace
from rag_audio.resources import data_dir

PROMPT = "warm electric piano, deep house"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--work", type=Path, help="keep the indexed home here")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = given.work or Path(name)
        with rag_audio.open(folder / "home") as workspace:
            if not workspace.home.index.count():
                renders = json.loads((data_dir("demo") / "demo.json").read_text())["renders"]
                workspace.index(_lay_out_library(folder / "library", renders, quiet=True))
            _compare(workspace, folder, given.repeats)
            _promptness(workspace, folder, given.repeats)


def _compare(workspace: Workspace, folder: Path, repeats: int) -> None:
    source = folder / "source.wav"
    workspace.generate(PROMPT, source, seed=0, duration_s=10.0)

    def generate() -> Any:
        return workspace.generate(PROMPT, folder / "a.wav", seed=1, k=3, duration_s=10.0)

    def inpaint() -> Any:
        return workspace.inpaint(source, "bells", folder / "b.wav", regions=[(3, 5)], seed=1, k=2)

    def seed() -> None:
        request = GenerationRequest(PROMPT, seed=1, k=3, duration_s=10.0)
        renderer = workspace.pipeline.renderer(request, workspace.home.generator(None))
        made = renderer.seed_audio(workspace.plan(request))
        renderer.generator.reference_latents(made, 10.0)  # type: ignore[attr-defined]

    print("| request | n | forgotten, s | kept, s | ratio | same samples |")
    print("|---|---:|---:|---:|---:|---|")
    for name, make in (
        ("plan, seed audio and its latents", seed),
        ("generate, 10 s, three references", generate),
        ("inpaint, two references", inpaint),
    ):
        cold, warm, hashes = [], [], set()
        make()
        for _ in range(repeats):
            _forget(workspace)
            for times in (cold, warm):
                start = time.perf_counter()
                made = make()
                times.append(time.perf_counter() - start)
                if made is not None:
                    hashes.add(made[0].record.pcm_sha256)
        one, two = statistics.median(cold), statistics.median(warm)
        same = "" if not hashes else "yes" if len(hashes) == 1 else "NO"
        print(f"| {name} | {repeats} | {one:.2f} | {two:.2f} | {one / two:.2f} | {same} |")


def _promptness(workspace: Workspace, folder: Path, repeats: int) -> None:
    source = folder / "source.wav"
    editor = Editor(workspace.pipeline)

    def generate(say: Callable[..., None], stop: Callable[[], bool]) -> Any:
        request = GenerationRequest(PROMPT, seed=1, k=3, duration_s=10.0)
        return workspace.pipeline.generate(request, folder / "a.wav", say, stop)

    def inpaint(say: Callable[..., None], stop: Callable[[], bool]) -> Any:
        order = Order(INPAINT, ((3.0, 5.0),))
        return editor.edit(
            source, "bells", order, folder / "b.wav", on_stage=say, stop_asked=stop, seed=1
        )

    print("\n| request | n | first progress, ms, worst | stop to end, ms, worst | a step, ms |")
    print("|---|---:|---:|---:|---:|")
    for name, make in (("generate", generate), ("inpaint", inpaint)):
        first, ended, steps = [], [], []
        for i in range(repeats):
            started = time.perf_counter()
            told: list[tuple[str, int, float]] = []

            def say(stage: str, done: int, total: int, told: Any = told) -> None:
                told.append((stage, done, time.perf_counter()))

            def due(told: Any = told, after: int = 3 + i % 4) -> float:
                """When the stop is asked: a little into a step."""
                made = [at for stage, done, at in told if stage == "generate" and done > 0]
                return made[after - 1] + 0.01 if len(made) >= after else math.inf

            def stop(due: Any = due) -> bool:
                return time.perf_counter() > due()

            try:
                make(say, stop)
            except Cancelled:
                ended.append(time.perf_counter() - due())
            first.append(told[0][2] - started)
            made = [at for stage, done, at in told if stage == "generate" and done > 0]
            steps += [two - one for one, two in pairwise(made)]
        print(
            f"| {name} | {len(ended)} | {1000 * max(first):.0f} | {1000 * max(ended):.0f} "
            f"| {1000 * statistics.median(steps):.0f} |"
        )


def _forget(workspace: Workspace) -> None:
    """As in a process that was just started, models aside."""
    kept = workspace.home.cache
    with kept._lock:
        kept._kept.clear()
        kept._bytes = 0
    generator: Any = workspace.home.generator(None)
    generator.forget()
    generator._texts.clear()


if __name__ == "__main__":
    main()
