"""Tiny checkpoints of every kind that the generators read."""

import json
import shutil
from pathlib import Path

import numpy as np

from rag_audio.domain import Audio
from training.untrained_stable_audio import build_sa3, build_sao

FAMILIES = ("stable-audio", "stable-audio-3", "stable-audio-3-base", "stable-audio-3-mel")


def build(kind: str, out: Path) -> Path:
    """A checkpoint of random weights of one of :data:`FAMILIES`."""
    if kind == "stable-audio":
        return build_sao(out)
    build_sa3(out, distilled=kind != "stable-audio-3-base")
    if kind == "stable-audio-3-mel":
        _put_mel_codec(out)
    return out


def _put_mel_codec(root: Path) -> None:
    import torch

    from rag_audio.backends.mel_codec import MelCodec

    torch.manual_seed(0)
    codec = MelCodec(
        sampling_rate=16_000,
        audio_channels=1,
        n_fft=256,
        hop_length=64,
        n_mels=16,
        frames_per_latent=4,
        latent_dim=8,
        decoder_dim=16,
        decoder_depth=2,
    )
    shutil.rmtree(root / "vae")
    codec.save_pretrained(root / "vae")
    index = json.loads((root / "model_index.json").read_text())
    index["vae"] = ["rag_audio.backends.mel_codec", "MelCodec"]
    (root / "model_index.json").write_text(json.dumps(index))


def tune(duration_s: float, sample_rate: int = 16_000, channels: int = 2, seed: int = 0) -> Audio:
    """Decaying notes of random pitch: something with a beginning, a middle and an end."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(duration_s * sample_rate)) / sample_rate
    wave = np.zeros_like(t)
    for start in np.arange(0, duration_s, 0.25):
        pitch = 110 * 2 ** (rng.integers(0, 36) / 12)
        age = np.maximum(t - start, 0)
        wave += (t >= start) * np.exp(-age * 12) * np.sin(2 * np.pi * pitch * age)
    samples = np.stack([wave * gain for gain in np.linspace(0.5, 0.3, channels)])
    return Audio(samples.astype(np.float32), sample_rate)
