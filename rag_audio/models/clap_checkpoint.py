"""Opens CLAP checkpoints: a directory, a name on the hub, or a LAION ``.pt`` file.

Whatever goes wrong (no network, a gated repository, missing or torn files, another architecture)
ends as one :class:`~rag_audio.errors.BackendUnavailable` that says what to do.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rag_audio.errors import BackendUnavailable
from rag_audio.models.checkpoints import download, read_json, translated
from rag_audio.models.clap_frontend import MelSettings

if TYPE_CHECKING:
    import torch


# LAION's CLAP checkpoints (``.pt``): read safely, described, and renamed for transformers.
#
# LAION's files are pickles of a training state: ``state_dict`` beside the optimizer's. They are
# read with ``weights_only=True``, so that a file cannot run code. The towers' sizes are not
# written in them and are taken from the shapes. Covered are HTSAT audio towers (tiny, base)
# without fusion and RoBERTa text towers: ``630k-audioset-best.pt``,
# ``music_audioset_epoch_15_esc_90.14.pt`` and kin.

State = dict[str, "torch.Tensor"]

WIDTHS = {96: "HTSAT-tiny", 128: "HTSAT-base"}
"""Patch embedding width → LAION's name of the audio tower."""

_TEXT_HEAD_SIZE = 64
_NOT_CARRIED = re.compile(
    r"audio_transform\.|text_transform\.|audio_branch\.(tscam_conv|head|spectrogram_extractor"
    r"|logmel_extractor)\.|.*\.attn_mask$|attn_mask$"
)
"""Training heads, fixed filters and masks: no part of an embedding, or computed anew."""

_RENAMES = (
    (r"^text_branch\.", "text_model."),
    (r"^audio_branch\.", "audio_model.audio_encoder."),
    (r"^(audio|text)_projection\.0\.", r"\1_projection.linear1."),
    (r"^(audio|text)_projection\.2\.", r"\1_projection.linear2."),
    (r"\.bn0\.", ".batch_norm."),
    (r"(\.blocks\.\d+)\.norm1\.", r"\1.layernorm_before."),
    (r"(\.blocks\.\d+)\.norm2\.", r"\1.layernorm_after."),
    (r"(\.blocks\.\d+)\.mlp\.fc1\.", r"\1.intermediate.dense."),
    (r"(\.blocks\.\d+)\.mlp\.fc2\.", r"\1.output.dense."),
    (r"(\.blocks\.\d+)\.attn\.proj\.", r"\1.attention.output.dense."),
    (r"(\.blocks\.\d+)\.attn\.", r"\1.attention.self."),
)


def read_state(path: Path) -> State:
    """The weights of a LAION checkpoint, by LAION's names, without unpickling anything else.

    Raises:
        BackendUnavailable: no such file, not a checkpoint, torn, fused, or not HTSAT + RoBERTa.
    """
    if not path.is_file():
        raise BackendUnavailable(
            f"no CLAP checkpoint at {path}", hint="download it from LAION and give its path"
        )
    checkpoint = _load(path)
    state = checkpoint.get("state_dict", checkpoint) if isinstance(checkpoint, dict) else None
    if not isinstance(state, dict) or not state:
        raise BackendUnavailable(f"{path} holds no weights", hint="download it again")
    state = {str(name).removeprefix("module."): weight for name, weight in state.items()}
    _check_family(path, state)
    return state


def _load(path: Path) -> Any:
    import pickle

    import torch

    try:
        with torch.serialization.safe_globals(_numpy_scalars()):
            return torch.load(
                path,
                map_location="cpu",
                weights_only=True,
                mmap=zipfile.is_zipfile(path) or None,
            )
    except pickle.UnpicklingError as error:
        raise BackendUnavailable(
            f"{path} is not a checkpoint, or holds more than weights: not loaded",
            hint="use the .pt file as LAION publishes it",
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise BackendUnavailable(
            f"{path} cannot be read as a checkpoint: it may be torn",
            hint="download it again",
        ) from error


def _numpy_scalars() -> list[Any]:
    """What a stored NumPy number needs to be rebuilt: LAION's files hold their best metrics so."""
    from _codecs import encode

    scalar = np.float64(0.0).__reduce__()[0]
    return [
        (scalar, "numpy.core.multiarray.scalar"),
        (scalar, "numpy._core.multiarray.scalar"),
        np.dtype,
        type(np.dtype(np.float64)),
        type(np.dtype(np.float32)),
        type(np.dtype(np.int64)),
        encode,
    ]


def _check_family(path: Path, state: State) -> None:
    if any("mel_conv" in name or "fusion_model" in name for name in state):
        raise BackendUnavailable(
            f"{path} is a fusion checkpoint, whose crops are random",
            hint="use one without fusion, such as 630k-audioset-best.pt",
        )
    for needed, what in (
        ("audio_branch.patch_embed.proj.weight", "an HTSAT audio tower"),
        ("text_branch.embeddings.word_embeddings.weight", "a RoBERTa text tower"),
        ("text_projection.0.weight", "projections"),
        ("audio_projection.0.weight", "projections"),
    ):
        if needed not in state:
            raise BackendUnavailable(
                f"{path} lacks {what} ({needed})",
                hint="HTSAT-tiny and HTSAT-base checkpoints with RoBERTa can be loaded",
            )


def audio_tower(path: Path, state: State) -> str:
    """LAION's name of the audio tower, by its width: ``HTSAT-tiny`` or ``HTSAT-base``.

    Raises:
        BackendUnavailable: another width.
    """
    width = int(state["audio_branch.patch_embed.proj.weight"].shape[0])
    if width not in WIDTHS:
        raise BackendUnavailable(
            f"{path} has an HTSAT of width {width}", hint=f"known widths: {sorted(WIDTHS)}"
        )
    return WIDTHS[width]


def transformers_config(state: State) -> Any:
    """The ``ClapConfig`` of a LAION state, from its shapes."""
    from transformers import ClapConfig

    table = "audio_branch.layers.{}.blocks.0.attn.relative_position_bias_table"
    stages = _count(state, r"audio_branch\.layers\.(\d+)\.")
    width = int(state["audio_branch.patch_embed.proj.weight"].shape[0])
    words, hidden = state["text_branch.embeddings.word_embeddings.weight"].shape
    return ClapConfig(
        audio_config={
            "patch_embeds_hidden_size": width,
            "hidden_size": width * 2 ** (stages - 1),
            "depths": [
                _count(state, rf"audio_branch\.layers\.{stage}\.blocks\.(\d+)\.")
                for stage in range(stages)
            ],
            "num_attention_heads": [
                int(state[table.format(stage)].shape[1]) for stage in range(stages)
            ],
            "num_mel_bins": int(state["audio_branch.bn0.weight"].shape[0]),
            "enable_fusion": False,
        },
        text_config={
            "vocab_size": int(words),
            "hidden_size": int(hidden),
            "num_hidden_layers": _count(state, r"text_branch\.encoder\.layer\.(\d+)\."),
            "num_attention_heads": int(hidden) // _TEXT_HEAD_SIZE,
            "intermediate_size": int(
                state["text_branch.encoder.layer.0.intermediate.dense.weight"].shape[0]
            ),
            "max_position_embeddings": int(
                state["text_branch.embeddings.position_embeddings.weight"].shape[0]
            ),
            "type_vocab_size": int(
                state["text_branch.embeddings.token_type_embeddings.weight"].shape[0]
            ),
            "layer_norm_eps": 1e-5,  # roberta-base's; transformers' CLAP default is 1e-12
        },
        projection_dim=int(state["audio_projection.2.weight"].shape[0]),
    )


def _count(state: State, pattern: str) -> int:
    found = (re.match(pattern, name) for name in state)
    return 1 + max(int(match[1]) for match in found if match)


def transformers_state(state: State) -> State:
    """LAION's weights under the names of ``transformers.ClapModel``.

    The joint query-key-value matrices are split in three; training heads are left out.
    """
    renamed: State = {}
    for name, weight in state.items():
        if _NOT_CARRIED.match(name):
            continue
        for pattern, replacement in _RENAMES:
            name = re.sub(pattern, replacement, name)
        if ".self.qkv." in name:
            for part, third in zip(("query", "key", "value"), weight.chunk(3), strict=True):
                renamed[name.replace(".qkv.", f".{part}.")] = third.contiguous()
        else:
            renamed[name] = weight
    return renamed


LAION_SUFFIXES = (".pt", ".pth", ".ckpt")
TEXT_TOKENIZER = "roberta-base"
"""The tokenizer that LAION's checkpoints were trained with and do not contain."""

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_SMALL_FILES = ["*.json", "*.txt"]
_TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "vocab.txt")


_UNTRAINED_TEXT = 0.05


@dataclass(frozen=True, eq=False)
class ClapCheckpoint:
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


def open_checkpoint(source: str | Path, tokenizer: Any = None) -> ClapCheckpoint:
    """Open a checkpoint by directory, hub name or LAION file.

    Args:
        source: an existing directory or ``.pt`` file, or a name on the hub.
        tokenizer: replaces the checkpoint's own; a directory, a hub name or an object. For a LAION
            file, which has none, see :func:`find_tokenizer`.

    Raises:
        BackendUnavailable: it is not available or cannot be read.
    """
    folder = checkpoint_folder(source)
    if folder is None:
        return _open_laion(Path(source).expanduser(), tokenizer)
    return _open_folder(folder, str(source), tokenizer)


def checkpoint_folder(source: str | Path) -> Path | None:
    """The folder of a checkpoint, fetched from the hub where this machine lacks it; None: it is a
    LAION file.

    Raises:
        BackendUnavailable: it is not available.
    """
    path = Path(source).expanduser()
    if path.suffix in LAION_SUFFIXES:
        return None
    return path if path.is_dir() else _from_hub(str(source))


def _open_folder(folder: Path, source: str, tokenizer: Any) -> ClapCheckpoint:
    from transformers import AutoTokenizer, ClapFeatureExtractor, ClapModel

    if not (folder / "config.json").is_file():
        raise BackendUnavailable(
            f"{folder} has no config.json: not a CLAP checkpoint",
            hint="give a directory written by ClapModel.save_pretrained",
        )
    config, own = read_json(source, folder / "config.json"), folder / "rag_audio.json"
    facts = read_json(source, own) if own.exists() else {}
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
    return ClapCheckpoint(
        name=str(facts.get("name") or folder.name if Path(source).is_dir() else source),
        model=model.eval(),
        tokenizer=tokenizer,
        mel=MelSettings.of_extractor(extractor),
        untrained=untrained,
        text_weight=float(facts.get("text_weight", _UNTRAINED_TEXT if untrained else 1.0)),
    )


def _open_laion(path: Path, tokenizer: Any) -> ClapCheckpoint:
    from transformers import ClapModel

    laion = read_state(path)
    tower = audio_tower(path, laion)
    tokenizer = find_tokenizer(path, tokenizer)
    with translated(str(path)):
        config = transformers_config(laion)
        state = transformers_state(laion)
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
    return ClapCheckpoint(
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
    with suppress(BackendUnavailable):
        cached = download(source, _SMALL_FILES, offline=True)
        if _has_weights(cached) if weights else _has_tokenizer(cached):
            return cached
    folder = download(source, [*_SMALL_FILES, *(["*.safetensors"] if weights else [])])
    if weights and not _has_weights(folder):
        folder = download(source, [*_SMALL_FILES, "pytorch_model*.bin"])
    return folder


def _has_weights(folder: Path) -> bool:
    return any(folder.glob("*.safetensors")) or any(folder.glob("pytorch_model*.bin"))
