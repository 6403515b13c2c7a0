"""LAION's CLAP checkpoints (``.pt``): read safely, described, and renamed for transformers.

LAION's files are pickles of a training state: ``state_dict`` beside the optimizer's. They are read
with ``weights_only=True``, so that a file cannot run code. The towers' sizes are not written in
them and are taken from the shapes. Covered are HTSAT audio towers (tiny, base) without fusion and
RoBERTa text towers: ``630k-audioset-best.pt``, ``music_audioset_epoch_15_esc_90.14.pt`` and kin.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rag_audio.errors import BackendUnavailable

if TYPE_CHECKING:
    import torch

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
