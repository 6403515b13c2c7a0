"""Writes the trained checkpoints as the product reads them, with their model cards."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from training.presets import Preset

SOURCES = """- compositions: the seeded composer of this repository (`training/`), CC0-1.0
- sounds: the project's own soundfont `data/soundfont/rag-audio.sf2` (CC0-1.0), synthesised by
  `training/soundfont.py`{others}
- captions: written by the composer from its own ground truth
- no recording, no scraped text, no other model's output"""
FLUID_LINE = """; and for {share:.0%} of the clips FluidR3 GM (Frank Wen and others,
  MIT license; Debian package `fluid-soundfont-gm`)"""


@dataclass(frozen=True)
class Story:
    """What a model card tells about the making.

    Attributes:
        hardware: in words. clips: training clips. stages: name → (steps done, minutes).
        fluid: share of the clips that FluidR3 played; 0: none.
        library: stems that were used by their license instead, as printable lines.
        figures: Markdown tables of the evaluation; empty before it ran.
        notes: Markdown lines on what a reader of the recipe would not expect.
    """

    hardware: str
    clips: int
    stages: Mapping[str, tuple[int, float]]
    fluid: float = 0.0
    library: Sequence[str] = ()
    figures: str = ""
    notes: str = ""


def spent(folder: Path) -> tuple[int, float]:
    """Steps and minutes that a stage's checkpoint has behind it."""
    state = torch.load(folder / "state.pt", map_location="cpu", weights_only=True)
    return int(state["step"]), float(state["elapsed_s"]) / 60


def weights_sha256(folder: Path) -> str:
    """sha256 over the safetensors of a checkpoint, in order of their paths."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*.safetensors")):
        total.update(path.relative_to(folder).as_posix().encode() + b"\0")
        total.update(path.read_bytes())
    return total.hexdigest()


def export_clap(preset: Preset, model: Any, tokenizer: Any, out: Path, story: Story) -> None:
    """Write clap-mini to ``out``; what it held before is removed."""
    from training.clap import make_extractor
    from training.untrained_clap import save_checkpoint

    shutil.rmtree(out, ignore_errors=True)
    weights = sum(weight.numel() for weight in model.parameters())
    facts = {
        "name": "clap-mini",
        "untrained": False,
        "license": "CC0-1.0",
        "seed": preset.seed,
        "preset": preset.name,
        "text_weight": preset.text_weight,
    }
    save_checkpoint(out, model, tokenizer, make_extractor(preset), facts, "")
    body = CLAP_CARD.format(weights=weights, rate=preset.sample_rate)
    _write_card(out, body, preset, story, ("clap",))


def export_generator(
    preset: Preset, codec: Any, system: Any, tokenizer: Any, out: Path, story: Story
) -> None:
    """Write stable-audio-mini to ``out``; what it held before is removed."""
    from diffusers import FlowMatchEulerDiscreteScheduler, StableAudio3Pipeline

    shutil.rmtree(out, ignore_errors=True)
    pipeline = StableAudio3Pipeline(
        vae=codec.half(),
        text_encoder=system.text_encoder.half(),
        tokenizer=tokenizer,
        duration_embedder=system.duration_embedder.half(),
        transformer=system.transformer.half(),
        scheduler=FlowMatchEulerDiscreteScheduler(num_train_timesteps=1),
    )
    pipeline.save_pretrained(out, safe_serialization=True)
    index = json.loads((out / "model_index.json").read_text(encoding="utf-8"))
    # The name that every release of transformers knows; newer ones write their own for it.
    index["tokenizer"] = ["transformers", "PreTrainedTokenizerFast"]
    (out / "model_index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    settings = {
        "name": "stable-audio-mini",
        "untrained": False,
        "license": "CC0-1.0",
        "default_steps": preset.default_steps,
        "default_guidance": preset.default_guidance,
        "default_strength": preset.default_strength,
        "max_duration_s": preset.corpus.seconds,
        "seed": preset.seed,
        "preset": preset.name,
    }
    (out / "rag_audio.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    counts = {
        name: sum(p.numel() for p in part.parameters())
        for name, part in pipeline.components.items()
        if isinstance(part, torch.nn.Module)
    }
    body = GENERATOR_CARD.format(
        rate=preset.sample_rate,
        layout="stereo" if preset.channels == 2 else "mono",
        seconds=preset.corpus.seconds,
        steps=preset.default_steps,
        guidance=preset.default_guidance,
        strength=preset.default_strength,
        **counts,
    )
    _write_card(out, body, preset, story, ("codec", "dit"))


def _write_card(out: Path, body: str, preset: Preset, story: Story, stages: Sequence[str]) -> None:
    others = FLUID_LINE.format(share=story.fluid) if story.fluid else ""
    recipe = [
        f"- stage `{name}`: {steps} steps, {minutes:.0f} minutes"
        for name, (steps, minutes) in story.stages.items()
        if name in stages
    ]
    text = [body, "## Data\n", f"{story.clips} clips of {preset.corpus.seconds:g} s:\n"]
    text.append(SOURCES.format(others=others))
    if story.library:
        text.append("\nTrained on licensed stems whose license grants `train`:\n")
        text += [f"- {line}" for line in story.library]
    text += ["\n## Recipe\n", f"- preset `{preset.name}`, seed {preset.seed}", *recipe]
    text += [f"- hardware: {story.hardware}", f"- weights: sha256 `{weights_sha256(out)}`"]
    if story.notes:
        text += ["\n## What departed from the recipe\n", story.notes.strip()]
    text += ["\n## Figures\n", story.figures or "Not measured yet: `python -m training evaluate`."]
    (out / "README.md").write_text("\n".join(text) + "\n", encoding="utf-8")


CLAP_CARD = """---
license: cc0-1.0
library_name: transformers
tags: [clap, audio, music]
---
# clap-mini

A `transformers.ClapModel` of {weights:,} parameters that puts music and words into one space:
HTSAT over 128 mel bands at {rate} Hz, windows of 10 s, and a small text tower with a tokenizer of
its own in which every tempo and every key is one token. Trained from scratch by contrast with hard
negatives: captions that are right but for tempo, key or instrument.

It knows the instruments, grooves and words of its composer and nothing else: no singing, no
recordings, no languages but English. For a real library take a large checkpoint.
"""

GENERATOR_CARD = """---
license: cc0-1.0
pipeline_tag: text-to-audio
library_name: diffusers
---
# stable-audio-mini

A `StableAudio3Pipeline`: up to {seconds:g} s of {layout} music at {rate} Hz from words and
references, small enough for two cores: transformer {transformer:,}, autoencoder {vae:,}, text
encoder {text_encoder:,}, duration embedder {duration_embedder:,} parameters. Rectified flow on
latents of a codec of log-mel frames and quarter-tone spectra (`rag_audio.models.mel_codec`),
in-painting input trained.
Defaults: {steps} steps, guidance {guidance:g}, strength {strength:g}.

It exists so that everything around a model can be run, tested and measured without a download. It
plays short, plain loops in the sounds of its composer. By words alone it follows neither tempo nor
key unless the figures below say so; with references, as the product uses it, they come from these.
"""
