"""The layout of the seed audio: each reference's segment, bars, tempo ratio, pitch and weight."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from rag_audio.domain import (
    Channel,
    GenerationRequest,
    Key,
    Layer,
    Reference,
    SampleType,
    SeedPart,
    Segment,
    Stem,
    StemKind,
)
from rag_audio.domain.music import Signature, bar_s, beat_s
from rag_audio.domain.refusals import Refusal
from rag_audio.errors import InvalidInput, RequestRefused
from rag_audio.generation.drum_patterns import (
    DrumNotes,
    Places,
    patterns_of,
    plain_pattern,
    strokes_s,
    thinned,
)
from rag_audio.generation.percussion import DrumPart, drum_part, is_drums, is_one_shot, names_drums

ReadDrums = Callable[[Stem], DrumNotes]
"""Gives the strokes of a score's percussion channel; none of a stem that is no score."""

SEED_LUFS = -20.0
"""Loudness that each part is brought to before it is weighted."""

MIN_CONFIDENCE = 0.2
"""A tempo or key that was measured less surely is not conformed to."""

_MAX_GAIN_DB = 20.0
_SLACK_S = 1e-6
LOOP_SLACK = 0.02
"""Of a beat: as much may be missing at the end of a loop that is whole beats."""
_FIT, _WHOLE_S = 0.2, 0.005
"""A loop's length is off whole beats of its stated tempo by no more of a beat; a segment that is
nearer to its stem in length is all of it."""


@dataclass(frozen=True)
class ReferencePart:
    """A reference, the channels its license opens, and its weight before normalising.

    Attributes:
        unsounding: why its sound may not be used, where that was asked for and is so.
        semitones: its transposition, where its harmony was compared with another's; None: what
            brings its key to that of the piece.
        key: what the passage is heard to stand in; None: what is known of the whole stem counts.
    """

    reference: Reference
    channels: frozenset[Channel]
    weight: float
    unsounding: Refusal | None = None
    semitones: int | None = None
    key: Key | None = None

    @property
    def stem(self) -> Stem:
        return self.reference.stem


@dataclass(frozen=True)
class _Placed:
    """A part before its weight is known: which candidate, what of it, from when to when."""

    candidate: ReferencePart
    layer: Layer | None
    start_s: float
    end_s: float | None

    def seconds(self, duration_s: float) -> float:
        return (duration_s if self.end_s is None else self.end_s) - self.start_s


def sounding(
    request: GenerationRequest, usable: list[ReferencePart], *, to_a_melody: bool = False
) -> list[ReferencePart]:
    """The candidates that seed the sound: all that may, or those that layers and sections name.

    Beside a melody play those alone that the request names: what was found gives words.

    Raises:
        RequestRefused: one that is named may not seed the sound.
        InvalidInput: the init channel is closed, and a stem is named for it.
    """
    mixing = request.mixing
    voices = [c for c in usable if Channel.INIT in c.channels and c.weight > 0]
    if not mixing and to_a_melody:
        return [c for c in voices if any(c.stem.id.startswith(name) for name in request.named)]
    if not mixing:
        return voices
    if Channel.INIT not in request.channels or request.strength == 1.0:
        raise InvalidInput(
            "layers and sections are sound, and the references' sound is not used",
            hint="--channels prompt,init, and a strength below 1",
        )
    named = [c for c in usable if any(c.stem.id.startswith(name) for name in mixing.stems)]
    for candidate in named:
        if candidate not in voices:
            stem = candidate.stem
            name = stem.title or stem.path
            if Channel.INIT in candidate.channels:
                raise InvalidInput(f"{name} is to play, but its weight is 0", hint="--weights")
            why = candidate.unsounding
            assert why is not None  # noqa: S101 - the channel was asked for, and is not open
            raise RequestRefused(
                f"refused: {name} may not seed the sound: {why.reason}",
                hint=why.cure,
                reasons=[why.reason],
            )
    return named


def seed_parts(
    kept: list[ReferencePart],
    seeds: list[ReferencePart],
    bpm: float | None,
    key: Key | None,
    duration_s: float,
    request: GenerationRequest,
    read_drums: ReadDrums = lambda stem: (),
) -> tuple[SeedPart, ...]:
    """The parts of the mix. Each moment's parts have their weights; a part's share is that by time.

    Args:
        read_drums: asked for the drums of a score that plays, where a one-shot plays as well.

    Raises:
        InvalidInput: a section has no tempo to count bars in, lies behind the end, leaves bars
            empty, or a layer is not in its stem.
    """
    placed = [one for c in kept if c in seeds for one in _places(c, bpm, duration_s, request)]
    _require_cover(placed, bpm, duration_s, request)
    total = sum(one.candidate.weight * one.seconds(duration_s) for one in placed)
    parts = tuple(
        _part(one, kept.index(one.candidate), total, bpm, key, duration_s, request)
        for one in placed
    )
    stems = [one.candidate.stem for one in placed]
    return _struck(parts, stems, bpm, duration_s, request, read_drums)


def has_tempo(stem: Stem) -> bool:
    """Whether the stem's tempo is known surely enough to conform it."""
    return stem.bpm is not None and stem.bpm_confidence >= MIN_CONFIDENCE


def plays_at(stem: Stem, bpm: float | None) -> bool:
    """Whether a stem can sound in a piece of a tempo: a one-shot is struck on its beats, or not at
    all."""
    return bpm is not None or not is_one_shot(stem)


def places_on_grid(stem: Stem) -> bool:
    """Whether it is a one-shot of percussion, which is struck in a pattern and never transposed."""
    return is_one_shot(stem) and (drum_part(stem) is not None or is_drums(stem))


def _struck(
    parts: tuple[SeedPart, ...],
    stems: Sequence[Stem],
    bpm: float | None,
    duration_s: float,
    request: GenerationRequest,
    read_drums: ReadDrums,
) -> tuple[SeedPart, ...]:
    """The parts, those of one-shots with the times at which they are struck.

    A part of a kit is struck as a score that plays strikes it; else in a plain pattern, of which
    every second stroke is left out where other drums play.

    Args:
        stems: of the parts, in their order.
    """
    kinds = {s.id: drum_part(s) for s in stems if is_one_shot(s)}
    if bpm is None or not kinds:
        return parts
    metre, going_on = request.time_signature, [s for s in stems if s.id not in kinds]
    own: dict[DrumPart, tuple[Places, float]] = {}
    for part, stem in zip(parts, stems, strict=True):
        if part.rendered and stem.bpm is not None and _has_bars_of(stem, metre):
            downbeat_s = stem.downbeat_s or 0.0
            found = patterns_of(read_drums(stem), stem.bpm, stem.time_signature, downbeat_s)
            played_bpm = stem.bpm / part.time_ratio
            own = {kind: (places, played_bpm) for kind, places in found.items()} | own
    made = []
    for part, stem in zip(parts, stems, strict=True):
        if stem.id not in kinds:
            made.append(part)
            continue
        kind = kinds[stem.id]
        alike = [one for one, its in kinds.items() if its is kind]
        pattern, at_bpm = plain_pattern(kind, bpm, metre, alike.index(stem.id)), bpm
        if kind in own:
            pattern, at_bpm = own[kind][:1], own[kind][1]
        elif any(_has_drums(other) for other in going_on):
            pattern = thinned(pattern)
        end_s = duration_s if part.end_s is None else part.end_s
        hits_s = strokes_s(pattern, at_bpm, metre, part.start_s, end_s)
        made.append(replace(part, hits_s=hits_s or (part.start_s,)))
    return tuple(made)


def _has_bars_of(stem: Stem, metre: Signature | None) -> bool:
    return bar_s(60.0, stem.time_signature) == bar_s(60.0, metre)


def _places(
    candidate: ReferencePart, bpm: float | None, duration_s: float, request: GenerationRequest
) -> list[_Placed]:
    mixing, stem = request.mixing, candidate.stem
    layers = mixing.layers_of(stem.id)
    for layer in layers:
        _require_layer(stem, layer)
    spans = [_span(bars, stem, bpm, duration_s, request) for bars in mixing.sections_of(stem.id)]
    return [_Placed(candidate, layer, *span) for span in spans for layer in layers]


def _require_layer(stem: Stem, layer: Layer | None) -> None:
    name = stem.title or stem.path
    if layer is Layer.HARMONY and is_drums(stem):
        raise InvalidInput(f"{name} is drums only, there is no harmony in it")
    tuned = stem.kind is StemKind.MIDI and stem.instruments
    if layer is Layer.DRUMS and tuned and not any(names_drums(text) for text in stem.instruments):
        raise InvalidInput(f"{name} has no drums", hint="its instruments: rag-audio search")


def _span(
    bars: tuple[int, int] | None,
    stem: Stem,
    bpm: float | None,
    duration_s: float,
    request: GenerationRequest,
) -> tuple[float, float | None]:
    if bars is None:
        return 0.0, None
    bar = _section_bar_s(bpm, request)
    start = (bars[0] - 1) * bar
    if start >= duration_s - _SLACK_S:
        raise InvalidInput(
            f"bar {bars[0]} of {stem.title or stem.path} lies behind the end of {duration_s:g} s",
            hint="--bars or --duration says how long the piece is; left out, the sections do",
        )
    return start, min(bars[1] * bar, duration_s)


def _section_bar_s(bpm: float | None, request: GenerationRequest) -> float:
    if bpm is None:
        raise InvalidInput(
            "bars have no length: no reference that is used has a tempo", hint="say it: --bpm 92"
        )
    return bar_s(bpm, request.time_signature)


def _require_cover(
    placed: list[_Placed], bpm: float | None, duration_s: float, request: GenerationRequest
) -> None:
    """Silence in a seed is heard in the result: at every moment something must play."""
    reached = first_silence_s((one.start_s, one.end_s) for one in placed)
    if placed and reached is not None and reached < duration_s - _SLACK_S:
        bar = math.floor(reached / _section_bar_s(bpm, request) + _SLACK_S) + 1
        raise InvalidInput(
            f"no stem plays in bar {bar} of the arrangement",
            hint="sections must leave no bar empty",
        )


def first_silence_s(spans: Iterable[tuple[float, float | None]]) -> float | None:
    """From when on nobody plays; None where somebody plays to the end."""
    reached = 0.0
    for start_s, end_s in sorted(spans, key=lambda span: span[0]):
        if start_s > reached + _SLACK_S:
            break
        if end_s is None:
            return None
        reached = max(reached, end_s)
    return reached


def _part(
    one: _Placed,
    reference: int,
    total: float,
    bpm: float | None,
    key: Key | None,
    duration_s: float,
    request: GenerationRequest,
) -> SeedPart:
    candidate, stem = one.candidate, one.candidate.stem
    struck = is_one_shot(stem)
    segment = candidate.reference.segment
    ratio, played_bpm = (1.0, None) if struck else _time_ratio(segment, bpm)
    lufs = stem.loudness_lufs
    gain = 0.0 if lufs is None or not math.isfinite(lufs) else SEED_LUFS - lufs
    score = stem.kind is StemKind.MIDI
    seconds = one.seconds(duration_s)
    untuned = one.layer is Layer.DRUMS or places_on_grid(stem)
    loop_s = 0.0 if struck else _loop(segment, ratio, played_bpm, seconds, request.time_signature)
    return SeedPart(
        reference=reference,
        weight=candidate.weight * seconds / total,
        time_ratio=ratio,
        semitones=0 if untuned else _semitones(candidate, key),
        gain_db=max(-_MAX_GAIN_DB, min(_MAX_GAIN_DB, gain)),
        loop_s=loop_s,
        rendered=score,
        instruments=request.midi_instruments if score else (),
        layer=one.layer,
        start_s=one.start_s,
        end_s=one.end_s,
    )


def aligned(segment: Segment, asked: Signature | None) -> Segment:
    """The segment from its first bar line on, where tempo and downbeat are known.

    Args:
        asked: the metre of the piece; bar lines are of the stem's own where it is known.
    """
    stem = segment.stem
    is_score = stem.kind is StemKind.MIDI
    downbeat = 0.0 if is_score and stem.downbeat_s is None else stem.downbeat_s
    if stem.bpm is None or downbeat is None:
        return segment
    bar = bar_s(stem.bpm, stem.time_signature or asked)
    bars = math.ceil((segment.start_s - downbeat) / bar - 1e-6)
    lead = downbeat + bars * bar - segment.start_s
    if not 0 < lead < segment.duration_s / 2:
        return segment
    return Segment(stem, segment.start_s + lead, segment.duration_s - lead)


def _has_drums(stem: Stem) -> bool:
    return is_drums(stem) or any(names_drums(text) for text in stem.instruments)


def _time_ratio(segment: Segment, bpm: float | None) -> tuple[float, float | None]:
    """Output / input duration, and the tempo that it gives; None where no tempo is known.

    The tempo is the nearest of the wanted one, its half and its double: the ratio is 0.71…1.41.
    A loop is brought to whole beats of it by its length, to the sample, however its stated tempo
    was rounded.
    """
    stem = segment.stem
    if bpm is None or stem.bpm is None or stem.bpm_confidence < MIN_CONFIDENCE:
        return 1.0, stem.bpm
    played_bpm = bpm * 2.0 ** round(math.log2(stem.bpm / bpm))
    whole = segment.start_s == 0 and abs(segment.duration_s - stem.duration_s) <= _WHOLE_S
    if stem.sample_type is SampleType.LOOP and stem.kind is StemKind.AUDIO and whole:
        beats = stem.duration_s / beat_s(stem.bpm)
        if round(beats) >= 1 and abs(beats - round(beats)) <= _FIT:
            return round(beats) * beat_s(played_bpm) / stem.duration_s, played_bpm
    return stem.bpm / played_bpm, played_bpm


def _semitones(candidate: ReferencePart, key: Key | None) -> int:
    stem = candidate.stem
    if candidate.semitones is not None:
        return candidate.semitones
    known = stem.key if stem.key_confidence >= MIN_CONFIDENCE else None
    own = candidate.key or known
    if key is None or own is None or is_drums(stem):
        return 0
    return own.semitones_to(key)


def _loop(
    segment: Segment,
    ratio: float,
    played_bpm: float | None,
    duration_s: float,
    asked: Signature | None,
) -> float:
    """Length of the loop after stretching: whole bars, else whole beats; 0 where none is needed.

    Bars are of the piece's metre where one was asked for, also of a stem in another.

    Args:
        played_bpm: of the stretched sound; None: not known.
    """
    there = aligned(segment, asked).duration_s * ratio
    if there >= duration_s:
        return 0.0
    if played_bpm is None:
        return there
    beat = beat_s(played_bpm)
    metre = asked or segment.stem.time_signature
    for unit in (bar_s(played_bpm, metre), beat):
        count = math.floor((there + LOOP_SLACK * beat) / unit)
        if count:
            return count * unit
    return there
