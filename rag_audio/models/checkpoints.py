"""Finds a diffusion checkpoint, checks what it is made of, and loads its parts.

Only classes in the tables below are ever constructed, only safetensors are read, and no code that
comes with a checkpoint runs.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rag_audio import resources
from rag_audio.errors import BackendUnavailable, ConfigError
from rag_audio.storage.cache import content_hash

STABLE_AUDIO = "stable-audio"
STABLE_AUDIO_3 = "stable-audio-3"

_PIPELINES = {
    "StableAudioPipeline": STABLE_AUDIO,
    "StableAudio3Pipeline": STABLE_AUDIO_3,
    "StableAudio3AudioToAudioPipeline": STABLE_AUDIO_3,
    "StableAudio3InpaintPipeline": STABLE_AUDIO_3,
}


def _classes(library: str, names: str, module: str = "") -> dict[tuple[str, str], str]:
    """Classes as ``model_index.json`` names them → where they live."""
    return {(library, name): f"{module or library}:{name}" for name in names.split()}


_OWN = "rag_audio.models.mel_codec"
_CODECS = {
    **_classes("rag_audio", "MelCodec", _OWN),
    **_classes(_OWN, "MelCodec"),
    **_classes("rag_audio.backends.mel_codec", "MelCodec", _OWN),  # checkpoints of version 0.1
    **_classes("diffusers", "AutoencoderOobleck AutoencoderSAME"),
}
_COMMON = {
    "vae": _CODECS,
    "tokenizer": _classes(
        "transformers",
        "T5Tokenizer T5TokenizerFast GemmaTokenizer GemmaTokenizerFast PreTrainedTokenizerFast",
    ),
    "text_encoder": _classes("transformers", "T5EncoderModel T5GemmaEncoderModel"),
}
_ALLOWED: Mapping[str, Mapping[str, Mapping[tuple[str, str], str]]] = {
    STABLE_AUDIO: {
        **_COMMON,
        "projection_model": _classes(
            "stable_audio", "StableAudioProjectionModel", "diffusers.pipelines.stable_audio"
        ),
        "transformer": _classes("diffusers", "StableAudioDiTModel"),
        "scheduler": _classes("diffusers", "CosineDPMSolverMultistepScheduler"),
    },
    STABLE_AUDIO_3: {
        **_COMMON,
        "duration_embedder": _classes(
            "stable_audio_3", "StableAudio3DurationEmbedder", "diffusers.pipelines.stable_audio_3"
        ),
        "transformer": _classes("diffusers", "StableAudio3DiTModel"),
        "scheduler": _classes("diffusers", "FlowMatchEulerDiscreteScheduler"),
    },
}
"""Family → part → (library, class) as in ``model_index.json`` → where the class lives."""

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_FILES = ("*.json", "*.safetensors", "*.model", "*.txt")
_SETTINGS: Mapping[str, tuple[type, ...]] = {
    "name": (str,),
    "license": (str,),
    "untrained": (bool,),
    "default_steps": (int,),
    "default_guidance": (int, float),
    "default_strength": (int, float),
    "max_duration_s": (int, float),
}
_SAFE_ONLY = "only safetensors weights are read; fetch or export it again"
_HUB_EXAMPLE = "stabilityai/stable-audio-open-1.0"


@dataclass(frozen=True)
class DiffusionCheckpoint:
    """A checkpoint on disk whose parts are known and allowed.

    Attributes:
        source: as the user named it.
        root: folder with ``model_index.json``.
        family: :data:`STABLE_AUDIO` or :data:`STABLE_AUDIO_3`.
        classes: part → ``module:class``.
        settings: what ``rag_audio.json`` says; absent keys get the family's defaults.
    """

    source: str
    root: Path
    family: str
    classes: Mapping[str, str]
    settings: Mapping[str, Any]

    @property
    def name(self) -> str:
        """For people: from the settings, else the hub id or the folder's name."""
        local = Path(self.source).expanduser().is_dir()
        return str(self.settings.get("name") or (self.root.name if local else self.source))


def find_checkpoint(source: str | Path) -> DiffusionCheckpoint:
    """Look for a checkpoint in a folder, among the embedded models, or on the Hugging Face hub.

    Args:
        source: a folder, the bare name of an embedded model, or a hub id ``owner/name``.

    Raises:
        BackendUnavailable: missing, gated, offline, or not made of the parts we know.
    """
    text = str(source)
    root = _local(text)
    if root is None:
        if not _HUB_ID.fullmatch(text) or isinstance(source, Path):
            raise BackendUnavailable(
                f"no model at {text!r}",
                hint=f"give a folder with model_index.json, or a hub id such as {_HUB_EXAMPLE}",
            )
        root = download(text, ["model_index.json"])
        family, classes = _read_index(text, root)
        folders = [f"{part}/{pattern}" for part in classes for pattern in _FILES]
        root = download(text, ["*.json", *folders])
    else:
        family, classes = _read_index(text, root)
    return DiffusionCheckpoint(text, root, family, classes, _read_settings(text, root))


def load_part(checkpoint: DiffusionCheckpoint, part: str) -> Any:
    """Construct one part and read its weights: float32, in inference mode, on the CPU.

    Raises:
        BackendUnavailable: files are missing or broken, or weights are missing.
    """
    module_name, _, class_name = checkpoint.classes[part].partition(":")
    kind: Any = getattr(importlib.import_module(module_name), class_name)
    if not (checkpoint.root / part).is_dir():
        raise _broken(checkpoint.source, f"folder {part!r} is missing")
    with translated(f"{part} of {checkpoint.source}", _SAFE_ONLY):
        if part in ("tokenizer", "scheduler"):
            return kind.from_pretrained(str(checkpoint.root), subfolder=part, local_files_only=True)
        import torch

        model, report = kind.from_pretrained(
            str(checkpoint.root),
            subfolder=part,
            local_files_only=True,
            use_safetensors=True,
            torch_dtype=torch.float32,
            output_loading_info=True,
        )
    absent = [*report["missing_keys"], *report["mismatched_keys"]]
    if absent:
        raise _broken(checkpoint.source, f"{part} lacks {len(absent)} weights, e.g. {absent[0]}")
    return model.eval().requires_grad_(False)


def fingerprint(checkpoint: DiffusionCheckpoint) -> str:
    """sha256 over names and bytes of all configuration and weights, hex."""
    total = hashlib.sha256()
    files = [checkpoint.root / "model_index.json"]
    for part in sorted(checkpoint.classes):
        folder = checkpoint.root / part
        files += sorted(path for pattern in _FILES for path in folder.glob(pattern))
    for path in files:
        name = path.relative_to(checkpoint.root).as_posix()
        total.update(f"{name}\0{content_hash(path)}\n".encode())
    return total.hexdigest()


def _local(text: str) -> Path | None:
    path = Path(text).expanduser()
    if text and path.is_dir():
        return path
    if re.fullmatch(r"[\w.-]+", text):
        try:
            embedded = resources.data_dir("models") / text
        except ConfigError:
            return None
        if embedded.is_dir():
            return embedded
    return None


def download(hub_id: str, patterns: list[str], *, offline: bool = False) -> Path:
    """Fetch files of a hub repository into the local cache; nothing when they are there.

    Args:
        offline: only look into the cache.

    Raises:
        BackendUnavailable: unknown, gated, or not to be reached.
    """
    import httpx
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        # Half-precision copies lie beside the float32 files in some repositories: one is enough.
        ignore = ["*.fp16.safetensors", "*.bf16.safetensors"]
        return Path(
            snapshot_download(
                hub_id,
                allow_patterns=patterns,
                ignore_patterns=ignore,
                local_files_only=offline,
            )
        )
    except GatedRepoError as error:
        raise BackendUnavailable(
            f"the model {hub_id} is gated",
            hint=f"accept its license on https://huggingface.co/{hub_id}, then set HF_TOKEN",
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise BackendUnavailable(
            f"no model {hub_id!r} on the Hugging Face hub, and no such folder",
            hint="check the spelling; a private model needs HF_TOKEN",
        ) from error
    except (LocalEntryNotFoundError, httpx.TransportError, ConnectionError) as error:
        raise BackendUnavailable(
            f"the model {hub_id} is not on this machine and the hub cannot be reached",
            hint="connect once to fetch it, or copy its folder here and give the path",
        ) from error
    except (EntryNotFoundError, HfHubHTTPError, OSError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise BackendUnavailable(
            f"the model {hub_id} cannot be fetched: {reason}",
            hint="check the network, or try again later",
        ) from error


def _read_index(source: str, root: Path) -> tuple[str, dict[str, str]]:
    """Family, and class of each part, from ``model_index.json``."""
    if not (root / "model_index.json").is_file():
        raise BackendUnavailable(
            f"{source} holds no diffusers checkpoint: model_index.json is missing",
            hint="give the folder that DiffusionPipeline.save_pretrained wrote",
        )
    index = read_json(source, root / "model_index.json")
    pipeline = index.get("_class_name")
    family = _PIPELINES.get(str(pipeline))
    if family is None:
        raise BackendUnavailable(
            f"{source} is a {pipeline}, which rag-audio does not know",
            hint=f"known are {', '.join(_PIPELINES)}",
        )
    classes = {}
    for part, allowed in _ALLOWED[family].items():
        entry = index.get(part)
        if not isinstance(entry, list) or len(entry) != 2:
            raise _broken(source, f"model_index.json names no {part}")
        place = allowed.get((str(entry[0]), str(entry[1])))
        if place is None:
            raise BackendUnavailable(
                f"{source}: {part} is of class {entry[0]}.{entry[1]}, which is not allowed",
                hint=f"allowed are {', '.join(sorted({name for _, name in allowed}))}",
            )
        classes[part] = place
    return family, classes


def _read_settings(source: str, root: Path) -> dict[str, Any]:
    """``rag_audio.json``, with the types of the keys we know checked; empty when absent."""
    path = root / "rag_audio.json"
    settings = read_json(source, path) if path.is_file() else {}
    for key, types in _SETTINGS.items():
        value = settings.get(key)
        wrong_bool = isinstance(value, bool) and bool not in types
        if key in settings and (not isinstance(value, types) or wrong_bool):
            raise _broken(source, f"rag_audio.json has {key} = {value!r}")
    return settings


def read_json(source: str, path: Path) -> dict[str, Any]:
    """The object in a JSON file of a checkpoint.

    Raises:
        BackendUnavailable: it cannot be read, or is no object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _broken(source, f"{path.name} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise _broken(source, f"{path.name} is not a JSON object")
    return content


def _broken(source: str, what: str) -> BackendUnavailable:
    return BackendUnavailable(
        f"the checkpoint {source} is broken: {what}", hint="fetch or export it again"
    )


BROKEN = "files are missing, torn or of another model: fetch or build it again"


@contextmanager
def translated(source: str, hint: str = BROKEN) -> Iterator[None]:
    """Loading by third parties without their bars and notes; what they raise becomes one line.

    Raises:
        BackendUnavailable: they failed; with the hint.
    """
    from safetensors import SafetensorError
    from transformers.utils import logging

    loggers = [logging, sys.modules.get("diffusers.utils.logging")]
    shown = [log for log in loggers if log is not None and log.is_progress_bar_enabled()]
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    for log in shown:
        log.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    except (
        SafetensorError,
        OSError,
        ValueError,
        TypeError,
        LookupError,
        RuntimeError,
        AttributeError,
    ) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise BackendUnavailable(f"{source} cannot be loaded: {first}", hint=hint) from error
    finally:
        logging.set_verbosity(verbosity)
        for log in shown:
            log.enable_progress_bar()
