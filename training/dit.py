"""The flow-matching transformer with its text encoder and duration embedder, trained together.

Rectified flow as Stable Audio 3 has it: x_σ = (1 − σ)·z + σ·n, the model predicts n − z. Windows
start where clips start, on a downbeat, so that the place of a beat follows from the tempo alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from training.loop import Run, load_weights
from training.presets import Preset
from training.text import encode, place_numbers

LOGIT_MEAN, LOGIT_SPREAD = 0.4, 1.2  # of the noise levels: most where structure is decided
ATTENTION = {
    "cpu": [SDPBackend.MATH],
    "cuda": [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH],
}
SHORT_SHARES = (0.4, 0.6, 0.8)  # of the clip's length, for the windows that are shorter


class System(nn.Module):
    """What is trained: transformer, text encoder, duration embedder.

    Args:
        preset: sizes. latent_dim: channels of the latents. vocabulary: tokens.
    """

    def __init__(self, preset: Preset, latent_dim: int, vocabulary: int) -> None:
        from diffusers import StableAudio3DiTModel
        from diffusers.pipelines.stable_audio_3 import StableAudio3DurationEmbedder
        from transformers import T5GemmaConfig, T5GemmaEncoderModel, T5GemmaModuleConfig

        super().__init__()
        torch.manual_seed(preset.seed)
        width, heads = preset.dit["embed_dim"], preset.dit["num_heads"]
        module = T5GemmaModuleConfig(
            vocab_size=vocabulary,
            hidden_size=width,
            intermediate_size=preset.text["intermediate"],
            num_hidden_layers=preset.text["layers"],
            num_attention_heads=heads,
            num_key_value_heads=heads,
            head_dim=width // heads,
            query_pre_attn_scalar=width // heads,
            max_position_embeddings=512,
        )
        self.text_encoder = T5GemmaEncoderModel(
            T5GemmaConfig(
                encoder=module, decoder=module, is_encoder_decoder=False, vocab_size=vocabulary
            )
        )
        self.duration_embedder = StableAudio3DurationEmbedder(
            output_dim=width, fourier_dim=64, max_val=preset.corpus.seconds
        )
        self.transformer = StableAudio3DiTModel(
            io_channels=latent_dim,
            cond_token_dim=width,
            global_cond_dim=width,
            local_add_cond_dim=latent_dim + 1,
            timestep_features_dim=64,
            use_differential_attention=False,
            **preset.dit,
        )

    def forward(
        self,
        x: Tensor,
        sigma: Tensor,
        ids: Tensor,
        mask: Tensor,
        seconds: Tensor,
        local: Tensor | None = None,
    ) -> Tensor:
        """Velocity ``[B, D, L]`` of noisy latents, as ``StableAudio3Pipeline`` computes it.

        Args:
            x: ``[B, D, L]``. sigma: ``[B]`` in [0, 1]. ids, mask: ``[B, tokens]``.
            seconds: ``[B]``. local: ``[B, 1 + D, L]``, mask and kept latents of in-painting.
        """
        # What is padding becomes the transformer's own padding embedding: no need to encode it.
        longest = int(mask.sum(dim=1).max())
        text = self.text_encoder(ids[:, :longest], attention_mask=mask[:, :longest])[0]
        text = nn.functional.pad(text, (0, 0, 0, ids.shape[1] - longest))
        duration = self.duration_embedder(seconds)
        context = torch.cat([text, duration[:, None].to(text.dtype)], dim=1)
        seen = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
        made: Tensor = self.transformer(
            x,
            sigma,
            encoder_hidden_states=context,
            global_hidden_states=duration,
            encoder_attention_mask=seen,
            local_add_cond=local,
            return_dict=False,
        )[0]
        return made


@dataclass(frozen=True)
class Windows:
    """What training draws from.

    Attributes:
        latents: float16 ``[N, D, L]``.
        ids, mask: int64 ``[M, tokens]``; empty: those of the empty prompt, ``[tokens]``.
        owners: for each clip, the rows of its captions.
        rate: latents per second.
    """

    latents: Tensor
    ids: Tensor
    mask: Tensor
    empty: tuple[Tensor, Tensor]
    owners: Sequence[Sequence[int]]
    rate: float


def prepare(
    latents: Tensor, captions: Sequence[Sequence[str]], tokenizer: Any, window: int, rate: float
) -> Windows:
    """Tokenise all captions once.

    Args:
        latents: float16 ``[N, D, L]``. captions: per clip, one or more.
    """
    flat = [text for texts in captions for text in texts]
    owners, row = [], 0
    for texts in captions:
        owners.append(tuple(range(row, row + len(texts))))
        row += len(texts)
    ids, mask = encode(tokenizer, [*flat, ""], window)
    return Windows(latents, ids[:-1], mask[:-1], (ids[-1], mask[-1]), owners, rate)


def noise_levels(count: int, generator: torch.Generator) -> Tensor:
    """σ in (0, 1): four of five logit-normal (Esser et al., 2024), one of five uniform."""
    normal = torch.randn(count, generator=generator) * LOGIT_SPREAD + LOGIT_MEAN
    flat = torch.rand(count, generator=generator)
    even = torch.rand(count, generator=generator) < 0.2
    return torch.where(even, flat, normal.sigmoid()).clamp(1e-3, 1.0)


def painting_masks(count: int, length: int, rng: np.random.Generator) -> Tensor:
    """Masks ``[B, 1, L]``, 1 keeps: a hole, a beginning or an end is left to paint."""
    masks = torch.ones(count, 1, length)
    for row in range(count):
        size = int(rng.integers(max(1, length // 8), max(2, 3 * length // 4)))
        kind = rng.integers(0, 3)
        start = {0: length - size, 1: 0}.get(int(kind), int(rng.integers(0, length - size + 1)))
        masks[row, 0, start : start + size] = 0.0
    return masks


def train_dit(
    preset: Preset, windows: Windows, tokenizer: Any, folder: Path, *, resume: bool
) -> System:
    """Train; returns the averaged system in evaluation mode."""
    device, stage = preset.device, preset.dit_stage
    system = System(preset, windows.latents.shape[1], len(tokenizer))
    place_numbers(system.text_encoder.get_input_embeddings().weight, tokenizer)
    system = system.to(device)
    run = Run(folder, system, stage, resume=resume, autocast=preset.autocast)
    rng = np.random.default_rng(preset.seed + 7 * run.step)
    generator = torch.Generator().manual_seed(preset.seed + 7 * run.step)
    for _ in run:
        z, ids, mask = _draw(windows, stage.batch, preset.drop_text, rng)
        z, ids, mask = z.to(device).float(), ids.to(device), mask.to(device)
        seconds = torch.full((len(z),), z.shape[2] / windows.rate, device=device)
        sigma = noise_levels(len(z), generator).to(device)
        noise = torch.randn(z.shape, generator=generator).to(device)
        level = sigma[:, None, None]
        x = (1 - level) * z + level * noise
        local = None
        if rng.random() < preset.inpaint:
            keep = painting_masks(len(z), z.shape[2], rng).to(device)
            local = torch.cat([keep, z * keep], dim=1)
        # The flash kernel's backward pass is slow on CPUs at lengths of a hundred.
        with run.precision(), sdpa_kernel(ATTENTION[torch.device(device).type]):
            velocity = system(x, sigma, ids, mask, seconds, local)
        error = (velocity.float() - (noise - z)).square().mean(dim=(1, 2))
        run.update(error.mean(), **({} if local is not None else {"plain": error.mean()}))
    return run.best  # type: ignore[return-value]


def _draw(
    windows: Windows, batch: int, drop: float, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Latents from the clips' beginnings, with one caption each or the empty one."""
    rows = rng.integers(0, len(windows.latents), batch)
    length = windows.latents.shape[2]
    if rng.random() < 0.5:
        length = math.ceil(length * float(rng.choice(SHORT_SHARES)))
    picked = [int(rng.choice(windows.owners[row])) for row in rows]
    ids, mask = windows.ids[picked].clone(), windows.mask[picked].clone()
    dropped = torch.from_numpy(rng.random(batch) < drop)
    ids[dropped], mask[dropped] = windows.empty
    return windows.latents[rows, :, :length], ids, mask


def load_system(preset: Preset, folder: Path, latent_dim: int, tokenizer: Any) -> System:
    """The trained system of a stage's folder."""
    system = System(preset, latent_dim, len(tokenizer))
    return load_weights(folder, system)  # type: ignore[return-value]
