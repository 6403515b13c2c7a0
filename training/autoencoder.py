"""The codec: latents by principal components of log-mel frames, then a decoder trained on them."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from rag_audio.models.mel_codec import MelCodec
from training.loop import Run, load_weights
from training.presets import Preset

WHITENING = 0.7  # latents are divided by their deviation to this power, then scaled to unit mean
RESOLUTIONS = (8192, 4096, 2048, 1024, 512, 256)  # the long ones hold pitch in place


def make_codec(preset: Preset) -> MelCodec:
    """An untrained codec of the preset's shape."""
    torch.manual_seed(preset.seed)
    shape = {"sampling_rate": preset.sample_rate, "audio_channels": preset.channels}
    codec: MelCodec = MelCodec(**{**shape, **preset.codec})
    return codec


def as_waves(clips: NDArray[np.int16], device: str) -> Tensor:
    """int16 ``[N, C, T]`` → float32 in [-1, 1] on the device."""
    return torch.from_numpy(np.array(clips)).to(device).float() / 32768.0


@torch.no_grad()
def fit_latents(codec: MelCodec, clips: NDArray[np.int16], device: str) -> float:
    """Set the codec's linear map from the principal components of its frames.

    Partial whitening keeps loud, coarse structure above fine detail, so that denoising settles the
    coarse first, as it does in pictures.

    Returns:
        Share of the variance that the latents keep.
    """
    size = codec.mean.numel()
    total = torch.zeros(size, dtype=torch.float64, device=device)
    outer = torch.zeros(size, size, dtype=torch.float64, device=device)
    count = 0
    for start in range(0, len(clips), 16):
        frames = codec.features(as_waves(clips[start : start + 16], device))
        rows = codec.to_rows(frames).flatten(0, 1).double()
        total += rows.sum(dim=0)
        outer += rows.T @ rows
        count += len(rows)
    mean = total / count
    values, vectors = torch.linalg.eigh(outer / count - mean[:, None] * mean)
    kept = values.flip(0)[: codec.config.latent_dim].clamp_min(1e-6)
    shape = kept.sqrt() ** WHITENING
    variance = kept / shape.square()
    codec.mean.copy_(mean)
    codec.basis.copy_(vectors.T.flip(0)[: codec.config.latent_dim])
    codec.scale.copy_(shape * variance.mean().sqrt())
    return float(kept.sum() / values.clamp_min(0).sum())


def spectral_loss(made: Tensor, real: Tensor) -> Tensor:
    """Multi-resolution STFT loss of waves ``[N, T]``: convergence plus log-magnitude distance.

    Yamamoto, Song & Kim, "Parallel WaveGAN", ICASSP 2020.
    """
    loss = made.new_zeros(())
    for size in RESOLUTIONS:
        window = torch.hann_window(size, device=made.device)
        a, b = (
            torch.view_as_real(torch.stft(x, size, size // 4, window=window, return_complex=True))
            .square()
            .sum(-1)
            .add(1e-9)
            .sqrt()
            for x in (made, real)
        )
        loss = loss + (a - b).norm() / b.norm().clamp_min(1e-4)
        loss = loss + ((a + 1e-4).log() - (b + 1e-4).log()).abs().mean()
    return loss / len(RESOLUTIONS)


class Discriminator(nn.Module):
    """Judges log-magnitude spectrograms at one resolution by small 2-d convolutions."""

    def __init__(self, size: int, width: int = 32) -> None:
        super().__init__()
        self.size = size
        channels = [1, width, width, width, width]
        self.layers = nn.ModuleList(
            nn.utils.parametrizations.weight_norm(
                nn.Conv2d(a, b, (3, 9), stride=(1, 2), padding=(1, 4))
            )
            for a, b in itertools.pairwise(channels)
        )
        self.last = nn.utils.parametrizations.weight_norm(nn.Conv2d(width, 1, 3, padding=1))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Waves ``[N, T]`` → the maps of every layer, the verdicts last."""
        window = torch.hann_window(self.size, device=x.device)
        spectrum = torch.stft(x, self.size, self.size // 4, window=window, return_complex=True)
        y = (spectrum.abs() + 1e-4).log().transpose(1, 2)[:, None]
        maps = []
        for layer in self.layers:
            y = F.leaky_relu(layer(y), 0.1)
            maps.append(y)
        return [*maps, self.last(y)]


class Critics(nn.Module):
    """Discriminators at three resolutions with their own optimiser (hinge losses)."""

    def __init__(self, lr: float) -> None:
        super().__init__()
        self.members = nn.ModuleList(Discriminator(size) for size in (2048, 1024, 512))
        self.optimiser = torch.optim.AdamW(self.members.parameters(), lr=lr, betas=(0.8, 0.99))

    def learn(self, made: Tensor, real: Tensor) -> float:
        """One step of the discriminators on detached waves ``[N, T]``."""
        loss = made.new_zeros(())
        for member in self.members:
            loss = loss + F.relu(1 - member(real)[-1]).mean()
            loss = loss + F.relu(1 + member(made.detach())[-1]).mean()
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self.optimiser.step()
        return float(loss.detach())

    def judge(self, made: Tensor, real: Tensor) -> Tensor:
        """What the decoder pays: adversarial plus feature-matching loss."""
        loss = made.new_zeros(())
        for member in self.members:
            fake = member(made)
            with torch.no_grad():
                true = member(real)
            loss = loss - fake[-1].mean()
            for a, b in zip(fake[:-1], true[:-1], strict=True):
                loss = loss + 2.0 * (a - b).abs().mean()
        return loss / len(self.members)


def train_codec(
    preset: Preset,
    clips: NDArray[np.int16],
    folder: Path,
    linear: dict[str, Tensor],
    *,
    resume: bool,
) -> MelCodec:
    """Train the decoder; returns the averaged codec.

    Args:
        clips: int16 ``[N, C, T]`` at the preset's rate.
        folder: the stage's folder.
        linear: ``mean``, ``basis`` and ``scale`` of the latents.
    """
    device, stage = preset.device, preset.codec_stage
    codec = make_codec(preset)
    codec.load_state_dict(linear, strict=False)
    codec = codec.to(device)
    run = Run(folder, codec, stage, resume=resume, autocast=preset.autocast)
    critics = Critics(5e-4).to(device) if preset.adversarial else None
    rng = np.random.default_rng(preset.seed + run.step)
    crop = preset.crop_latents * codec.downsampling_ratio
    for _ in run:
        real = _crops(clips, stage.batch, crop, rng, device)
        with torch.no_grad():
            frames = codec.features(real)
            seen = codec.to_frames(codec.to_latents(frames))
        with run.precision():
            made = codec.vocode(seen)
        flat_made, flat_real = made.flatten(0, 1), real.flatten(0, 1)
        loss = spectral_loss(flat_made, flat_real)
        mel = (codec.features(made) - frames).abs().mean()
        total = loss + 0.5 * mel
        if critics is not None and run.progress > 0.25:
            critics.learn(flat_made, flat_real)
            total = total + 0.2 * critics.judge(flat_made, flat_real)
        run.update(total, stft=loss, mel=mel)
    return run.best  # type: ignore[return-value]


def load_codec(preset: Preset, folder: Path) -> MelCodec:
    """The trained codec of a stage's folder."""
    return load_weights(folder, make_codec(preset))  # type: ignore[return-value]


def _crops(
    clips: NDArray[np.int16], batch: int, length: int, rng: np.random.Generator, device: str
) -> Tensor:
    rows = rng.integers(0, len(clips), batch)
    starts = rng.integers(0, max(1, clips.shape[2] - length), batch)
    picked = np.stack(
        [clips[row, :, start : start + length] for row, start in zip(rows, starts, strict=True)]
    )
    waves = as_waves(picked, device)
    level = torch.from_numpy(rng.uniform(0.3, 1.0, (batch, 1, 1)).astype(np.float32)).to(device)
    return waves * level


@torch.no_grad()
def encode_all(codec: MelCodec, clips: NDArray[np.int16], device: str, chunk: int = 32) -> Tensor:
    """Latents of all clips, float16 ``[N, D, L]``, on the device."""
    codec = codec.to(device)
    parts = [
        codec.encode(as_waves(clips[i : i + chunk], device)).latents.half()
        for i in range(0, len(clips), chunk)
    ]
    return torch.cat(parts)
