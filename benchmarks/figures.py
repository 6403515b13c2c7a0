"""Shares and means with 95 % intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_Z = 1.959964
_DRAWS = 2000


@dataclass(frozen=True)
class Figure:
    """A share or mean, its interval, and of how many independent things."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def wilson(hits: int, n: int) -> Figure:
    """A share of independent trials (Wilson 1927, score interval)."""
    if n == 0:
        return Figure(math.nan, math.nan, math.nan, 0)
    share = hits / n
    middle = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
    return Figure(share, max(0.0, middle - half), min(1.0, middle + half), n)


def over_groups(groups: Sequence[Sequence[float]]) -> Figure:
    """Mean over groups of their own means; whole groups are drawn anew (percentile bootstrap)."""
    means = np.array([np.mean(group) for group in groups if len(group)], dtype=np.float64)
    if means.size == 0:
        return Figure(math.nan, math.nan, math.nan, 0)
    rng = np.random.default_rng(0)
    drawn = means[rng.integers(0, means.size, (_DRAWS, means.size))].mean(axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Figure(float(means.mean()), float(low), float(high), int(means.size))


def share_of(hits: Sequence[float], ceiling: Sequence[float]) -> Figure:
    """The ratio of two shares or means over the same things, which are drawn anew in pairs."""
    a, b = np.array(hits, dtype=float), np.array(ceiling, dtype=float)
    if a.size == 0 or b.sum() == 0:
        return Figure(math.nan, math.nan, math.nan, int(a.size))
    at = np.random.default_rng(0).integers(0, a.size, (_DRAWS, a.size))
    ratios = a[at].mean(axis=1) / np.maximum(b[at].mean(axis=1), 1e-9)
    low, high = np.percentile(ratios, [2.5, 97.5])
    return Figure(float(a.mean() / b.mean()), float(low), float(high), int(a.size))


def put_section(path: Path, heading: str, section: str) -> None:
    """Replace a section of a text in Markdown, or add it at the end.

    Args:
        heading: its first line, such as ``## Fingerprint``.
        section: the new one, its heading included, with an end of line.
    """
    text = path.read_text(encoding="utf-8")
    before, found, after = text.partition(heading + "\n")
    if found:
        _, next_heading, rest = after.partition("\n## ")
        text = before + section + (f"\n## {rest}" if next_heading else "")
    else:
        text = text.rstrip() + "\n\n" + section
    path.write_text(text, encoding="utf-8")
