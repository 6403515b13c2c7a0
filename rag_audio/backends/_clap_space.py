"""What CLAP backends share besides the front end: batches, tokens, unit vectors, ids of spaces."""

from __future__ import annotations

import hashlib
import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from rag_audio.backends._clap_frontend import MelSettings, fixed_windows
from rag_audio.domain import Audio
from rag_audio.errors import BackendUnavailable, InvalidInput

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

_One = TypeVar("_One")

CODE_VERSION = 1
"""Raised when the code changes what comes out for the same weights: old indexes then mismatch."""

TEXT_TOKENS = 77
"""Longest text, in tokens: what CLAP is trained with. What follows is not heard."""

_NOT_WEIGHTS = ("position_ids", "token_type_ids", "relative_position_index", "num_batches_tracked")


class BatchedEmbedder(ABC):
    """An :class:`rag_audio.ports.Embedder` that works through clips and texts in batches.

    Args:
        batch_size: clips or texts that go through the model together.

    Raises:
        InvalidInput: ``batch_size`` below 1.
    """

    space: str
    name: str
    dimension: int
    sample_rate: int
    window_s: float
    untrained: bool
    text_weight: float
    _mel: MelSettings
    _tokenizer: Any
    _text_tokens: int

    def __init__(self, batch_size: int) -> None:
        if batch_size < 1:
            raise InvalidInput(f"batch_size must be at least 1, got {batch_size}")
        self._batch_size = batch_size
        # Tokenizers and models hold state while they run.
        self._one_at_a_time = threading.Lock()

    def embed_audio(self, clips: Sequence[Audio]) -> NDArray[np.float32]:
        """``[N, D]``, one unit vector per clip; what follows the first window is not heard.

        Raises:
            InvalidInput: a clip is empty or not finite.
            BackendUnavailable: the checkpoint's weights are not finite.
        """
        batches = []
        for part in self._parts(clips):
            windows = fixed_windows(part, self._mel)
            with self._one_at_a_time:
                batches.append(self._embed_windows(windows))
        return self._gather(batches)

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """``[N, D]``, one unit vector per text; tokens past the 77th are not heard.

        Raises:
            InvalidInput: a text cannot be encoded (lone surrogates).
            BackendUnavailable: the checkpoint's weights are not finite.
        """
        batches = []
        for part in self._parts(texts):
            with self._one_at_a_time:
                tokens = tokenize(self._tokenizer, part, self._text_tokens)
                batches.append(self._embed_tokens(tokens))
        return self._gather(batches)

    @abstractmethod
    def _embed_windows(self, windows: NDArray[np.float32]) -> torch.Tensor:
        """``[N, D]`` of windows ``[N, T]``, of any length."""

    @abstractmethod
    def _embed_tokens(self, tokens: Any) -> torch.Tensor:
        """``[N, D]`` of what :func:`tokenize` made of texts, of any length."""

    def _parts(self, items: Sequence[_One]) -> Iterator[Sequence[_One]]:
        for start in range(0, len(items), self._batch_size):
            yield items[start : start + self._batch_size]

    def _gather(self, batches: list[torch.Tensor]) -> NDArray[np.float32]:
        if not batches:
            return np.zeros((0, self.dimension), dtype=np.float32)
        rows = np.concatenate([batch.float().cpu().numpy() for batch in batches])
        return unit_rows(rows, self.name)


def tokenize(tokenizer: Any, texts: Sequence[str], longest: int) -> Any:
    """Token ids and mask of texts as tensors, padded to the longest among them.

    Raises:
        InvalidInput: a text has lone surrogates, which no tokenizer can encode.
    """
    for text in texts:
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise InvalidInput(f"text {text!r} is not valid Unicode") from error
    return tokenizer(
        list(texts), padding=True, truncation=True, max_length=longest, return_tensors="pt"
    )


def unit_rows(vectors: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    """Rows scaled to unit length.

    Raises:
        BackendUnavailable: a row is not finite or is zero: the weights are broken.
    """
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    if not (np.isfinite(lengths).all() and (lengths > 0).all()):
        raise BackendUnavailable(
            f"{name} gives vectors without a direction: its weights are broken",
            hint="download or build the checkpoint again",
        )
    return np.asarray(vectors / lengths, dtype=np.float32)


def space_id(kind: str, model: Any, mel: MelSettings, tokenizer: Any) -> str:
    """Id of an embedding space: a hash of weights, preprocessing, tokenizer and code version.

    Weights are hashed as float32 by name, so that one checkpoint has one id whether it was stored
    in half or full precision, in one file or in several.
    """
    digest = hashlib.sha256(f"{kind} {CODE_VERSION}".encode())
    digest.update(json.dumps(mel.facts(), sort_keys=True).encode())
    digest.update(_tokenizer_facts(tokenizer))
    for name, weight in sorted(model.state_dict().items()):
        if not name.endswith(_NOT_WEIGHTS):
            digest.update(f"{name} {tuple(weight.shape)}".encode())
            digest.update(weight.detach().float().cpu().contiguous().numpy())
    return f"{kind}-{digest.hexdigest()[:32]}"


def _tokenizer_facts(tokenizer: Any) -> bytes:
    """What decides the ids of a text; padding and truncation are set at each call."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return json.dumps(sorted(tokenizer.get_vocab().items())).encode()
    facts = json.loads(backend.to_str())
    facts.pop("padding", None)
    facts.pop("truncation", None)
    return json.dumps(facts, sort_keys=True).encode()
