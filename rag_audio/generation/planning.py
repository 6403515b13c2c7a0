"""Make a :class:`ConditioningPlan`: pure, from the request, the references and the rights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from rag_audio.audio.midi import programs_of
from rag_audio.domain import (
    Aim,
    Channel,
    ConditioningPlan,
    Enforcement,
    GenerationRequest,
    HeldBy,
    Key,
    License,
    Melody,
    Mix,
    Reference,
    Rights,
    SeedPart,
    Segment,
    Stem,
    limits,
)
from rag_audio.domain.music import COMMON, bar_s
from rag_audio.domain.ports import ModelInfo
from rag_audio.errors import InvalidInput
from rag_audio.generation.candidates import (
    Candidates,
    choose_candidates,
    notes_on_voices,
    why_words_only,
)
from rag_audio.generation.legibility import CanRead, reading_notes
from rag_audio.generation.melody_arrangement import (
    FURTHEST,
    BroughtMelody,
    cast,
    key_of,
    require_room,
)
from rag_audio.generation.prompt_wording import (
    Phrase,
    enrich,
    tempo_and_key_words,
    understood_notes,
    wording_of,
    words_after,
    words_before,
)
from rag_audio.generation.replay import claims_on
from rag_audio.generation.seed_layout import ReadDrums, ReferencePart, plays_at, seed_parts
from rag_audio.generation.voices import Listen, clash_of, silent, tempo_and_key

# How far to leave the references' sound, where the user lets the product choose.

LIKENESS = ((0.2, 0.85), (0.4, 0.72), (0.6, 0.52), (0.8, 0.0))
"""(strength, similarity that nine of ten outputs stay below): 1 − copy distance on the embedded
model, as ``benchmarks/bench_conditioning.py`` prints it."""

_NEAR, _FAR = 0.75, 0.5


def auto_strength(
    seeds: Sequence[ReferencePart], named: Sequence[str], rights: Rights, usual: float
) -> tuple[float, str]:
    """A strength from how well the references match and how near a copy their licenses allow.

    References that are just what was asked for (score 1) are kept near, at three quarters of the
    model's usual strength; the less they match, the further the result leaves them, up to half way
    from the usual strength to 1. Then it is raised to where an output rarely comes nearer to a
    reference than the strictest license among them allows; the output gate still measures.

    Args:
        seeds: what seeds the sound, none left out. named: prefixes of ids of stems that were asked
            for by name: they match, whatever they have in common with the prompt.
        usual: the model's default strength.

    Returns:
        The strength, in steps of 0.01, and why, in one line.
    """
    total = sum(one.weight for one in seeds)
    match = sum(one.weight / total * _match(one, named) for one in seeds)
    near, far = _NEAR * usual, usual + _FAR * (1.0 - usual)
    strength = near + (far - near) * (1.0 - match)
    why = f"the references match by {match:.2f}"
    strictest = min(_licenses(seeds, rights), key=lambda granted: granted.max_similarity)
    least = _least(strictest.max_similarity)
    if least > strength:
        why += f", and {strictest.id} allows a similarity of {strictest.max_similarity:.2f} at most"
        strength = least
    strength = round(strength, 2)
    return strength, f"strength {strength:g} chosen: {why}"


def _match(one: ReferencePart, named: Sequence[str]) -> float:
    if any(one.stem.id.startswith(prefix) for prefix in named):
        return 1.0
    return min(1.0, max(0.0, one.reference.score))


def _licenses(seeds: Sequence[ReferencePart], rights: Rights) -> list[License]:
    return [granted for one in seeds for granted in rights.licenses_of(one.stem)]


def _least(allowed: float) -> float:
    """The lowest strength at which outputs usually stay below a similarity."""
    strengths, likeness = zip(*reversed(LIKENESS), strict=True)
    return float(np.interp(allowed, likeness, strengths)) if allowed < likeness[-1] else 0.0


DEFAULT_DURATION_S = 10.0
_SHORTEST_S = 0.5
_EPSILON_S = 1e-6


def make_plan(
    request: GenerationRequest,
    references: tuple[Reference, ...],
    *,
    rights: Rights,
    info: ModelInfo,
    count_tokens: Callable[[str], int],
    seed: int,
    is_clean: Callable[[str], bool] = lambda text: True,
    can_read: CanRead = lambda text: True,
    typical: Mapping[str, float] | None = None,
    brought: BroughtMelody | None = None,
    read_drums: ReadDrums = lambda stem: (),
    sounding: tuple[Reference, ...] | None = None,
    listen: Listen = silent,
) -> ConditioningPlan:
    """Decide what the model is given.

    Rights are checked again for each use: a stem without ``prompt`` adds no word, one without
    ``init_audio`` no sound. A reference that adds neither is not in the plan.

    Args:
        references: those that are named, then those that are found to give words, best first.
        sounding: those that are found to seed the sound, best first, more than are wanted: the plan
            takes what fits together. None: the references.
        listen: gives the partials of what may sound, by which its harmony is compared.
        count_tokens: the model's own tokenizer.
        is_clean: guardrails, asked about every phrase that would be added.
        can_read: the model's own tokenizer, asked about the user's words and every such phrase.
        typical: how typical words are of the artist asked for, 0…1; a stem says those first.
        brought: a melody to follow. Tempo and key are then those of the request and of what plays,
            and the melody's key.
        read_drums: asked for the strokes of a score's drums, which one-shots beside it follow.

    Raises:
        RequestRefused: a reference that was asked for by name may not be used at all.
        InvalidInput: the prompt does not fit the model, or the weights do not fit the references.
    """
    notes: list[str] = []
    programs_of(request.midi_instruments)
    if brought is not None:
        require_room(request)
    hummed = None if brought is None else key_of(brought)
    chosen = choose_candidates(
        request, references, sounding, rights, listen, hummed, to_a_melody=brought is not None
    )
    notes += chosen.notes
    strength, why = _strength(request, info, brought, chosen.voices, rights)
    notes += why
    seeds = list(chosen.voices) if strength < 1.0 else []
    speakers = list(chosen.speakers)
    givers = seeds if brought is not None else seeds or speakers
    bpm, key = tempo_and_key(request, givers, hummed)
    notes += _off_the_grid(seeds, bpm)
    seeds = [c for c in seeds if plays_at(c.stem, bpm)]
    duration_s = _duration(request, info, bpm, brought)
    enriched = enrich(
        request.prompt,
        _fields(request, speakers, bpm, key, info.family, hummed),
        [c.stem for c in speakers],
        max_tokens=info.max_prompt_tokens,
        count_tokens=count_tokens,
        is_clean=is_clean,
        can_read=can_read,
        typical=typical or {},
    )
    speaking = {span.stem for span in enriched.spans}
    kept = [c for c in chosen.usable if c in seeds or c.stem.id in speaking]
    parts = seed_parts(kept, seeds, bpm, key, duration_s, request, read_drums)
    notes += understood_notes(request.prompt)
    notes += reading_notes(info.name, request.prompt, request.negative_prompt, can_read)
    notes += enriched.notes
    melody = None
    if brought is not None:
        said = [c.stem for c in kept if c.stem.id in speaking]
        kept, sources = _with_sources(kept, brought)
        melody, note = cast(brought, request, said, sources, alone=not parts)
        notes.append(note)
    if parts:
        notes += notes_on_voices(request, chosen, kept, bpm)
    notes += [*_cut_bars(request, bpm, duration_s), *_remarks(request, kept, parts, melody, chosen)]
    licenses, held_by = claims_on([c.stem for c in kept], rights)
    notes += _undecided(kept, held_by)
    notes += _other_metres(request, [kept[part.reference].stem for part in parts])
    plan = ConditioningPlan(
        prompt=request.prompt.strip(),
        enriched_prompt=enriched.text,
        spans=enriched.spans,
        negative_prompt=request.negative_prompt.strip(),
        references=tuple(replace(c.reference, rank=n) for n, c in enumerate(kept, start=1)),
        licenses=licenses,
        held_by=held_by,
        seed_parts=parts,
        channels=request.channels,
        strength=strength if parts or melody is not None else 1.0,
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
        mix=request.mix if parts else Mix.WAVEFORM,
        melody=melody,
        artist=request.artist,
        windows_on_bars=bpm is not None and duration_s > info.max_duration_s,
    )
    return replace(plan, clash=clash_of(plan, listen))


def _off_the_grid(seeds: Sequence[ReferencePart], bpm: float | None) -> list[str]:
    """A note for each one-shot that has no beat to be struck on."""
    stems = (candidate.stem for candidate in seeds)
    return [
        f"{stem.title or stem.path} is a one-shot, and no tempo is known: it gives words only"
        for stem in stems
        if not plays_at(stem, bpm)
    ]


def _strength(
    request: GenerationRequest,
    info: ModelInfo,
    brought: BroughtMelody | None,
    voices: Sequence[ReferencePart],
    rights: Rights,
) -> tuple[float, tuple[str, ...]]:
    """The request's, else chosen by what plays, else the model's usual one; and why, if chosen.

    A melody is left no further by the usual one than it is kept.
    """
    if request.auto_strength and voices:
        strength, why = auto_strength(voices, request.named, rights, info.default_strength)
        return strength, (why,)
    if request.strength is not None:
        return request.strength, ()
    usual = info.default_strength
    return usual if brought is None else min(usual, FURTHEST), ()


def _with_sources(
    kept: list[ReferencePart], brought: BroughtMelody
) -> tuple[list[ReferencePart], tuple[int, ...]]:
    """The candidates with what was recognised in a melody's file, and where that stands."""
    found, sources = list(kept), []
    for stem in brought.stems:
        at = next((i for i, one in enumerate(found) if one.stem.id == stem.id), len(found))
        if at == len(found):
            whole = Reference(Segment(stem, 0.0, stem.duration_s), 1.0, at + 1)
            found.append(ReferencePart(whole, frozenset(), 0.0))
        sources.append(at)
    return found, tuple(dict.fromkeys(sources))


def _duration(
    request: GenerationRequest,
    info: ModelInfo,
    bpm: float | None,
    brought: BroughtMelody | None,
) -> float:
    """What is longer than the model's window is made of several."""
    usual = min(info.max_duration_s, DEFAULT_DURATION_S)
    if brought is not None:
        usual = max(_SHORTEST_S, brought.tune.length_s)
    duration_s = request.duration_s or usual
    # Sections say how long the piece is where nobody else does.
    bars = request.bars if request.duration_s is not None else request.bars or request.mixing.bars
    if bars is not None:
        if bpm is None:
            raise InvalidInput(
                f"{bars} bars have no length: no reference that is used has a tempo",
                hint="say it: --bpm 92",
            )
        duration_s = replace(request.controls, bars=bars).length_s(bpm) or duration_s
        if not limits.DURATION_S.holds(duration_s):
            shortest, longest = limits.DURATION_S.low, limits.DURATION_S.high
            raise InvalidInput(
                f"{bars} bars at {bpm:g} BPM last {duration_s:g} s, an output {shortest:g} to "
                f"{longest:g} s",
                hint="another number of bars, or another tempo",
            )
    return duration_s


def _cut_bars(request: GenerationRequest, bpm: float | None, duration_s: float) -> list[str]:
    """A note where the arrangement goes on after the piece has ended."""
    last = request.mixing.bars
    if last is None or bpm is None:
        return []
    arranged_s = replace(request.controls, bars=last).length_s(bpm)
    if arranged_s is None or arranged_s <= duration_s + _EPSILON_S:
        return []
    fits = duration_s * last / arranged_s
    return [
        f"the arrangement has {last} bars, {arranged_s:.1f} s at {bpm:g} BPM; the piece ends after "
        f"{duration_s:.1f} s, in bar {min(last, int(fits + _EPSILON_S) + 1)}: the rest is cut"
    ]


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
    speakers: list[ReferencePart],
    bpm: float | None,
    key: Key | None,
    family: str,
    hummed: Key | None,
) -> list[Phrase]:
    """Controls in words, each owed to whom it comes from: the user or a stem."""
    wording = wording_of(family)

    def giver(has: Callable[[Stem], bool]) -> str | None:
        return next((c.stem.id for c in speakers if has(c.stem)), None)

    phrases = [Phrase(text, None) for text in words_before(wording, request.controls)]
    tempo_stem = None if request.bpm is not None else giver(lambda s: s.bpm == bpm)
    if request.bpm is not None or tempo_stem is not None:
        phrases += [Phrase(text, tempo_stem) for text in tempo_and_key_words(wording, bpm=bpm)]
    own_key = request.key is not None or (hummed is not None and hummed == key)
    key_stem = None if own_key else giver(lambda s: s.key == key)
    if own_key or key_stem is not None:
        phrases += [Phrase(text, key_stem) for text in tempo_and_key_words(wording, key=key)]
    return phrases + [Phrase(text, None) for text in words_after(wording, request.controls)]


def _undecided(kept: list[ReferencePart], held_by: tuple[HeldBy, ...]) -> list[str]:
    """A note for each reference that several licenses claim."""
    notes = []
    for stem in (candidate.stem for candidate in kept):
        keys = sorted({claim.license for claim in held_by if claim.stem == stem.id})
        if len(keys) > 1:
            name = stem.title or stem.path
            notes.append(f"{name}: its bytes are claimed under {' and '.join(keys)}, undecided")
    return notes


def _other_metres(request: GenerationRequest, players: Sequence[Stem]) -> list[str]:
    """A note for each stem that plays and is known to have bars of another length."""
    notes = []
    asked = request.time_signature or COMMON
    for stem in dict.fromkeys(players):
        own = stem.time_signature
        if own is None or bar_s(60.0, own) == bar_s(60.0, asked):
            continue
        name, (beats, unit) = stem.title or stem.path, own
        if request.time_signature is None:
            note = f"{name} is in {beats}/{unit}, and no time signature was asked for: 4/4 is meant"
        else:
            note = f"{name} is in {beats}/{unit}: looped in bars of {asked[0]}/{asked[1]}"
        notes.append(note)
    return notes


def _remarks(
    request: GenerationRequest,
    kept: list[ReferencePart],
    parts: tuple[SeedPart, ...],
    melody: Melody | None,
    chosen: Candidates,
) -> list[str]:
    if melody is not None:
        return []
    may_sound = Channel.INIT in request.channels and request.strength != 1.0
    if not parts and may_sound and chosen.left_out:
        return [why_words_only(chosen)]
    if not kept:
        return ["no licensed reference was found: plain text-to-audio"]
    if not parts and may_sound:
        return ["no licensed reference may seed the sound: words only, strength 1"]
    return []
