"""Which windows the model works on, one after another, to fill regions of a piece of any length.

A region that fits into a window together with a quarter window of what stands on either side is
made at once, in the middle of it. A longer one is out-painted: half a window of context, the rest
new, and on from there; from the right to the left where only the right side is known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rag_audio.painting.regions import Region

TAIL_S = 0.5
"""What a window makes past what is used of it: the model tends to close a piece at its end."""

LEAST_CONTEXT = 1 / 8
"""How much of a window must be known before what it makes, where its bar line is chosen."""

_EPS_S = 1e-6


@dataclass(frozen=True)
class Grid:
    """Where bar lines lie: at ``offset_s`` and every ``bar_s`` seconds from there.

    Models hear the beat best in windows that begin on a bar line; ``bar_s`` 0: unknown.

    Attributes:
        loose: as windows were placed by the first releases, whose plans make the same sound again:
            on the bar line before, if it is within a quarter window, and the last one anywhere.
    """

    bar_s: float = 0.0
    offset_s: float = 0.0
    loose: bool = False

    def nearest(self, time_s: float, earliest_s: float, latest_s: float) -> float | None:
        """The bar line nearest to a time, of the two about it; None where neither is between."""
        before = math.floor((time_s - self.offset_s) / self.bar_s + _EPS_S)
        lines = [self.offset_s + bars * self.bar_s for bars in (before, before + 1)]
        there = [at for at in lines if earliest_s - _EPS_S <= at <= latest_s + _EPS_S]
        return min(there, key=lambda line: abs(line - time_s), default=None)

    def at_or_before(self, time_s: float, slack_s: float) -> float:
        """The last bar line up to ``time_s``; the time itself where none is in ``slack_s``."""
        if self.bar_s <= 0:
            return max(0.0, time_s)
        bars = math.floor((time_s - self.offset_s) / self.bar_s + _EPS_S)
        line = self.offset_s + bars * self.bar_s
        return line if line >= 0 and time_s - line <= slack_s else max(0.0, time_s)


@dataclass(frozen=True)
class Pass:
    """One call of the model. All times in seconds of the whole piece.

    Attributes:
        start_s, end_s: the window. used: what of it goes into the piece.
    """

    start_s: float
    end_s: float
    used: tuple[Region, ...]

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s


def plan_passes(
    regions: Sequence[Region], total_s: float, window_s: float, grid: Grid | None = None
) -> tuple[Pass, ...]:
    """The windows in the order they must be made.

    Args:
        regions: in order, apart from each other, within 0…``total_s``.
        window_s: the longest window of the model.
    """
    grid = grid or Grid()
    made: list[Pass] = []
    waiting = list(regions)
    while waiting:
        group = _together(waiting, total_s, window_s)
        if group:
            one = _at_once(waiting[:group], total_s, window_s, grid)
            while one is None and group > 1:
                group -= 1
                one = _at_once(waiting[:group], total_s, window_s, grid)
            if one is not None:
                made.append(one)
                del waiting[:group]
                continue
        made += _in_turn(waiting.pop(0), total_s, window_s, grid)
    return tuple(made)


def _together(regions: Sequence[Region], total_s: float, window_s: float) -> int:
    """How many of the first regions fit into one window with their contexts."""
    count = 0
    start = regions[0][0]
    for _, end in regions:
        around = min(start, window_s / 4) + min(total_s - end, window_s / 4)
        if end - start + around > window_s + _EPS_S:
            break
        count += 1
    return count


def _begin(grid: Grid, best_s: float, earliest_s: float, latest_s: float) -> float | None:
    """The beginning of a window: the bar line nearest to where it were best, or the piece's.

    None: neither is between the earliest and the latest.
    """
    if best_s <= _EPS_S:
        return 0.0
    if grid.bar_s <= 0:
        return best_s
    line = grid.nearest(best_s, max(0.0, earliest_s), latest_s)
    return 0.0 if line is None and earliest_s <= _EPS_S else line


def _at_once(regions: Sequence[Region], total_s: float, window_s: float, grid: Grid) -> Pass | None:
    """A window that holds all of the regions; None: none of these begins on a bar line."""
    start, end = regions[0][0], regions[-1][1]
    spare = max(0.0, window_s - (end - start))
    lead = min(start, max(spare / 2, spare - (total_s - end)))
    best = start - lead
    # Never so far to the left that the window would end before the region.
    begin: float | None
    if grid.loose:
        begin = grid.at_or_before(best, max(0.0, best + window_s - end))
    else:
        begin = _begin(grid, best, end - window_s, max(best, start - window_s * LEAST_CONTEXT))
    if begin is None:
        return None
    return Pass(begin, min(total_s, begin + window_s), tuple(regions))


def _in_turn(region: Region, total_s: float, window_s: float, grid: Grid) -> list[Pass]:
    start, end = region
    if start <= _EPS_S and total_s - end > _EPS_S:
        return _leftwards(end, total_s, window_s, grid)
    made: list[Pass] = []
    at = start
    while at < end - _EPS_S:
        if made and _together([(at, end)], total_s, window_s):
            last = _at_once([(at, end)], total_s, window_s, grid)
            if last is not None:
                made.append(last)
                break
        begin = _in_the_middle(at, window_s, grid)
        stop = min(total_s, begin + window_s)
        until = min(end, stop if stop >= total_s - _EPS_S else stop - TAIL_S)
        made.append(Pass(begin, stop, ((at, until),)))
        at = until
    return made


def _in_the_middle(at_s: float, window_s: float, grid: Grid) -> float:
    """Where a window begins that goes on at a time: half of it before, where bar lines let it."""
    best = at_s - min(at_s, window_s / 2)
    if grid.loose:
        return grid.at_or_before(best, window_s / 4)
    earliest = at_s - (window_s - TAIL_S - window_s / 4)
    begin = _begin(grid, best, earliest, max(best, at_s - window_s * LEAST_CONTEXT))
    return best if begin is None else begin


def _leftwards(end: float, total_s: float, window_s: float, grid: Grid) -> list[Pass]:
    """From what stands after ``end`` to the beginning of the piece."""
    made: list[Pass] = []
    to = end
    while to > _EPS_S:
        known = total_s - to
        best = to + min(known, window_s / 2) - window_s
        if made and _together([(0.0, to)], total_s, window_s):
            best = 0.0
        earliest = to + min(known, window_s * LEAST_CONTEXT) - window_s
        found = _begin(grid, best, earliest, max(best, to - TAIL_S - window_s / 4))
        begin = best if found is None else found
        at = begin + TAIL_S if begin > _EPS_S else 0.0
        made.append(Pass(begin, min(total_s, begin + window_s), ((at, to),)))
        to = at
    return made
