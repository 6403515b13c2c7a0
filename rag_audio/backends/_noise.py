"""Noise of the diffusion models: drawn per item, and measured against the reference."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch


def make_generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """One generator per item: no item depends on another. On the CPU, so that devices agree."""
    return [torch.Generator("cpu").manual_seed(seed) for seed in seeds]


def draw_noise(generators: Sequence[torch.Generator], channels: int, frames: int) -> torch.Tensor:
    """Unit normal noise ``[N, channels, frames]``, float32 on the CPU."""
    shape = (1, channels, frames)
    return torch.cat([torch.randn(shape, generator=g, dtype=torch.float32) for g in generators])


def init_latents_snr_db(start: torch.Tensor, noise: torch.Tensor, reference: torch.Tensor) -> float:
    """Measured signal-to-noise ratio of starting latents, relative to the RMS of the reference.

    20·log₁₀(RMS(start − noise) / RMS(reference) / RMS(noise)), which is 20·log₁₀((1 − s)/s) at
    strength s.

    Args:
        start: what sampling starts from. noise: the same with the reference at zero.
        reference: latents of the seed audio; all three of one shape, none zero.
    """

    def rms(x: torch.Tensor) -> float:
        return float(x.double().square().mean().sqrt())

    return 20.0 * math.log10(rms(start - noise) / rms(reference) / rms(noise))
