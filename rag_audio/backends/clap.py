"""Sound and words in one space, by ``transformers.ClapModel``.

Wu et al., "Large-scale contrastive language-audio pretraining with feature fusion and
keyword-to-caption augmentation", ICASSP 2023 (arXiv:2211.06687).

Same file, same vector, always: windows are fixed, nothing is cropped at random, fusion is off.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rag_audio.backends._clap_checkpoint import open_checkpoint
from rag_audio.backends._clap_frontend import LogMel
from rag_audio.backends._clap_space import TEXT_TOKENS, BatchedEmbedder, space_id

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

_CPU_GROUP = 4
"""Clips that go through the model together on a CPU, where 32 cost a fifth more time each."""


class ClapEmbedder(BatchedEmbedder):
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

    def __init__(
        self,
        source: str | Path,
        *,
        device: str = "cpu",
        batch_size: int = 32,
        tokenizer: Any = None,
    ) -> None:
        super().__init__(batch_size)
        from rag_audio.backends._device import pick_device

        where = pick_device(device)
        checkpoint = open_checkpoint(source, tokenizer)
        self._mel = checkpoint.mel
        self._tokenizer = checkpoint.tokenizer
        self._text_tokens = _longest_text(checkpoint.model, checkpoint.tokenizer)
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

    def _embed_windows(self, windows: NDArray[np.float32]) -> torch.Tensor:
        import torch

        features = self._front_end(windows)
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

    def _embed_tokens(self, tokens: Any) -> torch.Tensor:
        import torch

        with torch.inference_mode():
            output = self._model.get_text_features(
                input_ids=tokens["input_ids"].to(self._device),
                attention_mask=tokens["attention_mask"].to(self._device),
            )
        return torch.as_tensor(output.pooler_output)


def _longest_text(model: Any, tokenizer: Any) -> int:
    text = model.config.text_config
    positions = int(text.max_position_embeddings) - int(text.pad_token_id or 0) - 1
    return min(TEXT_TOKENS, positions, int(tokenizer.model_max_length))
