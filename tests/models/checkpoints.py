"""Small checkpoints that the CLAP tests share, made once per process and removed at its end."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from tests.models.laion_shim import laion_clap_runs

_KEPT: list[TemporaryDirectory[str]] = []


def _folder() -> Path:
    _KEPT.append(TemporaryDirectory(prefix="rag-audio-tests-"))
    return Path(_KEPT[-1].name)


@cache
def mini_clap() -> Path:
    """An untrained clap-mini."""
    from training.untrained_clap import build

    folder = _folder() / "clap-mini"
    build(folder)
    return folder


@cache
def small_tokenizer() -> Any:
    """A tokenizer of 300 tokens for LAION's text tower."""
    from training.untrained_clap import train_tokenizer

    return train_tokenizer(["slow warm pad funky drums in a minor"], vocab_size=300)


@cache
def laion_file(tower: str = "HTSAT-tiny") -> Path:
    """A randomly initialised checkpoint as LAION's training script stores it."""
    with laion_clap_runs(small_tokenizer()):
        from rag_audio.models.clap_laion import import_package

        torch.manual_seed(3)
        module = import_package().CLAP_Module(enable_fusion=False, device="cpu", amodel=tower)
    _make_lively(module.model)
    state = {f"module.{name}": weight for name, weight in module.model.state_dict().items()}
    state["module.text_branch.embeddings.position_ids"] = torch.arange(80)[None]
    path = _folder() / f"random-{tower}.pt"
    torch.save({"epoch": 1, "name": "random", "state_dict": state, "best": np.float64(0.5)}, path)
    return path


def _make_lively(model: torch.nn.Module) -> None:
    """Weights large enough that a swapped matrix would show, and statistics of real log-mels."""
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.xavier_normal_(module.weight)
            if module.bias is not None:
                torch.nn.init.normal_(module.bias, std=0.1)
    for name, weight in model.named_parameters():
        if name.endswith("relative_position_bias_table"):
            torch.nn.init.normal_(weight, std=0.5)
        elif "norm" in name.lower() or ".bn0." in name:
            torch.nn.init.uniform_(weight, 0.5, 1.5)
    model.get_buffer("audio_branch.bn0.running_mean").fill_(-40.0)
    model.get_buffer("audio_branch.bn0.running_var").fill_(400.0)
