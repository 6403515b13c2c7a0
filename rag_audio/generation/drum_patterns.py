"""When the parts of a drum kit are struck: plain patterns by metre, and those of a score.

A place is counted in quarter notes from the bar line, as tempos are.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from rag_audio.domain.music import COMMON, Signature, bar_s, beat_s
from rag_audio.generation.percussion import DrumPart, part_of_pitch

Places = tuple[float, ...]
"""Of the strokes in a bar, in quarter notes from its bar line, in order."""

DrumNotes = Sequence[tuple[float, int]]
"""(seconds, pitch) of the strokes of a score's percussion channel, in order."""

SHORTEST_GAP_S = 0.01
"""Strokes of one part are no nearer to each other."""

_DANCE_BPM = (112.0, 150.0)
_CRASH_BARS, _FILL_BARS = 4, 2
_GRID = 4
"""A score's strokes are put on the nearest sixteenth."""
_LAST_S = 0.03
_EPS = 1e-6
_DIGITS = 6


def plain_pattern(
    part: DrumPart | None, bpm: float, metre: Signature | None, turn: int = 0
) -> tuple[Places, ...]:
    """The bars of a plain pattern, which repeats after the last of them.

    In 4/4 the kick has beats 1 and 3, at the tempos of dance music every beat; snare and clap have
    2 and 4, hats the eighths, an open hat the last of them, a cymbal the first beat of four bars, a
    tom the sixteenths of the last beat of two bars. In three the snare has 2 and 3; in 6/8, 9/8 and
    12/8 a beat is three eighths. Other percussion has the beats.

    Args:
        part: None: what is no drum has the first beat.
        turn: how many of the same part play already: other percussion answers between the beats.
    """
    beats, unit = COMMON if metre is None else metre
    length = beats * 4 / unit
    pulse = 1.5 if unit == 8 and beats in (6, 9, 12) else 1.0
    pulses = tuple(pulse * n for n in range(math.ceil(length / pulse - _EPS)))
    if part is DrumPart.KICK:
        low, high = _DANCE_BPM
        if len(pulses) == 4 and pulse == 1.0 and low <= bpm <= high:
            return (pulses,)
        half = len(pulses) / 2
        return ((0.0, pulses[int(half)]) if half >= 2 and half % 1 == 0 else (0.0,),)
    if part in (DrumPart.SNARE, DrumPart.CLAP):
        return (pulses[1:] if len(pulses) == 3 else pulses[1::2] or pulses,)
    if part is DrumPart.HAT:
        return (tuple(0.5 * n for n in range(math.ceil(2 * length - _EPS))),)
    if part is DrumPart.OPEN_HAT:
        return ((max(0.0, length - 0.5),),)
    if part is DrumPart.CYMBAL:
        return ((0.0,), *((),) * (_CRASH_BARS - 1))
    if part is DrumPart.TOM:
        last = pulses[-1]
        fill = tuple(last + 0.25 * n for n in range(math.ceil((length - last) * 4 - _EPS)))
        return (*((),) * (_FILL_BARS - 1), fill)
    if part is DrumPart.PERCUSSION:
        return (pulses if turn % 2 == 0 else tuple(at + pulse / 2 for at in pulses),)
    return ((0.0,),)


def thinned(pattern: Sequence[Places]) -> tuple[Places, ...]:
    """Every second stroke of each bar: where drums play already, a part of a kit only doubles."""
    return tuple(places[::2] for places in pattern)


def patterns_of(
    notes: DrumNotes, bpm: float, metre: Signature | None, downbeat_s: float
) -> Mapping[DrumPart, Places]:
    """A score's own pattern of each part: what is struck in half of the bars in which it plays.

    Args:
        bpm, metre: of the score. downbeat_s: a bar line of it.
    """
    bar, beat = bar_s(bpm, metre), beat_s(bpm)
    slots = max(1, round(bar / beat * _GRID))
    struck: dict[DrumPart, set[tuple[int, int]]] = defaultdict(set)
    for at_s, pitch in notes:
        step = round((at_s - downbeat_s) / beat * _GRID)
        struck[part_of_pitch(pitch)].add(divmod(step, slots))
    found = {}
    for part, strokes in struck.items():
        bars = len({number for number, _ in strokes})
        often = Counter(slot for _, slot in strokes)
        found[part] = tuple(s / _GRID for s in sorted(often) if 2 * often[s] >= bars)
    return {part: places for part, places in found.items() if places}


def strokes_s(
    pattern: Iterable[Places], bpm: float, metre: Signature | None, start_s: float, end_s: float
) -> tuple[float, ...]:
    """When a pattern that begins at ``start_s``, a bar line, is struck before ``end_s``: seconds of
    the piece, rounded to a microsecond, strictly rising."""
    bars, bar, beat = tuple(pattern), bar_s(bpm, metre), beat_s(bpm)
    count = math.ceil((end_s - start_s) / bar - _EPS)
    found = (
        round(start_s + number * bar + place * beat, _DIGITS)
        for number in range(count)
        for place in bars[number % len(bars)]
        if place * beat < bar
    )
    return tuple(at for at in found if at <= end_s - _LAST_S)


def continued(
    hits_s: tuple[float, ...], bar: float, now_s: float, until_s: float
) -> tuple[float, ...]:
    """Strokes that reach to ``now_s``, going on to ``until_s`` as they did four bars before.

    Args:
        bar: length of a bar in seconds. until_s: at most a bar after ``now_s``.
    """
    back = bar * (_CRASH_BARS if now_s >= _CRASH_BARS * bar else 1)
    more = (round(at + back, _DIGITS) for at in hits_s)
    return (*hits_s, *(at for at in more if now_s - _LAST_S < at <= until_s - _LAST_S))
