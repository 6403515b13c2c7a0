"""What the two Stable Audio families share: strength, noise, the sampling loop, its guards.

Latents are ``[B, D, F]``. Strength s ∈ (0, 1] means one thing on both families: the latents that
sampling starts from have a signal-to-noise ratio of 20·log₁₀((1 − s)/s) dB relative to the RMS of
the reference latents, and s = 1 is plain text-to-audio, in which the reference takes no part.
"""

from __future__ import annotations

import math
import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, TypeVar

import numpy as np
import torch

from rag_audio.domain import Audio
from rag_audio.domain.ports import DiffusionInput, Member, ModelInfo, Progress, SeedMix, StopAsked
from rag_audio.errors import BackendError, Cancelled, InvalidInput, RagAudioError
from rag_audio.models.checkpoints import DiffusionCheckpoint, fingerprint, load_part
from rag_audio.models.device import cast_weights, pick_device, pick_dtype, working_on
from rag_audio.models.latents import (
    LOW_MEMORY_TILE_FRAMES,
    TILE_FRAMES,
    Codec,
    Kept,
    check_painting,
    content_of,
    draw_noise,
    frame_mask,
    make_generators,
    mix_latents,
    seed_wave,
)
from rag_audio.models.unknown_tokens import reads_all


@dataclass(frozen=True)
class Conditioning:
    """What the transformer is given at each step, negative half first when guided.

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


# Requests that go through the sampler side by side.
#
# A lane is one request's state while it is sampled. Each lane has its own noise, solver and noise
# levels, so that strength, guidance, prompts and even the number of steps may differ; only the
# transformer's call is shared, by all lanes whose inputs have the same shape. Latents are
# ``[N, D, F]``.


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
    """``[1]`` for a lane alone, as in a pass of one; ``[rows]`` for several."""
    if len(lanes) == 1:
        return lanes[0].time(step).unsqueeze(0)
    times = [lane.time(step).expand(count) for lane, count in zip(lanes, rows, strict=True)]
    return torch.cat(times)


# What the diffusion models are asked for: what of it takes part, and what they refuse.


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


_KEPT_LATENTS, _KEPT_TEXTS = 8, 32
_STOPPED = "stopped; nothing was generated"

T = TypeVar("T")


class LatentDiffusion(ABC):
    """The sampling loop over a diffusers pipeline's own components.

    The transformer runs in ``dtype``; solver state, conditioning and autoencoder are float32.

    Args:
        checkpoint: what to load.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        low_memory: one item at a time, short tiles, attention slices where the class has them,
            and on CUDA each part on the device only while it works.
        dtype: of the transformer: ``float32``, ``bfloat16`` or ``float16``; None takes float32 on
            the CPU, on CUDA bfloat16 where the GPU has it, else float16.

    Attributes:
        info: see :class:`rag_audio.domain.ports.ModelInfo`.
    """

    info: ModelInfo

    def __init__(
        self,
        checkpoint: DiffusionCheckpoint,
        *,
        device: str = "cpu",
        low_memory: bool = False,
        dtype: str | None = None,
    ) -> None:
        self._device = pick_device(device)
        self._dtype = pick_dtype(dtype, self._device)
        self._low_memory = low_memory
        parts = {part: load_part(checkpoint, part) for part in checkpoint.classes}
        cast_weights(parts["transformer"], self._dtype)
        self._pipe: Any = self._make_pipeline(parts)
        self._codec = Codec(parts["vae"], LOW_MEMORY_TILE_FRAMES if low_memory else TILE_FRAMES)
        self._offloaded = low_memory and self._device.type == "cuda"
        with working_on(self._device):
            if self._offloaded:
                self._pipe.enable_model_cpu_offload(device=self._device)
            else:
                for part in parts.values():
                    if isinstance(part, torch.nn.Module):
                        part.to(self._device)
        if low_memory:
            self._pipe.enable_attention_slicing()
        self.info = self._describe(checkpoint)
        # The same prompt or seed audio is often asked for again. What is kept is never changed.
        self._latents: OrderedDict[Hashable, torch.Tensor] = OrderedDict()
        self._encoded = lru_cache(_KEPT_TEXTS)(self._pipe.encode_prompt)
        # Components and offload hooks hold state while they run: one batch at a time.
        self._busy = threading.Lock()

    def count_tokens(self, text: str) -> int:
        """Tokens of ``text`` in the model's own tokenizer, without special tokens."""
        # verbose=False: the tokenizer would warn of long texts, which are refused elsewhere.
        ids = self._pipe.tokenizer(text, add_special_tokens=False, verbose=False).input_ids
        return len(ids)

    def can_read(self, text: str) -> bool:
        """See :class:`rag_audio.domain.ports.ReadsText`."""
        return reads_all(self._pipe.tokenizer, text)

    def generate(
        self,
        batch: DiffusionInput,
        progress: Progress | None = None,
        stop_asked: StopAsked | None = None,
    ) -> tuple[Audio, ...]:
        """One Audio per seed; see :class:`rag_audio.domain.ports.Generator`.

        With a distilled or unguided model a negative prompt is refused, never ignored.

        Raises:
            InvalidInput: a value cannot be used, or the prompt would be cut.
            Cancelled: ``stop_asked`` said so; within one step.
            BackendError: the device has too little memory, or the result is not finite.
        """
        (made,) = self.generate_together([Member(batch, progress, stop_asked)])
        if isinstance(made, RagAudioError):
            raise made
        return made

    def generate_together(
        self, members: Sequence[Member]
    ) -> list[tuple[Audio, ...] | RagAudioError]:
        """One outcome per member; see :class:`rag_audio.domain.ports.Generator`.

        Low memory takes one after the other.

        Raises:
            BackendError: the device has too little memory for all of them at once.
        """
        if self._low_memory and len(members) > 1:
            return [made for one in members for made in self.generate_together([one])]
        stops = [one.stop_asked or (lambda: False) for one in members]
        with self._at_work(lambda: all(stop() for stop in stops)):
            asked = [
                _outcome(partial(self._lanes, one, stop))
                for one, stop in zip(members, stops, strict=True)
            ]
            lanes = [lane for found in asked if isinstance(found, list) for lane in found]
            for together in [[lane] for lane in lanes] if self._low_memory else [lanes]:
                self._run(together)
            return [
                _outcome(partial(self._sounds, found, one.batch))
                if isinstance(found, list)
                else found
                for found, one in zip(asked, members, strict=True)
            ]

    @contextmanager
    def _at_work(self, stop: StopAsked) -> Iterator[None]:
        """Hold the components, as soon as nobody else does."""
        while not self._busy.acquire(timeout=0.05):
            _check_stop(stop)
        try:
            with working_on(self._device):
                yield
        finally:
            self._free()
            self._busy.release()

    def reference_latents(self, audio: Audio, duration_s: float) -> torch.Tensor:
        """What the seed audio becomes: ``[1, D, F]``, float32, F the frames sampling works on.

        Raises:
            InvalidInput: too short for the duration, or not finite.
        """
        if isinstance(audio, SeedMix):
            parts = [self.reference_latents(part, duration_s) for part in audio.parts]
            return mix_latents(parts, audio.weights)
        samples, kept = self._samples(duration_s), self._latents
        key = (content_of(audio), samples)
        if key not in kept:
            wave = seed_wave(audio, self._codec, samples)
            with working_on(self._device):
                kept[key] = self._codec.encode(self._padded(wave).to(self._device))
            self._free()
        kept.move_to_end(key)
        if len(kept) > _KEPT_LATENTS:
            kept.popitem(last=False)
        return kept[key]

    def forget(self) -> None:
        """Give up the latents that are kept of what was encoded before."""
        with self._busy:
            self._latents.clear()

    def _lanes(self, member: Member, stop: StopAsked) -> list[Lane]:
        """A request before its first step: all of it, with low memory each item by itself."""
        batch = member.batch
        check_batch(batch, self.info, self.count_tokens)
        check_painting(batch)
        groups = [(seed,) for seed in batch.seeds] if self._low_memory else [batch.seeds]
        total = len(groups) * batch.steps
        return [
            self._lane(batch, seeds, _shifted(member.progress, index * batch.steps, total), stop)
            for index, seeds in enumerate(groups)
        ]

    def _lane(
        self,
        batch: DiffusionInput,
        seeds: tuple[int, ...],
        progress: Progress | None,
        stop: StopAsked,
    ) -> Lane:
        """A group of items of one request, before its first step."""
        _check_stop(stop)
        reference, strength = None, 1.0
        if uses_reference(batch) and batch.init_audio is not None:
            strength = batch.strength
            reference = self.reference_latents(batch.init_audio, batch.duration_s)
        kept = self._kept(batch)
        conditioning = self._condition(batch, len(seeds))
        if kept is not None and self.info.trained_mask:
            conditioning = self._with_mask(conditioning, kept, len(seeds))
        generators = make_generators(seeds)
        frames = self._frames(self._samples(batch.duration_s))
        noise = draw_noise(generators, self._latent_dim, frames).to(self._device)
        scheduler = self._schedule(batch.steps, strength)
        x = self._start(scheduler, noise, reference, strength)
        self._seed_solver(scheduler, x, seeds)
        return Lane(
            batch.steps, scheduler, generators, x, noise, conditioning, kept, progress, stop
        )

    def _run(self, lanes: Sequence[Lane]) -> None:
        """Sample all lanes to their ends; who is stopped leaves the others alone."""
        for step in range(max((lane.steps for lane in lanes), default=0)):
            for lane in lanes:
                if lane.outcome is None and step < lane.steps and lane.stop():
                    lane.outcome = Cancelled(_STOPPED)
            going = [lane for lane in lanes if lane.outcome is None and step < lane.steps]
            for group in groups_of_shape(going):
                self._step(group, step)

    def _step(self, lanes: Sequence[Lane], step: int) -> None:
        """One step of lanes of one shape, in one call of the transformer."""
        for lane in lanes:
            if lane.kept is not None:
                known = self._noised(lane.kept.latents, lane.noise, lane.sigma(step))
                lane.latents = lane.kept.put(known, lane.latents)
        scaled = [self._scaled(lane.scheduler, lane.doubled(), lane.time(step)) for lane in lanes]
        rows = [len(one) for one in scaled]
        times = joined_times(lanes, rows, step)
        output = self._predict(torch.cat(scaled), times, joined_inputs(lanes)).float()
        for lane, part in zip(lanes, torch.split(output, rows), strict=True):
            guided = lane.guide(part)
            if lane.kept is not None:
                known = self._output_for(lane.kept.latents, lane.latents, lane.sigma(step))
                guided = lane.kept.put(known, guided)
            lane.advance(guided, step)

    def _sounds(self, lanes: Sequence[Lane], batch: DiffusionInput) -> tuple[Audio, ...]:
        return tuple(
            self._sound(item, batch.duration_s, lane.stop)
            for lane in lanes
            for item in _finished(lane)
        )

    def _schedule(self, steps: int, strength: float) -> Any:
        """A fresh scheduler whose timesteps are set; at strength 1 as the checkpoint has it."""
        stock = self._pipe.scheduler
        changes = self._schedule_from(strength) if strength < 1.0 else {}
        scheduler = type(stock).from_config(stock.config, **changes)
        scheduler.set_timesteps(**self._timesteps(steps, strength), device=self._device)
        scheduler.set_begin_index(0)
        return scheduler

    def _kept(self, batch: DiffusionInput) -> Kept | None:
        """What the batch's painting keeps, in latents."""
        if batch.painting is None:
            return None
        latents = self.reference_latents(batch.painting.audio, batch.duration_s)
        frame_s = self._codec.hop / self._codec.sample_rate
        mask = frame_mask(batch.painting, latents.shape[-1], frame_s)
        return Kept(latents, mask.to(latents.device))

    def _with_mask(self, told: Conditioning, kept: Kept, count: int) -> Conditioning:
        """The conditioning with the trained mask, the same for both halves of guidance."""
        local = kept.local_condition(count * (2 if told.guided else 1)).to(self._dtype)
        return Conditioning({**told.inputs, "local_add_cond": local}, told.guidance)

    def _sound(self, latents: torch.Tensor, duration_s: float, stop: StopAsked) -> Audio:
        """Decode one item ``[D, F]``: item by item, so that memory and result do not depend on
        how many there are."""
        _check_stop(stop)
        wave = self._finish(self._codec.decode(latents[None], self._samples(duration_s)))
        samples = wave[0].cpu().numpy().astype(np.float32)
        if not np.isfinite(samples).all():
            raise BackendError(
                f"{self.info.name} produced values that are not finite",
                hint="lower the guidance, or use a float32 device: the checkpoint may be broken",
            )
        return Audio(samples, self._codec.sample_rate)

    def _samples(self, duration_s: float) -> int:
        return max(1, round(duration_s * self._codec.sample_rate))

    def _free(self) -> None:
        if self._offloaded:
            self._pipe.maybe_free_model_hooks()

    def _describe(self, checkpoint: DiffusionCheckpoint) -> ModelInfo:
        defaults = {"default_strength": 0.6, "untrained": False, **self._defaults()}
        settings: dict[str, Any] = {**defaults, **checkpoint.settings}
        tokenizer = self._pipe.tokenizer
        return ModelInfo(
            name=checkpoint.name,
            id=fingerprint(checkpoint),
            family=checkpoint.family,
            sample_rate=self._codec.sample_rate,
            channels=self._codec.channels,
            max_duration_s=min(float(settings["max_duration_s"]), defaults["max_duration_s"]),
            max_prompt_tokens=self._window() - tokenizer.num_special_tokens_to_add(pair=False),
            default_steps=int(settings["default_steps"]),
            default_guidance=float(settings["default_guidance"]),
            default_strength=float(settings["default_strength"]),
            untrained=bool(settings["untrained"]),
            trained_mask=self._has_mask() and bool(settings.get("inpainting", True)),
        )

    # What differs between the families.

    @property
    @abstractmethod
    def _latent_dim(self) -> int: ...

    @abstractmethod
    def _make_pipeline(self, parts: dict[str, Any]) -> Any:
        """The stock pipeline around the parts: its prompt and duration encoding are used."""

    @abstractmethod
    def _defaults(self) -> dict[str, float]:
        """Steps, guidance and longest duration, under their names in ``rag_audio.json``."""

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
    def _schedule_from(self, strength: float) -> dict[str, Any]:
        """What differs in the scheduler's configuration below strength 1."""

    @abstractmethod
    def _timesteps(self, steps: int, strength: float) -> dict[str, Any]:
        """How the scheduler is given its steps."""

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

    def _seed_solver(  # noqa: B027 - not every family has such noise
        self, scheduler: Any, x: torch.Tensor, seeds: tuple[int, ...]
    ) -> None:
        """Seed the noise between steps that does not come from the items' own generators."""

    def _scaled(self, scheduler: Any, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Latents at time ``t`` (a scalar) as the transformer wants them."""
        return x

    @abstractmethod
    def _predict(
        self, x: torch.Tensor, times: torch.Tensor, inputs: dict[str, Any]
    ) -> torch.Tensor:
        """The transformer's output; ``times`` is ``[1]`` for all rows, or one per row."""

    def _finish(self, wave: torch.Tensor) -> torch.Tensor:
        """The family's last touch on decoded sound ``[1, C, T]``."""
        return wave


def _check_stop(stop: StopAsked) -> None:
    if stop():
        raise Cancelled(_STOPPED)


def _finished(lane: Lane) -> torch.Tensor:
    """The latents of a lane at its end, ``[N, D, F]``; raises what ended it before."""
    if lane.outcome is not None:
        raise lane.outcome
    _check_stop(lane.stop)
    return lane.latents if lane.kept is None else lane.kept.put(lane.kept.latents, lane.latents)


def _outcome(make: Callable[[], T]) -> T | RagAudioError:
    """What is made, or why it is not."""
    try:
        return make()
    except RagAudioError as error:
        return error


def _shifted(progress: Progress | None, offset: int, total: int) -> Progress | None:
    """Progress of one group within all groups."""
    if progress is None:
        return None
    report = progress
    return lambda done, _: report(offset + done, total)
