"""The two families of Stable Audio, each a sampling loop of our own over diffusers' components.

Stable Audio Open (``StableAudioPipeline``) is variance-exploding (EDM) diffusion, x_σ = z + σ·n,
with σ_data = 1 and v-prediction. Strength s starts at σ₀ = s/(1 − s), and all steps are spent below
it. The stock pipeline adds encoded audio to noise of σ ≈ 500, at -54 dB, and has no strength.

Stable Audio 3 is a rectified flow, x_σ = (1 − σ)·z + σ·n, with velocity prediction. The stock
audio-to-audio pipeline has neither guidance nor negative prompt, and its schedule climbs again
after the first step; ours is even in log-SNR from the strength downwards.
"""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import torch

from rag_audio.domain.ports import DiffusionInput, Generator
from rag_audio.models.checkpoints import STABLE_AUDIO, find_checkpoint
from rag_audio.models.sampling import Conditioning, LatentDiffusion

_MAX_TOKENS, _FLOW_TOKENS = 512, 256
_LOGSNR_MIN, _LOGSNR_MAX = -6.2, 2.0


def load_generator(
    source: str | Path,
    *,
    device: str = "cpu",
    low_memory: bool = False,
    dtype: str | None = None,
) -> Generator:
    """Load a checkpoint; its ``model_index.json`` decides which family runs it.

    Args:
        source: a folder, the bare name of an embedded model, or a Hugging Face hub id.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        low_memory: trade time for memory: offload, tiles, one variation at a time.
        dtype: of the transformer; None lets the device decide, float32 on the CPU.

    Raises:
        BackendUnavailable: missing, gated, offline, broken, of unknown classes, or no such device.
    """
    checkpoint = find_checkpoint(source)
    family = StableAudioGenerator if checkpoint.family == STABLE_AUDIO else StableAudio3Generator
    return family(checkpoint, device=device, low_memory=low_memory, dtype=dtype)


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

    def _defaults(self) -> dict[str, float]:
        window = self._pipe.transformer.config.sample_size * self._codec.hop
        longest_s = window / self._codec.sample_rate
        return {"default_steps": 100, "default_guidance": 7.0, "max_duration_s": longest_s}

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

    def _schedule_from(self, strength: float) -> dict[str, Any]:
        sigma = start_sigma(strength, self._pipe.scheduler.config.sigma_max)
        return {"sigma_max": sigma, "sigma_min": min(0.3, sigma / 10)}

    def _timesteps(self, steps: int, strength: float) -> dict[str, Any]:
        return {"num_inference_steps": steps}

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


class _Path:
    """A Brownian path asked on the CPU, without torchsde's remarks on its own end points."""

    def __init__(self, sampler: Any) -> None:
        self._sampler = sampler

    def __call__(self, sigma: torch.Tensor, sigma_next: torch.Tensor) -> torch.Tensor:
        with warnings.catch_warnings():
            # The last step goes to σ = 0, below the path's end, and is noiseless anyway.
            warnings.filterwarnings("ignore", message="Should have", category=UserWarning)
            return torch.as_tensor(self._sampler(sigma.cpu(), sigma_next.cpu()))


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

    def _defaults(self) -> dict[str, float]:
        distilled = bool(self._pipe.scheduler.config.stochastic_sampling)
        return {
            "default_steps": 8 if distilled else 100,
            "default_guidance": 1.0 if distilled else 7.0,
            "max_duration_s": float(self._pipe.duration_embedder.config.max_val),
        }

    def _window(self) -> int:
        return int(min(self._pipe.tokenizer.model_max_length, _FLOW_TOKENS))

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
                    *self._encoded(text, self._device, count), duration
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

    def _schedule_from(self, strength: float) -> dict[str, Any]:
        """Nothing that bends σ."""
        spacings = ("dynamic_shifting", "karras_sigmas", "exponential_sigmas", "beta_sigmas")
        unused = {f"use_{name}": False for name in spacings}
        return {"shift": 1.0, "shift_terminal": None, **unused}

    def _timesteps(self, steps: int, strength: float) -> dict[str, Any]:
        return {"sigmas": flow_sigmas(steps, strength)}

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

    def _predict(
        self, x: torch.Tensor, times: torch.Tensor, inputs: dict[str, Any]
    ) -> torch.Tensor:
        told, rows = x.to(self._dtype), x.shape[0]
        return torch.as_tensor(
            self._pipe.transformer(told, times.expand(rows), return_dict=False, **inputs)[0]
        )

    def _finish(self, wave: torch.Tensor) -> torch.Tensor:
        return wave.clamp(-1.0, 1.0)
