"""clap-mini: sound and words in one space, by contrast and with hard negatives.

Every caption competes with the batch's other captions and with its own hard negatives, the same
words but for tempo, key or instrument. Small heads that are thrown away afterwards read tempo, key,
genre and instruments from the vectors of sounds and of words alike: so the vectors hold them, and
in the same directions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from training.loop import Run, load_weights
from training.presets import Preset
from training.text import ROBERTA_SPECIALS, encode, place_numbers

WINDOW_S, FRAMES_PER_S, BANDS, TEXT_TOKENS = 10.0, 50, 128, 77
TEMPO_CLASSES = 32  # from 50 to 200 BPM, even in log tempo
HEAD_WEIGHT = 1.0


@dataclass(frozen=True)
class Facts:
    """Ground truth of a clip for the heads; -1 where there is none.

    Attributes:
        tempo: class of :func:`tempo_class`. key: tonic + 12·minor. family, genre: index.
        voices: indices of what plays.
    """

    tempo: int
    key: int
    family: int
    genre: int
    voices: tuple[int, ...]

    @property
    def classes(self) -> tuple[int, int, int, int]:
        """What the heads of one answer each are taught."""
        return self.tempo, self.key, self.family, self.genre


@dataclass(frozen=True)
class Pairs:
    """What training draws from.

    Attributes:
        mels: float16 ``[N, F, BANDS]``, at least 10 s each, decibels.
        captions: per clip. negatives: per clip, captions that are nearly right.
        families, genres, voices: how many there are.
    """

    mels: NDArray[np.float16]
    captions: Sequence[Sequence[str]]
    negatives: Sequence[Sequence[str]]
    facts: Sequence[Facts]
    families: int
    genres: int
    voices: int


def tempo_class(bpm: float | None) -> int:
    """Class of a tempo; -1 for none."""
    if not bpm:
        return -1
    place = math.log(bpm / 50.0) / math.log(4.0) * TEMPO_CLASSES
    return int(min(TEMPO_CLASSES - 1, max(0, place)))


def make_extractor(preset: Preset) -> Any:
    """``ClapFeatureExtractor`` at the generator's rate: 50 frames of 128 mel bands a second."""
    from transformers import ClapFeatureExtractor

    rate = preset.sample_rate
    return ClapFeatureExtractor(
        feature_size=BANDS,
        sampling_rate=rate,
        hop_length=rate // FRAMES_PER_S,
        fft_window_size=2048,
        max_length_s=int(WINDOW_S),
        frequency_min=50,
        frequency_max=min(10_000, rate // 2),
        truncation="rand_trunc",
        padding="repeatpad",
    )


def make_model(preset: Preset, vocabulary: int) -> Any:
    """An untrained ``ClapModel`` of the preset's shape."""
    from transformers import ClapConfig, ClapModel

    torch.manual_seed(preset.seed)
    shape = {
        "patch": 8, "window": 4, "width": 32, "depths": [1, 1, 2, 1], "heads": [2, 4, 8, 16],
        "text_width": 128, "text_layers": 2, "projection": 256, **preset.clap,
    }  # fmt: skip
    config = ClapConfig(
        text_config={
            "vocab_size": vocabulary,
            "hidden_size": shape["text_width"],
            "num_hidden_layers": shape["text_layers"],
            "num_attention_heads": 4,
            "intermediate_size": 4 * shape["text_width"],
            "max_position_embeddings": TEXT_TOKENS + 3,
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
            "pad_token_id": ROBERTA_SPECIALS.index("<pad>"),
        },
        audio_config={
            "num_mel_bins": BANDS,
            # Patches of 8 × 8 and windows of 4: a quarter of the tokens, several times the steps.
            "patch_size": shape["patch"],
            "patch_stride": [shape["patch"], shape["patch"]],
            "window_size": shape["window"],
            "patch_embeds_hidden_size": shape["width"],
            "hidden_size": 8 * shape["width"],
            "depths": shape["depths"],
            "num_attention_heads": shape["heads"],
            "hidden_dropout_prob": 0.0,
            "drop_path_rate": 0.0,
        },
        projection_dim=shape["projection"],
        logit_scale_init_value=math.log(10.0),
    )
    model = ClapModel(config)
    _wake(model)
    return model


def _wake(model: nn.Module) -> None:
    """Weights at the size that keeps signals alive: the library starts them near zero."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(module.weight)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.1)


class Contrast(nn.Module):
    """The model with its heads."""

    def __init__(self, model: Any, families: int, genres: int, voices: int) -> None:
        super().__init__()
        self.model = model
        width = int(model.config.projection_dim)
        sizes = (TEMPO_CLASSES, 24, max(1, families), max(1, genres))
        self.classes = nn.ModuleList(nn.Linear(width, size) for size in sizes)
        self.voices = nn.Linear(width, max(1, voices))
        nn.init.constant_(self.voices.bias, -4.0)  # most instruments are silent

    def forward(
        self, mels: Tensor, ids: Tensor, mask: Tensor, facts: Tensor, voices: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Contrastive loss, heads' loss, share of clips whose caption comes first in the batch.

        Args:
            mels: ``[B, 1, F, BANDS]``.
            ids, mask: ``[B · (1 + K), tokens]``, the right ones first.
            facts: int64 ``[B, 4]``: tempo, key, family, genre. voices: ``[B, V]`` of 0 and 1.
        """
        sound = self.model.get_audio_features(mels).pooler_output.float()
        words = self.model.get_text_features(input_ids=ids, attention_mask=mask)
        scale = self.model.logit_scale_a.clamp(max=math.log(100.0)).exp()
        sound = F.normalize(sound, dim=-1)
        said = F.normalize(words.pooler_output.float(), dim=-1)
        logits = scale * sound @ said.T
        right = torch.arange(len(sound), device=logits.device)
        contrast = F.cross_entropy(logits, right) + F.cross_entropy(
            logits[:, : len(sound)].T, right
        )
        heads = self._taught(sound, facts, voices) + self._taught(said[right], facts, voices)
        return contrast / 2, heads, (logits.argmax(dim=1) == right).float().mean()

    def _taught(self, vectors: Tensor, facts: Tensor, voices: Tensor) -> Tensor:
        """Mean loss of the heads on unit vectors ``[B, D]``."""
        vectors = vectors * vectors.shape[1] ** 0.5
        # Each clip has a few voices of many: the sum over all, per four, is of the others' size.
        known = voices.any(dim=1).float()  # a label's stems may not say what plays
        heard = F.binary_cross_entropy_with_logits(self.voices(vectors), voices, reduction="none")
        losses = [(heard.sum(dim=1) * known).sum() / known.sum().clamp_min(1.0) / 4]
        losses += [
            F.cross_entropy(head(vectors), truth, ignore_index=-1)
            for head, truth in zip(self.classes, facts.T, strict=True)
            if bool((truth >= 0).any())
        ]
        return torch.stack(losses).mean()


def train_clap(preset: Preset, pairs: Pairs, tokenizer: Any, folder: Path, *, resume: bool) -> Any:
    """Train; returns the ``ClapModel`` in evaluation mode."""
    device, stage = preset.device, preset.clap_stage
    contrast = _make_contrast(preset, pairs, tokenizer).to(device)
    run = Run(folder, contrast, stage, resume=resume, autocast=preset.autocast)
    bank = _Bank.of(pairs, tokenizer, device)
    rng = np.random.default_rng(preset.seed + 13 * run.step)
    for _ in run:
        batch = bank.draw(stage.batch, preset.clap_negatives, rng)
        with run.precision():
            loss, extra, first = contrast(*batch)
        run.update(loss + HEAD_WEIGHT * extra, contrast=loss, heads=extra, first=first)
    return run.best.model


@dataclass(frozen=True)
class _Bank:
    """All pairs on the device: texts are tokenised once, windows are cut where they are used.

    Attributes:
        mels: float16 ``[N, F, BANDS]``. ids, mask: ``[M, tokens]``. facts: int64 ``[N, 4]``.
        voices: float32 ``[N, V]``.
        right, wrong: rows of ids, ``[N, captions]`` and ``[N, negatives]``.
    """

    mels: Tensor
    ids: Tensor
    mask: Tensor
    facts: Tensor
    voices: Tensor
    right: NDArray[np.int64]
    wrong: NDArray[np.int64]

    @classmethod
    def of(cls, pairs: Pairs, tokenizer: Any, device: str) -> _Bank:
        texts: list[str] = []
        rows: list[NDArray[np.int64]] = []
        for kind in (pairs.captions, pairs.negatives):
            width = min(len(own) for own in kind)
            rows.append(len(texts) + np.arange(len(kind) * width).reshape(len(kind), width))
            texts += [text for own in kind for text in own[:width]]
        ids, mask = encode(tokenizer, texts, TEXT_TOKENS)
        facts = torch.tensor([f.classes for f in pairs.facts])
        voices = torch.zeros(len(pairs.facts), max(1, pairs.voices))
        for row, own in zip(voices, pairs.facts, strict=True):
            row[list(own.voices)] = 1.0
        mels = torch.from_numpy(np.array(pairs.mels))
        return cls(
            mels.to(device), ids.to(device), mask.to(device), facts.to(device),
            voices.to(device), rows[0], rows[1],
        )  # fmt: skip

    def draw(
        self, batch: int, negatives: int, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """A batch for :class:`Contrast`: windows at random places and levels, a caption and hard
        negatives each."""
        frames, device = int(WINDOW_S * FRAMES_PER_S) + 1, self.mels.device
        rows = rng.permutation(len(self.mels))[:batch]
        starts = rng.integers(0, max(1, self.mels.shape[1] - frames + 1), len(rows))
        level = torch.from_numpy(rng.uniform(-8, 4, (len(rows), 1, 1)).astype(np.float32))
        where = torch.from_numpy(rows).to(device)
        places = torch.from_numpy(starts[:, None] + np.arange(frames)).to(device)
        places = places.clamp_max(self.mels.shape[1] - 1)
        mels = (self.mels[where[:, None], places].float() + level.to(device)).clamp_min(-100.0)
        right = self.right[rows, rng.integers(0, self.right.shape[1], len(rows))]
        wrong = [
            self.wrong[rows, rng.integers(0, self.wrong.shape[1], len(rows))]
            for _ in range(negatives if self.wrong.shape[1] else 0)
        ]
        texts = torch.from_numpy(np.concatenate([right, *wrong])).to(device)
        mask = self.mask[texts]
        longest = int(mask.sum(dim=1).max())
        ids = self.ids[texts, :longest]
        return mels[:, None], ids, mask[:, :longest], self.facts[where], self.voices[where]


def _make_contrast(preset: Preset, pairs: Pairs, tokenizer: Any) -> Contrast:
    model = make_model(preset, len(tokenizer))
    place_numbers(model.text_model.get_input_embeddings().weight, tokenizer)
    norm = model.audio_model.audio_encoder.batch_norm
    some = torch.from_numpy(pairs.mels[:256].astype(np.float32))
    norm.running_mean.copy_(some.mean(dim=(0, 1)))
    norm.running_var.copy_(some.flatten(0, 1).var(dim=0).clamp_min(1.0))
    norm.eval().requires_grad_(False)
    return Contrast(model, pairs.families, pairs.genres, pairs.voices)


def load_clap(preset: Preset, folder: Path, pairs: Pairs, tokenizer: Any) -> Any:
    """The trained ``ClapModel`` of a stage's folder."""
    return load_weights(folder, _make_contrast(preset, pairs, tokenizer)).model
