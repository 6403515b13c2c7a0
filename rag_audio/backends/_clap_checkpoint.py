"""Opens CLAP checkpoints: a directory, a name on the hub, or a LAION ``.pt`` file.

Whatever goes wrong (no network, a gated repository, missing or torn files, another architecture)
ends as one :class:`~rag_audio.errors.BackendUnavailable` that says what to do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rag_audio.backends import _clap_laion
from rag_audio.backends._clap_frontend import MelSettings
from rag_audio.errors import BackendUnavailable

LAION_SUFFIXES = (".pt", ".pth", ".ckpt")
TEXT_TOKENIZER = "roberta-base"
"""The tokenizer that LAION's checkpoints were trained with and do not contain."""

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_SMALL_FILES = ["*.json", "*.txt"]
_TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "vocab.txt")


_UNTRAINED_TEXT = 0.05


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A CLAP model, ready to run on the CPU in float32.

    Attributes:
        name: for people.
        model: ``transformers.ClapModel`` in evaluation mode.
        tokenizer: of its text tower.
        mel: how it wants to hear.
        untrained: True when its ``rag_audio.json`` says so.
        text_weight: as its ``rag_audio.json`` says; else 1, and near 0 for random weights.
    """

    name: str
    model: Any
    tokenizer: Any
    mel: MelSettings
    untrained: bool
    text_weight: float = 1.0


def open_checkpoint(source: str | Path, tokenizer: Any = None) -> Checkpoint:
    """Open a checkpoint by directory, hub name or LAION file.

    Args:
        source: an existing directory or ``.pt`` file, or a name on the hub.
        tokenizer: replaces the checkpoint's own; a directory, a hub name or an object. For a LAION
            file, which has none, see :func:`find_tokenizer`.

    Raises:
        BackendUnavailable: it cannot be had or read.
    """
    folder = checkpoint_folder(source)
    if folder is None:
        return _open_laion(Path(source).expanduser(), tokenizer)
    return _open_folder(folder, str(source), tokenizer)


def checkpoint_folder(source: str | Path) -> Path | None:
    """The folder of a checkpoint, fetched from the hub where this machine lacks it; None: it is a
    LAION file.

    Raises:
        BackendUnavailable: it cannot be had.
    """
    path = Path(source).expanduser()
    if path.suffix in LAION_SUFFIXES:
        return None
    return path if path.is_dir() else _from_hub(str(source))


def _open_folder(folder: Path, source: str, tokenizer: Any) -> Checkpoint:
    from transformers import AutoTokenizer, ClapFeatureExtractor, ClapModel

    facts = _read_json(folder / "rag_audio.json") if (folder / "rag_audio.json").exists() else {}
    config = _read_json(folder / "config.json")
    if config.get("model_type") != "clap":
        raise BackendUnavailable(
            f"{source} is a {config.get('model_type')!r} model, not a CLAP",
            hint="give a checkpoint of transformers' ClapModel",
        )
    with translated(source):
        model, report = ClapModel.from_pretrained(
            folder,
            dtype="float32",
            local_files_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported below, with their names
        )
        extractor = ClapFeatureExtractor.from_pretrained(folder, local_files_only=True)
    amiss = _amiss(report["missing_keys"], report["mismatched_keys"])
    if amiss:
        raise BackendUnavailable(
            f"{source} lacks {len(amiss)} weights, {amiss[0]} first",
            hint="the checkpoint is incomplete: download or build it again",
        )
    if tokenizer is None:
        _require_tokenizer(folder, source)
        with translated(source):
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    else:
        tokenizer = _as_tokenizer(tokenizer)
    untrained = bool(facts.get("untrained", False))
    return Checkpoint(
        name=str(facts.get("name") or folder.name if Path(source).is_dir() else source),
        model=model.eval(),
        tokenizer=tokenizer,
        mel=MelSettings.of_extractor(extractor),
        untrained=untrained,
        text_weight=float(facts.get("text_weight", _UNTRAINED_TEXT if untrained else 1.0)),
    )


def _open_laion(path: Path, tokenizer: Any) -> Checkpoint:
    from transformers import ClapModel

    laion = _clap_laion.read_state(path)
    tower = _clap_laion.audio_tower(path, laion)
    tokenizer = find_tokenizer(path, tokenizer)
    with translated(str(path)):
        config = _clap_laion.transformers_config(laion)
        state = _clap_laion.transformers_state(laion)
        model, report = ClapModel.from_pretrained(
            None,
            config=config,
            state_dict=state,
            dtype="float32",
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported below, with their names
        )
    amiss = _amiss(*(report[f"{kind}_keys"] for kind in ("missing", "mismatched", "unexpected")))
    if amiss:
        raise BackendUnavailable(
            f"{path} does not fit {tower}: {len(amiss)} weights differ, {amiss[0]} first",
            hint="HTSAT-tiny and HTSAT-base checkpoints with RoBERTa can be loaded",
        )
    return Checkpoint(
        name=path.stem,
        model=model.eval(),
        tokenizer=tokenizer,
        mel=MelSettings(),
        untrained=False,
    )


def _amiss(*reports: Iterable[Any]) -> list[str]:
    """Names of weights that a load reported on, without the indices that are no weights."""
    names = {
        str(entry[0] if isinstance(entry, tuple) else entry)
        for report in reports
        for entry in report
    }
    return sorted(name for name in names if not name.endswith((".position_ids", ".token_type_ids")))


def find_tokenizer(path: Path, tokenizer: Any = None) -> Any:
    """The tokenizer of a LAION file: the one given, one lying beside the file, or the hub's.

    Beside the file means ``roberta-base/`` in its folder, or tokenizer files in the folder itself.

    Raises:
        BackendUnavailable: none is found.
    """
    if tokenizer is not None:
        return _as_tokenizer(tokenizer)
    for folder in (path.parent / TEXT_TOKENIZER, path.parent):
        if _has_tokenizer(folder):
            return _as_tokenizer(folder)
    try:
        return _as_tokenizer(TEXT_TOKENIZER)
    except BackendUnavailable as error:
        raise BackendUnavailable(
            f"{path.name} comes without a tokenizer, and {TEXT_TOKENIZER}'s cannot be found",
            hint=f"put the tokenizer files of {TEXT_TOKENIZER} into {path.parent / TEXT_TOKENIZER}",
        ) from error


def _as_tokenizer(tokenizer: Any) -> Any:
    from transformers import AutoTokenizer

    if not isinstance(tokenizer, str | Path):
        return tokenizer
    folder = Path(tokenizer)
    if not folder.is_dir():
        folder = _from_hub(str(tokenizer), weights=False)
    _require_tokenizer(folder, str(tokenizer))
    with translated(str(tokenizer)):
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def _has_tokenizer(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _TOKENIZER_FILES)


def _require_tokenizer(folder: Path, source: str) -> None:
    if not _has_tokenizer(folder):
        raise BackendUnavailable(
            f"{source} has no tokenizer.json", hint="add the files of its tokenizer"
        )


def _from_hub(source: str, weights: bool = True) -> Path:
    """The local snapshot of a hub repository; fetched when this machine lacks it."""
    if not _HUB_ID.fullmatch(source):
        raise BackendUnavailable(
            f"no CLAP checkpoint at {source}", hint="give a directory, a .pt file or a hub name"
        )
    cached = _snapshot(source, _SMALL_FILES, offline=True)
    if cached is not None and (_has_weights(cached) if weights else _has_tokenizer(cached)):
        return cached
    folder = _snapshot(source, [*_SMALL_FILES, *(["*.safetensors"] if weights else [])])
    if weights and folder is not None and not _has_weights(folder):
        folder = _snapshot(source, [*_SMALL_FILES, "pytorch_model*.bin"])
    if folder is None:
        raise BackendUnavailable(
            f"{source} is neither a local directory nor available from the hub",
            hint="check the name and the network; a private one needs `hf auth login`",
        )
    return folder


def _snapshot(source: str, patterns: list[str], offline: bool = False) -> Path | None:
    import httpx
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError

    try:
        return Path(snapshot_download(source, allow_patterns=patterns, local_files_only=offline))
    except GatedRepoError as error:
        raise BackendUnavailable(
            f"{source} is gated on the hub",
            hint=f"accept its terms at https://huggingface.co/{source}, then run `hf auth login`",
        ) from error
    except (HfHubHTTPError, httpx.HTTPError, OSError, ValueError):
        return None  # unknown, private, or no network and nothing cached: the caller says so


def _has_weights(folder: Path) -> bool:
    return any(folder.glob("*.safetensors")) or any(folder.glob("pytorch_model*.bin"))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BackendUnavailable(
            f"{path.parent} has no {path.name}: not a CLAP checkpoint",
            hint="give a directory written by ClapModel.save_pretrained",
        ) from error
    except (OSError, ValueError) as error:
        raise BackendUnavailable(
            f"{path} cannot be read as JSON", hint="download or build the checkpoint again"
        ) from error
    if not isinstance(facts, dict):
        raise BackendUnavailable(f"{path} holds no JSON object", hint="build it again")
    return facts


BROKEN = "files are missing, torn or of another model: download or build it again"


@contextmanager
def translated(source: str, hint: str = BROKEN) -> Iterator[None]:
    """Quiet loading by third parties, whose errors become one line and the hint."""
    from safetensors import SafetensorError
    from transformers.utils import logging

    bars, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
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
        raise BackendUnavailable(
            f"{source} cannot be loaded: {first}",
            hint=hint,
        ) from error
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
