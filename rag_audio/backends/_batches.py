"""What the diffusion models are asked for: what of it takes part, and what they refuse."""

from __future__ import annotations

import math
from collections.abc import Callable

from rag_audio.errors import InvalidInput
from rag_audio.ports import DiffusionInput, ModelInfo


def uses_reference(batch: DiffusionInput) -> bool:
    """Whether seed audio takes part; without any, or at strength 1, this is text-to-audio."""
    return batch.init_audio is not None and batch.strength < 1.0


def check_batch(batch: DiffusionInput, info: ModelInfo, count_tokens: Callable[[str], int]) -> None:
    """Refuse what the model cannot do as asked.

    Raises:
        InvalidInput: quoting the value.
    """
    if not batch.seeds:
        raise InvalidInput("seeds must hold one number per variation, got none")
    if any(not 0 <= seed < 2**63 for seed in batch.seeds):
        raise InvalidInput(f"seeds must be 0…2^63-1, got {batch.seeds}")
    if not 0 < batch.strength <= 1:
        raise InvalidInput(f"strength must be more than 0 and at most 1, got {batch.strength:g}")
    if batch.steps < 1:
        raise InvalidInput(f"steps must be at least 1, got {batch.steps}")
    if not 0 < batch.duration_s <= info.max_duration_s + 1e-6:
        raise InvalidInput(
            f"duration must be more than 0 s and at most {info.max_duration_s:g} s with "
            f"{info.name}, got {batch.duration_s:g} s"
        )
    if not 0 <= batch.guidance < math.inf:
        raise InvalidInput(f"guidance must be 0 or more, got {batch.guidance:g}")
    if batch.negative_prompt.strip() and batch.guidance <= 1:
        raise InvalidInput(
            f"a negative prompt has no effect at guidance {batch.guidance:g}",
            hint="raise the guidance above 1, for example to 3",
        )
    for what, text in (("prompt", batch.prompt), ("negative prompt", batch.negative_prompt)):
        tokens = count_tokens(text)
        if tokens > info.max_prompt_tokens:
            raise InvalidInput(
                f"the {what} has {tokens} tokens, {info.name} reads {info.max_prompt_tokens}",
                hint="shorten it: the rest would be lost",
            )
