"""Noise of the diffusion models: drawn per item."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from rag_audio.domain.ports import DiffusionInput, Painting
from rag_audio.errors import InvalidInput


def make_generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """One generator per item: no item depends on another. On the CPU, so that devices agree."""
    return [torch.Generator("cpu").manual_seed(seed) for seed in seeds]


def draw_noise(generators: Sequence[torch.Generator], channels: int, frames: int) -> torch.Tensor:
    """Unit normal noise ``[N, channels, frames]``, float32 on the CPU."""
    shape = (1, channels, frames)
    return torch.cat([torch.randn(shape, generator=g, dtype=torch.float32) for g in generators])


# In-painting: what a sampler keeps while it fills the rest.
#
# The kept frames follow the path that the kept latents z would take with one fixed noise n:
# before each step x ← m·(z at σ with n) + (1 − m)·x, and of what the model says the denoised
# estimate is D ← m·z + (1 − m)·D. (Adding new noise to the kept part after each step, as RePaint
# does, would leave it noisier than the model expects.) A model with a trained mask is told of it
# besides.

_SLACK_S = 1e-6


@dataclass(frozen=True)
class Kept:
    """What is not to change.

    Attributes:
        latents: ``[1, D, F]`` float32. mask: ``[1, 1, F]`` float32, 1 keeps and 0 is made.
    """

    latents: torch.Tensor
    mask: torch.Tensor

    def put(self, kept: torch.Tensor, made: torch.Tensor) -> torch.Tensor:
        """``kept`` where the mask keeps, ``made`` elsewhere; ``[N, D, F]``."""
        return self.mask * kept + (1.0 - self.mask) * made

    def local_condition(self, count: int) -> torch.Tensor:
        """Mask and masked latents for a model that was trained with them, ``[count, 1 + D, F]``."""
        told = torch.cat([self.mask, self.latents * self.mask], dim=1)
        return told.expand(count, -1, -1)


def frame_mask(painting: Painting, frames: int, frame_s: float) -> torch.Tensor:
    """``[1, 1, F]``: 0 for every frame that a region touches, 1 for the others.

    Args:
        frame_s: seconds of one latent frame.
    """
    mask = torch.ones(1, 1, frames)
    for start_s, end_s in painting.regions:
        first = math.floor(start_s / frame_s + _SLACK_S)
        mask[..., first : max(first + 1, math.ceil(end_s / frame_s - _SLACK_S))] = 0.0
    return mask


def check_painting(batch: DiffusionInput) -> None:
    """Refuse regions that are no regions of the output.

    Raises:
        InvalidInput: quoting the values.
    """
    painting = batch.painting
    if painting is None:
        return
    if not painting.regions:
        raise InvalidInput("a painting needs at least one region")
    before = 0.0
    for start_s, end_s in painting.regions:
        if not before - _SLACK_S <= start_s < end_s <= batch.duration_s + _SLACK_S:
            raise InvalidInput(
                f"regions must rise within 0…{batch.duration_s:g} s and not meet, "
                f"got {start_s:g}-{end_s:g}"
            )
        before = end_s
    if not np.isfinite(painting.audio.samples).all():
        raise InvalidInput("the audio to keep holds values that are not finite (NaN or infinity)")


# Mix latents so that the mix varies as much as its parts do.


def mix_latents(parts: Sequence[torch.Tensor], weights: Sequence[float]) -> torch.Tensor:
    """z̃ = μ + Σ aᵢ (zᵢ − μ) · √(Σ wᵢ vᵢ / aᵀCa), with aᵢ = √wᵢ.

    μ is the mean of each latent channel over all parts and frames, C the covariance of the parts
    about it, vᵢ its diagonal: the weighted sum of what differs from the mean is scaled to the
    parts' own mean variance, however alike they are. A plain weighted mean of unlike latents varies
    less than any of them, and decodes to something duller. With uncorrelated parts the scale is 1
    and a weight is a share of the variance, as it is a share of energy in a mix of sound.

    Args:
        parts: each ``[1, D, F]``, float32. weights: ≥ 0, they sum to 1.
    """
    if len(parts) == 1:
        return parts[0]
    stacked = torch.cat(list(parts)).double()
    mean = stacked.mean(dim=(0, 2), keepdim=True)
    apart = (stacked - mean).flatten(1)
    share = torch.tensor(weights, dtype=torch.float64, device=stacked.device)
    covariance = apart @ apart.T / apart.shape[1]
    wanted = (share * covariance.diagonal()).sum()
    amount = share.sqrt()
    given = amount @ covariance @ amount
    scale = (wanted / given.clamp_min(1e-12)).sqrt()
    mixed = (amount[:, None] * apart).sum(0) * scale
    return (mean + mixed.view_as(stacked[:1])).to(parts[0].dtype)
