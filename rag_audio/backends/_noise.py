"""Noise of the diffusion models: drawn per item."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def make_generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """One generator per item: no item depends on another. On the CPU, so that devices agree."""
    return [torch.Generator("cpu").manual_seed(seed) for seed in seeds]


def draw_noise(generators: Sequence[torch.Generator], channels: int, frames: int) -> torch.Tensor:
    """Unit normal noise ``[N, channels, frames]``, float32 on the CPU."""
    shape = (1, channels, frames)
    return torch.cat([torch.randn(shape, generator=g, dtype=torch.float32) for g in generators])
