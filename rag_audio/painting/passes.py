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

_EPS_S = 1e-6


@dataclass(frozen=True)
class Grid:
    """Where bar lines lie: at ``offset_s`` and every ``bar_s`` seconds from there.

    Models hear the beat best in windows that begin on a bar line; ``bar_s`` 0: unknown.
    """

    bar_s: float = 0.0
    offset_s: float = 0.0

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
            made.append(_at_once(waiting[:group], total_s, window_s, grid))
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


def _at_once(regions: Sequence[Region], total_s: float, window_s: float, grid: Grid) -> Pass:
    start, end = regions[0][0], regions[-1][1]
    spare = max(0.0, window_s - (end - start))
    lead = min(start, max(spare / 2, spare - (total_s - end)))
    # Never so far to the left that the window would end before the region.
    begin = grid.at_or_before(start - lead, max(0.0, start - lead + window_s - end))
    return Pass(begin, min(total_s, begin + window_s), tuple(regions))


def _in_turn(region: Region, total_s: float, window_s: float, grid: Grid) -> list[Pass]:
    start, end = region
    if start <= _EPS_S and total_s - end > _EPS_S:
        turned = _in_turn((total_s - end, total_s - start), total_s, window_s, Grid())
        return [_turned(one, total_s, window_s, grid) for one in turned]
    made: list[Pass] = []
    at = start
    while at < end - _EPS_S:
        if made and _together([(at, end)], total_s, window_s):
            made.append(_at_once([(at, end)], total_s, window_s, grid))
            break
        lead = min(at, window_s / 2)
        begin = grid.at_or_before(at - lead, window_s / 4)
        stop = min(total_s, begin + window_s)
        until = min(end, stop if stop >= total_s - _EPS_S else stop - TAIL_S)
        made.append(Pass(begin, stop, ((at, until),)))
        at = until
    return made


def _turned(one: Pass, total_s: float, window_s: float, grid: Grid) -> Pass:
    """A pass that was planned from right to left."""
    (start, end), *_ = one.used
    # Never so far to the left that the window would end before what is used of it.
    slack = min(window_s / 4, start + window_s - one.end_s)
    begin = grid.at_or_before(total_s - one.end_s, slack)
    return Pass(begin, min(total_s, begin + window_s), ((total_s - end, total_s - start),))
