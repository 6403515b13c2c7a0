"""Sound and words in one space, by ``transformers.ClapModel``.

Wu et al., "Large-scale contrastive language-audio pretraining with feature fusion and
keyword-to-caption augmentation", ICASSP 2023 (arXiv:2211.06687).

Same file, same vector, always: windows are fixed, nothing is cropped at random, fusion is off.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rag_audio.backends._clap_checkpoint import open_checkpoint
from rag_audio.backends._clap_frontend import LogMel, fixed_windows
from rag_audio.backends._clap_space import (
    TEXT_TOKENS,
    space_id,
    tokenize,
    unit_rows,
)
from rag_audio.domain import Audio
from rag_audio.errors import InvalidInput

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

_CPU_GROUP = 4
"""Clips that go through the model together on a CPU, where 32 cost a fifth more time each."""


class ClapEmbedder:
    """Embeds audio and text with a CLAP checkpoint; implements :class:`rag_audio.ports.Embedder`.

    Args:
        source: a directory written by ``save_pretrained``, a name on the hub, or a LAION ``.pt``
            file (HTSAT-tiny or -base, no fusion). The directory's ``rag_audio.json`` may say
            ``untrained``.
        device: of the front end and the model; ``auto`` takes CUDA when there is one.
        batch_size: clips or texts that go through the model together.
        tokenizer: replaces the checkpoint's: a directory, a hub name or an object. LAION files have
            none: without this, ``roberta-base``'s is taken from beside the file or from the hub.

    Raises:
        BackendUnavailable: the checkpoint or the device cannot be had.
        InvalidInput: ``batch_size`` below 1.
    """

    space: str
    name: str
    dimension: int
    sample_rate: int
    window_s: float
    untrained: bool
    text_weight: float

    def __init__(
        self,
        source: str | Path,
        *,
        device: str = "cpu",
        batch_size: int = 32,
        tokenizer: Any = None,
    ) -> None:
        if batch_size < 1:
            raise InvalidInput(f"batch_size must be at least 1, got {batch_size}")
        from rag_audio.backends._device import pick_device

        where = pick_device(device)
        checkpoint = open_checkpoint(source, tokenizer)
        self._mel = checkpoint.mel
        self._tokenizer = checkpoint.tokenizer
        self._text_tokens = _longest_text(checkpoint.model, checkpoint.tokenizer)
        self._batch_size = batch_size
        self._device = where
        self.name = checkpoint.name
        self.untrained = checkpoint.untrained
        self.text_weight = checkpoint.text_weight
        self.dimension = int(checkpoint.model.config.projection_dim)
        self.sample_rate = self._mel.sample_rate
        self.window_s = self._mel.window_s
        self.space = space_id("clap", checkpoint.model, self._mel, self._tokenizer)
        self._model = checkpoint.model.to(where)
        self._front_end = LogMel(self._mel, where)
        # Tokenizers and models hold state while they run.
        self._one_at_a_time = threading.Lock()

    def embed_audio(self, clips: Sequence[Audio]) -> NDArray[np.float32]:
        """``[N, D]``, one unit vector per clip; what follows the first window is not heard.

        Raises:
            InvalidInput: a clip is empty or not finite.
            BackendUnavailable: the checkpoint's weights are not finite.
        """
        batches = []
        for start in range(0, len(clips), self._batch_size):
            windows = fixed_windows(clips[start : start + self._batch_size], self._mel)
            with self._one_at_a_time:
                batches.append(self._embed_features(self._front_end(windows)))
        return self._gather(batches)

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """``[N, D]``, one unit vector per text; tokens past the 77th are not heard.

        Raises:
            InvalidInput: a text cannot be encoded (lone surrogates).
            BackendUnavailable: the checkpoint's weights are not finite.
        """
        import torch

        batches = []
        for start in range(0, len(texts), self._batch_size):
            some = texts[start : start + self._batch_size]
            with self._one_at_a_time, torch.inference_mode():
                tokens = tokenize(self._tokenizer, some, self._text_tokens)
                output = self._model.get_text_features(
                    input_ids=tokens["input_ids"].to(self._device),
                    attention_mask=tokens["attention_mask"].to(self._device),
                )
            batches.append(output.pooler_output)
        return self._gather(batches)

    def _embed_features(self, features: torch.Tensor) -> torch.Tensor:
        import torch

        # Small groups stay in a CPU's cache; a GPU wants the whole batch.
        group = _CPU_GROUP if features.device.type == "cpu" else len(features)
        vectors = []
        with torch.inference_mode():
            for start in range(0, len(features), group):
                part = features[start : start + group]
                # Always "not longer": transformers would pick one clip of each batch at random.
                not_longer = torch.zeros((len(part), 1), dtype=torch.bool, device=part.device)
                output = self._model.get_audio_features(input_features=part, is_longer=not_longer)
                vectors.append(output.pooler_output)
            return torch.cat(vectors)

    def _gather(self, batches: list[torch.Tensor]) -> NDArray[np.float32]:
        if not batches:
            return np.zeros((0, self.dimension), dtype=np.float32)
        return unit_rows(
            np.concatenate([batch.float().cpu().numpy() for batch in batches]), self.name
        )


def _longest_text(model: Any, tokenizer: Any) -> int:
    text = model.config.text_config
    positions = int(text.max_position_embeddings) - int(text.pad_token_id or 0) - 1
    return min(TEXT_TOKENS, positions, int(tokenizer.model_max_length))
