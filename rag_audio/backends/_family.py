"""What a family of diffusion models says of itself, so that both are sampled by one loop.

Latents are ``[B, D, F]``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch

from rag_audio.ports import DiffusionInput


@dataclass(frozen=True)
class Defaults:
    """What a family does when neither the request nor ``rag_audio.json`` says."""

    steps: int
    guidance: float
    strength: float
    max_duration_s: float


@dataclass(frozen=True)
class Conditioning:
    """What the transformer is told at each step, negative half first when guided.

    Attributes:
        inputs: keyword arguments of the transformer.
        guidance: scale of classifier-free guidance; at most 1 means none.
    """

    inputs: dict[str, Any]
    guidance: float

    @property
    def guided(self) -> bool:
        """Whether the transformer runs on both halves."""
        return self.guidance > 1.0


class Family(ABC):
    """The parts of :class:`rag_audio.backends._diffusion.LatentDiffusion` that differ by family."""

    @property
    @abstractmethod
    def _latent_dim(self) -> int: ...

    @abstractmethod
    def _make_pipeline(self, parts: dict[str, Any]) -> Any:
        """The stock pipeline around the parts: its prompt and duration encoding are used."""

    @abstractmethod
    def _defaults(self) -> Defaults: ...

    @abstractmethod
    def _window(self) -> int:
        """Tokens that the text encoder reads, special ones included."""

    @abstractmethod
    def _frames(self, samples: int) -> int:
        """Latent frames that sampling works on for an output of so many samples."""

    @abstractmethod
    def _padded(self, wave: torch.Tensor) -> torch.Tensor:
        """The seed ``[1, C, T]``, made as long as sampling's frames."""

    @abstractmethod
    def _condition(self, batch: DiffusionInput, count: int) -> Conditioning: ...

    @abstractmethod
    def _schedule(self, steps: int, strength: float) -> Any:
        """A fresh scheduler whose timesteps are set."""

    @abstractmethod
    def _start(
        self,
        scheduler: Any,
        noise: torch.Tensor,
        reference: torch.Tensor | None,
        strength: float,
    ) -> torch.Tensor: ...

    def _has_mask(self) -> bool:
        """Whether the transformer has an input for in-painting."""
        return False

    @abstractmethod
    def _noised(self, latents: torch.Tensor, noise: torch.Tensor, sigma: float) -> torch.Tensor:
        """Latents at a noise level, in the model's form."""

    @abstractmethod
    def _output_for(self, latents: torch.Tensor, x: torch.Tensor, sigma: float) -> torch.Tensor:
        """The output by which the model would say that ``x`` at ``sigma`` is ``latents``."""

    @abstractmethod
    def _seed_solver(self, scheduler: Any, x: torch.Tensor, seeds: tuple[int, ...]) -> None: ...

    def _scaled(self, scheduler: Any, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Latents at time ``t`` (a scalar) as the transformer wants them."""
        return x

    @abstractmethod
    def _predict(
        self, x: torch.Tensor, times: torch.Tensor, inputs: dict[str, Any]
    ) -> torch.Tensor:
        """The transformer's output; ``times`` is ``[1]`` for all rows, or one per row."""

    @abstractmethod
    def _finish(self, wave: torch.Tensor) -> torch.Tensor:
        """The family's last touch on decoded sound ``[1, C, T]``."""
