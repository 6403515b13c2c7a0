"""Which references speak and which sound, by what their licenses open and what fits together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rag_audio.domain import (
    USE_OF,
    Channel,
    GenerationRequest,
    Key,
    Mix,
    Reference,
    Rights,
    limits,
)
from rag_audio.domain.refusals import most_curable
from rag_audio.errors import InvalidInput, RequestRefused
from rag_audio.generation import seed_layout
from rag_audio.generation.percussion import is_one_shot
from rag_audio.generation.seed_layout import ReferencePart, has_tempo
from rag_audio.generation.voices import (
    NO_TEMPO,
    Listen,
    Voices,
    choose_voices,
    is_named,
    name_of,
)


@dataclass(frozen=True)
class Candidates:
    """What a plan is made from.

    Attributes:
        usable: all that may speak or sound, in the order in which the plan has them.
        speakers: of these what may give words, best first. voices: what plays, the one first that
            is asked first for tempo and key.
        left_out: why others do not play, by stem id.
        notes: on what licenses do not open.
    """

    usable: Sequence[ReferencePart]
    speakers: Sequence[ReferencePart]
    voices: Sequence[ReferencePart]
    left_out: Mapping[str, str]
    notes: Sequence[str]


def choose_candidates(
    request: GenerationRequest,
    references: Sequence[Reference],
    sounding: Sequence[Reference] | None,
    rights: Rights,
    listen: Listen,
    hummed: Key | None = None,
    *,
    to_a_melody: bool = False,
) -> Candidates:
    """Decide who speaks and who sounds; the arguments are those of :func:`.make_plan`.

    Raises:
        RequestRefused: a reference that was asked for by name may not be used at all, or not so.
        InvalidInput: the weights do not fit the references.
    """
    named = sum(is_named(request, reference.stem) for reference in references)
    most = max(0, request.wanted_references - named)
    if sounding is None:
        most = len(references)
    every = _merged(request, references, sounding or ())
    usable, told = _usable(request, every, rights)
    found = len(references) - named
    if sounding is not None:
        found = max(found, min(most, len(sounding)))
    weights = _weights(request, named + found, named)
    usable = _weighted(usable, every if sounding is None else every[:named], weights)
    may_sound = seed_layout.sounding(request, usable, to_a_melody=to_a_melody)
    if request.mixing or to_a_melody:
        voices = Voices(may_sound)
    else:
        best_first = _best_first(request, may_sound, sounding)
        voices = choose_voices(request, best_first, most, listen, hummed)
    placed = {c.stem.id: c for c in voices.chosen}
    usable = [placed.get(c.stem.id, c) for c in usable]
    if sounding is not None:
        heard = [
            c.reference for c in usable if c.stem.id in placed and not is_named(request, c.stem)
        ]
        usable = _weighted(usable, heard, weights[named:])
    now = {c.stem.id: c for c in usable}
    chosen = [now[c.stem.id] for c in voices.chosen if now[c.stem.id].weight > 0]
    order = {one.stem.id: n for n, one in enumerate(references)}
    speakers = [c for c in usable if Channel.PROMPT in c.channels and c.stem.id in order]
    speakers.sort(key=lambda c: order[c.stem.id])
    # A plan holds no more references than a request may name: its replay names them all.
    room = limits.MOST_REFERENCES - len(chosen)
    silent = [c.stem.id for c in speakers if c not in chosen][room:]
    concerned = {*order, *(c.stem.id for c in chosen)}
    return Candidates(
        usable,
        [c for c in speakers if c.stem.id not in silent],
        chosen,
        voices.left_out,
        [note for stem, found in told.items() if stem in concerned for note in found],
    )


def notes_on_voices(
    request: GenerationRequest,
    chosen: Candidates,
    kept: Sequence[ReferencePart],
    bpm: float | None,
) -> list[str]:
    """Who of the plan's references gives words only, and who plays in its own time."""
    notes = [
        f"{name_of(c.stem)} gives words only: {chosen.left_out[c.stem.id]}"
        for c in kept
        if c.stem.id in chosen.left_out
    ]
    if request.mix is Mix.ALL or request.mixing or bpm is None:
        return notes
    return notes + [
        f"{name_of(c.stem)} has no tempo: it plays in its own time"
        for c in chosen.voices
        if not has_tempo(c.stem) and not is_one_shot(c.stem)
    ]


def _merged(
    request: GenerationRequest, references: Sequence[Reference], sounding: Sequence[Reference]
) -> list[Reference]:
    """Each stem once: those that are named, then the others by the better of their two scores."""
    named = [one for one in references if is_named(request, one.stem)]
    found = [one for one in references if not is_named(request, one.stem)]
    if not sounding:
        return list(references)
    words = {one.stem.id: one for one in found}
    sounds = {one.stem.id: one for one in sounding}
    best = [
        replace(sounds.get(stem, one), score=max(one.score, sounds.get(stem, one).score))
        for stem, one in {**sounds, **words}.items()
    ]
    best.sort(key=lambda one: (-one.score, one.stem.id))
    return [replace(one, rank=n) for n, one in enumerate([*named, *best], start=1)]


def _best_first(
    request: GenerationRequest,
    may_sound: Sequence[ReferencePart],
    sounding: Sequence[Reference] | None,
) -> Sequence[ReferencePart]:
    """What is named and what was found to sound, in the order in which it was found."""
    if sounding is None:
        return may_sound
    places = {one.stem.id: n for n, one in enumerate(sounding)}
    allowed = [c for c in may_sound if is_named(request, c.stem) or c.stem.id in places]
    return sorted(allowed, key=lambda c: places.get(c.stem.id, -1))


def _usable(
    request: GenerationRequest, references: Sequence[Reference], rights: Rights
) -> tuple[list[ReferencePart], dict[str, list[str]]]:
    """The references with the channels that are open to them, and notes on those that are not."""
    usable, notes = [], {}
    for reference in references:
        stem = reference.stem
        found = {
            channel: rights.why_not(stem, USE_OF[channel]) for channel in sorted(request.channels)
        }
        refusals = {channel: why for channel, why in found.items() if why is not None}
        open_channels = frozenset(found) - frozenset(refusals)
        reasons = [why.reason for why in refusals.values()]
        name = name_of(stem)
        if not open_channels:
            best = most_curable(refusals.values())
            assert best is not None  # noqa: S101 - every channel has one
            if is_named(request, stem):
                raise RequestRefused(
                    f"refused: {name} may not be a reference: {best.reason}",
                    hint=best.cure,
                    reasons=reasons,
                )
            notes[stem.id] = [f"not used: {name}: {best.reason}"]
            continue
        notes[stem.id] = [f"{name}: {why}" for why in reasons]
        # A named reference that shares nothing with the prompt has no score, and is wanted; in
        # layers and sections all play alike.
        plain = request.weights is None and reference.score > 0 and not request.mixing
        weight = reference.score if plain else 1.0
        usable.append(ReferencePart(reference, open_channels, weight, refusals.get(Channel.INIT)))
    return usable, notes


def why_words_only(chosen: Candidates) -> str:
    """Why nothing sounds, though licenses would let something."""
    if not any(why == NO_TEMPO for why in chosen.left_out.values()):
        return (
            "the references that may sound are one-shots, which are struck on the beats of a known "
            "tempo: words only, strength 1"
        )
    return (
        "no reference that may sound has a tempo: words only, strength 1; in free time they would "
        "play as they are"
    )


def _weighted(
    usable: Sequence[ReferencePart], references: Sequence[Reference], weights: Sequence[float]
) -> list[ReferencePart]:
    """The candidates with the weights of references, as far as there are any."""
    heavy = {one.stem.id: w for one, w in zip(references, weights, strict=False)}
    return [replace(c, weight=heavy.get(c.stem.id, c.weight)) for c in usable]


def _weights(request: GenerationRequest, count: int, named: int) -> tuple[float, ...]:
    """The request's weight of each reference; 1 for each that was found beside named ones."""
    weights = request.weights
    if weights is None or len(weights) == count:
        return weights or ()
    if len(weights) != named:
        besides = f", {named} of them named" if 0 < named < count else ""
        raise InvalidInput(
            f"{len(weights)} weights for {count} references{besides}",
            hint="give one weight per reference, in order of rank, or one per named reference: "
            "those that are found weigh 1",
        )
    return (*weights, *(1.0 for _ in range(count - named)))
