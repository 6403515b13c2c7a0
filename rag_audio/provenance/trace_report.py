"""A trace as one HTML page that needs nothing else: no script, no font, no picture from elsewhere.

``trace_report.html`` is its template; everything that is put into it is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from rag_audio.domain import Channel
from rag_audio.provenance.trace.findings import TracedSource, TraceResult

_COLOURS = ("#2b8cd0", "#d9631e", "#0f9f77", "#cc79a7", "#e69f00", "#56b4e9", "#8b6f47", "#7f7f7f")
"""After Okabe and Ito's palette, which people with any colour vision can tell apart."""
_GREY = "#9a9da3"
_TEMPLATE = Path(__file__).with_suffix(".html")
_BOX = {"width": 760, "height": 240, "left": 44, "top": 24, "right": 18, "bottom": 30}
"""Of a plot, in pixels, and the margins in it."""
_INNER = _BOX["width"] - _BOX["left"] - _BOX["right"]


def report_html(result: TraceResult, name: str, made: datetime) -> str:
    """The page about the audio file ``name``, as traced at the moment ``made``."""
    from jinja2 import Environment, StrictUndefined

    pages = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    pages.filters.update(percent=_percent, figure=_figure, title=_title, colour=_colour)
    record = result.record
    return pages.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        result=result,
        name=name,
        made=made,
        headline=_headline(result),
        rest=result.model_share or {},
        plots=_plots(result),
        bars=_bars(result),
        compared=() if record is None else record.checks.get("compared", ()),
        files={} if record is None else record.files,
        box=_BOX,
    )


def _headline(result: TraceResult) -> str:
    """What the page says first."""
    which = "an output of this system" if result.output is None else f"output {result.output}"
    if not result.found:
        return "Nothing is known of this audio."
    if result.transplanted and result.is_in_part:
        rest = "elsewhere a mark" if result.output is None else "in the rest its mark"
        return f"Part of this audio is {which}; {rest} was moved here."
    if result.transplanted:
        return "The mark or manifest in it belongs to another recording."
    if not result.checked:
        return f"This audio carries the mark of {which}: not checked."
    part = "Part of this" if result.is_in_part else "This"
    return f"{part} audio is {which}, made with AI."


def _plots(result: TraceResult) -> list[dict[str, Any]]:
    """Similarity over time, as measured at delivery; and causal values where there are any."""
    checks = {} if result.record is None else result.record.checks
    timeline = checks.get("timeline", {})
    rows: Sequence[Sequence[float | None]] = timeline.get("similar", [])
    found = []
    if rows:
        step = float(timeline["window_s"])
        edges = [(i * step, (i + 1) * step) for i in range(len(rows))]
        lines = [list(column) for column in zip(*rows, strict=True)]
        control = (checks.get("control") or {}).get("cosine")
        label = "similarity of each window to each source"
        dashed_is = "the nearest stem of the library that was not used"
        found.append(_plot(label, edges, lines, control, dashed_is))
    if result.causal is not None and result.causal.get("segments") and result.causal["sources"]:
        edges = [(float(a), float(b)) for a, b in result.causal["segments"]]
        lines = [list(source["by_segment"]) for source in result.causal["sources"]]
        floor = result.causal.get("noise_floor")
        found.append(_plot("causal value of each source", edges, lines, floor, "the noise floor"))
    return found


def _plot(
    label: str,
    edges: Sequence[tuple[float, float]],
    lines: Sequence[Sequence[float | None]],
    dashed: float | None,
    dashed_is: str,
) -> dict[str, Any]:
    """Steps, one line a source, over seconds: what is where, in pixels."""
    values = [v for line in lines for v in line if v is not None]
    values += [0.0] if dashed is None else [0.0, dashed]
    low, high = min(values), max(values)
    high += 0.08 * ((high - low) or 1.0)
    end = max(edge[1] for edge in edges)

    def x(seconds: float) -> float:
        return round(_BOX["left"] + seconds / end * _INNER, 1)

    def y(value: float) -> float:
        inner = _BOX["height"] - _BOX["top"] - _BOX["bottom"]
        return round(_BOX["height"] - _BOX["bottom"] - (value - low) / (high - low) * inner, 1)

    every = max(1, -(-len(edges) // 10))
    return {
        "label": label,
        "ticks": [(y(value), f"{value:g}") for value in _ticks(low, high)],
        "seconds": [(x(s), f"{s:g}") for s in (*(start for start, _ in edges[::every]), end)],
        "dashed": None if dashed is None else y(dashed),
        "dashed_is": dashed_is,
        "lines": [
            " ".join(
                f"{x(a)},{y(v)} {x(b)},{y(v)}"
                for (a, b), v in zip(edges, line, strict=False)
                if v is not None
            )
            for line in lines
        ],
    }


def _ticks(low: float, high: float) -> list[float]:
    """Three to eight round values from ``low`` to ``high``."""
    span = high - low
    power = 10.0 ** math.floor(math.log10(span))
    step = next(m * power for m in (0.1, 0.2, 0.5, 1.0, 2.0) if span / (m * power) <= 7)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(i * step, 10) for i in range(first, last + 1)]


def _bars(result: TraceResult) -> list[dict[str, Any]]:
    """What each channel of conditioning consisted of: a bar of parts, in pixels."""
    bars = []
    names = {Channel.PROMPT: "words", Channel.INIT: "sound"}
    for row, channel in enumerate(Channel):
        given = [(source.used.get(channel, 0.0), _colour(i), _title(source))
                 for i, source in enumerate(result.sources)]  # fmt: skip
        rest = (result.model_share or {}).get(channel, 0.0)
        at, parts = float(_BOX["left"]), []
        for share, colour, name in [*given, (rest, _GREY, "the model and the user's words")]:
            width = share * _INNER
            parts.append((round(at, 1), round(width, 1), share, colour, name))
            at += width
        bars.append({"name": names[channel], "y": 6 + 34 * row, "parts": parts})
    return bars


def _title(source: TracedSource) -> str:
    return source.title or source.stem[:12]


def _colour(i: int) -> str:
    return _COLOURS[i % len(_COLOURS)]


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
