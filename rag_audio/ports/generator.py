"""What makes sound, and what it is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from rag_audio.domain import Audio, ConditioningPlan
from rag_audio.errors import RagAudioError

Progress = Callable[[int, int], None]
"""Called with (done, total)."""

StopAsked = Callable[[], bool]
"""Asked between steps; True raises :class:`rag_audio.errors.Cancelled`."""


@dataclass(frozen=True)
class ModelInfo:
    """What a generator is and likes.

    Attributes:
        id: hash of the weights and configuration: what the ledger records.
        family: ``stable-audio`` or ``stable-audio-3``.
        max_duration_s: longest output of one call.
        max_prompt_tokens: past this the text encoder would cut.
        trained_mask: it was trained to fill holes; other models are led there while they sample.
    """

    name: str
    id: str
    family: str
    sample_rate: int
    channels: int
    max_duration_s: float
    max_prompt_tokens: int
    default_steps: int
    default_guidance: float
    default_strength: float
    untrained: bool
    trained_mask: bool = False


@dataclass(frozen=True, eq=False)
class Painting:
    """Sound of which some regions are to be made anew, and the rest is to be kept.

    Attributes:
        audio: any rate and channel count, at least as long as the output; what it holds in the
            regions is not looked at.
        regions: (start, end) in seconds, within the output, rising and apart from each other.
    """

    audio: Audio
    regions: tuple[tuple[float, float], ...]


@dataclass(frozen=True, eq=False)
class SeedMix(Audio):
    """Seed audio that is to be mixed as latents: ``samples`` are the mix as sound would be.

    Attributes:
        parts: each ``[C, T]`` like the mix. weights: shares of energy, they sum to 1.
    """

    parts: tuple[Audio, ...] = ()
    weights: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False)
class DiffusionInput:
    """One batch for the generator.

    Attributes:
        seeds: one per variation; each item's noise depends on its own seed only.
        strength: 0 < s ≤ 1. At 1 ``init_audio`` is not used at all.
        init_audio: the seed mix, any rate and channel count, at least ``duration_s`` long; a
            :class:`SeedMix` is mixed as latents.
        painting: what is to be kept, and where not; None makes everything. Seed audio then seeds
            the regions only.
    """

    prompt: str
    negative_prompt: str
    duration_s: float
    steps: int
    guidance: float
    seeds: tuple[int, ...]
    strength: float = 1.0
    init_audio: Audio | None = None
    painting: Painting | None = None

    @classmethod
    def of(
        cls, plan: ConditioningPlan, seeds: tuple[int, ...], init_audio: Audio | None = None
    ) -> DiffusionInput:
        """A batch as a plan describes it."""
        return cls(
            prompt=plan.enriched_prompt,
            negative_prompt=plan.negative_prompt,
            duration_s=plan.duration_s,
            steps=plan.steps,
            guidance=plan.guidance,
            seeds=seeds,
            strength=plan.strength,
            init_audio=init_audio,
        )


@dataclass(frozen=True, eq=False)
class Member:
    """A batch that shares a pass of the model with others; as :meth:`Generator.generate` is told.

    Attributes:
        progress, stop_asked: of this member alone.
    """

    batch: DiffusionInput
    progress: Progress | None = None
    stop_asked: StopAsked | None = None


class Generator(Protocol):
    """A diffusion model that makes music."""

    info: ModelInfo

    def count_tokens(self, text: str) -> int:
        """Tokens of ``text`` in the model's own tokenizer, without special tokens."""
        ...

    def generate(
        self,
        batch: DiffusionInput,
        progress: Progress | None = None,
        stop_asked: StopAsked | None = None,
    ) -> tuple[Audio, ...]:
        """One Audio per seed, ``duration_s`` long, at the model's rate and channels.

        With a painting, the kept part comes back as the autoencoder renders it: whoever wants the
        sound itself puts it back in its place.

        Raises:
            Cancelled: ``stop_asked`` said so; within one step.
        """
        ...

    def generate_together(
        self, members: Sequence[Member]
    ) -> list[tuple[Audio, ...] | RagAudioError]:
        """What :meth:`generate` would give or raise for each, made in as few passes as can be.

        Members may differ in everything. Those whose durations and steps agree share most. Sums
        are rounded in another order than in a pass of one: samples agree within 1e-3 of full
        scale, and are not the same to the last bit.

        Raises:
            BackendError: nothing was made, such as for want of memory; one alone may succeed.
        """
        ...

    def forget(self) -> None:
        """Give up whatever is kept of sound that was encoded before."""
        ...
