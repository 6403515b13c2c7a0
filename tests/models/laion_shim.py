"""Stands in for what ``laion-clap`` wants besides itself: torchvision, and files from the hub.

torchvision has no build that fits every torch, and the package uses one class of it. The text
tower and tokenizers that it fetches when imported and made are replaced by small local ones.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any
from unittest.mock import patch

import torch


class FrozenBatchNorm2d(torch.nn.Module):
    """The one name that ``laion_clap`` takes from torchvision and may meet; it is never run."""


class _Unused:
    """Image transforms that the package imports and this project's path does not reach."""


def _torchvision() -> dict[str, ModuleType]:
    names: dict[str, dict[str, type]] = {
        "torchvision": {},
        "torchvision.datasets": {},
        "torchvision.ops": {},
        "torchvision.ops.misc": {"FrozenBatchNorm2d": FrozenBatchNorm2d},
        "torchvision.transforms": {
            name: _Unused
            for name in (
                "Normalize",
                "Compose",
                "RandomResizedCrop",
                "InterpolationMode",
                "ToTensor",
                "Resize",
                "CenterCrop",
            )
        },
    }
    modules = {}
    for name, members in names.items():
        module = ModuleType(name)
        vars(module).update(members)
        modules[name] = module
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(modules[parent], child, module)
    return modules


@contextmanager
def laion_clap_runs(tokenizer: Any, layers: int = 1) -> Iterator[None]:
    """Within it, ``laion_clap`` can be imported and made, offline.

    Args:
        tokenizer: given out for every tokenizer that the package asks the hub for.
        layers: of the text tower, whose width the package fixes at 768.
    """
    import transformers
    from transformers.utils import import_utils

    # Asked once and remembered: transformers must not take the stand-in for the real thing.
    import_utils.is_torchvision_available()
    config = transformers.RobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=768,
        num_hidden_layers=layers,
        num_attention_heads=12,
        intermediate_size=512,
        max_position_embeddings=80,
        layer_norm_eps=1e-5,
    )
    stand_ins = _torchvision()
    sys.modules.update(stand_ins)
    with (
        patch.object(transformers.BertTokenizer, "from_pretrained", return_value=tokenizer),
        patch.object(transformers.RobertaTokenizer, "from_pretrained", return_value=tokenizer),
        patch.object(transformers.BartTokenizer, "from_pretrained", return_value=tokenizer),
        patch.object(
            transformers.RobertaModel,
            "from_pretrained",
            side_effect=lambda *_: transformers.RobertaModel(config),
        ),
    ):
        try:
            yield
        finally:
            for name in stand_ins:
                sys.modules.pop(name, None)
