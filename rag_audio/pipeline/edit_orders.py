"""What is to be done to a sound, and the canvas on which it is done."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rag_audio.audio.channels import heard
from rag_audio.audio.dsp import loop_to
from rag_audio.domain import Audio
from rag_audio.errors import InvalidInput
from rag_audio.generation.inpainting import (
    NAME_ONE,
    SHORTEST_S,
    Canvas,
    Grid,
    Region,
    check_regions,
)
from rag_audio.generation.seed_audio import quiet_lead
from rag_audio.generation.splicing import Samples, is_silent
from rag_audio.provenance.influence import signal_share

INPAINT, EXTEND, VARY = "inpaint", "extend", "vary"
_FIELDS = {INPAINT: ("regions",), EXTEND: ("left_s", "right_s"), VARY: ()}
"""Fields of :class:`Order` by kind of edit."""
STRENGTHS = {EXTEND: 0.5, INPAINT: 0.7}
"""How far an extension leaves the bars that it goes on from, and a new region what is beside it,
played on into it; see ``benchmarks/bench_edit.py``."""
LOOP_S = 6.0
LOOP_FADE_S = 0.05
_SHORTEST_FADE = 16
QUIET_S = 1.0
"""How far before the loop its joins may lie, to be where it is quietest."""
MOST_S = 3600.0
"""An extension adds no more than this on a side, in seconds."""
_EPS_S = 1e-6


@dataclass(frozen=True)
class Order:
    """An edit that was asked for; all times are in seconds.

    Attributes:
        kind: ``inpaint`` makes ``regions`` of the sound anew, ``extend`` adds ``left_s`` and
            ``right_s`` to it (0: nothing on that side), ``vary`` makes all of it anew.

    Raises:
        InvalidInput: the kind is unknown, a field belongs to another kind, no region is named, or
            an extension is shorter than the shortest region or longer than an hour. Whether
            regions are within a sound is checked by :meth:`made`.
    """

    kind: str
    regions: tuple[Region, ...] = ()
    left_s: float = 0.0
    right_s: float = 0.0

    def __post_init__(self) -> None:
        kind, left_s, right_s = self.kind, self.left_s, self.right_s
        if kind not in _FIELDS:
            raise InvalidInput(
                f"{kind!r} is not a kind of edit", hint=f"one of {', '.join(_FIELDS)}"
            )
        listed = [list(region) for region in self.regions]
        for name, value in (("regions", listed), ("left_s", left_s), ("right_s", right_s)):
            if value and name not in _FIELDS[kind]:
                owner = next(other for other, fields in _FIELDS.items() if name in fields)
                raise InvalidInput(
                    f"{name} {value} does not belong to {kind}", hint=f"`{name}` is for {owner}"
                )
        if kind == INPAINT and not self.regions:
            raise InvalidInput("no region was named", hint=NAME_ONE)
        if kind != EXTEND:
            return
        if not (0 <= left_s <= MOST_S and 0 <= right_s <= MOST_S and left_s + right_s > 0):
            raise InvalidInput(
                f"an extension must be more than 0 s and at most {MOST_S:g} s, "
                f"got {left_s:g} s to the left and {right_s:g} s to the right",
                hint=f"say how many seconds to add on a side, at least {SHORTEST_S:g}",
            )
        for side_s in (left_s, right_s):
            if 0 < side_s < SHORTEST_S:
                raise InvalidInput(
                    f"an extension must be at least {SHORTEST_S:g} s, got {side_s:g} s",
                    hint="it is made anew as a region is, and that is the shortest one",
                )

    def made(self, duration_s: float) -> tuple[Region, ...]:
        """What is new, in seconds of the output, for a sound of ``duration_s``.

        Raises:
            InvalidInput: the regions are not within the sound.
        """
        if self.kind == INPAINT:
            return check_regions(self.regions, duration_s)
        if self.kind == VARY:
            return ((0.0, duration_s),)
        whole = self.left_s + duration_s + self.right_s
        regions = ((0.0, self.left_s), (self.left_s + duration_s, whole))
        return tuple(region for region in regions if region[1] > region[0])

    def ahead_s(self, grid: Grid) -> float:
        """Seconds from the last bar line before the output to its beginning, less than a bar.

        Args:
            grid: bar lines of the edited sound. An extension to the left may begin within a bar.
        """
        return -(self.left_s + grid.offset_s) % grid.bar_s if grid.bar_s > 0 else 0.0

    def kept(self, duration_s: float, strength: float) -> float:
        """Share of the output that is the edited sound; of new parts the share that it seeds."""
        whole = self.left_s + duration_s + self.right_s
        made = sum(end - start for start, end in self.made(duration_s))
        seeded = 0.0 if made >= whole and self.kind == INPAINT else signal_share(strength)
        return (whole - made + made * seeded) / whole


def canvas_of(order: Order, source: Audio, grid: Grid, seed: Audio | None) -> Canvas:
    """The canvas of an edit.

    Args:
        grid: bar lines of the source, see :func:`rag_audio.domain.music.bar_s`.
        seed: the seed mix of references, as long as the output; None: ``vary`` is seeded by the
            sound itself, a new part by the bars nearest to it, played on.
    """
    made = order.made(source.duration_s)
    if order.kind != EXTEND:
        own = source if order.kind == VARY else _patched(source, made, grid.bar_s)
        return Canvas(source, made, seed=seed or _heard(own, made), grid=_shifted(grid, 0.0))
    rate = source.sample_rate
    left, right = round(order.left_s * rate), round(order.right_s * rate)
    piece = np.pad(source.samples, ((0, 0), (left, right)))
    if seed is None:
        seed = Audio(_continued(source, grid.bar_s, left, right), rate)
    regions = tuple((round(a * rate) / rate, round(b * rate) / rate) for a, b in made)
    seed = _heard(seed, regions)
    return Canvas(Audio(piece, rate), regions, True, seed, _shifted(grid, left / rate))


def _shifted(grid: Grid, by_s: float) -> Grid:
    """The grid of a sound that begins later, its first bar line within the first bar."""
    offset_s = grid.offset_s + by_s
    return Grid(grid.bar_s, offset_s % grid.bar_s if grid.bar_s > 0 else 0.0)


def _heard(seed: Audio | None, regions: tuple[Region, ...]) -> Audio | None:
    """The seed, where there is something to hear in the regions: silence would seed silence."""
    if seed is None:
        return None
    rate = seed.sample_rate
    parts = [seed.samples[:, round(a * rate) : round(b * rate)] for a, b in regions]
    return None if all(is_silent(part) for part in parts) else seed


def _patched(source: Audio, regions: tuple[Region, ...], bar_s: float) -> Audio | None:
    """The sound, each region filled by what is next to it, played on from both sides.

    None where nothing stands. What lies between two regions is of the nearer: joins may be there.
    """
    rate = source.sample_rate
    made = source.samples.copy()
    edges = [0, *(round(edge * rate) for region in regions for edge in region), source.frames]
    for i in range(1, len(edges) - 1, 2):
        start, end = edges[i], edges[i + 1]
        before, after = (
            source.samples[:, a:b] for a, b in ((edges[i - 1], start), (end, edges[i + 2]))
        )
        if not before.size and not after.size:
            return None
        first, last = start - before.shape[1] // 2, end + (after.shape[1] + 1) // 2
        bridge = _bridge(before, after, end - start, bar_s, rate)
        offset = start - before.shape[1]
        made[:, first:last] = bridge[:, first - offset : last - offset]
    return Audio(made, rate)


def _bridge(before: Samples, after: Samples, gap: int, bar_s: float, rate: int) -> Samples:
    """``[C, before + gap + after]``: two sounds, and from one to the other with equal power."""
    left = np.pad(before, ((0, 0), (0, gap)))
    right = np.pad(after, ((0, 0), (gap, 0)))
    if before.size:
        left = _played_on(before, _loop_frames(Audio(before, rate), bar_s), gap, rate)
    if after.size:
        period = _loop_frames(Audio(after, rate), bar_s)
        right = _played_on(after[:, ::-1], period, gap, rate)[:, ::-1]
    angle = (np.arange(gap) + 0.5) / gap * (np.pi / 2)
    fading = np.cos(angle) if after.size else np.ones(gap)
    rising = np.sin(angle) if before.size else np.ones(gap)
    start = before.shape[1]
    between = left[:, start:] * fading + right[:, :gap] * rising
    parts = [left[:, :start], between.astype(np.float32), right[:, gap:]]
    return np.concatenate(parts, axis=1)


def _continued(source: Audio, bar_s: float, left: int, right: int) -> Samples:
    """``[C, left + T + right]``: the sound, its last bars again after it, its first before it."""
    period = _loop_frames(source, bar_s)
    after = _played_on(source.samples, period, right, source.sample_rate)
    before = _played_on(source.samples[:, ::-1], period, left, source.sample_rate)[:, ::-1]
    # Where both sides are led into their loops early, the middle is of the side that is nearer.
    half = source.frames // 2
    return np.concatenate([before[:, : left + half], after[:, half:]], axis=1)


def _played_on(samples: Samples, period: int, more: int, rate: int) -> Samples:
    """``[C, T + more]``: the sound, and its last ``period`` frames again and again.

    Joins are crossfaded where it is quietest within what stands before those frames; the first
    join may so lie before the sound's end. What follows an end that nothing follows is its mirror.
    """
    frames = samples.shape[1]
    if more == 0:
        return samples
    fade = min(round(LOOP_FADE_S * rate), period // 2)
    room = min(frames - period, round(QUIET_S * rate))
    start = frames - period - room
    tail = Audio(np.pad(samples[:, start:], ((0, 0), (0, fade)), "symmetric"), rate)
    lead = quiet_lead(tail, period, fade)
    rest = Audio(np.ascontiguousarray(tail.samples[:, lead:]), rate)
    looped = loop_to(rest, frames + more - start - lead, fade, period).samples
    return np.concatenate([samples[:, : start + lead], looped], axis=1)


def _loop_frames(source: Audio, bar_s: float) -> int:
    """Whole bars of at most six seconds, or one that is longer; else where it is most alike."""
    longest = min(LOOP_S, source.duration_s)
    if 0 < bar_s <= source.duration_s + _EPS_S:
        bars = max(1, int(longest / bar_s + _EPS_S))
        return max(1, min(source.frames, round(bars * bar_s * source.sample_rate)))
    return _most_alike(source, round(longest * source.sample_rate))


def _most_alike(source: Audio, longest: int) -> int:
    """The period after which the end of a sound repeats best: half to all of ``longest``."""
    wave = heard(source).samples[0].astype(np.float64)[-longest:]
    fade = min(2 * round(LOOP_FADE_S * source.sample_rate), longest // 4)
    if fade < _SHORTEST_FADE:
        return max(1, longest)
    end = wave[-fade:]
    there = np.correlate(wave[: longest // 2 + fade], end, "valid")
    power = np.convolve(np.square(wave[: longest // 2 + fade]), np.ones(fade), "valid")
    alike = there / np.sqrt(np.maximum(power, 1e-9))
    return longest - fade - int(alike.argmax())
