"""Checks the generators on a GPU against float32 on the CPU, on tiny random checkpoints.

    python benchmarks/check_cuda.py [--device cuda]

Prints a table and exits with 1 when a row fails. What each row must show:

- the sound is finite and near the CPU's (noise is drawn on the CPU, so that devices agree);
- the same request gives the same bytes twice;
- at strength 1 the output is bit-equal to text-to-audio;
- in half precision only the transformer is half;
- the low-memory mode leaves nothing on the device.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rag_audio.domain import Audio
from rag_audio.domain.ports import DiffusionInput
from rag_audio.models.stable_audio import load_generator
from training.untrained_stable_audio import build_sa3, build_sao

LIMITS = {"float32": 0.005, "float16": 0.03, "bfloat16": 0.15}
"""Largest RMS of the difference to the CPU, over the RMS of the CPU's sound."""

STEPS = 12


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    family: str
    dtype: str
    low_memory: bool
    task: str
    difference: float
    peak_mb: float
    faults: tuple[str, ...]


def requests(guided: bool) -> dict[str, DiffusionInput]:
    """Text-to-audio and audio-to-audio, guided with a negative prompt where the model likes it."""
    t = np.arange(32_000) / 16_000
    wave = 0.3 * np.sin(2 * np.pi * 220 * t) * np.exp(-3 * (t % 0.5))
    seed_audio = Audio(np.stack([wave, wave[::-1]]).astype(np.float32), 16_000)
    plain = DiffusionInput(
        prompt="warm piano with soft drums",
        negative_prompt="noise" if guided else "",
        duration_s=1.5,
        steps=STEPS,
        guidance=4.0 if guided else 1.0,
        seeds=(1, 2, 3),
    )
    return {
        "text": plain,
        "audio 0.5": replace(plain, strength=0.5, init_audio=seed_audio),
        "audio 1.0": replace(plain, strength=1.0, init_audio=seed_audio),
    }


def relative(made: tuple[Audio, ...], expected: tuple[Audio, ...]) -> float:
    """RMS of the difference over the RMS of what was expected."""
    a = np.concatenate([x.samples for x in made], axis=1)
    b = np.concatenate([x.samples for x in expected], axis=1)
    return float(np.sqrt(np.mean((a - b) ** 2) / np.mean(b**2)))


def same_bytes(a: tuple[Audio, ...], b: tuple[Audio, ...]) -> bool:
    """Whether two batches are equal to the last bit."""
    return all(np.array_equal(x.samples, y.samples) for x, y in zip(a, b, strict=True))


def check(root: Path, device: str, dtype: str, low_memory: bool, guided: bool) -> list[Row]:
    """All tasks on one model in one precision."""
    cuda = device.startswith("cuda")
    model: Any = load_generator(root, device=device, low_memory=low_memory, dtype=dtype)
    exact: Any = load_generator(root, low_memory=low_memory)
    rows = []
    results: dict[str, tuple[Audio, ...]] = {}
    for task, request in requests(guided).items():
        if cuda:
            torch.cuda.reset_peak_memory_stats(device)
        results[task] = model.generate(request)
        peak = torch.cuda.max_memory_allocated(device) / 1e6 if cuda else 0.0
        difference = relative(results[task], exact.generate(request))
        faults = []
        if not difference <= LIMITS[dtype]:
            faults.append(f"differs by more than {LIMITS[dtype]:g}")
        if not same_bytes(results[task], model.generate(request)):
            faults.append("not the same bytes twice")
        if task == "audio 1.0" and not same_bytes(results[task], results["text"]):
            faults.append("strength 1 is not text-to-audio")
        rows.append(
            Row(root.name, dtype, low_memory, task, difference, peak, tuple(faults + state(model)))
        )
    return rows


def state(model: Any) -> list[str]:
    """What is wrong with where and in which precision the parts lie."""
    pipe = model._pipe
    faults = []
    if pipe.transformer.dtype != model._dtype:
        faults.append(f"the transformer is {pipe.transformer.dtype}")
    if pipe.vae.dtype != torch.float32:
        faults.append(f"the autoencoder is {pipe.vae.dtype}")
    if model._offloaded:
        resident = [
            name
            for name, part in pipe.components.items()
            if isinstance(part, torch.nn.Module)
            and any(p.device.type != "cpu" for p in part.parameters())
        ]
        faults += [f"{name} stayed on the device" for name in resident]
    return faults


def main() -> int:
    """Run all rows; the number of faulty ones decides the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    device = parser.parse_args().device
    import diffusers

    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else device
    print(f"torch {torch.__version__}, diffusers {diffusers.__version__}, {name}\n")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        models = {
            build_sao(Path(folder) / "stable-audio"): True,
            build_sa3(Path(folder) / "stable-audio-3"): False,
            build_sa3(Path(folder) / "stable-audio-3-base", distilled=False): True,
        }
        for root, guided in models.items():
            for dtype in LIMITS:
                for low_memory in (False, True):
                    rows += check(root, device, dtype, low_memory, guided)
    print("| family | dtype | low memory | task | difference | peak MB | result |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row.family} | {row.dtype} | {'yes' if row.low_memory else 'no'} | {row.task} "
            f"| {row.difference:.2e} | {row.peak_mb:.1f} | {'; '.join(row.faults) or 'ok'} |"
        )
    bad = sum(bool(row.faults) for row in rows)
    print(f"\n{len(rows) - bad} of {len(rows)} rows are as they should be")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
