"""Ten seconds from the embedded generator at its default steps, against their own duration.

``python benchmarks/bench_generate.py [--repeats N]``
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does

import torch

from rag_audio.domain.ports import DiffusionInput
from rag_audio.models.stable_audio import load_generator
from rag_audio.resources import data_dir

DURATION_S = 10.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    given = parser.parse_args()
    generator = load_generator(str(data_dir("models") / "stable-audio-mini"), device="cpu")
    info = generator.info
    taken = []
    for seed in range(given.repeats + 1):
        batch = DiffusionInput(
            prompt="deep house, warm electric piano, 122 bpm, A minor",
            negative_prompt="",
            duration_s=DURATION_S,
            steps=info.default_steps,
            guidance=info.default_guidance,
            seeds=(seed,),
        )
        start = time.perf_counter()
        generator.generate(batch)
        taken.append(time.perf_counter() - start)
    middle = statistics.median(taken[1:])
    print("| threads | steps | seconds for 10 s | × duration (aim ≤ 0.5) |")
    print("|---|---|---|---|")
    print(
        f"| {torch.get_num_threads()} | {info.default_steps} "
        f"| {middle:.2f} (first {taken[0]:.2f}) | {middle / DURATION_S:.2f} |"
    )


if __name__ == "__main__":
    main()
