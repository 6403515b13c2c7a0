"""The stages of the recipe over one working folder; each finds what the earlier ones left."""

from __future__ import annotations

import os
import platform
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import structlog
import torch

from rag_audio.errors import ConfigError
from training import data, licensed
from training.autoencoder import encode_all, fit_latents, load_codec, make_codec, train_codec
from training.clap import Facts, Pairs, load_clap, tempo_class, train_clap
from training.corpus import FLUID
from training.dit import Windows, load_system, prepare, train_dit
from training.export import Story, export_clap, export_generator, spent
from training.presets import Preset
from training.text import train_tokenizer

log = structlog.get_logger(__name__)


class Recipe:
    """Stages as methods.

    Args:
        preset: sizes and budgets. out: working folder. models: where ``export`` writes.
        resume: go on from checkpoints. library: train on its stems that grant ``train`` instead.
        territory: of the training, for the library's licenses.
    """

    def __init__(
        self,
        preset: Preset,
        out: Path,
        *,
        models: Path | None = None,
        resume: bool = False,
        library: Path | None = None,
        territory: str | None = None,
    ) -> None:
        self.preset, self.out, self.resume = preset, out, resume
        self.models = models if models is not None else out / "models"
        self.library, self.territory = library, territory
        torch.set_num_threads(preset.threads)

    def corpus(self) -> None:
        """Compose and render, or cut the library's stems."""
        root = self.out / "corpus"
        if self.library is not None:
            licensed.render_library(self.preset, self.library, self.territory, root)
        else:
            data.render_split(self.preset, "train", root)
        for split in ("held", "second"):
            data.render_split(self.preset, split, root)

    def autoencoder(self) -> None:
        """Fit the latents and train the decoder."""
        self._latent_map()
        train_codec(
            self.preset, self._of_generator.audio, self.out / "codec", self._latent_map(),
            resume=self.resume,
        )  # fmt: skip

    def clap(self) -> None:
        """Train clap-mini."""
        train_clap(
            self.preset, self._pairs, self._tokenizer(gemma=False), self.out / "clap",
            resume=self.resume,
        )  # fmt: skip

    def dit(self) -> None:
        """Train the transformer with its text encoder; needs the latents, not the decoder."""
        train_dit(
            self.preset, self._windows, self._tokenizer(gemma=True), self.out / "dit",
            resume=self.resume,
        )  # fmt: skip

    def export(self) -> None:
        """Write the checkpoints whose stages have run."""
        story, done = self._story(), 0
        if (self.out / "clap" / "state.pt").is_file():
            tokenizer = self._tokenizer(gemma=False)
            model = load_clap(self.preset, self.out / "clap", self._pairs, tokenizer)
            export_clap(self.preset, model, tokenizer, self.models / "clap-mini", story)
            done += 1
        if all((self.out / name / "state.pt").is_file() for name in ("codec", "dit")):
            codec = load_codec(self.preset, self.out / "codec")
            tokenizer = self._tokenizer(gemma=True)
            latent_dim = int(codec.config.latent_dim)
            system = load_system(self.preset, self.out / "dit", latent_dim, tokenizer)
            out = self.models / "stable-audio-mini"
            made_of = replace(story, clips=len(self._of_generator.rows))
            export_generator(self.preset, codec, system, tokenizer, out, made_of)
            done += 1
        if not done:
            raise ConfigError(f"nothing trained in {str(self.out)!r}", hint="run clap or dit first")
        log.info("exported", to=str(self.models), checkpoints=done)

    def evaluate(self) -> None:
        """Measure the exported checkpoints; the figures go into their cards."""
        from training.evaluate import evaluate

        evaluate(self.preset, self.out, self.models)
        self.export()

    @cached_property
    def _train(self) -> data.Split:
        return data.load_split(self.out / "corpus", "train")

    @cached_property
    def _of_generator(self) -> data.Split:
        """What codec and transformer learn from."""
        count = self.preset.corpus.of_generator
        whole = self._train
        return data.Split(whole.audio[:count], whole.rows[:count], whole.folder)

    def _tokenizer(self, *, gemma: bool) -> Any:
        """Trained once and kept: merges that tie are not learned in the same order twice."""
        from transformers import PreTrainedTokenizerFast

        folder = self.out / ("tokenizer-dit" if gemma else "tokenizer-clap")
        if not (folder / "tokenizer.json").is_file():
            texts = [text for texts in self._train.captions for text in texts]
            window = self.preset.text_tokens if gemma else 77
            made = train_tokenizer(texts, self.preset.vocabulary, window, gemma=gemma)
            made.save_pretrained(folder)
        return PreTrainedTokenizerFast.from_pretrained(folder)

    @cached_property
    def _pairs(self) -> Pairs:
        rows, families = self._train.rows, data.family_names()
        genres = sorted({row["genre"] for row in rows if row["genre"]})
        voices = sorted({name for row in rows for name in row["instruments"]})
        facts = [
            Facts(
                tempo_class(row["bpm"]),
                row["key"][0] + 12 * int(row["key"][1]) if row["key"] else -1,
                families.index(row["family"]) if row["family"] in families else -1,
                genres.index(row["genre"]) if row["genre"] else -1,
                tuple(voices.index(name) for name in row["instruments"]),
            )
            for row in rows
        ]
        return Pairs(
            data.mels_of(self.preset, self._train),
            self._train.captions,
            [row["negatives"] for row in rows],
            facts,
            len(families),
            len(genres),
            len(voices),
        )

    def _latent_map(self) -> dict[str, torch.Tensor]:
        """The codec's linear map, fitted once to the training clips."""
        path = self.out / "map.pt"
        if not path.is_file():
            codec = make_codec(self.preset).to(self.preset.device)
            count = min(800, len(self._train.rows))
            clips = np.ascontiguousarray(self._train.audio[:count])
            kept = fit_latents(codec, clips, self.preset.device)
            log.info("latents fitted", variance_kept=round(kept, 4), clips=count)
            torch.save({n: getattr(codec, n).cpu() for n in ("mean", "basis", "scale")}, path)
        made: dict[str, torch.Tensor] = torch.load(path, weights_only=True)
        return made

    @cached_property
    def _windows(self) -> Windows:
        path = self.out / "latents.pt"
        codec = make_codec(self.preset)
        if not path.is_file():
            codec.load_state_dict(self._latent_map(), strict=False)
            torch.save(encode_all(codec, self._of_generator.audio, self.preset.device).cpu(), path)
        latents = torch.load(path, weights_only=True)
        rate = self.preset.sample_rate / codec.downsampling_ratio
        tokenizer = self._tokenizer(gemma=True)
        captions = self._of_generator.captions
        return prepare(latents, captions, tokenizer, self.preset.text_tokens, rate)

    def _story(self) -> Story:
        stages = {
            name: spent(self.out / name)
            for name in ("codec", "clap", "dit")
            if (self.out / name / "state.pt").is_file()
        }
        figures = self.out / "report" / "figures.md"
        notes = self.out / "notes.md"
        listed = self.out / "corpus" / "train" / "library.txt"
        fluid = 1 - data.OWN_SHARE if FLUID.is_file() else 0.0
        return Story(
            hardware=_hardware(self.preset),
            clips=len(self._train.rows),
            stages=stages,
            fluid=0.0 if listed.is_file() else fluid,
            library=listed.read_text(encoding="utf-8").splitlines() if listed.is_file() else (),
            figures=figures.read_text(encoding="utf-8") if figures.is_file() else "",
            notes=notes.read_text(encoding="utf-8") if notes.is_file() else "",
        )


def _hardware(preset: Preset) -> str:
    if preset.device == "cuda" and torch.cuda.is_available():
        return torch.cuda.get_device_name(0)
    return f"{preset.threads} of {os.cpu_count()} CPU cores ({platform.machine()}), shared"
