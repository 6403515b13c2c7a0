"""Drum grooves as grids: a bar is a string of sixteenths (twelve of them in 3/4).

``X`` accent, ``x`` normal, ``o`` soft, ``.`` nothing. Keys are General MIDI percussion notes. More
than one bar is played in turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from training.score import Event

if TYPE_CHECKING:
    import numpy as np

KICK, STICK, SNARE, CLAP, HAT, PEDAL, OPEN, CRASH, RIDE = 36, 37, 38, 39, 42, 44, 46, 49, 51
TAMBOURINE, COWBELL, CONGA_MUTE, CONGA, CONGA_LOW = 54, 56, 62, 63, 64
CABASA, SHAKER, CLAVES, WOOD, LOW_TOM, MID_TOM, HIGH_TOM = 69, 70, 75, 76, 45, 47, 50

Groove = Mapping[int, str]

_LOUD = {"X": 112, "x": 94, "o": 62}

GROOVES: dict[str, Groove] = {
    "four on the floor": {KICK: "X...X...X...X...", CLAP: "....x.......x...",
                          OPEN: "..x...x...x...x.", HAT: "x.o.x.o.x.o.x.o."},
    "deep house": {KICK: "X...X...X...X...", CLAP: "....x.......x..o", HAT: "o.x.o.xoo.x.o.x.",
                   SHAKER: "xoxoxoxoxoxoxoxo"},
    "techno": {KICK: "X...X...X...X...", OPEN: "..x...x...x...x.", HAT: "ooxoooxoooxoooxo",
               WOOD: "...x..x....x..x."},
    "disco": {KICK: "X...X...X...X...", SNARE: "....X.......X...", OPEN: "..x...x...x...x.",
              HAT: "x.o.x.o.x.o.x.o.", TAMBOURINE: "o.x.o.x.o.x.o.x."},
    "rock": {KICK: "X.......X.x.....", SNARE: "....X.......X...", HAT: "x.x.x.x.x.x.x.x."},
    "driving rock": {KICK: "X..x..x.X..x..x.", SNARE: "....X.......X...", RIDE: "x.x.x.x.x.x.x.x."},
    "half time": {KICK: "X.........x.....", SNARE: "........X.......", HAT: "x.o.x.o.x.o.x.o."},
    "pop": {KICK: "X.....x.X.......", SNARE: "....X.......X...", HAT: "x.x.x.x.x.x.x.x.",
            CLAP: "....o.......o..."},
    "boom bap": {KICK: "X..x......x.....X.....x..xx.....",
                 SNARE: "....X.......X..o....X..o....X...",
                 HAT: "x.x.x.x.x.x.x.x.x.x.xox.x.x.x.x."},
    "lo-fi": {KICK: "X......x..x.....", STICK: "....x.......x...", HAT: "x.o.x.o.x.o.x.oo"},
    "trap": {KICK: "X.....x...x.....X..x......x.....", CLAP: "........X...............X.......",
             HAT: "x.x.x.x.xxx.x.x.x.x.xxxxx.x.xoxo"},
    "breakbeat": {KICK: "X.x.......xx....X.x.......x.....",
                  SNARE: "....X..o.o..X..o....X..o.o....X.",
                  RIDE: "x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x."},
    "two-step": {KICK: "X.........x.....", SNARE: "....X.......X...", HAT: "x.xxx.x.x.xxx.xo"},
    "funk": {KICK: "X.x...x...x..x..", SNARE: "....X..o.o..X..o", HAT: "xoxoxoxoxoxoxoxo"},
    "new orleans": {KICK: "X..x..x...x...x.", SNARE: "o.xoo.xoX.oxo.xo", HAT: "x...x...x...x..."},
    "reggae one drop": {KICK: "........X.......", STICK: "........X.......",
                        HAT: "x.xox.x.x.xox.x."},
    "steppers": {KICK: "X...X...X...X...", STICK: "........x.......", HAT: "x.o.x.o.x.oox.o."},
    "bossa": {KICK: "X..xX..xX..xX..x", STICK: "x..x..x...x..x..", HAT: "xoxoxoxoxoxoxoxo"},
    "samba": {KICK: "x..oX..ox..oX..o", SNARE: "xoxxoxoxxoxoxxox", SHAKER: "xooxxooxxooxxoox"},
    "salsa": {CONGA_MUTE: "x.x...x.x.x...x.", CONGA: "......xx......xx",
              COWBELL: "x...x.x.x...x.x.",
              KICK: "...x..X....x..X.", CLAVES: "x..x..x...x.x..."},
    "afrobeat": {KICK: "X.....x...x.....", SNARE: "...o..x....x..o.",
                 HAT: "x.xxx.xxx.xxx.xx",
                 SHAKER: "xoxoxoxoxoxoxoxo", COWBELL: "x..x..x...x.x..."},
    "jazz swing": {RIDE: "X...x.x.X...x.x.", PEDAL: "....x.......x...", KICK: "o.......o.....o.",
                   SNARE: "..............o."},
    "brushes": {SNARE: "o...x.o.o...x.o.", RIDE: "x.....x.x.....x.", PEDAL: "....x.......x..."},
    "shuffle": {KICK: "X.....x.X.....x.", SNARE: "....X.......X...", HAT: "x...x.x.x...x.x."},
    "march": {KICK: "X.......X.......", SNARE: "x.xxx.x.x.xxx.xx"},
    "ambient": {KICK: "x...............", SHAKER: "..o...o...o...o.", RIDE: "........o......."},
}  # fmt: skip

WALTZES: dict[str, Groove] = {
    "waltz": {KICK: "X...........", SNARE: "....x...x...", HAT: "x.o.x.o.x.o."},
    "jazz waltz": {RIDE: "X...x.x.x...", PEDAL: "....x.......", KICK: "o.....o....."},
    "folk waltz": {KICK: "X.......o...", STICK: "....x...x...", SHAKER: "x.o.x.o.x.o."},
}


def play(
    groove: Groove,
    bars: int,
    rng: np.random.Generator,
    *,
    beats: int = 4,
    fill_every: int = 4,
    crash: bool = True,
) -> list[Event]:
    """A groove over so many bars, with a fill before every ``fill_every``-th bar line (0: none)."""
    steps = beats * 4
    events = []
    for bar in range(bars):
        filled = fill_every and bar % fill_every == fill_every - 1 and bar < bars
        cut = steps - 4 if filled else steps
        for note, grid in groove.items():
            variants = max(1, len(grid) // steps)
            line = grid[(bar % variants) * steps :][:steps].ljust(steps, ".")
            for step, sign in enumerate(line):
                if sign == "." or (step >= cut and note not in (KICK, HAT, RIDE)):
                    continue
                at = bar * beats + step / 4
                events.append(Event(at, 0.24, note, _LOUD[sign]))
        if filled:
            events += _fill(bar * beats + beats - 1, rng)
        if crash and bar and fill_every and bar % (2 * fill_every) == 0:
            events.append(Event(bar * beats, 1.0, CRASH, 96))
    return events


def _fill(start: float, rng: np.random.Generator) -> list[Event]:
    """One beat of snare and toms."""
    kinds = ((SNARE, SNARE, HIGH_TOM, LOW_TOM), (HIGH_TOM, HIGH_TOM, MID_TOM, LOW_TOM),
             (SNARE, None, SNARE, SNARE), (None, SNARE, MID_TOM, LOW_TOM))  # fmt: skip
    line = kinds[int(rng.integers(len(kinds)))]
    return [
        Event(start + k / 4, 0.24, note, 84 + 8 * k)
        for k, note in enumerate(line)
        if note is not None
    ]
