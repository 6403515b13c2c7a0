"""The conditioning benchmark's plots, as a small PNG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.conditioning_trials import SOUNDLESS, STRENGTHS
from benchmarks.figures import Figure
from benchmarks.guide_pictures import shrink
from rag_audio.audio.pictures import new_figure, write_png

Cells = dict[tuple[str, float], dict[str, Figure]]
_PANELS = (
    ("tempo", "tempo as asked"),
    ("notes", "key as asked"),
    ("similar", "similarity to the reference"),
    ("copy", "copy distance"),
    ("apart", "diversity across seeds"),
)
_COLOURS = {"both": "#1b6ca8", "init only": "#d1741f", "prompt only": "#3a8f4d", "neither": "#777"}


def draw(cells: Cells, folder: Path) -> None:
    """Write ``conditioning.png``: a panel per measure, strength along, channels as lines."""
    folder.mkdir(parents=True, exist_ok=True)
    drawing = new_figure((9.6, 5.2))
    panels = drawing.subplots(2, 3).ravel()
    for axes, (what, title) in zip(panels, _PANELS, strict=False):
        _panel(axes, cells, what, title)
    panels[-1].axis("off")
    panels[-1].legend(*panels[0].get_legend_handles_labels(), loc="center", frameon=False)
    picture = folder / "conditioning.png"
    write_png(drawing, picture)
    shrink(picture, picture, width=1000)


def _panel(axes: Any, cells: Cells, what: str, title: str) -> None:
    for channels, colour in _COLOURS.items():
        if channels in SOUNDLESS:
            figure = cells[channels, 1.0][what]
            axes.axhline(figure.value, color=colour, ls="--", label=channels)
            axes.axhspan(figure.low, figure.high, color=colour, alpha=0.12, lw=0)
            continue
        figures = [cells[channels, s][what] for s in STRENGTHS]
        values = [f.value for f in figures]
        axes.plot(STRENGTHS, values, color=colour, marker="o", ms=4, label=channels)
        axes.fill_between(
            STRENGTHS, [f.low for f in figures], [f.high for f in figures],
            color=colour, alpha=0.15, lw=0,
        )  # fmt: skip
    axes.set(title=title, xlabel="strength", xlim=(0.15, 1.0))
    axes.grid(alpha=0.25)
