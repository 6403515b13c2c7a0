"""How much each source changed an output: fixed-seed counterfactual runs of the same plan.

v(S) is minus the distance between what comes out when only the sources in S condition the model
(the same seed, the mix over S renormalised, only the words that S added) and what came out. The
effect of all sources together, v(all) - v(none), is divided by Shapley's rule. Runs with other
seeds say how much such a value varies by chance: below that floor there is no share.

Three distances are recorded and never blended. Values and shares are of the *spectral* one, which
weighs a difference by its energy. Levels in dB weigh a faint sound in an empty band like a loud
one, and an embedding hears which sounds there are more than how much of each: a drum at a
twentieth of the energy moves it further than the keys that make up the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rag_audio.audio.dsp import mel_filters, mono, resample
from rag_audio.domain import Audio, Channel, ConditioningPlan, Melody
from rag_audio.domain.codec import encode
from rag_audio.domain.ports import DiffusionInput, Embedder, Generator, Progress, StopAsked
from rag_audio.errors import InvalidInput
from rag_audio.provenance import influence

Method = Literal["fast", "exact"]
MakeSeed = Callable[[ConditioningPlan], Audio | None]
"""Renders the seed audio of a plan; None where it has none."""

JITTER_SEEDS = 2
SEGMENT_S = 2.5
MEASURES = ("spectral", "log_mel", "embedding")
"""Distances, 0…1 each; values and shares are of the first."""
_RATE, _WINDOW, _HOP, _BANDS = 16_000, 1024, 512, 64
_RANGE_DB = 60.0
_NOTHING = 1e-6


@dataclass(frozen=True)
class SourceEffect:
    """What one source did.

    Attributes:
        reference: index into the plan's references. stem: its stem's id.
        value: its Shapley value, in spectral distance: 0 is no effect, 1 the largest there is.
        share: of all sources' positive effect, 0…1; None at or below the noise floor.
        by_channel: value when only that channel is varied and the other left whole.
        by_segment: value in each segment of time.
        by_measure: value in each of :data:`MEASURES`, the first of which ``value`` is.
    """

    reference: int
    stem: str
    value: float
    share: float | None
    by_channel: dict[Channel, float]
    by_segment: tuple[float, ...]
    by_measure: dict[str, float]


@dataclass(frozen=True)
class CausalInfluence:
    """The effects of all sources of an output, and how they were measured.

    Attributes:
        runs: counterfactual outputs that were made, jitter included.
        seeds: the output's own seed first; the others are the jitter.
        segments_s: begin and end of each segment.
        total: effect of all sources together.
        noise_floor: RMS over sources of the standard deviation of their values over the seeds.
    """

    method: Method
    runs: int
    seeds: tuple[int, ...]
    segments_s: tuple[tuple[float, float], ...]
    total: float
    noise_floor: float
    sources: tuple[SourceEffect, ...]

    def to_json(self) -> dict[str, Any]:
        """One JSON document; seeds are strings, because JSON numbers end at 2^53."""
        return {
            "method": self.method,
            "runs": self.runs,
            "seeds": [str(seed) for seed in self.seeds],
            "segments": [list(segment) for segment in self.segments_s],
            "total": self.total,
            "noise_floor": self.noise_floor,
            "sources": [encode(source) for source in self.sources],
        }


def measure(
    plan: ConditioningPlan,
    seed: int,
    *,
    generator: Generator,
    embedder: Embedder,
    make_seed: MakeSeed,
    method: Method = "fast",
    budget: int | None = None,
    jitter: int = JITTER_SEEDS,
    channels: bool = True,
    progress: Progress | None = None,
    stop_asked: StopAsked | None = None,
) -> CausalInfluence:
    """Run the counterfactuals of one output and divide the effect among its references.

    Args:
        seed: of the output. make_seed: renders the seed audio of a reduced plan.
        method: ``exact`` runs all 2^k coalitions (k ≤ 6); ``fast`` 2k + 2, or ``budget``.
        jitter: how many further seeds estimate the noise floor; they share the runs' batches.
        channels: also vary the words and the sound apart: up to three times the runs.
        progress: called with (runs done, runs planned).

    Raises:
        InvalidInput: exact values were asked for with more than six references.
        Cancelled: ``stop_asked`` said so.
    """
    players = len(plan.references)
    if method == "exact" and players > influence.MOST_EXACT:
        raise InvalidInput(
            f"exact influence of {players} references would take {2**players} runs",
            hint=f"use fast, or at most {influence.MOST_EXACT} references",
        )
    seeds = (seed, *((seed + 7919 * (i + 1)) % 2**63 for i in range(jitter)))
    lab = Laboratory(plan, seeds, generator, embedder, make_seed, stop_asked)
    coalitions: Sequence[int] = range(1 << players)
    if method == "fast":
        coalitions = influence.cheap_coalitions(players, budget)
    varied: list[frozenset[Channel]] = [frozenset(Channel)]
    if channels:
        varied += [frozenset({channel}) for channel in Channel]
    effects = []
    for number, channel in enumerate(varied):
        values = {}
        for done, coalition in enumerate(coalitions):
            if progress is not None:
                progress(number * len(coalitions) + done, len(varied) * len(coalitions))
            values[coalition] = lab.value(coalition, channel)
        effects.append(_divide(values, players, method))
    if progress is not None:
        progress(len(varied) * len(coalitions), len(varied) * len(coalitions))
    return _summary(plan, lab, method, effects[0], dict(zip(Channel, effects[1:], strict=False)))


def reduced(
    plan: ConditioningPlan, coalition: int, channels: frozenset[Channel] = frozenset(Channel)
) -> ConditioningPlan:
    """The plan as it had been with the references in ``coalition`` only, in ``channels``.

    Words: the user's own, and those of the stems in it. Sound: their parts of the mix, with the
    same ratio to each other, and a melody that is owed to nobody else; without any the run starts
    from noise alone.
    """
    inside = {i for i in range(len(plan.references)) if coalition >> i & 1}
    made = plan
    if Channel.PROMPT in channels:
        stems = {plan.references[i].stem.id for i in inside}
        spans = tuple(s for s in plan.spans if s.stem is None or s.stem in stems)
        if len(spans) < len(plan.spans):
            text = ", ".join(span.text.strip(" ,") for span in spans)
            made = replace(made, spans=spans, enriched_prompt=text)
    if Channel.INIT in channels:
        parts = tuple(p for p in plan.seed_parts if p.reference in inside and p.weight > 0)
        total = sum(part.weight for part in parts)
        parts = tuple(replace(part, weight=part.weight / total) for part in parts)
        melody = _melody_of(plan, inside, alone=not parts)
        strength = plan.strength if parts or melody is not None else 1.0
        made = replace(made, seed_parts=parts, melody=melody, strength=strength)
    return made


def _melody_of(plan: ConditioningPlan, inside: set[int], *, alone: bool) -> Melody | None:
    """The melody as it had been: away with any of its sources, the whole mix where it is alone."""
    melody = plan.melody
    if melody is None or not inside.issuperset(melody.sources):
        return None
    return replace(melody, weight=1.0) if alone else melody


class Laboratory:
    """Runs reduced plans, each different one once, and measures how far they end from the whole."""

    def __init__(
        self,
        plan: ConditioningPlan,
        seeds: tuple[int, ...],
        generator: Generator,
        embedder: Embedder,
        make_seed: MakeSeed,
        stop_asked: StopAsked | None,
    ) -> None:
        self.plan, self.seeds = reduced(plan, (1 << len(plan.references)) - 1), seeds
        self.generator, self.embedder, self.make_seed = generator, embedder, make_seed
        self.stop_asked = stop_asked
        self.runs = 0
        self._heard: dict[tuple[Any, ...], tuple[NDArray[Any], NDArray[Any]]] = {}
        count = max(1, round(plan.duration_s / SEGMENT_S))
        edges = np.linspace(0.0, plan.duration_s, count + 1)
        self.segments_s = tuple((float(a), float(b)) for a, b in pairwise(edges))
        self._whole = self._hear(self.plan)

    def value(
        self, coalition: int, channels: frozenset[Channel] = frozenset(Channel)
    ) -> influence.Values:
        """Minus the distance to the whole plan's output: ``[seeds, segments, measures]``."""
        vectors, mels = self._hear(reduced(self.plan, coalition, channels))
        cosine = np.sum(vectors * self._whole[0], axis=-1)
        embedding = np.clip((1.0 - cosine) / 2.0, 0.0, 1.0)
        spectral = spectral_distance(mels, self._whole[1])
        log_mel = np.abs(_decibels(mels) - _decibels(self._whole[1])).mean(axis=-1) / _RANGE_DB
        return np.asarray(-np.stack([spectral, log_mel, embedding], axis=-1), dtype=np.float64)

    def _hear(self, plan: ConditioningPlan) -> tuple[NDArray[Any], NDArray[Any]]:
        """Vectors ``[seeds, segments, D]`` and mel magnitudes ``[seeds, segments, cells]``."""
        mix = tuple((part.reference, round(part.weight, 9)) for part in plan.seed_parts)
        key = (plan.enriched_prompt, mix, plan.melody, plan.strength)
        if key not in self._heard:
            takes = self._run(plan)
            clips = [self._clip(take, *s) for take in takes for s in self.segments_s]
            vectors = self.embedder.embed_audio(clips)
            mels = np.stack([_mel_magnitudes(clip) for clip in clips])
            shape = (len(takes), len(self.segments_s), -1)
            self._heard[key] = (vectors.reshape(shape), mels.reshape(shape))
        return self._heard[key]

    def _run(self, plan: ConditioningPlan) -> tuple[Audio, ...]:
        seed_audio = None if plan.strength >= 1.0 else self.make_seed(plan)
        batch = DiffusionInput.of(plan, self.seeds, seed_audio)
        self.runs += len(self.seeds)
        return self.generator.generate(batch, None, self.stop_asked)

    def _clip(self, take: Audio, start_s: float, end_s: float) -> Audio:
        first = round(start_s * take.sample_rate)
        # One length for all, whatever the rounding of the last edge does.
        frames = round((self.segments_s[0][1] - self.segments_s[0][0]) * take.sample_rate)
        samples = take.samples[:, first : first + frames]
        short = frames - samples.shape[1]
        return Audio(np.pad(samples, ((0, 0), (0, max(0, short)))), take.sample_rate)


def _divide(values: dict[int, influence.Values], players: int, method: Method) -> influence.Values:
    """``[players, seeds, segments, measures]``."""
    if method == "exact":
        return influence.exact(np.stack([values[s] for s in range(1 << players)]))
    return influence.estimate(values, players)


def _summary(
    plan: ConditioningPlan,
    lab: Laboratory,
    method: Method,
    effects: influence.Values,
    by_channel: dict[Channel, influence.Values],
) -> CausalInfluence:
    own = effects[:, 0]
    values = own[..., 0].mean(axis=1)
    floor = noise_floor(effects[..., 0].mean(axis=2))
    shares = shares_above(values, floor)
    sources = tuple(
        SourceEffect(
            reference=i,
            stem=reference.stem.id,
            value=float(values[i]),
            share=shares[i],
            by_channel={c: float(e[i, 0, :, 0].mean()) for c, e in by_channel.items()},
            by_segment=tuple(float(v) for v in own[i, :, 0]),
            by_measure={name: float(own[i, :, m].mean()) for m, name in enumerate(MEASURES)},
        )
        for i, reference in enumerate(plan.references)
    )
    return CausalInfluence(
        method, lab.runs, lab.seeds, lab.segments_s, float(values.sum()), floor, sources
    )


def noise_floor(values: NDArray[np.float64]) -> float:
    """How much a source's value varies by chance: RMS over sources of the deviation over seeds.

    Args:
        values: ``[sources, seeds]``; with one seed the floor is 0.
    """
    if values.shape[0] == 0 or values.shape[1] < 2:
        return 0.0
    return float(np.sqrt(np.mean(values.std(axis=1, ddof=1) ** 2)))


def shares_above(values: NDArray[np.float64], floor: float) -> list[float | None]:
    """Each value's share of all positive ones, 0…1; None at or below the floor."""
    positive = float(values[values > 0].sum())
    return [float(v / positive) if v > max(floor, _NOTHING) else None for v in values]


def spectral_distance(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    """Energy of the difference of two magnitude spectra, over the energy of both.

    0 where they are equal, 1 where they share no band at any time; 0 for silence beside silence.

    Args:
        a, b: magnitudes, none negative, ``[..., cells]``.
    """
    apart = np.sum((a.astype(np.float64) - b) ** 2, axis=-1)
    both = np.sum(a.astype(np.float64) ** 2, axis=-1) + np.sum(b.astype(np.float64) ** 2, axis=-1)
    return np.asarray(apart / np.maximum(both, a.shape[-1] * 10 ** (-_RANGE_DB / 10)))


def _mel_magnitudes(clip: Audio) -> NDArray[np.float32]:
    """Mel magnitudes, 1 for a full-scale tone, all frames and bands in one row."""
    sound = resample(mono(clip), _RATE).samples[0]
    sound = np.pad(sound, (0, max(0, _WINDOW - sound.size)))
    framed = np.lib.stride_tricks.sliding_window_view(sound, _WINDOW)[::_HOP]
    power = np.abs(np.fft.rfft(framed * np.hanning(_WINDOW), axis=1) * 2 / _WINDOW) ** 2
    bank = mel_filters(_RATE, _WINDOW, _BANDS, equal_area=False)
    return np.asarray(np.sqrt(power @ bank.T).ravel(), dtype=np.float32)


def _decibels(magnitudes: NDArray[Any]) -> NDArray[np.float64]:
    """Levels over a fixed floor of -60 dBFS."""
    levels = 10 * np.log10(magnitudes.astype(np.float64) ** 2 + 10 ** (-_RANGE_DB / 10))
    return np.asarray(np.clip(levels + _RANGE_DB, 0.0, _RANGE_DB))
