"""What CLAP backends share besides the front end: tokens, unit vectors and the id of a space."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rag_audio.backends._clap_frontend import MelSettings
from rag_audio.errors import BackendUnavailable, InvalidInput

if TYPE_CHECKING:
    from numpy.typing import NDArray

CODE_VERSION = 1
"""Raised when the code changes what comes out for the same weights: old indexes then mismatch."""

TEXT_TOKENS = 77
"""Longest text, in tokens: what CLAP is trained with. What follows is not heard."""

_NOT_WEIGHTS = ("position_ids", "token_type_ids", "relative_position_index", "num_batches_tracked")


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
