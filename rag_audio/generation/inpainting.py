"""Fill the regions of a piece, window by window; what stands elsewhere stays as it is, bit by bit.

Memory: the piece itself, and one window for the model, however long the piece is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from rag_audio.audio.channels import fitted
from rag_audio.audio.dsp import loudness_lufs, resample
from rag_audio.domain import Audio
from rag_audio.domain.ports import DiffusionInput, Generator, Painting, Progress, StopAsked
from rag_audio.errors import InvalidInput
from rag_audio.generation.splicing import (
    CROSSFADE_S,
    Edge,
    Samples,
    balanced,
    is_silent,
    level_window,
    near_frames,
    splice,
)

# Regions of a piece, as people write them: ``4.0-8.0``, in seconds.

Region = tuple[float, float]
"""Start and end in seconds."""

SHORTEST_S = 0.1
"""The shortest region, in seconds."""
MOST_REGIONS = 64
"""So many regions can be made anew in one edit."""
NAME_ONE = "name one in seconds, such as --region 4.0-8.0"
"""Where a region is missing."""
_SLACK_S = 1e-3
"""A region may end so far beyond the sound, whose stated length is rounded; it is cut there."""
_ROUNDING_S = 1e-9
_REGION = re.compile(r"\s*(-?\d+(?:\.\d*)?|-?\.\d+)\s*-\s*(-?\d+(?:\.\d*)?|-?\.\d+)\s*")


def parse_regions(texts: Iterable[str]) -> tuple[Region, ...]:
    """``["4-8", "10.5-12,14-15"]`` → regions in the order they were written.

    Raises:
        InvalidInput: one is not written like that.
    """
    found: list[Region] = []
    for text in texts:
        for part in text.split(","):
            read = _REGION.fullmatch(part)
            if read is None:
                raise InvalidInput(
                    f"{part.strip()!r} is not a region",
                    hint="write it in seconds, like --region 4.0-8.0",
                )
            found.append((float(read[1]), float(read[2])))
    return tuple(found)


def check_regions(regions: Sequence[Region], duration_s: float) -> tuple[Region, ...]:
    """The regions in order of time, each within the sound, none overlapping another.

    Args:
        regions: pairs of seconds, in any order. duration_s: of the sound, in seconds.

    Raises:
        InvalidInput: there are none or more than 64, or one is no pair of finite numbers, is
            reversed, empty, shorter than 0.1 s, not within 0…``duration_s``, or overlaps another.
    """
    if not regions:
        raise InvalidInput("no region was named", hint=NAME_ONE)
    if len(regions) > MOST_REGIONS:
        raise InvalidInput(
            f"{len(regions)} regions are more than {MOST_REGIONS}", hint="edit in several steps"
        )
    ordered = tuple(sorted(_checked(region, duration_s) for region in regions))
    for one, two in pairwise(ordered):
        if two[0] < one[1]:
            raise InvalidInput(
                f"regions {one[0]:g}-{one[1]:g} and {two[0]:g}-{two[1]:g} overlap",
                hint="make one of them",
            )
    return ordered


def _checked(region: Region, duration_s: float) -> Region:
    """One region, cut at the end of the sound."""
    try:
        start_s, end_s = (float(edge) for edge in region)
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            f"region {region!r} is not a start and an end in seconds", hint="such as (4.0, 8.0)"
        ) from error
    name = f"region {start_s:g}-{end_s:g}"
    if not (math.isfinite(start_s) and math.isfinite(end_s)):
        raise InvalidInput(f"{name} is not a number of seconds")
    if end_s < start_s:
        raise InvalidInput(
            f"{name} is reversed", hint=f"write it as --region {end_s:g}-{start_s:g}"
        )
    if end_s == start_s:
        raise InvalidInput(f"{name} is empty", hint="a region ends after it begins")
    if start_s < 0 or end_s > duration_s + _SLACK_S:
        raise InvalidInput(f"{name} is not within the sound, which lasts {duration_s:.2f} s")
    end_s = min(end_s, duration_s)
    if end_s - start_s < SHORTEST_S - _ROUNDING_S:
        raise InvalidInput(f"{name} is shorter than {SHORTEST_S:g} s")
    return start_s, end_s


# Which windows the model works on, one after another, to fill regions of a piece of any length.
#
# A region that fits into a window together with a quarter window of what stands on either side is
# made at once, in the middle of it. A longer one is out-painted: half a window of context, the
# rest new, and on from there; from the right to the left where only the right side is known.


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


MARGIN_S = 0.1
"""How much more than a region the model makes, on each side."""
_SEED_STEP = 7919


@dataclass(frozen=True, eq=False)
class Canvas:
    """A piece and what of it is to be made.

    Attributes:
        audio: the whole piece, any rate and channel count; its silence in blank regions too.
        regions: in order, apart from each other, within it.
        blank: nothing stands in the regions yet: what is there is not to be heard by the model.
        seed: as long as the piece, any rate; seeds the regions at the batch's strength.
        grid: where bar lines lie.
    """

    audio: Audio
    regions: tuple[Region, ...]
    blank: bool = False
    seed: Audio | None = None
    grid: Grid = field(default_factory=Grid)


@dataclass(frozen=True, eq=False)
class Painted:
    """The finished piece, as long as the canvas, and the seconds at which new sound was joined."""

    audio: Audio
    seams_s: tuple[float, ...]


def paint(
    canvas: Canvas,
    batch: DiffusionInput,
    generator: Generator,
    progress: Progress | None = None,
    stop_asked: StopAsked | None = None,
) -> Painted:
    """Make the regions of a canvas.

    The first window is made with the batch's seed, further ones with seeds derived from it. Each
    is brought to the loudness of what surrounds its region (a window to either side), of
    what it replaces, or of the first window, whichever there is, in this order. From there its
    level is led, over two seconds, to that of the bar beyond each seam.

    Args:
        batch: one seed; duration, seed audio and painting are set here, window by window.

    Raises:
        Cancelled, InvalidInput, BackendError: as ``Generator.generate``.
    """
    painter = _Painter(canvas, batch, generator)
    passes = plan_passes(
        canvas.regions, canvas.audio.duration_s, generator.info.max_duration_s, canvas.grid
    )
    for number, one in enumerate(passes):
        told = _shifted(progress, number, len(passes))
        painter.make(one, number, told, stop_asked)
    total = canvas.audio.duration_s
    edges = {edge for one in passes for span in one.used for edge in span}
    seams = tuple(sorted(edge for edge in edges if 1e-3 < edge < total - 1e-3))
    return Painted(Audio(painter.piece, canvas.audio.sample_rate), seams)


def paint_whole(
    batch: DiffusionInput,
    generator: Generator,
    grid: Grid,
    progress: Progress | None = None,
    stop_asked: StopAsked | None = None,
) -> tuple[Audio, ...]:
    """Takes longer than the model's window, out-painted from their first window on.

    Args:
        batch: as for ``Generator.generate``, of any duration. grid: where bar lines lie.

    Raises:
        Cancelled, InvalidInput, BackendError: as ``Generator.generate``.
    """
    info = generator.info
    frames = round(batch.duration_s * info.sample_rate)
    empty = Audio(np.zeros((info.channels, frames), np.float32), info.sample_rate)
    region = ((0.0, frames / info.sample_rate),)
    made = []
    for i, seed in enumerate(batch.seeds):
        canvas = Canvas(empty, region, True, batch.init_audio, grid)
        told = _shifted(progress, i, len(batch.seeds))
        one = paint(canvas, replace(batch, seeds=(seed,)), generator, told, stop_asked)
        made.append(one.audio)
    return tuple(made)


class _Painter:
    """The piece as it grows."""

    def __init__(self, canvas: Canvas, batch: DiffusionInput, generator: Generator) -> None:
        self.canvas, self.batch, self.generator = canvas, batch, generator
        self.rate = canvas.audio.sample_rate
        self.piece: Samples = canvas.audio.samples.copy()
        self.waiting = np.zeros(self.piece.shape[1], dtype=bool)
        for start_s, end_s in canvas.regions:
            self.waiting[self._at(start_s) : self._at(end_s)] = True
        self.first_lufs = -math.inf
        self.targets = {region: self._level_beside(region) for region in canvas.regions}

    def make(
        self, one: Pass, number: int, progress: Progress | None, stop: StopAsked | None
    ) -> None:
        """Generate one window, and put what is used of it into the piece."""
        start = self._at(one.start_s)
        longest = math.floor(self.generator.info.max_duration_s * self.rate)
        end = min(self._at(one.end_s), start + longest)
        made = self._generate(start, end, number, progress, stop)
        spans = [(self._at(a), min(self._at(b), end)) for a, b in one.used]
        made = self._levelled(made, start, spans, one)
        for a, b in spans:
            around = slice(start, end)
            fade = round(CROSSFADE_S * self.rate)
            splice(self.piece[:, around], made.samples, a - start, b - start, fade)
            self.waiting[a:b] = False

    def _generate(
        self, start: int, end: int, number: int, progress: Progress | None, stop: StopAsked | None
    ) -> Audio:
        window = self.piece[:, start:end].copy()
        holes = _runs(self.waiting[start:end])
        if self.canvas.blank:
            for hole in holes:
                _mirror(window, *hole)
        seed = self._seed(start, end)
        whole = holes == [(0, end - start)]
        regions = _widened(holes, end - start, round(MARGIN_S * self.rate), self.rate)
        batch = replace(
            self.batch,
            seeds=((self.batch.seeds[0] + _SEED_STEP * number) % 2**63,),
            duration_s=(end - start) / self.rate,
            init_audio=seed,
            strength=1.0 if seed is None else self.batch.strength,
            painting=None if whole else Painting(Audio(window, self.rate), regions),
        )
        (made,) = self.generator.generate(batch, progress, stop)
        samples = resample(made, self.rate).samples
        samples = np.pad(samples, ((0, 0), (0, max(0, end - start - samples.shape[1]))), "edge")
        channels = self.piece.shape[0]
        fit = fitted(Audio(samples[:, : end - start], self.rate), channels)
        if made.channels == 1 < channels:
            kept = self.piece[:, start:end][:, ~self.waiting[start:end]]
            context = kept if kept.size else self.canvas.audio.samples[:, start:end]
            return Audio(balanced(fit.samples, context), self.rate)
        return fit

    def _seed(self, start: int, end: int) -> Audio | None:
        seed = self.canvas.seed
        if seed is None:
            return None
        first = round(start / self.rate * seed.sample_rate)
        frames = math.ceil((end - start) / self.rate * seed.sample_rate)
        part = seed.samples[:, first : first + frames]
        # The last sample or two may be missing by rounding.
        return Audio(np.pad(part, ((0, 0), (0, frames - part.shape[1])), "edge"), seed.sample_rate)

    def _levelled(
        self, made: Audio, start: int, spans: Sequence[tuple[int, int]], one: Pass
    ) -> Audio:
        """The window at the level of the piece: as a whole, and at each seam."""
        target = self._target(spans, one)
        near = near_frames(self.canvas.grid.bar_s, self.rate)
        edges = [self._edges(span, start, near) for span in spans]
        around = slice(start, start + made.frames)
        kept = self.piece[:, around][:, ~self.waiting[around]]
        peak = float(np.abs(kept).max(initial=0.0))
        louder = level_window(made, edges, target, near, peak)
        if math.isinf(self.first_lufs):
            parts = [louder.samples[:, a - start : b - start] for a, b in spans]
            self.first_lufs = loudness_lufs(Audio(np.concatenate(parts, axis=1), self.rate))
        return louder

    def _edges(self, span: tuple[int, int], start: int, near: int) -> tuple[Edge, Edge]:
        """The ends of a span of a window, and what stands beyond them."""
        a, b = span
        first = max(0, a - near)
        before = self.piece[:, first:a][:, ~self.waiting[first:a]]
        after = self.piece[:, b : b + near][:, ~self.waiting[b : b + near]]
        return Edge(a - start, 1, before[:, ::-1]), Edge(b - start, -1, after)

    def _target(self, spans: Sequence[tuple[int, int]], one: Pass) -> float:
        """Loudness that the spans should have as a whole; -inf: what they have."""
        region = next(r for r in self.canvas.regions if r[0] <= one.used[0][0] + 1e-6 < r[1])
        target = self.targets[region]
        old = np.concatenate([self.canvas.audio.samples[:, a:b] for a, b in spans], axis=1)
        if math.isinf(target) and not self.canvas.blank and not is_silent(old):
            target = loudness_lufs(Audio(old, self.rate))
        return self.first_lufs if math.isinf(target) else target

    def _level_beside(self, region: Region) -> float:
        """Loudness of what stands within a window of a region and stays; -inf: nothing."""
        reach = round(self.generator.info.max_duration_s * self.rate)
        start, end = self._at(region[0]), self._at(region[1])
        around = slice(max(0, start - reach), end + reach)
        kept = self.piece[:, around][:, ~self.waiting[around]]
        return loudness_lufs(Audio(kept, self.rate)) if kept.size else -math.inf

    def _at(self, time_s: float) -> int:
        return min(self.piece.shape[1], round(time_s * self.rate))


def _runs(flags: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> list[tuple[int, int]]:
    """(start, end) of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _widened(
    holes: Sequence[tuple[int, int]], frames: int, margin: int, rate: int
) -> tuple[Region, ...]:
    """What the model is to make, in seconds: a little more than is used on either side.

    So the crossfades lie within what it makes, and not where its latents change to the kept ones.
    Holes that come to meet are one.
    """
    found: list[tuple[int, int]] = []
    for a, b in holes:
        first, last = max(0, a - margin), min(frames, b + margin)
        if found and first <= found[-1][1]:
            found[-1] = (found[-1][0], last)
        else:
            found.append((first, last))
    return tuple((a / rate, b / rate) for a, b in found)


def _mirror(window: Samples, start: int, end: int) -> None:
    """Fill a hole with its surroundings turned round, in place.

    An autoencoder hears some way to both sides: beside silence it would blur what is to be kept.
    """
    frames = end - start
    if start:
        window[:, start:end] = np.pad(window[:, :start], ((0, 0), (0, frames)), "symmetric")[
            :, start:
        ]
    elif end < window.shape[1]:
        window[:, start:end] = np.pad(window[:, end:], ((0, 0), (frames, 0)), "symmetric")[
            :, :frames
        ]


def _shifted(progress: Progress | None, number: int, count: int) -> Progress | None:
    """Progress of one window within all of them."""
    if progress is None:
        return None
    report = progress
    return lambda done, total: report(number * total + done, count * total)
