"""Make a :class:`ConditioningPlan`: pure, from the request, the references and the rights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from rag_audio.conditioning.clearance import USE_OF
from rag_audio.conditioning.enrichment import Phrase, enrich
from rag_audio.conditioning.wording import (
    tempo_and_key_words,
    wording_of,
    words_after,
    words_before,
)
from rag_audio.domain import (
    Aim,
    Channel,
    ConditioningPlan,
    Enforcement,
    GenerationRequest,
    Key,
    License,
    Reference,
    Rights,
    SeedPart,
    Segment,
    Stem,
    StemKind,
)
from rag_audio.errors import InvalidInput, RequestRefused
from rag_audio.ports import ModelInfo

DEFAULT_DURATION_S = 10.0
SEED_LUFS = -20.0
"""Loudness that each part is brought to before it is weighted."""

_MIN_CONFIDENCE = 0.2
_MAX_GAIN_DB = 20.0
_DRUM_WORDS = ("drum", "percussion", "breakbeat", "kit")


@dataclass(frozen=True)
class _Candidate:
    """A reference, the channels its license opens, and its weight before normalising."""

    reference: Reference
    channels: frozenset[Channel]
    weight: float

    @property
    def stem(self) -> Stem:
        return self.reference.stem


def make_plan(
    request: GenerationRequest,
    references: tuple[Reference, ...],
    *,
    rights: Rights,
    info: ModelInfo,
    count_tokens: Callable[[str], int],
    seed: int,
    is_clean: Callable[[str], bool] = lambda text: True,
) -> ConditioningPlan:
    """Decide what the model is given.

    Rights are checked again for each use: a stem without ``prompt`` adds no word, one without
    ``init_audio`` no sound. A reference that adds neither is not in the plan.

    Args:
        count_tokens: the model's own tokenizer.
        is_clean: guardrails, asked about every phrase that would be added.

    Raises:
        RequestRefused: a reference that was asked for by name may not be used at all.
        InvalidInput: the prompt does not fit the model, or the weights do not fit the references.
    """
    notes: list[str] = []
    usable = _usable(request, references, rights, notes)
    strength = info.default_strength if request.strength is None else request.strength
    voices = [c for c in usable if Channel.INIT in c.channels and c.weight > 0]
    seeds = voices if strength < 1.0 else []
    speakers = [c for c in usable if Channel.PROMPT in c.channels]
    bpm, key = _tempo_and_key(request, seeds or speakers)
    duration_s = _duration(request, info, bpm)
    enriched = enrich(
        request.prompt,
        _fields(request, speakers, bpm, key, info.family),
        [c.stem for c in speakers],
        max_tokens=info.max_prompt_tokens,
        count_tokens=count_tokens,
        is_clean=is_clean,
    )
    speaking = {span.stem for span in enriched.spans}
    kept = [c for c in usable if c in seeds or c.stem.id in speaking]
    parts = _seed_parts(kept, seeds, bpm, key, duration_s, request)
    notes += enriched.notes
    notes += _remarks(request, kept, parts)
    return ConditioningPlan(
        prompt=request.prompt.strip(),
        enriched_prompt=enriched.text,
        spans=enriched.spans,
        negative_prompt=request.negative_prompt.strip(),
        references=tuple(c.reference for c in kept),
        licenses=_licenses(kept, rights),
        seed_parts=parts,
        channels=request.channels,
        strength=strength if parts else 1.0,
        bpm=bpm,
        key=key,
        duration_s=duration_s,
        seed=seed,
        steps=request.steps or info.default_steps,
        guidance=info.default_guidance if request.guidance is None else request.guidance,
        variations=request.variations,
        model=info.name,
        notes=tuple(notes),
        enforcement=_enforcement(request, bpm, key),
        controls=request.controls,
    )


def aligned(segment: Segment, beats_per_bar: float = 4.0) -> Segment:
    """The segment from its first bar line on, where tempo and downbeat are known."""
    stem = segment.stem
    downbeat = 0.0 if stem.kind is StemKind.MIDI else stem.downbeat_s
    if stem.bpm is None or downbeat is None:
        return segment
    bar = beats_per_bar * 60.0 / stem.bpm
    bars = math.ceil((segment.start_s - downbeat) / bar - 1e-6)
    lead = downbeat + bars * bar - segment.start_s
    if not 0 < lead < segment.duration_s / 2:
        return segment
    return Segment(stem, segment.start_s + lead, segment.duration_s - lead)


def is_drums(stem: Stem) -> bool:
    """Whether the stem is percussion only, which is never transposed."""
    words = [text.lower() for text in (stem.instruments or stem.tags)]
    drums = [any(drum in word for drum in _DRUM_WORDS) for word in words]
    return all(drums) and bool(drums) if stem.instruments else any(drums)


def _duration(request: GenerationRequest, info: ModelInfo, bpm: float | None) -> float:
    """What is longer than the model's window is made of several."""
    duration_s = request.duration_s or min(info.max_duration_s, DEFAULT_DURATION_S)
    if request.bars is not None:
        if bpm is None:
            raise InvalidInput(
                f"{request.bars} bars have no length: no reference that is used has a tempo",
                hint="say it: --bpm 92",
            )
        duration_s = request.controls.duration_s(bpm) or duration_s
    return duration_s


def _usable(
    request: GenerationRequest,
    references: tuple[Reference, ...],
    rights: Rights,
    notes: list[str],
) -> list[_Candidate]:
    if request.weights is not None and len(request.weights) != len(references):
        raise InvalidInput(
            f"{len(request.weights)} weights for {len(references)} references",
            hint="give one weight per reference, in order of rank",
        )
    usable = []
    for i, reference in enumerate(references):
        refusals = {
            channel: rights.refusal(reference.stem, USE_OF[channel])
            for channel in sorted(request.channels)
        }
        open_channels = frozenset(c for c, why in refusals.items() if why is None)
        reasons = [why for why in refusals.values() if why is not None]
        name = reference.stem.title or reference.stem.path
        if not open_channels:
            if any(reference.stem.id.startswith(prefix) for prefix in request.references):
                raise RequestRefused(
                    f"refused: {name} may not be a reference: {reasons[0]}", reasons=reasons
                )
            notes.append(f"not used: {name}: {reasons[0]}")
            continue
        notes += [f"{name}: {why}" for why in reasons]
        weight = reference.score if request.weights is None else request.weights[i]
        # A named reference that shares nothing with the prompt has no score, and is wanted.
        if request.weights is None and weight <= 0:
            weight = 1.0
        usable.append(_Candidate(reference, open_channels, weight))
    return usable


def _tempo_and_key(
    request: GenerationRequest, candidates: list[_Candidate]
) -> tuple[float | None, Key | None]:
    """The request's, else those of the first reference that has them."""
    bpm, key = request.bpm, request.key
    for candidate in candidates:
        stem = candidate.stem
        if bpm is None and stem.bpm is not None and stem.bpm_confidence >= _MIN_CONFIDENCE:
            bpm = stem.bpm
        if (
            key is None
            and stem.key is not None
            and stem.key_confidence >= _MIN_CONFIDENCE
            and not is_drums(stem)
        ):
            key = stem.key
    return bpm, key


def _enforcement(request: GenerationRequest, bpm: float | None, key: Key | None) -> Enforcement:
    wanted: dict[Aim, object] = {Aim.TEMPO: bpm, Aim.KEY: key}
    for aim in sorted(request.enforce):
        if wanted[aim] is None:
            raise InvalidInput(
                f"there is no {aim.value} to enforce: no reference that is used has one",
                hint="say it: --bpm 92, --key 'A minor'",
            )
    return request.enforcement


def _fields(
    request: GenerationRequest,
    speakers: list[_Candidate],
    bpm: float | None,
    key: Key | None,
    family: str,
) -> list[Phrase]:
    """Controls in words, each owed to whom it comes from: the user or a stem."""
    wording = wording_of(family)

    def giver(has: Callable[[Stem], bool]) -> str | None:
        return next((c.stem.id for c in speakers if has(c.stem)), None)

    phrases = [Phrase(text, None) for text in words_before(wording, request.controls)]
    tempo_stem = None if request.bpm is not None else giver(lambda s: s.bpm == bpm)
    if request.bpm is not None or tempo_stem is not None:
        phrases += [Phrase(text, tempo_stem) for text in tempo_and_key_words(wording, bpm=bpm)]
    key_stem = None if request.key is not None else giver(lambda s: s.key == key)
    if request.key is not None or key_stem is not None:
        phrases += [Phrase(text, key_stem) for text in tempo_and_key_words(wording, key=key)]
    return phrases + [Phrase(text, None) for text in words_after(wording, request.controls)]


def _seed_parts(
    kept: list[_Candidate],
    seeds: list[_Candidate],
    bpm: float | None,
    key: Key | None,
    duration_s: float,
    request: GenerationRequest,
) -> tuple[SeedPart, ...]:
    total = sum(candidate.weight for candidate in seeds)
    parts = []
    for i, candidate in enumerate(kept):
        if candidate not in seeds:
            continue
        stem = candidate.stem
        ratio = _time_ratio(stem, bpm)
        lufs = stem.loudness_lufs
        gain = 0.0 if lufs is None or not math.isfinite(lufs) else SEED_LUFS - lufs
        parts.append(
            SeedPart(
                reference=i,
                weight=candidate.weight / total,
                time_ratio=ratio,
                semitones=_semitones(stem, key),
                gain_db=max(-_MAX_GAIN_DB, min(_MAX_GAIN_DB, gain)),
                loop_s=_loop(
                    candidate.reference.segment,
                    ratio,
                    duration_s,
                    request.controls.quarters_per_bar,
                ),
                rendered=stem.kind is StemKind.MIDI,
                instruments=request.midi_instruments if stem.kind is StemKind.MIDI else (),
            )
        )
    return tuple(parts)


def _time_ratio(stem: Stem, bpm: float | None) -> float:
    """Output / input duration: the nearest of same, half and double time, so 0.71…1.41."""
    if bpm is None or stem.bpm is None or stem.bpm_confidence < _MIN_CONFIDENCE:
        return 1.0
    ratio = stem.bpm / bpm
    return ratio / 2.0 ** round(math.log2(ratio))


def _semitones(stem: Stem, key: Key | None) -> int:
    if key is None or stem.key is None or is_drums(stem) or stem.key_confidence < _MIN_CONFIDENCE:
        return 0
    return stem.key.semitones_to(key)


def _loop(segment: Segment, ratio: float, duration_s: float, beats_per_bar: float) -> float:
    """Length of the loop after stretching: whole bars, else whole beats; 0 where none is needed."""
    there = aligned(segment, beats_per_bar).duration_s * ratio
    if there >= duration_s:
        return 0.0
    bpm = segment.stem.bpm
    if bpm is None:
        return there
    beat = 60.0 / bpm * ratio
    for unit in (beats_per_bar * beat, beat):
        if there >= unit:
            return math.floor(there / unit + 1e-6) * unit
    return there


def _licenses(kept: list[_Candidate], rights: Rights) -> tuple[License, ...]:
    found = {c.stem.license_key: rights.license_of(c.stem) for c in kept}
    return tuple(license for license in found.values() if license is not None)


def _remarks(
    request: GenerationRequest, kept: list[_Candidate], parts: tuple[SeedPart, ...]
) -> list[str]:
    if not kept:
        return ["no licensed reference was found: plain text-to-audio"]
    if not parts and Channel.INIT in request.channels and request.strength != 1.0:
        return ["no licensed reference may seed the sound: words only, strength 1"]
    return []
