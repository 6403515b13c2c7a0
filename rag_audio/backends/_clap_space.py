"""What CLAP backends share besides the front end: tokens, unit vectors and the id of a space."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from rag_audio import __version__
from rag_audio.backends._clap_frontend import MelSettings
from rag_audio.errors import BackendUnavailable, InvalidInput
from rag_audio.files import write_bytes
from rag_audio.resources import cache_folder

if TYPE_CHECKING:
    from numpy.typing import NDArray

CODE_VERSION = 1
"""Raised when the code changes what comes out for the same weights: old indexes then mismatch."""

TEXT_TOKENS = 77
"""Longest text, in tokens: what CLAP is trained with. What follows is not heard."""

_KEPT = 16
"""Checkpoints whose facts are cached."""

ACTIVATIONS = frozenset(("gelu", "relu", "silu", "tanh"))
"""Of text branches that run without transformers."""

_TEXT_CONFIG = (
    "hidden_act",
    "layer_norm_eps",
    "num_attention_heads",
    "num_hidden_layers",
    "pad_token_id",
    "projection_hidden_act",
)

_NOT_WEIGHTS = ("position_ids", "token_type_ids", "relative_position_index", "num_batches_tracked")


@dataclass(frozen=True)
class TextSetup:
    """What the text branch needs beside its weights; plain values.

    Attributes:
        tokenizer: JSON of ``tokenizers.Tokenizer``, with its truncation and padding.
        config: the part of ``ClapTextConfig`` that decides what the weights mean.
    """

    tokenizer: str
    config: dict[str, Any]

    @classmethod
    def of(cls, config: Any, tokenizer: Any, longest: int) -> Self | None:
        """Of a ``ClapTextConfig`` and its tokenizer; None: transformers alone knows how to run it.

        Args:
            longest: tokens of a text; what follows is cut off.
        """
        from tokenizers import Tokenizer

        backend = getattr(tokenizer, "backend_tokenizer", None)
        places = getattr(config, "position_embedding_type", "absolute")
        acts = {config.hidden_act, config.projection_hidden_act}
        if backend is None or places != "absolute" or not acts <= ACTIVATIONS:
            return None
        own = Tokenizer.from_str(backend.to_str())
        own.enable_truncation(longest, direction=tokenizer.truncation_side)
        own.enable_padding(
            direction=tokenizer.padding_side,
            pad_id=tokenizer.pad_token_id,
            pad_type_id=tokenizer.pad_token_type_id,
            pad_token=tokenizer.pad_token,
        )
        return cls(own.to_str(), {name: getattr(config, name) for name in _TEXT_CONFIG})


@dataclass(frozen=True)
class SpaceFacts:
    """What :class:`rag_audio.ports.Embedder` says of a checkpoint, see there; and its text branch.

    ``text`` is None where transformers alone knows how to run it.
    """

    name: str
    space: str
    dimension: int
    sample_rate: int
    window_s: float
    untrained: bool
    text_weight: float
    text: TextSetup | None


def facts_file(folder: Path, source: str) -> Path | None:
    """Where the facts of a checkpoint are cached: a search by filters needs no more than them.

    The name stands for the files of the checkpoint (their sizes, inodes and times), how it was
    named and the versions of the code: whatever changes, the facts are taken from the weights anew.
    None: there is no place to cache them.
    """
    cache = cache_folder("embedders")
    if cache is None:
        return None
    parts = [source, str(folder.resolve()), f"rag-audio {__version__} {CODE_VERSION}"]
    parts += [f"{name} {version(name)}" for name in ("transformers", "tokenizers")]
    for path in sorted(folder.iterdir()):
        state = path.stat()
        times = f"{state.st_mtime_ns} {state.st_ctime_ns}"
        parts.append(f"{path.name} {state.st_size} {state.st_ino} {times}")
    return cache / f"{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:32]}.json"


def read_facts(file: Path | None) -> SpaceFacts | None:
    """The facts that :func:`write_facts` wrote; None: nothing that can be read."""
    with suppress(OSError, ValueError, TypeError, LookupError, AttributeError):
        if file is not None:
            facts = json.loads(file.read_bytes())
            text = facts.pop("text")
            return SpaceFacts(**facts, text=None if text is None else TextSetup(**text))
    return None


def write_facts(file: Path | None, facts: SpaceFacts) -> None:
    """Cache facts, and forget the oldest; where they cannot be written, the next process takes them
    from the weights."""
    if file is None:
        return
    with suppress(OSError):
        write_bytes(file, json.dumps(asdict(facts)).encode())
        for old in sorted(file.parent.glob("*.json"), key=lambda one: one.stat().st_mtime)[:-_KEPT]:
            old.unlink(missing_ok=True)


def tokenize(tokenizer: Any, texts: Sequence[str], longest: int) -> Any:
    """Token ids and mask of texts as tensors, padded to the longest among them.

    Raises:
        InvalidInput: a text has lone surrogates, which no tokenizer can encode.
    """
    check_unicode(texts)
    return tokenizer(
        list(texts), padding=True, truncation=True, max_length=longest, return_tensors="pt"
    )


def check_unicode(texts: Sequence[str]) -> None:
    """Refuse lone surrogates, which no tokenizer can encode.

    Raises:
        InvalidInput: a text has some.
    """
    for text in texts:
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise InvalidInput(f"text {text!r} is not valid Unicode") from error


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
