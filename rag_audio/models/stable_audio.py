"""Stable Audio Open and its kin: ``StableAudioPipeline``, variance-exploding (EDM) diffusion.

Model form: x_σ = z + σ·n with σ_data = 1 and v-prediction. Strength s starts at σ₀ = s/(1 − s);
all steps are spent below it. The stock pipeline adds encoded audio to noise of σ ≈ 500, at -54 dB,
and has no strength; hence a loop of our own over its components.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch

from rag_audio.domain.ports import DiffusionInput
from rag_audio.models.sampling import Conditioning, Defaults, LatentDiffusion

_MAX_TOKENS = 512


def start_sigma(strength: float, sigma_max: float) -> float:
    """Noise level at which strength s starts: min(s/(1 − s), σ_max); SNR is -20·log₁₀ σ₀ dB."""
    return sigma_max if strength >= 1.0 else min(strength / (1.0 - strength), sigma_max)


class StableAudioGenerator(LatentDiffusion):
    """Text-to-audio and audio-to-audio with a Stable Audio Open checkpoint."""

    @property
    def _latent_dim(self) -> int:
        return int(self._pipe.transformer.config.in_channels)

    def _make_pipeline(self, parts: dict[str, Any]) -> Any:
        from diffusers import StableAudioPipeline

        return StableAudioPipeline(**parts)

    def _defaults(self) -> Defaults:
        window = self._pipe.transformer.config.sample_size * self._codec.hop
        return Defaults(
            steps=100,
            guidance=7.0,
            strength=0.6,
            max_duration_s=window / self._codec.sample_rate,
        )

    def _window(self) -> int:
        # A tokenizer without a stated limit says 10^30, and padding would go that far.
        tokenizer = self._pipe.tokenizer
        tokenizer.model_max_length = min(tokenizer.model_max_length, _MAX_TOKENS)
        return int(tokenizer.model_max_length)

    def _frames(self, samples: int) -> int:
        # The model always works on its whole window; the duration is a condition, and only the
        # frames that the request needs are decoded.
        return int(self._pipe.transformer.config.sample_size)

    def _padded(self, wave: torch.Tensor) -> torch.Tensor:
        # Beyond the wanted end the training data held silence, and the output is cut there.
        missing = self._frames(0) * self._codec.hop - wave.shape[-1]
        return torch.nn.functional.pad(wave, (0, max(0, missing)))

    def _condition(self, batch: DiffusionInput, count: int) -> Conditioning:
        """As ``StableAudioPipeline.__call__`` does; without negative prompt, zeros stand for it."""
        from diffusers.models.embeddings import get_1d_rotary_pos_embed

        guided = batch.guidance > 1.0
        negative = batch.negative_prompt if guided and batch.negative_prompt.strip() else None
        text = self._encoded(batch.prompt, self._device, guided, negative)
        start, end = self._pipe.encode_duration(
            0.0, batch.duration_s, self._device, negative is not None, 1
        )
        tokens = torch.cat([text, start, end], dim=1)
        duration = torch.cat([start, end], dim=2)
        if guided and negative is None:
            tokens = torch.cat([torch.zeros_like(tokens), tokens])
            duration = torch.cat([duration, duration])
        rotary = get_1d_rotary_pos_embed(
            self._pipe.rotary_embed_dim,
            self._frames(0) + duration.shape[1],
            use_real=True,
            repeat_interleave_real=False,
        )
        inputs = {
            "encoder_hidden_states": tokens.repeat_interleave(count, dim=0).to(self._dtype),
            "global_hidden_states": duration.repeat_interleave(count, dim=0).to(self._dtype),
            "rotary_embedding": rotary,
        }
        return Conditioning(inputs, batch.guidance)

    def _schedule(self, steps: int, strength: float) -> Any:
        config = self._pipe.scheduler.config
        kind = type(self._pipe.scheduler)
        if strength >= 1.0:
            scheduler = kind.from_config(config)
        else:
            sigma = start_sigma(strength, config.sigma_max)
            scheduler = kind.from_config(config, sigma_max=sigma, sigma_min=min(0.3, sigma / 10))
        scheduler.set_timesteps(steps, device=self._device)
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
            return noise * float(scheduler.init_noise_sigma)
        return reference + float(scheduler.config.sigma_max) * noise

    def _noised(self, latents: torch.Tensor, noise: torch.Tensor, sigma: float) -> torch.Tensor:
        return latents + sigma * noise

    def _output_for(self, latents: torch.Tensor, x: torch.Tensor, sigma: float) -> torch.Tensor:
        # The inverse of v-prediction: D = x / (σ² + 1) − σ / √(σ² + 1) · v, with σ_data = 1.
        root = math.sqrt(sigma**2 + 1.0)
        return (x / root**2 - latents) * root / sigma

    def _seed_solver(self, scheduler: Any, x: torch.Tensor, seeds: tuple[int, ...]) -> None:
        """Give the SDE solver a Brownian path per item, on the CPU so that devices agree.

        The solver would make the same path from the generators' seeds, but on the device.
        """
        from diffusers.schedulers.scheduling_dpmsolver_sde import BrownianTreeNoiseSampler

        # The tree resolves 1e-6: a path below a small σ₀ is stretched to the length of the full
        # one. At s = 1 the factor is 1, and the path the stock pipeline's.
        stretch = self._pipe.scheduler.config.sigma_max / scheduler.config.sigma_max
        scheduler.noise_sampler = _Path(
            BrownianTreeNoiseSampler(
                torch.empty(x.shape, dtype=torch.float32),
                sigma_min=scheduler.config.sigma_min,
                sigma_max=scheduler.config.sigma_max,
                seed=list(seeds),
                transform=lambda sigma: sigma * stretch,
            )
        )

    def _scaled(self, scheduler: Any, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(scheduler.scale_model_input(x, t))

    def _predict(
        self, x: torch.Tensor, times: torch.Tensor, inputs: dict[str, Any]
    ) -> torch.Tensor:
        told = x.to(self._dtype)
        return torch.as_tensor(self._pipe.transformer(told, times, return_dict=False, **inputs)[0])

    def _finish(self, wave: torch.Tensor) -> torch.Tensor:
        return wave


class _Path:
    """A Brownian path asked on the CPU, without torchsde's remarks on its own end points."""

    def __init__(self, sampler: Any) -> None:
        self._sampler = sampler

    def __call__(self, sigma: torch.Tensor, sigma_next: torch.Tensor) -> torch.Tensor:
        with warnings.catch_warnings():
            # The last step goes to σ = 0, below the path's end, and is noiseless anyway.
            warnings.filterwarnings("ignore", message="Should have", category=UserWarning)
            return torch.as_tensor(self._sampler(sigma.cpu(), sigma_next.cpu()))
