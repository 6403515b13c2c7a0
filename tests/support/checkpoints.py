"""Tiny checkpoints of every kind that the generators read."""

import json
import shutil
import tempfile
from functools import cache
from pathlib import Path

from rag_audio.domain.ports import Generator
from rag_audio.models.stable_audio import load_generator
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

    from rag_audio.models.mel_codec import MelCodec

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
    index["vae"] = ["rag_audio.models.mel_codec", "MelCodec"]
    (root / "model_index.json").write_text(json.dumps(index))


@cache
def loaded(kind: str) -> Generator:
    """A generator on :func:`build`, one in this process."""
    with tempfile.TemporaryDirectory() as folder:
        return load_generator(build(kind, Path(folder) / kind))
