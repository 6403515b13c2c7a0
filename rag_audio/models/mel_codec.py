"""The embedded autoencoder: log-mel frames to latents by a linear map, waves by an inverse STFT.

Small autoencoders of waves need a GPU for hours. This one converges in minutes of one core because
only its decoder is learned: the encoder is a log-mel spectrogram whose frames, a few at a time, go
through a principal component analysis; the decoder undoes it and a ConvNeXt stack predicts
magnitude corrections and phases for an inverse STFT, as in Vocos (Siuzdak, "Vocos: Closing the gap
between time-domain and Fourier-based neural vocoders", ICLR 2024). Mel bands are too wide to tell
a low note from the next, so each latent also holds one spectrum in quarter tones over a long
window. To the pipelines it looks like ``AutoencoderSAME``: ``encode(x).latents``,
``decode(z).sample``, ``downsampling_ratio`` and ``config.sampling_rate``/``audio_channels``/
``latent_dim``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils import BaseOutput
from diffusers.utils.accelerate_utils import apply_forward_hook
from torch import Tensor, nn

LOG_FLOOR = 1e-5  # mel magnitudes below this are silence: ln 1e-5 ≈ -11.5
MAX_LOG_GAIN = 6.0  # bound on the learned correction of a magnitude, in nepers
LOWEST_PITCH_HZ = 41.2  # E1; pitch bands are quarter tones upwards from here
PITCHES_PER_OCTAVE = 24


@dataclass
class MelCodecOutput(BaseOutput):  # type: ignore[misc]
    """Output of :meth:`MelCodec.encode`: ``latents`` ``[B, D, L]``."""

    latents: Tensor


class _Tables(NamedTuple):
    """Hann window ``[n_fft]``; mel filters and their spread back to bins ``[n_mels, bins]``; long
    window ``[pitch_fft]`` and pitch filters ``[n_pitches, pitch bins]``."""

    window: Tensor
    filters: Tensor
    spread: Tensor
    long_window: Tensor
    pitches: Tensor


def triangles(edges: Tensor, sample_rate: int, n_fft: int) -> Tensor:
    """Triangular filters of unit peak, ``[N, n_fft // 2 + 1]``, from N + 2 edges in Hz.

    A band narrower than a bin takes the nearest bin, so that no band is empty.
    """
    bins = torch.arange(n_fft // 2 + 1, dtype=torch.float64) * sample_rate / n_fft
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (bins - low) / (centre - low), (high - bins) / (high - centre)
    filters = torch.minimum(rising, falling).clamp_min(0.0)
    nearest = (centre - bins).abs().argmin(dim=1)
    rows = torch.arange(len(filters))
    filters[rows, nearest] = torch.maximum(filters[rows, nearest], torch.tensor(0.5).double())
    return filters.float()


def mel_filters(sample_rate: int, n_fft: int, n_mels: int) -> Tensor:
    """Filters on the HTK mel scale up to half the rate, ``[n_mels, n_fft // 2 + 1]``."""
    top = 2595.0 * math.log10(1.0 + sample_rate / 2 / 700.0)
    mels = torch.linspace(0.0, top, n_mels + 2, dtype=torch.float64)
    return triangles(700.0 * (10.0 ** (mels / 2595.0) - 1.0), sample_rate, n_fft)


def pitch_filters(sample_rate: int, n_fft: int, n_pitches: int) -> Tensor:
    """Filters a quarter tone apart from :data:`LOWEST_PITCH_HZ`, ``[n_pitches, bins]``."""
    steps = torch.arange(-1, n_pitches + 1, dtype=torch.float64) / PITCHES_PER_OCTAVE
    return triangles(LOWEST_PITCH_HZ * 2.0**steps, sample_rate, n_fft)


@lru_cache(maxsize=8)
def _tables(
    sample_rate: int, n_fft: int, n_mels: int, pitch_fft: int, n_pitches: int, device: torch.device
) -> _Tables:
    """Kept outside the module: they follow from the configuration and must stay float32."""
    filters = mel_filters(sample_rate, n_fft, n_mels)
    # Each bin takes the weighted mean of its bands' mean magnitudes: a smooth pseudo-inverse.
    spread = filters / filters.sum(dim=0, keepdim=True).clamp_min(1e-3)
    spread = spread / filters.sum(dim=1, keepdim=True)
    pitches = pitch_filters(sample_rate, pitch_fft, n_pitches)
    made = (torch.hann_window(n_fft), filters, spread, torch.hann_window(pitch_fft), pitches)
    return _Tables(*(table.to(device) for table in made))


def _log_bands(x: Tensor, hop: int, window: Tensor, filters: Tensor) -> Tensor:
    """Waves ``[B, C, T]``, hop dividing T → log band magnitudes ``[B, T // hop, C · bands]``."""
    batch, channels, length = x.shape
    size = len(window)
    left = (size - hop) // 2
    flat = F.pad(x.reshape(batch * channels, length), (left, size - hop - left))
    spectrum = torch.stft(flat, size, hop, window=window, center=False, return_complex=True)
    bands = (filters @ spectrum.abs()).clamp_min(LOG_FLOOR).log()
    return torch.unflatten(bands, 0, (batch, channels)).permute(0, 3, 1, 2).flatten(2)


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution over time, then a pointwise MLP, with a residual.

    After Liu et al., "A ConvNet for the 2020s", CVPR 2022, in one dimension.
    """

    def __init__(self, dim: int, mult: int, layer_scale: float) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(dim, dim, 7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim)
        self.up = nn.Linear(dim, dim * mult)
        self.down = nn.Linear(dim * mult, dim)
        self.gamma = nn.Parameter(torch.full((dim,), layer_scale))

    def forward(self, x: Tensor) -> Tensor:
        """``[B, F, D]`` → ``[B, F, D]``"""
        y = self.depthwise(x.transpose(1, 2)).transpose(1, 2)
        y = self.down(F.gelu(self.up(self.norm(y))))
        made: Tensor = x + self.gamma * y
        return made


class MelCodec(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Autoencoder of the embedded model; see the module's text.

    With two channels, features and waves are mid and side inside.

    Args:
        sampling_rate: Hz.
        audio_channels: 1 or 2.
        n_fft, hop_length: STFT window and hop in samples; the hop divides the window.
        n_mels: bands per channel.
        pitch_fft: long window in samples. n_pitches: its quarter-tone bands per channel; 0: none.
        frames_per_latent: STFT frames that one latent vector holds.
        latent_dim: D.
        decoder_dim, decoder_depth, decoder_mult: the ConvNeXt stack.
    """

    _supports_gradient_checkpointing = False

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        sampling_rate: int = 16000,
        audio_channels: int = 1,
        n_fft: int = 1024,
        hop_length: int = 256,
        n_mels: int = 80,
        pitch_fft: int = 8192,
        n_pitches: int = 0,
        frames_per_latent: int = 4,
        latent_dim: int = 64,
        decoder_dim: int = 256,
        decoder_depth: int = 6,
        decoder_mult: int = 3,
    ) -> None:
        super().__init__()
        self.downsampling_ratio = hop_length * frames_per_latent
        bins, features = n_fft // 2 + 1, (n_mels + n_pitches) * audio_channels
        group = (n_mels * frames_per_latent + n_pitches) * audio_channels
        self.register_buffer("mean", torch.zeros(group))
        self.register_buffer("basis", torch.eye(latent_dim, group))
        self.register_buffer("scale", torch.ones(latent_dim))
        self.embed = nn.Conv1d(features, decoder_dim, 7, padding=3)
        self.embed_norm = nn.LayerNorm(decoder_dim)
        self.blocks = nn.ModuleList(
            ConvNeXtBlock(decoder_dim, decoder_mult, 1.0 / decoder_depth)
            for _ in range(decoder_depth)
        )
        self.head_norm = nn.LayerNorm(decoder_dim)
        self.magnitude = nn.Linear(decoder_dim, bins * audio_channels)
        self.phase = nn.Linear(decoder_dim, 2 * bins * audio_channels)
        nn.init.zeros_(self.magnitude.weight)
        nn.init.zeros_(self.magnitude.bias)

    def features(self, sample: Tensor) -> Tensor:
        """Log-magnitude frames of waves ``[B, C, T]``: ``[B, F, C · (n_mels + n_pitches)]``.

        T is padded to whole latents. Mel bands of both channels come first; the pitch bands are
        one spectrum per latent, repeated in each of its frames.
        """
        config, tables = self.config, self._tables(sample.device)
        x = sample.float()
        x = F.pad(x, (0, -x.shape[-1] % self.downsampling_ratio))
        if x.shape[1] == 2:
            x = torch.stack([x[:, 0] + x[:, 1], x[:, 0] - x[:, 1]], dim=1) / 2
        mel = _log_bands(x, config.hop_length, tables.window, tables.filters)
        if not config.n_pitches:
            return mel
        pitch = _log_bands(x, self.downsampling_ratio, tables.long_window, tables.pitches)
        # Magnitudes of a steady tone grow with the window: both kinds of bands on one scale.
        pitch = pitch - math.log(config.pitch_fft / config.n_fft)
        return torch.cat([mel, pitch.repeat_interleave(config.frames_per_latent, 1)], dim=2)

    def to_rows(self, frames: Tensor) -> Tensor:
        """Frames of :meth:`features` → what a latent stands for, ``[B, L, group]``."""
        mels = self.config.n_mels * self.config.audio_channels
        groups = torch.unflatten(frames, 1, (-1, self.config.frames_per_latent))
        # A pitch band stands for all frames of its latent, and weighs as much in the components.
        pitch = groups[:, :, 0, mels:] * self.config.frames_per_latent**0.5
        return torch.cat([groups[..., :mels].flatten(2), pitch], dim=2)

    def to_latents(self, frames: Tensor) -> Tensor:
        """Frames of :meth:`features` → latents ``[B, D, L]``, F = L · group."""
        rows = self.to_rows(frames) - self._float("mean")
        return (rows @ self._float("basis").T / self._float("scale")).transpose(1, 2)

    def to_frames(self, latents: Tensor) -> Tensor:
        """The inverse of :meth:`to_latents` up to what the map discards."""
        config = self.config
        size = config.n_mels * config.audio_channels * config.frames_per_latent
        rows = (latents.float().transpose(1, 2) * self._float("scale")) @ self._float("basis")
        rows = rows + self._float("mean")
        mel = torch.unflatten(rows[..., :size], 2, (config.frames_per_latent, -1)).flatten(1, 2)
        pitch = rows[..., size:] / config.frames_per_latent**0.5
        frames = torch.cat([mel, pitch.repeat_interleave(config.frames_per_latent, 1)], dim=2)
        return frames.clamp(math.log(LOG_FLOOR) - 2.0, 8.0)

    def vocode(self, frames: Tensor) -> Tensor:
        """Frames of :meth:`features` → waves ``[B, C, F · hop_length]``."""
        config = self.config
        channels, bins = config.audio_channels, config.n_fft // 2 + 1
        dtype = self.embed.weight.dtype
        # Centred and scaled so that the first layer sees values of order one.
        x = ((frames + 4.0) / 4.0).to(dtype)
        x = self.embed_norm(self.embed(x.transpose(1, 2)).transpose(1, 2))
        for block in self.blocks:
            x = block(x)
        x = self.head_norm(x)
        gain = torch.unflatten(self.magnitude(x).float(), 2, (channels, bins))
        real, imag = torch.unflatten(self.phase(x).float(), 2, (channels, 2, bins)).unbind(3)
        norm = torch.rsqrt(real.square() + imag.square() + 1e-8)
        mel = frames[..., : channels * config.n_mels].float()
        mel = torch.unflatten(mel.clamp_min(math.log(LOG_FLOOR)), 2, (channels, -1)).exp()
        size = (mel @ self._tables(frames.device).spread).clamp_min(1e-7)
        size = size * gain.clamp(-MAX_LOG_GAIN, MAX_LOG_GAIN).exp()
        spectrum = torch.complex(size * real * norm, size * imag * norm)
        flat = self._inverse(spectrum.transpose(1, 2).flatten(0, 1))
        wave = torch.unflatten(flat, 0, (-1, channels))
        if channels == 2:
            wave = torch.stack([wave[:, 0] + wave[:, 1], wave[:, 0] - wave[:, 1]], dim=1)
        return wave

    def _inverse(self, spectrum: Tensor) -> Tensor:
        """Overlap-add of windowed inverse FFTs, ``[N, F, bins]`` → ``[N, F · hop]``."""
        n_fft, hop = self.config.n_fft, self.config.hop_length
        window = self._tables(spectrum.device).window
        parts = torch.fft.irfft(spectrum, n_fft, dim=-1) * window
        frames = parts.shape[1]
        length = (frames - 1) * hop + n_fft

        def overlap(x: Tensor) -> Tensor:
            return F.fold(x.transpose(1, 2), (1, length), (1, n_fft), stride=(1, hop))[:, 0, 0]

        weight = overlap(window.square().expand(1, frames, n_fft))
        edge = (n_fft - hop) // 2
        keep = slice(edge, edge + frames * hop)
        return overlap(parts)[:, keep] / weight[:, keep].clamp_min(1e-6)

    def _tables(self, device: torch.device) -> _Tables:
        config = self.config
        return _tables(
            config.sampling_rate, config.n_fft, config.n_mels, config.pitch_fft,
            config.n_pitches, device,
        )  # fmt: skip

    def _float(self, name: str) -> Tensor:
        return cast(Tensor, getattr(self, name)).float()

    @apply_forward_hook  # type: ignore[untyped-decorator]
    def encode(self, sample: Tensor) -> MelCodecOutput:
        """Waves ``[B, C, T]`` in [-1, 1] → latents ``[B, D, ceil(T / downsampling_ratio)]``."""
        return MelCodecOutput(latents=self.to_latents(self.features(sample)).to(self.dtype))

    @apply_forward_hook  # type: ignore[untyped-decorator]
    def decode(self, latents: Tensor) -> DecoderOutput:
        """Latents ``[B, D, L]`` → ``sample``: waves ``[B, C, L · downsampling_ratio]``, float32."""
        return DecoderOutput(sample=self.vocode(self.to_frames(latents)))
