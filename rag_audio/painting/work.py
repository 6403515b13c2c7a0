"""Fill the regions of a piece, window by window; what stands elsewhere stays as it is, bit by bit.

Memory: the piece itself, and one window for the model, however long the piece is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from rag_audio.domain import Audio
from rag_audio.hearing import fitted
from rag_audio.loudness import loudness_lufs
from rag_audio.painting.levelling import Edge, level_window, near_frames
from rag_audio.painting.passes import Grid, Pass, plan_passes
from rag_audio.painting.regions import Region
from rag_audio.painting.splicing import CROSSFADE_S, Samples, balanced, is_silent, splice
from rag_audio.ports import DiffusionInput, Generator, Painting, Progress, StopAsked
from rag_audio.shaping import resample

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
    is brought to the loudness of what stands beside its region (a window to either side), of
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
