"""What the two Stable Audio families share: strength, noise, the sampling loop, its guards.

Latents are ``[B, D, F]``. Strength s ∈ (0, 1] means one thing on both families: the latents that
sampling starts from have a signal-to-noise ratio of 20·log₁₀((1 − s)/s) dB relative to the RMS of
the reference latents, and s = 1 is plain text-to-audio, in which the reference takes no part.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch

from rag_audio.backends._batches import check_batch, uses_reference
from rag_audio.backends._checkpoints import Checkpoint, fingerprint, load_part
from rag_audio.backends._codec import LOW_MEMORY_TILE_FRAMES, TILE_FRAMES, Codec, seed_wave
from rag_audio.backends._device import (
    cast_weights,
    pick_device,
    pick_dtype,
    working_on,
)
from rag_audio.backends._family import Conditioning, Family
from rag_audio.backends._lanes import Lane, groups_of_shape, joined_inputs, joined_times
from rag_audio.backends._masking import Kept, check_painting, frame_mask
from rag_audio.backends._mixing import mix_latents
from rag_audio.backends._noise import draw_noise, make_generators
from rag_audio.backends._recent import Recent, content_of
from rag_audio.domain import Audio
from rag_audio.errors import BackendError, Cancelled, RagAudioError
from rag_audio.ports import DiffusionInput, Member, ModelInfo, Progress, SeedMix, StopAsked

_KEPT_LATENTS, _KEPT_TEXTS = 8, 32
_STOPPED = "stopped; nothing was generated"

T = TypeVar("T")


class LatentDiffusion(Family):
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
        info: see :class:`rag_audio.ports.ModelInfo`.
    """

    info: ModelInfo

    def __init__(
        self,
        checkpoint: Checkpoint,
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
        self._latents: Recent[torch.Tensor] = Recent(_KEPT_LATENTS)
        self._texts: Recent[Any] = Recent(_KEPT_TEXTS)
        # Components and offload hooks hold state while they run: one batch at a time.
        self._busy = threading.Lock()

    def count_tokens(self, text: str) -> int:
        """Tokens of ``text`` in the model's own tokenizer, without special tokens."""
        # verbose=False: the tokenizer would warn of long texts, which are refused elsewhere.
        ids = self._pipe.tokenizer(text, add_special_tokens=False, verbose=False).input_ids
        return len(ids)

    def generate(
        self,
        batch: DiffusionInput,
        progress: Progress | None = None,
        stop_asked: StopAsked | None = None,
    ) -> tuple[Audio, ...]:
        """One Audio per seed; see :class:`rag_audio.ports.Generator`.

        With a distilled or unguided model a negative prompt is refused, never ignored.

        Raises:
            InvalidInput: a value cannot be used, or the prompt would be cut.
            Cancelled: ``stop_asked`` said so; within one step.
            BackendError: the device has too little memory, or the result is not finite.
        """
        self._check(batch)
        stop = stop_asked or (lambda: False)
        groups = [(seed,) for seed in batch.seeds] if self._low_memory else [batch.seeds]
        audio: list[Audio] = []
        with self._at_work(stop):
            for index, seeds in enumerate(groups):
                told = _shifted(progress, index * batch.steps, len(groups) * batch.steps)
                latents = self._sample(batch, seeds, told, stop)
                audio += [self._sound(item, batch.duration_s, stop) for item in latents]
        return tuple(audio)

    def generate_together(
        self, members: Sequence[Member]
    ) -> list[tuple[Audio, ...] | RagAudioError]:
        """One outcome per member; see :class:`rag_audio.ports.Generator`.

        Low memory takes one after the other.

        Raises:
            BackendError: the device has too little memory for all of them at once.
        """
        if self._low_memory or len(members) == 1:
            return [
                _outcome(partial(self.generate, one.batch, one.progress, one.stop_asked))
                for one in members
            ]
        stops = [one.stop_asked or (lambda: False) for one in members]
        with self._at_work(lambda: all(stop() for stop in stops)):
            lanes = [
                _outcome(partial(self._checked_lane, one, stop))
                for one, stop in zip(members, stops, strict=True)
            ]
            self._run([lane for lane in lanes if isinstance(lane, Lane)])
            return [
                _outcome(partial(self._sounds, lane, one.batch)) if isinstance(lane, Lane) else lane
                for lane, one in zip(lanes, members, strict=True)
            ]

    def _check(self, batch: DiffusionInput) -> None:
        check_batch(batch, self.info, self.count_tokens)
        check_painting(batch)

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
        samples = self._samples(duration_s)

        def encode() -> torch.Tensor:
            wave = seed_wave(audio, self._codec, samples)
            with working_on(self._device):
                latents = self._codec.encode(self._padded(wave).to(self._device))
            self._free()
            return latents

        return self._latents.get((content_of(audio), samples), encode)

    def forget(self) -> None:
        """Give up the latents that are kept of what was encoded before."""
        with self._busy:
            self._latents.clear()

    def _encoded(self, *told: Any) -> Any:
        """``encode_prompt`` of the stock pipeline; the same words are encoded once."""
        key = tuple(tuple(one) if isinstance(one, list) else one for one in told)
        return self._texts.get(key, lambda: self._pipe.encode_prompt(*told))

    def _sample(
        self,
        batch: DiffusionInput,
        seeds: tuple[int, ...],
        progress: Progress | None,
        stop: StopAsked,
    ) -> torch.Tensor:
        """Denoise one group of items: ``[N, D, F]``, float32."""
        lane = self._lane(batch, seeds, progress, stop)
        self._run([lane])
        return _finished(lane)

    def _checked_lane(self, member: Member, stop: StopAsked) -> Lane:
        self._check(member.batch)
        return self._lane(member.batch, member.batch.seeds, member.progress, stop)

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

    def _sounds(self, lane: Lane, batch: DiffusionInput) -> tuple[Audio, ...]:
        latents = _finished(lane)
        return tuple(self._sound(item, batch.duration_s, lane.stop) for item in latents)

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

    def _describe(self, checkpoint: Checkpoint) -> ModelInfo:
        settings, defaults = checkpoint.settings, self._defaults()
        tokenizer = self._pipe.tokenizer
        limit = min(float(settings.get("max_duration_s", math.inf)), defaults.max_duration_s)
        return ModelInfo(
            name=checkpoint.name,
            id=fingerprint(checkpoint),
            family=checkpoint.family,
            sample_rate=self._codec.sample_rate,
            channels=self._codec.channels,
            max_duration_s=limit,
            max_prompt_tokens=self._window() - tokenizer.num_special_tokens_to_add(pair=False),
            default_steps=int(settings.get("default_steps", defaults.steps)),
            default_guidance=float(settings.get("default_guidance", defaults.guidance)),
            default_strength=float(settings.get("default_strength", defaults.strength)),
            untrained=bool(settings.get("untrained", False)),
            trained_mask=self._has_mask() and bool(settings.get("inpainting", True)),
        )


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
