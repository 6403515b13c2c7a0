"""Sound to CLAP's log-mel features: fixed windows, then one batched transform in torch.

Shared by the CLAP backends. The maths is that of ``transformers.ClapFeatureExtractor`` (and of
LAION's torchlibrosa layers): a centred Hann STFT with reflected edges, power, mel bands, decibels
with a floor at -100 dB. What is left out is all that is random there: crops and fusion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rag_audio.domain import Audio
from rag_audio.errors import InvalidInput
from rag_audio.hearing import heard
from rag_audio.shaping import resample

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

POWER_FLOOR = 1e-10
"""Mel power below this counts as silence: -100 dB, as in librosa and in CLAP's training."""


@dataclass(frozen=True)
class MelSettings:
    """How a checkpoint wants to hear.

    Attributes:
        sample_rate: Hz. window_s: seconds. fft, hop: samples. bands: mel bands.
        low_hz, high_hz: edges of the lowest and highest band.
        slaney: Slaney's mel scale with area-normalised bands; False: HTK's, unnormalised.
        repeat: short clips are repeated as often as they fit whole before zeros follow.
    """

    sample_rate: int = 48_000
    window_s: float = 10.0
    fft: int = 1024
    hop: int = 480
    bands: int = 64
    low_hz: float = 50.0
    high_hz: float = 14_000.0
    slaney: bool = True
    repeat: bool = True

    @classmethod
    def of_extractor(cls, extractor: Any) -> MelSettings:
        """Read them from a ``ClapFeatureExtractor``.

        Its filter bank depends on its ``truncation``: HTK's for fusion, Slaney's otherwise. Its
        ``padding`` is ``repeatpad`` or ``pad``; ``repeat``, which no published checkpoint uses,
        is read as ``repeatpad``.
        """
        return cls(
            sample_rate=int(extractor.sampling_rate),
            window_s=float(extractor.max_length_s),
            fft=int(extractor.fft_window_size),
            hop=int(extractor.hop_length),
            bands=int(extractor.feature_size),
            low_hz=float(extractor.frequency_min),
            high_hz=float(extractor.frequency_max),
            slaney=extractor.truncation != "fusion",
            repeat=extractor.padding != "pad",
        )

    @property
    def window_frames(self) -> int:
        """Samples of one window."""
        return round(self.window_s * self.sample_rate)

    def facts(self) -> dict[str, Any]:
        """Plain values, for the space's id."""
        return asdict(self)


def fixed_window(clip: Audio, settings: MelSettings, position: int = 0) -> NDArray[np.float32]:
    """The first window of a clip, always the same for the same clip.

    One channel (:func:`rag_audio.hearing.heard`), at the model's rate, cut to the window; a
    shorter clip is repeated as often as it fits whole, then zeros follow (``repeatpad``).

    Args:
        clip: any rate and channel count.
        position: of the clip in its list, for the error.

    Returns:
        ``[window_frames]``.

    Raises:
        InvalidInput: the clip is empty or has samples that are not finite.
    """
    if clip.frames == 0:
        raise InvalidInput(f"clip {position} has no samples")
    # Cutting before resampling saves work; one more second keeps the filter's edge outside.
    longest = int((settings.window_s + 1.0) * clip.sample_rate)
    head = Audio(np.ascontiguousarray(clip.samples[:, :longest]), clip.sample_rate)
    if not np.isfinite(head.samples).all():
        raise InvalidInput(f"clip {position} has samples that are not finite (NaN or infinite)")
    sound = resample(heard(head), settings.sample_rate).samples[0]
    size = settings.window_frames
    if sound.size >= size:
        return np.ascontiguousarray(sound[:size], dtype=np.float32)
    window = np.zeros(size, dtype=np.float32)
    if sound.size == 0:  # a sample or two at a high rate: nothing remains of them at a lower one
        return window
    times = size // sound.size if settings.repeat else 1
    window[: times * sound.size] = np.tile(sound, times)
    return window


def fixed_windows(clips: Sequence[Audio], settings: MelSettings) -> NDArray[np.float32]:
    """``[N, window_frames]``, one row per clip; see :func:`fixed_window`."""
    windows = np.empty((len(clips), settings.window_frames), dtype=np.float32)
    for row, clip in enumerate(clips):
        windows[row] = fixed_window(clip, settings, row)
    return windows


class LogMel:
    """Windows to log-mel features on one device.

    Args:
        settings: what the checkpoint wants.
        device: torch device that the features are made on.
    """

    def __init__(self, settings: MelSettings, device: str | torch.device = "cpu") -> None:
        import torch
        from transformers.audio_utils import mel_filter_bank

        self.settings = settings
        self._device = torch.device(device)
        filters = mel_filter_bank(
            num_frequency_bins=settings.fft // 2 + 1,
            num_mel_filters=settings.bands,
            min_frequency=settings.low_hz,
            max_frequency=settings.high_hz,
            sampling_rate=settings.sample_rate,
            norm="slaney" if settings.slaney else None,
            mel_scale="slaney" if settings.slaney else "htk",
        )
        # Bins above the highest band are never asked for: at 48 kHz that is two bins in five.
        self._bins = int(np.flatnonzero(filters.sum(axis=1)).max()) + 1
        # Each filter weight stands twice, for the square of a bin's real and imaginary part.
        weights = np.repeat(filters[: self._bins], 2, axis=0).astype(np.float32)
        self._filters = torch.from_numpy(weights).to(self._device)
        hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(settings.fft) / settings.fft)
        self._hann = torch.from_numpy(hann.astype(np.float32)).to(self._device)

    def __call__(self, windows: NDArray[np.float32]) -> torch.Tensor:
        """``[N, T]`` samples to ``[N, 1, frames, bands]`` decibels, on the device.

        On a CPU each window is transformed by itself: it stays in the cache, which is faster than a
        batch, and its features do not depend on its neighbours by a single bit.
        """
        import torch

        waves = torch.from_numpy(windows).to(self._device)
        step = 1 if self._device.type == "cpu" else max(1, len(waves))
        with torch.inference_mode():
            parts = [self._transform(waves[i : i + step]) for i in range(0, len(waves), step)]
            return torch.cat(parts)[:, None]

    def _transform(self, waves: torch.Tensor) -> torch.Tensor:
        import torch

        spectrum = torch.stft(
            waves,
            self.settings.fft,
            self.settings.hop,
            window=self._hann,
            center=True,
            pad_mode="reflect",
            return_complex=True,
        ).transpose(1, 2)
        parts = torch.view_as_real(spectrum).flatten(2)[..., : 2 * self._bins]
        mel = torch.matmul(parts.square(), self._filters).clamp_min_(POWER_FLOOR)
        return mel.log10_().mul_(10.0)
