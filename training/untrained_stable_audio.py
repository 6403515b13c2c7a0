"""Tiny checkpoints of both Stable Audio families with random weights, built without a network.

They have the real classes of diffusers and transformers, the real file layout and about a
thousandth of the real size. Tests run on them, and the embedded default model starts as one of
them. They make noise, not music, and say so: ``"untrained": true`` in ``rag_audio.json``.

Run ``python -m training.untrained_stable_audio OUT`` to write the embedded default.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

_MUSIC = """
a an the and with of in for at on over under slow fast warm bright dark deep soft hard dry wet
acoustic electric analog digital vintage modern lofi clean distorted muted open tight loose
drums drum kick snare hihat cymbal ride crash tom clap shaker conga percussion break groove beat
bass sub upright slap guitar strings violin cello viola harp piano rhodes organ clavinet keys
synth pad lead pluck arp chord chords stab brass trumpet trombone saxophone flute clarinet oboe
choir voice vocal bell marimba vibraphone kalimba sitar banjo mandolin accordion harmonica
house techno trance ambient jazz funk soul disco hip hop trap boom bap rock metal punk blues folk
country reggae dub ska latin salsa bossa nova samba afrobeat classical baroque orchestral film
cinematic game chiptune drone noise experimental minimal progressive melodic rhythmic
major minor key sharp flat dorian phrygian lydian mixolydian pentatonic scale melody harmony riff
loop phrase verse chorus bridge intro outro fill build drop bpm tempo swing shuffle straight
happy sad calm tense dreamy energetic relaxed aggressive gentle heavy light hypnotic nostalgic
C D E F G A B 60 70 80 84 88 90 92 96 100 104 108 110 112 116 118 120 122 124 126 128 130 132 140
"""
_WORDS = _MUSIC.split()


@dataclass(frozen=True)
class Size:
    """How large the parts are.

    Attributes:
        sample_rate: Hz. latent_dim: channels of the latents. width: hidden size everywhere.
        vocabulary: tokens. window: tokens of a prompt. max_duration_s: Stable Audio 3 only.
        patch, strides: autoencoder downsampling of Stable Audio 3, ``patch × ∏ strides``.
        frames, ratios: latent window and autoencoder downsampling of Stable Audio Open.
    """

    sample_rate: int = 16_000
    latent_dim: int = 8
    width: int = 32
    depth: int = 2
    vocabulary: int = 700
    window: int = 48
    max_duration_s: float = 4.0
    patch: int = 64
    strides: tuple[int, ...] = (4,)
    frames: int = 64
    ratios: tuple[int, ...] = (4, 8, 16)


TINY = Size()
"""For tests: a second of sound takes a few hundredths of a second."""

EMBEDDED = Size(
    sample_rate=44_100,
    latent_dim=32,
    width=80,
    depth=4,
    vocabulary=2_000,
    window=256,
    max_duration_s=30.0,
    patch=256,
    strides=(8,),
)
"""The default model in the package, until a trained one takes its place."""


def build_sa3(
    out: Path,
    seed: int = 0,
    *,
    size: Size = TINY,
    distilled: bool = True,
    name: str = "stable-audio-3-untrained",
) -> Path:
    """Write a Stable Audio 3 checkpoint with random weights.

    Args:
        out: folder to make; what it held before is removed.
        distilled: stochastic sampling in 8 steps, else Euler in 100.

    Returns:
        ``out``.
    """
    import diffusers
    from diffusers import AutoencoderSAME, StableAudio3DiTModel, StableAudio3Pipeline
    from diffusers.pipelines.stable_audio_3 import StableAudio3DurationEmbedder
    from transformers import T5GemmaConfig, T5GemmaEncoderModel, T5GemmaModuleConfig

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tokenizer = _gemma_tokenizer(size)
        module = T5GemmaModuleConfig(
            vocab_size=len(tokenizer),
            hidden_size=size.width,
            intermediate_size=2 * size.width,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            head_dim=size.width // 2,
            query_pre_attn_scalar=size.width // 2,
            max_position_embeddings=512,
        )
        text_encoder = T5GemmaEncoderModel(
            T5GemmaConfig(
                encoder=module, decoder=module, is_encoder_decoder=False, vocab_size=len(tokenizer)
            )
        )
        vae = AutoencoderSAME(
            audio_channels=2,
            patch_size=size.patch,
            encoder_channels=size.width,
            encoder_c_mults=[1] * len(size.strides),
            encoder_strides=list(size.strides),
            encoder_transformer_depths=[2] * len(size.strides),
            latent_dim=size.latent_dim,
            use_differential_attention=False,
            dim_heads=size.width // 2,
            sampling_rate=size.sample_rate,
        )
        _open_zeroed_branches(vae)
        _calibrate(
            size, lambda x: vae.encode(x).latents, lambda z: vae.decode(z).sample, _same_scales(vae)
        )
        transformer = StableAudio3DiTModel(
            io_channels=size.latent_dim,
            embed_dim=size.width,
            depth=size.depth,
            num_heads=2,
            cond_token_dim=size.width,
            global_cond_dim=size.width,
            local_add_cond_dim=size.latent_dim + 1,
            timestep_features_dim=32,
            num_memory_tokens=4,
        )
        with torch.no_grad():
            transformer.proj_out.weight.mul_(3.0)  # velocities of order one, as of trained ones
        pipeline = StableAudio3Pipeline(
            vae=vae,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            duration_embedder=StableAudio3DurationEmbedder(
                output_dim=size.width, fourier_dim=32, max_val=size.max_duration_s
            ),
            transformer=transformer,
            scheduler=diffusers.FlowMatchEulerDiscreteScheduler(
                num_train_timesteps=1, stochastic_sampling=distilled
            ),
        )
    return _save(pipeline, out, name)


def build_sao(out: Path, seed: int = 0, *, size: Size = TINY) -> Path:
    """Write a Stable Audio Open checkpoint with random weights.

    Args:
        out: folder to make; what it held before is removed.

    Returns:
        ``out``.
    """
    from diffusers import (
        AutoencoderOobleck,
        CosineDPMSolverMultistepScheduler,
        StableAudioDiTModel,
        StableAudioPipeline,
    )
    from diffusers.pipelines.stable_audio import StableAudioProjectionModel
    from transformers import T5Config, T5EncoderModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tokenizer = _t5_tokenizer(size)
        text_encoder = T5EncoderModel(
            T5Config(
                vocab_size=len(tokenizer),
                d_model=size.width,
                d_kv=size.width // 2,
                d_ff=2 * size.width,
                num_layers=2,
                num_heads=2,
            )
        )
        vae = AutoencoderOobleck(
            encoder_hidden_size=2 * size.latent_dim,
            downsampling_ratios=list(size.ratios),
            channel_multiples=[1, 2, 2],
            decoder_channels=8,
            decoder_input_channels=size.latent_dim,
            audio_channels=2,
            sampling_rate=size.sample_rate,
        )
        for name, weight in vae.named_parameters():
            if name.endswith("bias"):
                torch.nn.init.zeros_(weight)  # random ones would drown the sound
        _calibrate(
            size,
            lambda x: vae.encode(x).latent_dist.mode(),
            lambda z: vae.decode(z).sample,
            (vae.encoder.conv2.weight_g, vae.decoder.conv2.weight_g),
        )
        pipeline = StableAudioPipeline(
            vae=vae,
            text_encoder=text_encoder,
            projection_model=StableAudioProjectionModel(
                text_encoder_dim=size.width, conditioning_dim=size.width, min_value=0, max_value=512
            ),
            tokenizer=tokenizer,
            transformer=StableAudioDiTModel(
                sample_size=size.frames,
                in_channels=size.latent_dim,
                num_layers=size.depth,
                attention_head_dim=16,
                num_attention_heads=size.width // 16,
                num_key_value_attention_heads=size.width // 32,
                out_channels=size.latent_dim,
                cross_attention_dim=size.width,
                time_proj_dim=32,
                global_states_input_dim=2 * size.width,
                cross_attention_input_dim=size.width,
            ),
            scheduler=CosineDPMSolverMultistepScheduler(),
        )
    return _save(pipeline, out, "stable-audio-open-untrained")


def _gemma_tokenizer(size: Size) -> Any:
    """Byte-pair encoding over the word list, with byte fallback, so that any text has tokens."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers import GemmaTokenizerFast

    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    special += [f"<0x{byte:02X}>" for byte in range(256)]
    model = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))  # noqa: S106
    model.normalizer = normalizers.Replace(" ", "▁")
    model.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_previous")
    model.train_from_iterator(
        _corpus(),
        trainers.BpeTrainer(
            vocab_size=size.vocabulary, special_tokens=special, show_progress=False
        ),
    )
    trained = json.loads(model.to_str())["model"]
    return GemmaTokenizerFast(
        vocab=trained["vocab"],
        merges=[tuple(pair) for pair in trained["merges"]],
        model_max_length=size.window,
    )


def _t5_tokenizer(size: Size) -> Any:
    """A unigram model over the word list."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import T5TokenizerFast

    model = Tokenizer(models.Unigram())
    model.pre_tokenizer = pre_tokenizers.Metaspace()
    model.train_from_iterator(
        _corpus(),
        trainers.UnigramTrainer(
            vocab_size=size.vocabulary,
            special_tokens=["<pad>", "</s>", "<unk>"],
            show_progress=False,
            unk_token="<unk>",  # noqa: S106
            initial_alphabet=[chr(code) for code in range(33, 127)],
        ),
    )
    trained = json.loads(model.to_str())["model"]["vocab"]
    return T5TokenizerFast(
        vocab=[(token, score) for token, score in trained],
        extra_ids=0,
        model_max_length=size.window,
    )


def _corpus() -> list[str]:
    """Word pairs in a fixed order: enough for merges at word boundaries, same each time."""
    return [f"{a} {b}" for a, b in zip(_WORDS, reversed(_WORDS), strict=True)] + _WORDS


def _open_zeroed_branches(vae: Any) -> None:
    """Give random weights to what the class starts at zero, else no audio reaches the latents."""
    for name, weight in vae.named_parameters():
        if name.endswith(("attn.to_out.weight", "ff.proj_out.weight")):
            torch.nn.init.normal_(weight, std=weight.shape[1] ** -0.5)


def _same_scales(vae: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """What scales the latents, and what scales the sound, of an ``AutoencoderSAME``."""
    return vae.bottleneck.scale, vae.decoder.blocks[-1].mapping.weight_g


@torch.no_grad()
def _calibrate(
    size: Size,
    encode: Callable[[torch.Tensor], torch.Tensor],
    decode: Callable[[torch.Tensor], torch.Tensor],
    scales: tuple[torch.Tensor, torch.Tensor],
) -> None:
    """Scale the weights so that latents have unit RMS and sound an RMS of 0.1, as trained ones do.

    Args:
        encode, decode: ``[B, C, T]`` to ``[B, D, F]`` and back.
        scales: the parameters to multiply, of the encoder and of the decoder.
    """
    noise = torch.randn(1, 2, 2 * size.sample_rate)
    sound = 0.2 * torch.nn.functional.avg_pool1d(noise, 9, stride=1, padding=4) * 3.0
    scales[0].div_(encode(sound).square().mean().sqrt())
    latents = encode(sound)
    scales[1].mul_(0.1 / decode(torch.randn_like(latents)).square().mean().sqrt())


def _save(pipeline: Any, out: Path, name: str) -> Path:
    """Write float16 safetensors, the settings and the model card."""
    shutil.rmtree(out, ignore_errors=True)
    weights = 0
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            for weight in part.parameters():  # buffers hold frequencies, which want float32
                weight.data = weight.data.half()
                weights += weight.numel()
    pipeline.save_pretrained(out, safe_serialization=True)
    for path in out.rglob("*.safetensors"):
        path.chmod(0o644)  # they are written for the owner only, and these travel in a package
    settings = {"name": name, "untrained": True, "license": "CC0-1.0"}
    (out / "rag_audio.json").write_text(json.dumps(settings, indent=2) + "\n")
    (out / "README.md").write_text(_CARD.format(name=name, weights=weights))
    return out


_CARD = """---
license: cc0-1.0
untrained: true
pipeline_tag: text-to-audio
---
# {name}

A text-to-audio latent-diffusion checkpoint with **random weights** ({weights:,} of them, float16).
It has the classes and the file layout of its family, so everything around it can be run and
tested, but it has learnt nothing: its output is noise. `rag_audio.json` says `"untrained": true`,
and every command that uses it warns.

No data went into it. The tokenizer was made from a list of musical words in
`training/untrained_stable_audio.py`, which also builds the checkpoint:

    python -m training.untrained_stable_audio data/models/stable-audio-mini
"""


def main(arguments: list[str]) -> None:
    """Write the embedded default model to the folder that is named."""
    out = Path(arguments[0])
    build_sa3(out, size=EMBEDDED, name="stable-audio-mini")
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    sys.stdout.write(f"{out}: {size / 1e6:.2f} MB\n")


if __name__ == "__main__":
    main(sys.argv[1:])
