"""Requests that go through the sampler side by side.

A lane is one request's state while it is sampled. Each lane has its own noise, solver and noise
levels, so that strength, guidance, prompts and even the number of steps may differ; only the
transformer's call is shared, by all lanes whose inputs have the same shape. Latents are
``[N, D, F]``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from rag_audio.backends._family import Conditioning
from rag_audio.backends._masking import Kept
from rag_audio.errors import RagAudioError
from rag_audio.ports import Progress, StopAsked


@dataclass(eq=False)
class Lane:
    """One request on its way.

    Attributes:
        steps: how many it takes.
        latents: ``[N, D, F]`` float32, N its variations. noise: what they began with.
        kept: what a painting keeps.
        outcome: why it left before its end; None while all is well.
    """

    steps: int
    scheduler: Any
    generators: list[torch.Generator]
    latents: torch.Tensor
    noise: torch.Tensor
    conditioning: Conditioning
    kept: Kept | None
    progress: Progress | None
    stop: StopAsked
    outcome: RagAudioError | None = None

    def time(self, step: int) -> torch.Tensor:
        """The model's time at a step, a scalar."""
        return torch.as_tensor(self.scheduler.timesteps[step])

    def sigma(self, step: int) -> float:
        """The noise level before a step."""
        return float(self.scheduler.sigmas[step])

    def doubled(self) -> torch.Tensor:
        """What the transformer is to see: both halves where guided, negative first."""
        return torch.cat([self.latents] * 2) if self.conditioning.guided else self.latents

    def guide(self, output: torch.Tensor) -> torch.Tensor:
        """The transformer's output, guided: u + g·(c − u)."""
        if not self.conditioning.guided:
            return output
        negative, positive = output.chunk(2)
        return negative + self.conditioning.guidance * (positive - negative)

    def advance(self, output: torch.Tensor, step: int) -> None:
        """One step of its solver, told of once it is done."""
        stepped = self.scheduler.step(
            output, self.time(step), self.latents, generator=self.generators
        )
        self.latents = stepped.prev_sample
        if self.progress is not None:
            self.progress(step + 1, self.steps)


def groups_of_shape(lanes: Sequence[Lane]) -> list[list[Lane]]:
    """The lanes whose inputs can be put one below the other, in order."""
    groups: dict[Any, list[Lane]] = {}
    for lane in lanes:
        told = lane.conditioning.inputs
        shapes = tuple(
            (name, tuple(value.shape[1:])) if isinstance(value, torch.Tensor) else (name,)
            for name, value in sorted(told.items())
        )
        groups.setdefault((tuple(lane.latents.shape[1:]), shapes), []).append(lane)
    return list(groups.values())


def joined_inputs(lanes: Sequence[Lane]) -> dict[str, Any]:
    """The transformer's inputs, row below row; what is no tensor depends on shapes alone."""
    if len(lanes) == 1:
        return lanes[0].conditioning.inputs
    first = lanes[0].conditioning.inputs
    return {
        name: torch.cat([lane.conditioning.inputs[name] for lane in lanes])
        if isinstance(value, torch.Tensor)
        else value
        for name, value in first.items()
    }


def joined_times(lanes: Sequence[Lane], rows: Sequence[int], step: int) -> torch.Tensor:
    """``[1]`` for a lane alone, so that it is told as ever; ``[rows]`` for several."""
    if len(lanes) == 1:
        return lanes[0].time(step).unsqueeze(0)
    times = [lane.time(step).expand(count) for lane, count in zip(lanes, rows, strict=True)]
    return torch.cat(times)
