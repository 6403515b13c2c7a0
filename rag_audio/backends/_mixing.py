"""Mix latents so that the mix varies as much as its parts do."""

from __future__ import annotations

from collections.abc import Sequence

import torch


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
