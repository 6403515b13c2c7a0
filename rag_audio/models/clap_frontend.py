"""Sound to CLAP's log-mel features: fixed windows, then one batched transform in torch.

Shared by the CLAP backends. The maths is that of ``transformers.ClapFeatureExtractor`` (and of
LAION's torchlibrosa layers): a centred Hann STFT with reflected edges, power, mel bands, decibels
with a floor at -100 dB. What is left out is all that is random there: crops and fusion.
"""

from __future__ import annotations

import hashlib
import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np

from rag_audio import __version__
from rag_audio.audio.channels import heard
from rag_audio.audio.dsp import resample
from rag_audio.domain import Audio
from rag_audio.errors import BackendUnavailable, InvalidInput
from rag_audio.resources import cache_folder
from rag_audio.storage.files import write_bytes

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

_Given = TypeVar("_Given")

POWER_FLOOR = 1e-10
"""Mel power below this counts as silence: -100 dB, as in librosa and in CLAP's training."""


@dataclass(frozen=True)
class MelSettings:
    """How a checkpoint wants to hear.

    Attributes:
        sample_rate: Hz. window_s: seconds. fft, hop: samples. bands: mel bands.
        low_hz, high_hz: edges of the lowest and highest band.
        slaney: Slaney's mel scale with area-normalised bands; False: HTK's, unnormalised.
        repeat: short clips are repeated as often as they fit whole before zeros follow.
    """

    sample_rate: int = 48_000
    window_s: float = 10.0
    fft: int = 1024
    hop: int = 480
    bands: int = 64
    low_hz: float = 50.0
    high_hz: float = 14_000.0
    slaney: bool = True
    repeat: bool = True

    @classmethod
    def of_extractor(cls, extractor: Any) -> MelSettings:
        """Read them from a ``ClapFeatureExtractor``.

        Its filter bank depends on its ``truncation``: HTK's for fusion, Slaney's otherwise. Its
        ``padding`` is ``repeatpad`` or ``pad``; ``repeat``, which no published checkpoint uses,
        is read as ``repeatpad``.
        """
        return cls(
            sample_rate=int(extractor.sampling_rate),
            window_s=float(extractor.max_length_s),
            fft=int(extractor.fft_window_size),
            hop=int(extractor.hop_length),
            bands=int(extractor.feature_size),
            low_hz=float(extractor.frequency_min),
            high_hz=float(extractor.frequency_max),
            slaney=extractor.truncation != "fusion",
            repeat=extractor.padding != "pad",
        )

    @property
    def window_frames(self) -> int:
        """Samples of one window."""
        return round(self.window_s * self.sample_rate)


def fixed_window(clip: Audio, settings: MelSettings, position: int = 0) -> NDArray[np.float32]:
    """The first window of a clip, always the same for the same clip.

    One channel (:func:`.heard`), at the model's rate, cut to the window; a
    shorter clip is repeated as often as it fits whole, then zeros follow (``repeatpad``).

    Args:
        clip: any rate and channel count.
        position: of the clip in its list, for the error.

    Returns:
        ``[window_frames]``.

    Raises:
        InvalidInput: the clip is empty or has samples that are not finite.
    """
    if clip.frames == 0:
        raise InvalidInput(f"clip {position} has no samples")
    # Cutting before resampling saves work; one more second keeps the filter's edge outside.
    longest = int((settings.window_s + 1.0) * clip.sample_rate)
    head = Audio(np.ascontiguousarray(clip.samples[:, :longest]), clip.sample_rate)
    if not np.isfinite(head.samples).all():
        raise InvalidInput(f"clip {position} has samples that are not finite (NaN or infinite)")
    sound = resample(heard(head), settings.sample_rate).samples[0]
    size = settings.window_frames
    if sound.size >= size:
        return np.ascontiguousarray(sound[:size], dtype=np.float32)
    window = np.zeros(size, dtype=np.float32)
    if sound.size == 0:  # a sample or two at a high rate: nothing remains of them at a lower one
        return window
    times = size // sound.size if settings.repeat else 1
    window[: times * sound.size] = np.tile(sound, times)
    return window


def fixed_windows(clips: Sequence[Audio], settings: MelSettings) -> NDArray[np.float32]:
    """``[N, window_frames]``, one row per clip; see :func:`fixed_window`."""
    windows = np.empty((len(clips), settings.window_frames), dtype=np.float32)
    for row, clip in enumerate(clips):
        windows[row] = fixed_window(clip, settings, row)
    return windows


class LogMel:
    """Windows to log-mel features on one device.

    Args:
        settings: what the checkpoint wants.
        device: torch device that the features are made on.
    """

    def __init__(self, settings: MelSettings, device: str | torch.device = "cpu") -> None:
        import torch
        from transformers.audio_utils import mel_filter_bank

        self.settings = settings
        self._device = torch.device(device)
        filters = mel_filter_bank(
            num_frequency_bins=settings.fft // 2 + 1,
            num_mel_filters=settings.bands,
            min_frequency=settings.low_hz,
            max_frequency=settings.high_hz,
            sampling_rate=settings.sample_rate,
            norm="slaney" if settings.slaney else None,
            mel_scale="slaney" if settings.slaney else "htk",
        )
        # Bins above the highest band are never asked for: at 48 kHz that is two bins in five.
        self._bins = int(np.flatnonzero(filters.sum(axis=1)).max()) + 1
        # Each filter weight stands twice, for the square of a bin's real and imaginary part.
        weights = np.repeat(filters[: self._bins], 2, axis=0).astype(np.float32)
        self._filters = torch.from_numpy(weights).to(self._device)
        hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(settings.fft) / settings.fft)
        self._hann = torch.from_numpy(hann.astype(np.float32)).to(self._device)

    def __call__(self, windows: NDArray[np.float32]) -> torch.Tensor:
        """``[N, T]`` samples to ``[N, 1, frames, bands]`` decibels, on the device.

        On a CPU each window is transformed by itself: it stays in the cache, which is faster than a
        batch, and its features do not depend on its neighbours by a single bit.
        """
        import torch

        waves = torch.from_numpy(windows).to(self._device)
        step = 1 if self._device.type == "cpu" else max(1, len(waves))
        with torch.inference_mode():
            parts = [self._transform(waves[i : i + step]) for i in range(0, len(waves), step)]
            return torch.cat(parts)[:, None]

    def _transform(self, waves: torch.Tensor) -> torch.Tensor:
        import torch

        spectrum = torch.stft(
            waves,
            self.settings.fft,
            self.settings.hop,
            window=self._hann,
            center=True,
            pad_mode="reflect",
            return_complex=True,
        ).transpose(1, 2)
        parts = torch.view_as_real(spectrum).flatten(2)[..., : 2 * self._bins]
        mel = torch.matmul(parts.square(), self._filters).clamp_min_(POWER_FLOOR)
        return mel.log10_().mul_(10.0)


# What CLAP backends share besides the front end: batches, tokens, unit vectors, the id of a space.

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
    """What :class:`.Embedder` says of a checkpoint, see there; and its text branch.

    ``logit_scale`` is that of :class:`.ScaledSpace`. ``text`` is None where transformers alone
    knows how to run it.
    """

    name: str
    space: str
    dimension: int
    sample_rate: int
    window_s: float
    untrained: bool = False
    text_weight: float = 1.0
    logit_scale: float = 0.0
    text: TextSetup | None = None


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
    parts += [one.name for one in fields(SpaceFacts)]
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


class BatchedEmbedder(ABC):
    """What the CLAP backends share: batches, one at a time, and unit vectors of them.

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
    logit_scale: float

    def __init__(self, batch_size: int) -> None:
        if batch_size < 1:
            raise InvalidInput(f"batch_size must be at least 1, got {batch_size}")
        self._batch_size = batch_size
        # Tokenizers and models hold state while they run.
        self._one_at_a_time = threading.Lock()

    def _show(self, facts: SpaceFacts) -> None:
        """Take the attributes from the checkpoint's facts."""
        self.name, self.space, self.dimension = facts.name, facts.space, facts.dimension
        self.sample_rate, self.window_s = facts.sample_rate, facts.window_s
        self.untrained, self.text_weight = facts.untrained, facts.text_weight
        self.logit_scale = facts.logit_scale

    @abstractmethod
    def _embed_clips(self, clips: Sequence[Audio]) -> torch.Tensor:
        """``[N, D]`` of any length, for one batch."""

    @abstractmethod
    def _embed_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """``[N, D]`` of any length, for one batch."""

    def embed_audio(self, clips: Sequence[Audio]) -> NDArray[np.float32]:
        """``[N, D]``, one unit vector per clip; what follows the first window is not heard.

        Raises:
            InvalidInput: a clip is empty or not finite.
            BackendUnavailable: the checkpoint's weights are not finite.
        """
        return self._in_batches(clips, self._embed_clips)

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """``[N, D]``, one unit vector per text; tokens past the 77th are not heard.

        Raises:
            InvalidInput: a text cannot be encoded (lone surrogates).
            BackendUnavailable: the checkpoint's weights are not finite.
        """
        return self._in_batches(texts, self._embed_texts)

    def _in_batches(
        self, given: Sequence[_Given], embed: Callable[[Sequence[_Given]], torch.Tensor]
    ) -> NDArray[np.float32]:
        if not given:
            return np.zeros((0, self.dimension), dtype=np.float32)
        batches = []
        for start in range(0, len(given), self._batch_size):
            with self._one_at_a_time:
                batches.append(embed(given[start : start + self._batch_size]))
        vectors = np.concatenate([batch.float().cpu().numpy() for batch in batches])
        return unit_rows(vectors, self.name)


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
    digest.update(json.dumps(asdict(mel), sort_keys=True).encode())
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
