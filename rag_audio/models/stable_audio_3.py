"""Stable Audio 3: rectified flow, x_σ = (1 − σ)·z + σ·n, velocity prediction.

The stock audio-to-audio pipeline has neither guidance nor negative prompt, and its schedule climbs
again after the first step; hence a loop of our own over its components, with a schedule that is
even in log-SNR from the strength downwards.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from rag_audio.domain.ports import DiffusionInput
from rag_audio.models.sampling import Conditioning, Defaults, LatentDiffusion

_LOGSNR_MIN, _LOGSNR_MAX = -6.2, 2.0
_MAX_TOKENS = 256


def flow_sigmas(steps: int, strength: float) -> list[float]:
    """Noise levels of the steps, the final 0 left out: strictly falling from ``strength``.

    Even in λ = log-SNR with σ = sigmoid(−λ), from λ₀ = max(−logit(s), −6.2) to max(2, λ₀ + 2). At
    s = 1 these are the levels of ``StableAudio3Pipeline``.
    """
    start = _LOGSNR_MIN
    if strength < 1.0:
        start = max(math.log1p(-strength) - math.log(strength), _LOGSNR_MIN)
    end = max(_LOGSNR_MAX, start + 2.0)
    # The stock expression, so that s = 1 gives its levels to the last bit.
    logsnr = end - torch.linspace(1.0, 0.0, steps + 1) * (end - start)
    sigmas = torch.sigmoid(-logsnr)
    sigmas[0] = strength
    return [float(sigma) for sigma in sigmas[:-1]]


class StableAudio3Generator(LatentDiffusion):
    """Text-to-audio and audio-to-audio with a Stable Audio 3 checkpoint, distilled or not."""

    @property
    def _latent_dim(self) -> int:
        return int(self._pipe.transformer.config.io_channels)

    def _make_pipeline(self, parts: dict[str, Any]) -> Any:
        from diffusers import StableAudio3Pipeline

        return StableAudio3Pipeline(**parts)

    def _defaults(self) -> Defaults:
        distilled = bool(self._pipe.scheduler.config.stochastic_sampling)
        return Defaults(
            steps=8 if distilled else 100,
            guidance=1.0 if distilled else 7.0,
            strength=0.6,
            max_duration_s=float(self._pipe.duration_embedder.config.max_val),
        )

    def _window(self) -> int:
        return int(min(self._pipe.tokenizer.model_max_length, _MAX_TOKENS))

    def _frames(self, samples: int) -> int:
        patch = int(self._pipe.transformer.config.patch_size)
        return -(-self._codec.frames_of(samples) // patch) * patch

    def _padded(self, wave: torch.Tensor) -> torch.Tensor:
        frames = wave.shape[-1] // self._codec.hop
        missing = self._frames(wave.shape[-1]) - frames
        return torch.nn.functional.pad(wave, (0, missing * self._codec.hop), mode="circular")

    def _condition(self, batch: DiffusionInput, count: int) -> Conditioning:
        """As ``StableAudio3Pipeline.__call__`` does: no negative prompt is an empty one."""
        duration = self._pipe.encode_duration(batch.duration_s, self._device, count, 1)
        texts = [batch.prompt]
        guided = batch.guidance > 1.0
        if guided:
            texts.insert(0, batch.negative_prompt.strip())
        tokens, masks = zip(
            *(
                self._pipe.prepare_cross_attention(
                    *self._encoded([text], self._device, count), duration
                )
                for text in texts
            ),
            strict=True,
        )
        inputs = {
            "encoder_hidden_states": torch.cat(tokens).to(self._dtype),
            "encoder_attention_mask": torch.cat(masks),
            "global_hidden_states": torch.cat([duration] * len(texts)).to(self._dtype),
        }
        return Conditioning(inputs, batch.guidance)

    def _schedule(self, steps: int, strength: float) -> Any:
        """The scheduler at s = 1 as the checkpoint has it; below, what bends σ is divided out."""
        config = self._pipe.scheduler.config
        kind = type(self._pipe.scheduler)
        if strength >= 1.0:
            scheduler = kind.from_config(config)
        else:
            scheduler = kind.from_config(
                config,
                shift=1.0,
                shift_terminal=None,
                use_dynamic_shifting=False,
                use_karras_sigmas=False,
                use_exponential_sigmas=False,
                use_beta_sigmas=False,
            )
        scheduler.set_timesteps(sigmas=flow_sigmas(steps, strength), device=self._device)
        scheduler.set_begin_index(0)
        return scheduler

    def _start(
        self,
        scheduler: Any,
        noise: torch.Tensor,
        reference: torch.Tensor | None,
        strength: float,
    ) -> torch.Tensor:
        if reference is None:
            return noise
        return (1.0 - strength) * reference + strength * noise

    def _has_mask(self) -> bool:
        return bool(self._pipe.transformer.config.get("local_add_cond_dim"))

    def _noised(self, latents: torch.Tensor, noise: torch.Tensor, sigma: float) -> torch.Tensor:
        return (1.0 - sigma) * latents + sigma * noise

    def _output_for(self, latents: torch.Tensor, x: torch.Tensor, sigma: float) -> torch.Tensor:
        return (x - latents) / sigma

    def _seed_solver(self, scheduler: Any, x: torch.Tensor, seeds: tuple[int, ...]) -> None:
        # Fresh noise between the steps comes from the items' own generators.
        return

    def _predict(
        self, x: torch.Tensor, times: torch.Tensor, inputs: dict[str, Any]
    ) -> torch.Tensor:
        told, rows = x.to(self._dtype), x.shape[0]
        return torch.as_tensor(
            self._pipe.transformer(told, times.expand(rows), return_dict=False, **inputs)[0]
        )

    def _finish(self, wave: torch.Tensor) -> torch.Tensor:
        return wave.clamp(-1.0, 1.0)
