"""What is to be done to a sound, and the canvas on which it is done."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rag_audio.domain import Audio
from rag_audio.errors import InvalidInput
from rag_audio.painting import Canvas, Grid, check_regions
from rag_audio.painting.regions import Region
from rag_audio.provenance.influence import signal_share

INPAINT, EXTEND, VARY = "inpaint", "extend", "vary"
EXTEND_STRENGTH = 0.65
"""How far an extension leaves the bars that it goes on from; see ``benchmarks/bench_edit.py``."""
LOOP_S = 6.0
_MOST_S = 3600.0


@dataclass(frozen=True)
class Order:
    """An edit that was asked for.

    Attributes:
        kind: ``inpaint``, ``extend`` or ``vary``.
        regions: of ``inpaint``, seconds of the sound. left_s, right_s: of ``extend``.
    """

    kind: str
    regions: tuple[Region, ...] = ()
    left_s: float = 0.0
    right_s: float = 0.0

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

    def kept(self, duration_s: float, strength: float) -> float:
        """Share of the output that is the edited sound; of new parts the share that it seeds."""
        whole = self.left_s + duration_s + self.right_s
        made = sum(end - start for start, end in self.made(duration_s))
        seeded = 0.0 if self.kind == INPAINT else signal_share(strength)
        return (whole - made + made * seeded) / whole


def inpainting(regions: tuple[Region, ...]) -> Order:
    """Make regions anew."""
    return Order(INPAINT, regions)


def extension(left_s: float = 0.0, right_s: float = 0.0) -> Order:
    """Go on to the left, to the right or to both sides.

    Raises:
        InvalidInput: a length is negative, or both are 0, or they are beyond an hour.
    """
    if not (0 <= left_s <= _MOST_S and 0 <= right_s <= _MOST_S and left_s + right_s > 0):
        raise InvalidInput(
            f"an extension must be more than 0 s and at most {_MOST_S:g} s, "
            f"got {left_s:g} s to the left and {right_s:g} s to the right",
            hint="--by 10, with --side left, right or both",
        )
    return Order(EXTEND, left_s=left_s, right_s=right_s)


def variation() -> Order:
    """Make all of it anew, from its own sound."""
    return Order(VARY)


def canvas_of(order: Order, source: Audio, bar_s: float, seed: Audio | None) -> Canvas:
    """The canvas of an edit.

    Args:
        bar_s: length of a bar; 0: unknown. The source is taken to begin on a bar line.
        seed: the seed mix of references, as long as the output; None: ``vary`` is seeded by the
            sound itself, an extension by its bars nearest to the new part, played again.
    """
    made = order.made(source.duration_s)
    if order.kind != EXTEND:
        own = source if order.kind == VARY else None
        return Canvas(source, made, seed=own or seed, grid=Grid(bar_s))
    rate = source.sample_rate
    left, right = round(order.left_s * rate), round(order.right_s * rate)
    piece = np.pad(source.samples, ((0, 0), (left, right)))
    loop = _loop_frames(source, bar_s)
    if seed is None:
        before = _repeated_before(source.samples[:, :loop], left)
        after = _repeated(source.samples[:, -loop:], right)
        seed = Audio(np.concatenate([before, source.samples, after], axis=1), rate)
    offset_s = (left / rate) % bar_s if bar_s > 0 else 0.0
    regions = tuple((round(a * rate) / rate, round(b * rate) / rate) for a, b in made)
    return Canvas(Audio(piece, rate), regions, True, seed, Grid(bar_s, offset_s))


def _loop_frames(source: Audio, bar_s: float) -> int:
    """Whole bars of at most six seconds, where there is one."""
    longest = min(LOOP_S, source.duration_s)
    bars = int(longest / bar_s + 1e-6) if bar_s > 0 else 0
    return max(1, round((bars * bar_s if bars else longest) * source.sample_rate))


def _repeated(loop: NDArray[np.float32], frames: int) -> NDArray[np.float32]:
    return np.tile(loop, (1, -(-frames // loop.shape[1])))[:, :frames]


def _repeated_before(loop: NDArray[np.float32], frames: int) -> NDArray[np.float32]:
    many = np.tile(loop, (1, -(-frames // loop.shape[1])))
    return many[:, many.shape[1] - frames :]
