"""From a plan to takes that may be delivered: generate, inspect, and try again further away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rag_audio import guardrails
from rag_audio.audio import midi
from rag_audio.audio.dsp import fade_edges, limit_peak
from rag_audio.domain import Audio, ConditioningPlan, Mix, Note, Segment
from rag_audio.domain.disclosure import OTHER_SOURCE, Disclosure
from rag_audio.domain.music import COMMON, bar_s
from rag_audio.domain.ports import DiffusionInput, Generator, Progress, StopAsked
from rag_audio.errors import InvalidInput, LibraryError
from rag_audio.generation.inpainting import Grid, paint_whole
from rag_audio.generation.seed_audio import conform, seed_audio
from rag_audio.generation.take_selection import enforce
from rag_audio.home import Home

STRENGTH_STEP = 0.15
_COMPARE_HZ = 22_050
_NOT_INSPECTED = guardrails.Inspection((), None)


@dataclass(frozen=True, eq=False)
class Take:
    """One output that passed the gate, the plan that made it, and what was measured.

    Attributes:
        seed: of the sound: with candidates that of the chosen one.
        enforced: what :mod:`.take_selection` measured and did; empty when nothing was enforced.
    """

    audio: Audio
    seed: int
    plan: ConditioningPlan
    inspection: guardrails.Inspection
    enforced: dict[str, Any] = field(default_factory=dict)

    def checks(self) -> dict[str, Any]:
        """What the ledger keeps of the measurements."""
        found = self.inspection.to_json()
        return {**found, "enforced": self.enforced} if self.enforced else found


class Renderer:
    """Makes the takes of a plan.

    Args:
        limits: ``max_similarity`` of every license that is known, by key.
    """

    def __init__(self, home: Home, generator: Generator, limits: Mapping[str, float]) -> None:
        self.home, self.generator, self.limits = home, generator, limits
        self._player = home.player

    def make(
        self, plan: ConditioningPlan, progress: Progress | None, stop_asked: StopAsked | None
    ) -> tuple[Take, ...]:
        """One take per variation. What comes too near to a stem is made again, less like it.

        Each further try raises the strength by 0.15 and says so in the plan's notes.

        Raises:
            OutputRefused: not finite, silent, or too near to a stem on every try.
            Cancelled: ``stop_asked`` said so.
        """
        takes: dict[int, Take] = {}
        waiting = tuple(plan.seed + i for i in range(plan.variations))
        sources = self._sources(plan)
        for tries in range(self.home.retries + 1):
            again = []
            for seed, made in self._candidates(plan, waiting, progress, stop_asked):
                found = self._inspect(made.audio, sources)
                if not found.too_near:
                    takes[seed] = replace(made, inspection=replace(found, tries=tries))
                    continue
                if tries == self.home.retries or plan.strength >= 1.0:
                    guardrails.require_distance(found, self.home.disclosure)
                again.append((seed, found.too_near[0]))
            if not again:
                break
            waiting = tuple(seed for seed, _ in again)
            plan = _further(plan, again[0][1], self.home.disclosure)
        return tuple(takes[seed] for seed in sorted(takes))

    def _candidates(
        self,
        plan: ConditioningPlan,
        seeds: tuple[int, ...],
        progress: Progress | None,
        stop_asked: StopAsked | None,
    ) -> Iterator[tuple[int, Take]]:
        """Each variation's seed with the best of its candidates, not inspected yet."""
        if not plan.enforcement:
            made = self._generate(plan, seeds, progress, stop_asked)
            for seed, audio in zip(seeds, made, strict=True):
                guardrails.check_output(audio)
                yield seed, Take(fade_edges(audio), seed, plan, _NOT_INSPECTED)
            return
        for seed in seeds:
            count = range(plan.enforcement.candidates)
            drawn = tuple((seed + plan.variations * i) % 2**63 for i in count)
            made = self._generate(plan, drawn, progress, stop_asked)
            for audio in made:
                guardrails.check_output(audio)
            best = enforce(list(zip(drawn, made, strict=True)), plan)
            told = replace(plan, notes=(*plan.notes, *best.notes))
            audio = limit_peak(fade_edges(best.audio), -1.0)
            yield seed, Take(audio, best.seed, told, _NOT_INSPECTED, best.to_json())

    def seed_audio(self, plan: ConditioningPlan) -> Audio | None:
        """The seed mix of a plan; None where it has none."""
        if plan.strength >= 1.0 or not plan.is_seeded:
            return None
        info = self.generator.info
        if plan.mix is Mix.LATENT and (
            plan.edit is not None or plan.duration_s > info.max_duration_s
        ):
            raise InvalidInput(
                f"latents are mixed in one window of {info.max_duration_s:g} s, and not in edits",
                hint="--mix waveform, or a shorter piece",
            )

        rate, channels = info.sample_rate, info.channels

        def make() -> Audio:
            made = seed_audio(plan, self._player.play, rate, channels, self._play_notes)
            assert made is not None  # noqa: S101 - the plan is seeded
            return made

        if plan.mix is Mix.LATENT:
            return make()
        return self.home.cache.of((_seed_key(plan), rate, channels), make)

    def _play_notes(
        self, notes: Sequence[Note], instrument: str, duration_s: float, sample_rate: int
    ) -> Audio:
        font = self.home.soundfont
        return midi.play_notes(
            notes, instrument, duration_s=duration_s, soundfont=font, sample_rate=sample_rate
        )

    def _generate(
        self,
        plan: ConditioningPlan,
        seeds: tuple[int, ...],
        progress: Progress | None,
        stop_asked: StopAsked | None,
    ) -> tuple[Audio, ...]:
        batch = DiffusionInput.of(plan, seeds, self.seed_audio(plan))
        if plan.duration_s > self.generator.info.max_duration_s:
            # Of plans of before, those in 4/4 make the sound again that they made.
            as_before = not plan.windows_on_bars and plan.bar_s == bar_s(plan.bpm, COMMON)
            grid = Grid(plan.bar_s, loose=as_before)
            made = paint_whole(batch, self.generator, grid, progress, stop_asked)
        else:
            made = self.generator.generate(batch, progress, stop_asked)
        return tuple(limit_peak(take, -1.0) for take in made)

    def inspect(self, audio: Audio, plan: ConditioningPlan) -> guardrails.Inspection:
        """Compare a finished sound with the plan's sources and the whole library.

        Raises:
            OutputRefused: not finite, silent, or nearer to a stem than its license allows.
        """
        guardrails.check_output(audio)
        found = self._inspect(audio, self._sources(plan))
        guardrails.require_distance(found, self.home.disclosure)
        return found

    def _inspect(
        self, audio: Audio, sources: tuple[guardrails.SourceSegment, ...]
    ) -> guardrails.Inspection:
        return guardrails.inspect_output(
            audio,
            embedder=self.home.embedder,
            index=self.home.index,
            limits=self.limits,
            sources=sources,
            hear=self._hear,
        )

    def _sources(self, plan: ConditioningPlan) -> tuple[guardrails.SourceSegment, ...]:
        """Every reference, as the seed mix has it; as it is where only its words were used."""
        found = []
        for i, reference in enumerate(plan.references):
            segment = reference.segment
            parts = [part for part in plan.seed_parts if part.reference == i]
            if not parts:
                found.append(guardrails.SourceSegment(segment, self._words_only(segment)))
                continue
            # One section sounds like any other; several layers together are the whole.
            part = max(parts, key=lambda part: abs(part.semitones))
            if len({part.layer for part in parts}) > 1:
                part = replace(part, layer=None)
            asked = plan.controls.time_signature
            conformed = conform(segment, part, self._player.play, _COMPARE_HZ, asked)
            found.append(guardrails.SourceSegment(segment, conformed))
        return tuple(found)

    def _hear(self, segment: Segment) -> Audio:
        return self._player.play(segment, _COMPARE_HZ)

    def _words_only(self, segment: Segment) -> Audio | None:
        """The sound of a stem that gave words only: needed where its license limits likeness."""
        try:
            return self._hear(segment)
        except LibraryError:
            if guardrails.allowed_similarity(segment.stem, self.limits) < 1.0:
                raise
            return None


def _seed_key(plan: ConditioningPlan) -> str:
    """All of a plan but what its seed audio cannot depend on."""
    seeding = replace(
        plan, prompt="", enriched_prompt="", spans=(), negative_prompt="", licenses=(), held_by=(),
        strength=1.0, seed=0, steps=1, guidance=1.0, variations=1, model="", notes=(), edit=None,
        artist=None,
    )  # fmt: skip
    return repr(seeding)


def _further(
    plan: ConditioningPlan, near: guardrails.Nearness, disclosure: Disclosure
) -> ConditioningPlan:
    strength = min(1.0, plan.strength + STRENGTH_STEP)
    of, limit = OTHER_SOURCE, "is allowed"
    if disclosure.knows(near.library):
        of = f"{near.path} ({near.similarity:.2f})"
        limit = f"its license allows ({near.allowed:.2f})"
    note = (
        f"made again at strength {strength:.2f} instead of {plan.strength:.2f}: the output came "
        f"nearer to {of} than {limit}"
    )
    return replace(plan, strength=strength, notes=(*plan.notes, note))
