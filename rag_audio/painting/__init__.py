"""Make parts of a piece anew, or a piece longer than the model's window: windows, seams, level."""

from __future__ import annotations

from rag_audio.painting.passes import Grid, Pass, plan_passes
from rag_audio.painting.regions import MOST_REGIONS, SHORTEST_S, check_regions, parse_regions
from rag_audio.painting.work import Canvas, Painted, paint, paint_whole

__all__ = [
    "MOST_REGIONS",
    "SHORTEST_S",
    "Canvas",
    "Grid",
    "Painted",
    "Pass",
    "check_regions",
    "paint",
    "paint_whole",
    "parse_regions",
    "plan_passes",
]
