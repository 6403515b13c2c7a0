"""How large, how long, on what: the numbers of the recipe, one frozen preset per kind of machine.

``tiny`` proves the recipe in a test, ``cpu`` fits two cores and an evening, ``h200`` one large GPU.
Minutes are budgets: a stage ends at its steps or its minutes, whichever comes first, and its
learning rate follows whichever is nearer to its end.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Stage:
    """One resumable training stage.

    Attributes:
        steps: optimiser steps at most. minutes: wall minutes at most, over all resumptions.
        batch: items of one step. lr: peak of the learning rate. warmup: steps of linear rise.
        ema: decay of the averaged weights; 0 keeps none.
        save_every: steps between checkpoints.
    """

    steps: int
    minutes: float
    batch: int
    lr: float
    warmup: int = 100
    weight_decay: float = 0.01
    ema: float = 0.0
    save_every: int = 50


@dataclass(frozen=True)
class Corpus:
    """What is composed and rendered.

    Attributes:
        clips: training clips. held_out: clips of the held-out split, by composition.
        second: held-out clips rendered with other sounds.
        seconds: length of a clip. workers: processes that render.
        of_generator: training clips that codec and transformer learn from, the first ones; all
            where there are no more. Making their latents takes longer than making features.
    """

    clips: int
    held_out: int
    second: int
    seconds: float
    workers: int
    of_generator: int = 1_000_000


@dataclass(frozen=True)
class Preset:
    """A complete recipe. ``codec``, ``dit``, ``text`` and ``clap`` are configurations of models.

    Attributes:
        sample_rate: Hz of the generator. channels: 1 or 2.
        crop_latents: length of the codec's training crops, in latents.
        adversarial: train the codec's decoder against discriminators too.
        text_tokens: window of the generator's text encoder.
        drop_text: share of captions dropped for guidance. inpaint: share of items with a mask.
        rows: items per row of the evaluation.
        default_steps, default_guidance, default_strength: what the checkpoint asks for.
        text_weight: how far clap-mini's sense of words counts beside keywords in a search.
    """

    name: str
    device: str
    seed: int
    sample_rate: int
    channels: int
    corpus: Corpus
    codec: dict[str, Any]
    codec_stage: Stage
    crop_latents: int
    adversarial: bool
    clap_stage: Stage
    clap_negatives: int
    dit: dict[str, Any]
    text: dict[str, Any]
    text_tokens: int
    dit_stage: Stage
    drop_text: float = 0.1
    inpaint: float = 0.2
    rows: int = 160
    default_steps: int = 16
    default_guidance: float = 2.0
    default_strength: float = 0.4
    text_weight: float = 0.6
    vocabulary: int = 2048
    threads: int = 1
    autocast: bool = True
    clap: dict[str, Any] = field(default_factory=dict)


CPU = Preset(
    name="cpu",
    device="cpu",
    seed=20261122,
    sample_rate=24000,
    channels=1,
    corpus=Corpus(
        clips=30_000, held_out=600, second=300, seconds=12.0, workers=2, of_generator=10_000
    ),
    codec={
        "n_fft": 1536,
        "hop_length": 384,
        "n_mels": 96,
        "pitch_fft": 8192,
        "n_pitches": 120,
        "frames_per_latent": 8,
        "latent_dim": 160,
    },
    codec_stage=Stage(steps=20_000, minutes=38.0, batch=12, lr=1e-3, ema=0.999),
    crop_latents=8,
    adversarial=False,
    clap_stage=Stage(steps=40_000, minutes=43.0, batch=64, lr=1e-3, warmup=200),
    clap_negatives=1,
    dit={"embed_dim": 192, "depth": 6, "num_heads": 3, "ff_mult": 3.0, "num_memory_tokens": 8},
    text={"layers": 2, "intermediate": 512},
    text_tokens=80,
    dit_stage=Stage(steps=20_000, minutes=82.0, batch=20, lr=1.2e-3, warmup=150, ema=0.998),
)

H200 = replace(
    CPU,
    name="h200",
    device="cuda",
    sample_rate=32000,
    channels=2,
    corpus=Corpus(clips=24_000, held_out=800, second=400, seconds=12.0, workers=16),
    codec={
        "n_fft": 2048,
        "hop_length": 512,
        "n_mels": 128,
        "pitch_fft": 8192,
        "n_pitches": 120,
        "frames_per_latent": 4,
        "latent_dim": 160,
        "decoder_dim": 224,
    },
    codec_stage=Stage(steps=60_000, minutes=7.0, batch=64, lr=1e-3, ema=0.999),
    crop_latents=16,
    adversarial=True,
    clap_stage=Stage(steps=20_000, minutes=5.0, batch=384, lr=1e-3, warmup=200),
    clap={"depths": [2, 2, 2, 2]},
    dit={"embed_dim": 224, "depth": 6, "num_heads": 4, "ff_mult": 3.0, "num_memory_tokens": 8},
    dit_stage=Stage(steps=60_000, minutes=8.0, batch=256, lr=1e-3, warmup=300, ema=0.9995),
    rows=200,
    text_weight=1.0,
    threads=8,
)

TINY = replace(
    CPU,
    name="tiny",
    corpus=Corpus(clips=12, held_out=6, second=4, seconds=4.0, workers=1),
    codec={
        "sampling_rate": 16000,
        "n_fft": 512,
        "hop_length": 256,
        "n_mels": 40,
        "pitch_fft": 2048,
        "n_pitches": 24,
        "frames_per_latent": 4,
        "decoder_dim": 32,
        "decoder_depth": 1,
    },
    sample_rate=16000,
    codec_stage=Stage(steps=4, minutes=0.3, batch=2, lr=1e-3, warmup=2, ema=0.9),
    crop_latents=8,
    clap_stage=Stage(steps=2, minutes=0.3, batch=4, lr=1e-3, warmup=1),
    dit={"embed_dim": 32, "depth": 1, "num_heads": 2, "ff_mult": 2.0, "num_memory_tokens": 2},
    text={"layers": 1, "intermediate": 32},
    text_tokens=48,
    dit_stage=Stage(steps=4, minutes=0.3, batch=4, lr=1e-3, warmup=2, ema=0.9),
    rows=4,
    default_steps=2,
    vocabulary=400,
    autocast=False,
)

PRESETS = {preset.name: preset for preset in (TINY, CPU, H200)}
