"""Latents: sound to them and back, noise, what in-painting keeps, and mixes.

Shapes: waves ``[B, C, T]``, latents ``[B, D, F]``, T = F · hop. Sound is encoded and decoded in
hop-aligned tiles of bounded size, for every class of autoencoder.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import torch

from rag_audio.audio.channels import heard
from rag_audio.domain import Audio
from rag_audio.domain.ports import DiffusionInput, Painting
from rag_audio.errors import BackendError, InvalidInput

TILE_FRAMES = 512
LOW_MEMORY_TILE_FRAMES = 128
_SHORT_S = 0.02
"""A seed that resampling left this much too short is long enough."""


class Codec:
    """An autoencoder with one interface.

    Tiles overlap by the network's receptive field and are cut at whole frames, so that tiling
    changes nothing but rounding. (The tiling that ``AutoencoderOobleck`` brings cuts at strides
    that are no multiple of its hop, and drifts at each seam.)

    Args:
        model: ``AutoencoderOobleck``, ``AutoencoderSAME`` or ``MelCodec``, in float32.
        tile_frames: frames that are decoded or encoded at once.

    Attributes:
        sample_rate: Hz. channels: of the waves. hop: samples per latent frame.
    """

    def __init__(self, model: Any, tile_frames: int) -> None:
        self.model = model
        self.tile_frames = tile_frames
        self.sample_rate = int(model.config.sampling_rate)
        self.channels = int(model.config.audio_channels)
        # Asked first: a codec whose configuration has a hop_length (of its STFT) shows that, too.
        sized = hasattr(model, "downsampling_ratio")
        self.hop = int(model.downsampling_ratio if sized else model.hop_length)
        self._context = _receptive_frames(model)

    def frames_of(self, samples: int) -> int:
        """Latent frames that hold so many samples."""
        return -(-samples // self.hop)

    def encode(self, wave: torch.Tensor) -> torch.Tensor:
        """Waves whose length is a whole number of hops to latents, float32.

        Variational autoencoders give the mode: the same sound has the same latents every time.
        """
        return _in_tiles(wave, self.hop, self._encode_tile, self.tile_frames, self._context, 1)

    def decode(self, latents: torch.Tensor, samples: int) -> torch.Tensor:
        """The first ``samples`` samples of what the latents hold; later frames are not decoded."""
        # A little beyond the end belongs to the last frame's receptive field.
        latents = latents[..., : self.frames_of(samples) + self._context]
        wave = _in_tiles(latents, 1, self._decode_tile, self.tile_frames, self._context, self.hop)
        return wave[..., :samples]

    def _encode_tile(self, wave: torch.Tensor) -> torch.Tensor:
        encoded = self.model.encode(wave)
        latents = encoded.latents if hasattr(encoded, "latents") else encoded.latent_dist.mode()
        return self._checked(latents, wave.shape[-1] // self.hop).float()

    def _decode_tile(self, latents: torch.Tensor) -> torch.Tensor:
        wave = self.model.decode(latents).sample
        return self._checked(wave, latents.shape[-1] * self.hop).float()

    def _checked(self, result: torch.Tensor, length: int) -> torch.Tensor:
        if result.shape[-1] < length:
            raise BackendError(
                f"the autoencoder gave {result.shape[-1]} frames where {length} were due"
            )
        return result[..., :length]


def seed_wave(audio: Audio, codec: Codec, samples: int) -> torch.Tensor:
    """Seed audio as the autoencoder wants it.

    Args:
        audio: any rate and channel count, at least ``samples / codec.sample_rate`` seconds.
        samples: how long the output will be, at the codec's rate.

    Returns:
        ``[1, C, T]`` float32 on the CPU, T the whole hops that hold ``samples``. What the last hop
        lacks is taken from the beginning: silence there would leak into the result.

    Raises:
        InvalidInput: too short, or not finite.
    """
    import soxr

    if not np.isfinite(audio.samples).all():
        raise InvalidInput("the seed audio holds values that are not finite (NaN or infinity)")
    needed_s = samples / codec.sample_rate
    if audio.duration_s < needed_s - _SHORT_S or audio.frames == 0:
        raise InvalidInput(
            f"the seed audio lasts {audio.duration_s:.2f} s, the output {needed_s:.2f} s",
            hint="loop it to the output's duration first",
        )
    wave = audio.samples
    if audio.channels != codec.channels:
        wave = np.repeat(heard(audio).samples, codec.channels, axis=0)
    if audio.sample_rate != codec.sample_rate:
        wave = soxr.resample(wave.T, audio.sample_rate, codec.sample_rate, quality="VHQ").T
    whole = codec.frames_of(samples) * codec.hop
    wave = wave[:, :whole]
    if wave.shape[1] < whole:
        wave = np.pad(wave, ((0, 0), (0, whole - wave.shape[1])), mode="wrap")
    return torch.from_numpy(np.ascontiguousarray(wave, dtype=np.float32))[None]


def _in_tiles(
    x: torch.Tensor,
    unit: int,
    run: Callable[[torch.Tensor], torch.Tensor],
    tile: int,
    context: int,
    scale: int,
) -> torch.Tensor:
    """Apply ``run`` to overlapping tiles along the last axis and join what lies in each core.

    Args:
        unit: samples of ``x`` per frame. scale: samples of the result per frame.
        tile, context: frames of a core, and on each side of it.
    """
    frames = x.shape[-1] // unit
    if frames <= tile + 2 * context:
        return run(x)
    parts = []
    for start in range(0, frames, tile):
        end = min(start + tile, frames)
        left, right = max(0, start - context), min(frames, end + context)
        part = run(x[..., left * unit : right * unit])
        parts.append(part[..., (start - left) * scale : (end - left) * scale])
    return torch.cat(parts, dim=-1)


def _receptive_frames(model: Any) -> int:
    """Latent frames on each side that a frame's sound can depend on, from the configuration."""
    config: Any = model.config
    name = type(model).__name__
    if name == "AutoencoderSAME":
        # A layer's band mask reaches `sliding_window` segments to each side; outer levels less.
        return int(config.sliding_window * sum(config.encoder_transformer_depths)) + 1
    if name == "MelCodec":
        layers = 3 * (int(config.decoder_depth) + 1)  # kernels of 7 over STFT frames
        window = -(-int(config.n_fft) // int(config.hop_length))
        return math.ceil((layers + window) / int(config.frames_per_latent)) + 1
    # AutoencoderOobleck: kernels of 7 with dilations 1, 3, 9 at every level, nearest first.
    reach, scale = 6.0, 1.0
    for ratio in reversed(list[int](config.downsampling_ratios)):
        reach += 2.0 * scale
        scale /= ratio
        reach += 3 * (1 + 3 + 9) * scale
    return math.ceil(reach) + 1


def content_of(audio: Audio) -> tuple[str, int, tuple[int, ...]]:
    """A key by which two sounds are equal when their samples, rate and shape are."""
    data = np.ascontiguousarray(audio.samples)
    digest = blake2b(data.view(np.uint8).reshape(-1).data, digest_size=20).hexdigest()
    return digest, audio.sample_rate, data.shape


# Noise, drawn per item.


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

_EDGE_S = 1e-6


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
        first = math.floor(start_s / frame_s + _EDGE_S)
        mask[..., first : max(first + 1, math.ceil(end_s / frame_s - _EDGE_S))] = 0.0
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
        if not before - _EDGE_S <= start_s < end_s <= batch.duration_s + _EDGE_S:
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
