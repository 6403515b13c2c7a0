"""Regions of a piece, as people write them: ``4.0-8.0``, in seconds."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

from rag_audio.errors import InvalidInput

Region = tuple[float, float]
"""Start and end in seconds."""

SHORTEST_S = 0.1
"""The shortest region, in seconds."""
MOST_REGIONS = 64
"""So many regions can be made anew in one edit."""
NAME_ONE = "name one in seconds, such as --region 4.0-8.0"
"""Where a region is missing."""
_SLACK_S = 1e-3
"""A region may end so far beyond the sound, whose length is told rounded; it is cut there."""
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
