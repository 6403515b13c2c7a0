"""CLAP's text branch by itself, so that a search by words loads neither transformers nor the sound.

It is RoBERTa (Liu et al., "RoBERTa: A robustly optimized BERT pretraining approach", 2019,
arXiv:1907.11692; post-norm layers of Vaswani et al., 2017), the pooled first token and CLAP's
two-layer projection, on the weights and under the names of ``transformers.ClapModel``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from rag_audio.models.clap_frontend import TextSetup, check_unicode

_BRANCH = ("text_model.", "text_projection.")
_ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "relu": F.relu,
    "silu": F.silu,
    "tanh": torch.tanh,
}


class TextBranch:
    """Texts to vectors ``[N, D]`` of unit length.

    Args:
        weights: all of ``text_model`` and ``text_projection``; others are skipped.
    """

    def __init__(
        self, setup: TextSetup, weights: Mapping[str, Tensor], device: torch.device
    ) -> None:
        from tokenizers import Tokenizer

        self._tokenizer, self._config = Tokenizer.from_str(setup.tokenizer), setup.config
        self._device = device
        self._weights = {
            name: weight.to(device, torch.float32)
            for name, weight in weights.items()
            if name.startswith(_BRANCH) and weight.is_floating_point()
        }

    @classmethod
    def of_folder(cls, setup: TextSetup, folder: Path, device: torch.device) -> TextBranch | None:
        """Read of a checkpoint's folder; None: its weights are in other files or names."""
        from safetensors import safe_open

        file = folder / "model.safetensors"
        if not file.is_file():
            return None
        with safe_open(str(file), framework="pt") as stored:
            weights = {n: stored.get_tensor(n) for n in stored.keys() if n.startswith(_BRANCH)}  # noqa: SIM118
        last = f"text_model.encoder.layer.{setup.config['num_hidden_layers'] - 1}.output"
        needed = ("text_model.embeddings.word_embeddings.weight", f"{last}.LayerNorm.bias")
        return cls(setup, weights, device) if set(needed) <= set(weights) else None

    def embed(self, texts: Sequence[str]) -> Tensor:
        """``[N, D]`` float32 on the device, for texts that go through the model together.

        Raises:
            InvalidInput: a text has lone surrogates, which no tokenizer can encode.
        """
        check_unicode(texts)
        encoded = self._tokenizer.encode_batch(list(texts))
        ids = torch.tensor([one.ids for one in encoded], device=self._device)
        told = torch.tensor([one.attention_mask for one in encoded], device=self._device).bool()
        with torch.inference_mode():
            return self._forward(ids, told)

    def _forward(self, ids: Tensor, told: Tensor) -> Tensor:
        """Token ids and mask ``[N, T]`` to ``[N, D]``."""
        mask = None if bool(told.all()) else told[:, None, None, :]
        x = self._embedded(ids)
        for layer in range(self._config["num_hidden_layers"]):
            name = f"text_model.encoder.layer.{layer}"
            x = self._attended(x, mask, f"{name}.attention")
            inner = self._linear(x, f"{name}.intermediate.dense")
            inner = _ACTIVATIONS[self._config["hidden_act"]](inner)
            x = self._normed(x + self._linear(inner, f"{name}.output.dense"), f"{name}.output")
        pooled = torch.tanh(self._linear(x[:, 0], "text_model.pooler.dense"))
        inner = self._linear(pooled, "text_projection.linear1")
        inner = _ACTIVATIONS[self._config["projection_hidden_act"]](inner)
        return F.normalize(self._linear(inner, "text_projection.linear2"), dim=-1)

    def _embedded(self, ids: Tensor) -> Tensor:
        """Words, places (counted from the padding's id) and the one token type, ``[N, T, H]``."""
        pad, name = self._config["pad_token_id"], "text_model.embeddings"
        told = ids.ne(pad).long()
        places = told.cumsum(dim=1) * told + pad
        x = self._weights[f"{name}.word_embeddings.weight"][ids]
        x = x + self._weights[f"{name}.token_type_embeddings.weight"][0]
        x = x + self._weights[f"{name}.position_embeddings.weight"][places]
        return self._normed(x, name)

    def _attended(self, x: Tensor, mask: Tensor | None, name: str) -> Tensor:
        heads = self._config["num_attention_heads"]
        query, key, value = (
            torch.unflatten(self._linear(x, f"{name}.self.{part}"), -1, (heads, -1)).transpose(1, 2)
            for part in ("query", "key", "value")
        )
        heard = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        made = self._linear(heard.transpose(1, 2).flatten(2), f"{name}.output.dense")
        return self._normed(x + made, f"{name}.output")

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _normed(self, x: Tensor, name: str) -> Tensor:
        weight, bias = (self._weights[f"{name}.LayerNorm.{part}"] for part in ("weight", "bias"))
        return F.layer_norm(x, x.shape[-1:], weight, bias, self._config["layer_norm_eps"])
