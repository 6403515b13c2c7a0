"""Basslines, chords, arpeggios and melodies over a harmony."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from training.score import Event
from training.theory import Chord, Scale, at_or_above, chord, voice

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Span:
    """A chord from ``start`` for ``length`` beats."""

    start: float
    length: float
    chord: Chord


@dataclass(frozen=True)
class Harmony:
    """Chords without gaps over so many bars."""

    scale: Scale
    beats: int
    bars: int
    spans: tuple[Span, ...]


def harmony(scale: Scale, progression: Sequence[str], bars: int, beats: int = 4) -> Harmony:
    """Repeat a progression over so many bars.

    Args:
        progression: a bar each; several chords share a bar evenly: ``"ii7 V7"``.
    """
    spans = []
    for bar in range(bars):
        romans = progression[bar % len(progression)].split()
        share = beats / len(romans)
        for k, roman in enumerate(romans):
            spans.append(Span(bar * beats + k * share, share, chord(scale, roman)))
    return Harmony(scale, beats, bars, tuple(spans))


BASS_RHYTHMS: dict[str, tuple[tuple[float, float, str], ...]] = {
    "whole": ((0, 3.8, "r"),),
    "root fifth": ((0, 1.8, "r"), (2, 1.8, "f")),
    "eighths": tuple((k / 2, 0.46, "r") for k in range(8)),
    "driving": (*((k / 2, 0.42, "r") for k in range(7)), (3.5, 0.42, "a")),
    "offbeat": tuple((k + 0.5, 0.42, "r") for k in range(4)),
    "octaves": tuple((k / 2, 0.4, "o" if k % 2 else "r") for k in range(8)),
    "rolling": tuple((k + d, 0.22, "r") for k in range(4) for d in (0.25, 0.5, 0.75)),
    "house": ((0, 0.7, "r"), (0.75, 0.4, "r"), (1.5, 0.45, "o"), (2.5, 0.7, "r"), (3.25, 0.6, "f")),
    "boom bap": ((0, 1.3, "r"), (1.5, 0.4, "r"), (2.5, 0.9, "f"), (3.5, 0.4, "a")),
    "sub": ((0, 2.4, "r"), (2.5, 0.7, "r"), (3.5, 0.45, "o")),
    "reese": ((0, 1.4, "r"), (1.5, 0.4, "r"), (2.5, 1.2, "r")),
    "funk": ((0, 0.4, "r"), (0.75, 0.2, "r"), (1.5, 0.3, "o"), (1.75, 0.2, "f"),
             (2.5, 0.4, "r"), (3.25, 0.2, "7"), (3.5, 0.35, "a")),
    "slap": ((0, 0.3, "r"), (0.5, 0.2, "o"), (1.25, 0.2, "r"), (1.5, 0.2, "o"), (2, 0.3, "r"),
             (2.75, 0.2, "f"), (3, 0.2, "o"), (3.5, 0.3, "a")),
    "one drop": ((0, 0.8, "r"), (1.5, 0.4, "t"), (2, 0.9, "f"), (3.5, 0.4, "r")),
    "dub": ((0.5, 0.4, "r"), (1, 0.9, "r"), (2.5, 0.4, "f"), (3, 0.8, "r")),
    "bossa": ((0, 1.4, "r"), (1.5, 0.45, "f"), (2, 1.4, "f"), (3.5, 0.45, "r")),
    "samba": ((0, 0.7, "r"), (0.75, 0.2, "f"), (1, 0.9, "f"), (2, 0.7, "r"), (2.75, 0.2, "f"),
              (3, 0.9, "f")),
    "tumbao": ((1.5, 1.4, "f"), (3, 0.95, "n")),
    "afro": ((0, 0.4, "r"), (0.75, 0.4, "f"), (1.5, 0.4, "7"), (2.5, 0.4, "r"), (3, 0.4, "f")),
    "walking": ((0, 0.9, "r"), (1, 0.9, "w"), (2, 0.9, "w"), (3, 0.9, "a")),
    "waltz": ((0, 1.8, "r"),),
}  # fmt: skip
"""Bar patterns of (beat, length, note): r root, f fifth, t third, o octave, 7, w walk, a approach
of the next chord, n the next chord's root."""


def bass(plan: Harmony, rhythm: str, rng: np.random.Generator, low: int = 29) -> list[Event]:
    """A bassline. Notes beyond a short bar are left out; a changing chord takes its own root."""
    pattern = BASS_RHYTHMS[rhythm]
    events: list[Event] = []
    for bar in range(plan.bars):
        for at, length, kind in pattern:
            if at >= plan.beats:
                continue
            start = bar * plan.beats + at
            here = _at(plan, start)
            following = _at(plan, min(here.start + here.length, plan.bars * plan.beats - 0.01))
            nearest = plan.spans[0] if here is plan.spans[-1] else following
            pitch = _bass_pitch(plan, here, nearest, kind, low, events, rng)
            if abs(start - here.start) < 0.01:
                pitch = at_or_above(here.chord.root, low)
            strong = 104 if at == 0 else 88
            events.append(Event(start, min(length, plan.beats - at), pitch, strong))
    return events


def _bass_pitch(
    plan: Harmony, here: Span, following: Span, kind: str, low: int,
    before: Sequence[Event], rng: np.random.Generator,
) -> int:  # fmt: skip
    root = at_or_above(here.chord.root, low)
    intervals = here.chord.intervals
    fifth = next((i for i in intervals if i in (6, 7)), 7)
    if kind == "w":
        last = before[-1].pitch if before else root
        options = [c for c in plan.scale.classes if c != last % 12]
        towards = root + int(rng.choice([3, 4, 7, 10, 12]))
        return plan.scale.near(last + (2 if towards > last else -2), options)
    if kind == "a":
        target = at_or_above(following.chord.root, low)
        return plan.scale.step(target, -1 if rng.random() < 0.6 else 1)
    if kind == "n":
        return at_or_above(following.chord.root, low)
    table = {"r": 0, "f": fifth, "o": 12, "t": intervals[1] if len(intervals) > 2 else fifth}
    return root + table.get(kind, 10 if 10 in intervals else fifth)


def _at(plan: Harmony, beat: float) -> Span:
    for span in plan.spans:
        if span.start - 1e-6 <= beat < span.start + span.length - 1e-6:
            return span
    return plan.spans[-1]


CHORD_RHYTHMS: dict[str, tuple[tuple[float, float], ...]] = {
    "held": ((0, 3.9),),
    "halves": ((0, 1.9), (2, 1.9)),
    "quarters": ((0, 0.9), (1, 0.9), (2, 0.9), (3, 0.9)),
    "stabs": ((0, 0.3), (1.5, 0.3), (2.75, 0.3)),
    "offbeat": ((0.5, 0.35), (1.5, 0.35), (2.5, 0.35), (3.5, 0.35)),
    "skank": ((1, 0.25), (3, 0.25)),
    "bubble": tuple((k + d, 0.2) for k in range(4) for d in (0.5, 0.75)),
    "house": ((0, 0.4), (0.75, 0.4), (1.5, 0.4), (2.5, 0.4), (3.25, 0.4)),
    "pushed": ((0, 1.4), (1.5, 1.9), (3.5, 0.45)),
    "charleston": ((0, 0.6), (1.5, 0.9)),
    "comp": ((0.5, 0.4), (2, 0.6), (3.5, 0.4)),
    "bossa": ((0, 0.4), (0.75, 0.6), (1.5, 0.6), (2.5, 0.6), (3.25, 0.6)),
    "montuno": ((0, 0.4), (0.75, 0.2), *((k / 2 + 0.25, 0.4) for k in range(2, 7))),
    "funk": ((0, 0.2), (0.75, 0.15), (1.25, 0.15), (2.5, 0.2), (3.25, 0.15)),
    "eighths": tuple((k / 2, 0.4) for k in range(8)),
    "gated": tuple((k / 4, 0.2) for k in range(16) if k % 4 != 0),
    "waltz": ((1, 0.7), (2, 0.7)),
}  # fmt: skip
"""Bar patterns of (beat, length)."""


def chords(
    plan: Harmony, rhythm: str, centre: float = 62, *, strum: float = 0.0, power: bool = False
) -> list[Event]:
    """Voice-led chords in a rhythm; ``strum`` spreads them by so many beats a note."""
    events: list[Event] = []
    voicings: dict[float, tuple[int, ...]] = {}
    before: tuple[int, ...] | None = None
    for span in plan.spans:
        struck = Chord(span.chord.root, (0, 7, 12)) if power else span.chord
        root = at_or_above(struck.root, round(centre) - 12)
        before = (root, root + 7, root + 12) if power else voice(struck, centre, before)
        voicings[span.start] = before
    for bar in range(plan.bars):
        hits = [(at, length) for at, length in CHORD_RHYTHMS[rhythm] if at < plan.beats]
        starts = {round(bar * plan.beats + at, 4): length for at, length in hits}
        if rhythm in ("held", "halves", "quarters", "pushed"):
            for span in plan.spans:  # a chord that changes in between is struck when it comes
                if bar * plan.beats <= span.start < (bar + 1) * plan.beats:
                    starts.setdefault(round(span.start, 4), span.length * 0.95)
        for start, length in sorted(starts.items()):
            span = _at(plan, start)
            held = min(length, span.start + span.length - start)
            for k, pitch in enumerate(voicings[span.start]):
                late = strum * k
                events.append(
                    Event(start + late, max(0.1, held - late), pitch, 82 + (start % 1 == 0) * 8)
                )
    return events


ARP_SHAPES: dict[str, tuple[int, ...]] = {
    "up": (0, 1, 2, 3),
    "down": (3, 2, 1, 0),
    "up down": (0, 1, 2, 3, 2, 1),
    "alberti": (0, 2, 1, 2),
    "broken": (0, 2, 1, 3),
    "picking": (0, 3, 1, 2, 0, 2, 1, 3),
}


def arpeggio(
    plan: Harmony, shape: str, step: float = 0.5, centre: float = 66, hold: float = 0.9
) -> list[Event]:
    """Broken chords in even steps of so many beats."""
    order = ARP_SHAPES[shape]
    events: list[Event] = []
    before: tuple[int, ...] | None = None
    for span in plan.spans:
        before = voice(span.chord, centre, before)
        ladder = (*before, before[0] + 12, before[1] + 12)[:4]
        for k in range(round(span.length / step)):
            accent = 96 if (k * step) % 1 == 0 else 78
            pitch = ladder[order[k % len(order)]]
            events.append(Event(span.start + k * step, step * hold, pitch, accent))
    return events


RHYTHM_CELLS: dict[str, tuple[tuple[float, ...], ...]] = {
    "calm": ((2, 2), (3, 1), (4,), (2, 1, 1), (1.5, 0.5, 2)),
    "flowing": ((1, 1, 1, 1), (1, 0.5, 0.5, 1, 1), (1.5, 0.5, 1, 1), (1, 1, 2), (0.5, 0.5, 1, 2)),
    "busy": ((0.5,) * 8, (0.5, 0.5, 1, 0.5, 0.5, 1), (0.75, 0.75, 0.5, 1, 1),
             (0.25, 0.25, 0.5, 0.5, 0.5, 0.5, 0.5, 1)),
    "syncopated": ((0.75, 0.75, 0.5, 0.75, 0.75, 0.5), (0.5, 1, 1, 1, 0.5), (1.5, 1.5, 1),
                   (0.75, 0.25, 1, 0.5, 1.5)),
}  # fmt: skip


def melody(
    plan: Harmony,
    rng: np.random.Generator,
    *,
    manner: str = "flowing",
    centre: float = 74,
    rests: float = 0.12,
) -> list[Event]:
    """A tune from a two-bar motif, its answer and variations (phrases a a' b a'').

    Strong beats take chord tones, weak beats go by steps of the scale, phrases end long and the
    last one on the tonic's chord.
    """
    cells = RHYTHM_CELLS[manner]
    motifs = [
        [(cells[int(rng.integers(len(cells)))], rng.integers(-2, 3, 16)) for _ in range(2)]
        for _ in range(2)
    ]
    events: list[Event] = []
    pitch = plan.scale.near(centre, _at(plan, 0).chord.classes)
    for bar in range(plan.bars):
        phrase = (bar // 2) % 4
        rhythm, moves = motifs[1 if phrase == 2 else 0][bar % 2]
        closing = bar % 4 == 3
        at = 0.0
        for k, length in enumerate(rhythm):
            length = min(length, plan.beats - at)
            if length <= 0:
                break
            start = bar * plan.beats + at
            last = closing and at + length >= plan.beats - 1e-6
            firm = last or at % 2 == 0 or length >= 1.5
            home = last and bar % 8 == 7
            pitch = _next_pitch(plan, pitch, int(moves[k]), start, centre, (firm, home), rng)
            silent = rng.random() < rests and not (k == 0 and bar % 2 == 0)
            if not silent:
                loud = 100 if at % 2 == 0 else 88
                events.append(Event(start, length * 0.93, pitch, loud))
            at += length
    return events


def _next_pitch(
    plan: Harmony, pitch: int, move: int, start: float, centre: float, rest: tuple[bool, bool],
    rng: np.random.Generator,
) -> int:  # fmt: skip
    """Step from ``pitch``, bent back towards the centre; firm notes rest on the chord.

    ``rest`` is (firm, home): home ends a period on the tonic where the chord has it.
    """
    drift = centre - pitch
    if abs(drift) > 7:
        move = 2 if drift > 0 else -2
    elif rng.random() < 0.08:
        move += 4 if drift > 0 else -4
    wanted = plan.scale.step(pitch, move)
    firm, home = rest
    tones = [c for c in _at(plan, start).chord.classes if c in plan.scale.classes]
    tonic = plan.scale.tonic % 12
    if home and tonic in tones:
        return plan.scale.near(wanted, [tonic])
    if firm or rng.random() < 0.15:
        return plan.scale.near(wanted, tones or None)
    if rng.random() < 0.3:  # passing notes lean on the tonic's own chord
        return plan.scale.near(wanted, [plan.scale.classes[d] for d in (0, 2, 4)])
    return wanted
