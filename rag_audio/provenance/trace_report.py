"""A trace as one HTML page that needs nothing else: no script, no font, no picture from elsewhere.

Everything that comes from a file, a library or a manifest is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any

from rag_audio.domain import Channel
from rag_audio.provenance.trace.findings import TracedSource, TraceResult

_COLOURS = ("#2b8cd0", "#d9631e", "#0f9f77", "#cc79a7", "#e69f00", "#56b4e9", "#8b6f47", "#7f7f7f")
"""After Okabe and Ito's palette, which people with any colour vision can tell apart."""
_WIDTH, _HEIGHT = 760, 240
_LEFT, _TOP, _RIGHT, _BOTTOM = 44, 24, 18, 30

_STYLE = """
:root { color-scheme: light dark; --ink: #1c1d1f; --soft: #5d6066; --line: #d6d8dc;
  --paper: #ffffff; --panel: #f4f5f7; --good: #0b6b3a; --bad: #a3200d; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e9eb; --soft: #a4a8b0; --line: #3a3d43;
  --paper: #16181b; --panel: #1f2226; --good: #5ecf93; --bad: #ff8a75; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 60rem; color: var(--ink);
  background: var(--paper); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2.2rem 0 .6rem; }
p { margin: .4rem 0; } .soft { color: var(--soft); }
.verdict { background: var(--panel); border-left: 4px solid var(--good); padding: .8rem 1rem;
  margin: 1rem 0; } .verdict.bad { border-color: var(--bad); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; vertical-align: top; padding: .45rem .6rem;
  border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; } td.number { text-align: right;
  font-variant-numeric: tabular-nums; white-space: nowrap; }
.dot { display: inline-block; width: .7em; height: .7em; border-radius: 50%; margin-right: .4em; }
.good { color: var(--good); } .bad { color: var(--bad); }
code { font: .8rem/1.5 ui-monospace, monospace; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; margin: 0; }
dt { color: var(--soft); } dd { margin: 0; min-width: 0; overflow-wrap: anywhere; }
svg { display: block; width: 100%; height: auto; margin: .4rem 0; }
svg text { fill: var(--soft); font: 11px system-ui, sans-serif; }
svg .grid { stroke: var(--line); stroke-width: 1; }
"""


def report_html(result: TraceResult, name: str, made: datetime) -> str:
    """The page about the audio file ``name``, as traced at the moment ``made``."""
    parts = [_verdict(result, name, made), _ranges(result)]
    if result.sources:
        parts += [_sources(result), _over_time(result), _shares(result)]
    if result.record is not None and result.sources:
        parts.append(_gate(result.record.checks))
    parts += [_witnesses(result), _proof(result)]
    title = escape(f"Trace of {name}")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'\">\n"
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body>\n</html>\n"
    )


def _verdict(result: TraceResult, name: str, made: datetime) -> str:
    if not result.found:
        head, kind = "Nothing is known of this audio.", "verdict bad"
    elif result.transplanted and result.is_in_part:
        head = f"Part of this audio is output {result.output}; in the rest its mark was moved here."
        if result.output is None:
            head = (
                "Part of this audio is an output of this system; elsewhere a mark was moved here."
            )
        kind = "verdict bad"
    elif result.transplanted:
        head, kind = "The mark or manifest in it belongs to another recording.", "verdict bad"
    elif not result.checked:
        which = "an output of this system" if result.output is None else f"output {result.output}"
        head, kind = f"This audio carries the mark of {which}: not checked.", "verdict bad"
    else:
        which = "an output of this system" if result.output is None else f"output {result.output}"
        part = "Part of this" if result.is_in_part else "This"
        head = f"{part} audio is {which}, made with AI."
        kind = "verdict"
    facts = [f"found by its {result.by}", f"confidence {result.confidence:.2f}"]
    if result.created:
        facts.append(f"made {result.created[:19].replace('T', ' ')} UTC")
    if result.model:
        facts.append(f"by {result.model}")
    line = f"<p>{escape(', '.join(facts))}</p>" if result.found else ""
    return (
        f"<h1>{escape(name)}</h1>\n"
        f'<p class="soft">Traced {made:%Y-%m-%d %H:%M} UTC</p>\n'
        f'<div class="{kind}"><p><strong>{escape(head)}</strong></p>{line}'
        f"<p>{escape(result.explanation)}</p></div>"
    )


def _ranges(result: TraceResult) -> str:
    """What the file is from where to where, unless it is one thing."""
    if len(result.ranges) < 2:
        return ""
    rows = "".join(
        f'<tr><td class="number">{one.start_s:.1f} – {one.end_s:.1f} s</td>'
        f"<td>{escape(one.in_words)}</td></tr>"
        for one in result.ranges
    )
    return (
        '<h2>In time</h2>\n<div class="scroll"><table><thead><tr><th>from – to</th>'
        f"<th>the sound is</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _also(source: TracedSource, field: str) -> str:
    """A line for each further license that claimed the source's bytes, which nobody decided."""
    lines = (escape(f"and {getattr(claim.license, field)} (undecided)") for claim in source.also)
    return "".join(f"<br>{line}" for line in lines)


def _sources(result: TraceResult) -> str:
    rows = []
    for i, source in enumerate(result.sources):
        now = source.now
        state = "still granted" if now.granted else now.reason
        kind = "good" if now.granted else "bad"
        then = source.license_then
        until = f" until {then.valid_until}" if then.valid_until else ""
        rows.append(
            f"<tr><td>{_dot(i)}{escape(_name(source))}<br>"
            f'<span class="soft">{escape(source.artist)}</span></td>'
            f"<td>{escape(source.holder)}{_also(source, 'holder')}</td>"
            f"<td>{escape(source.license)} ({escape(then.spdx)}){escape(until)}<br>"
            f'<span class="soft">{escape(then.credit)}</span>{_also(source, "id")}</td>'
            f'<td class="{kind}">{escape(state)}</td>'
            + "".join(
                f'<td class="number">{value}</td>'
                for value in (
                    _percent(source.used.get(Channel.PROMPT)),
                    _percent(source.used.get(Channel.INIT)),
                    _percent(source.causal),
                    "–" if source.similar is None else f"{source.similar:.2f}",
                )
            )
            + "</tr>"
        )
    share = result.model_share or {}
    rest = "the model and the user's own words"
    if result.edited is not None:
        rest = "the model, the user's own words and the user's own part of the edited file"
    rows.append(
        f'<tr><td colspan="4" class="soft">{escape(rest)}</td>'
        f'<td class="number">{_percent(share.get(Channel.PROMPT))}</td>'
        f'<td class="number">{_percent(share.get(Channel.INIT))}</td><td></td><td></td></tr>'
    )
    return (
        '<h2>Sources</h2>\n<div class="scroll"><table><thead><tr><th>source</th><th>holder</th>'
        "<th>license then</th><th>license now</th><th>in the words</th><th>in the sound</th>"
        f"<th>causal</th><th>similar</th></tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
        '<p class="soft">In the words, in the sound: exact share of what was given to the model. '
        "Causal: share of what changes when sources are left out, where it was measured and is "
        "above the noise. Similar: cosine in the embedding space. The three are never blended.</p>"
    )


def _over_time(result: TraceResult) -> str:
    """Similarity over time, as measured at delivery; and causal values where there are any."""
    record = result.record
    timeline = {} if record is None else record.checks.get("timeline", {})
    rows: Sequence[Sequence[float | None]] = timeline.get("similar", [])
    parts = ["<h2>Influence over time</h2>"]
    if rows:
        step = float(timeline["window_s"])
        edges = [(i * step, (i + 1) * step) for i in range(len(rows))]
        lines = [list(column) for column in zip(*rows, strict=True)]
        control = (record.checks.get("control") or {}).get("cosine") if record else None
        parts.append(_plot("similarity of each window to each source", edges, lines, control))
        if control is not None:
            parts.append(
                '<p class="soft">Dashed: the nearest stem of the library that was not used.</p>'
            )
    if result.causal is not None and result.causal.get("segments") and result.causal["sources"]:
        edges = [(float(a), float(b)) for a, b in result.causal["segments"]]
        lines = [list(source["by_segment"]) for source in result.causal["sources"]]
        floor = result.causal.get("noise_floor")
        parts.append(_plot("causal value of each source", edges, lines, floor))
        parts.append('<p class="soft">Dashed: the noise floor.</p>')
    return "\n".join(parts) if len(parts) > 1 else ""


def _plot(
    label: str,
    edges: Sequence[tuple[float, float]],
    lines: Sequence[Sequence[float | None]],
    dashed: float | None,
) -> str:
    """Steps, one line a source, over seconds; inline SVG."""
    values = [v for line in lines for v in line if v is not None]
    values += [0.0] if dashed is None else [0.0, dashed]
    low, high = min(values), max(values)
    high += 0.08 * ((high - low) or 1.0)
    end = max(edge[1] for edge in edges)

    def x(seconds: float) -> float:
        return _LEFT + seconds / end * (_WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        return _HEIGHT - _BOTTOM - (value - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    marks = []
    for value in _ticks(low, high):
        marks.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(value):.1f}" '
            f'y2="{y(value):.1f}"/><text x="{_LEFT - 6}" y="{y(value) + 4:.1f}" '
            f'text-anchor="end">{value:g}</text>'
        )
    every = max(1, -(-len(edges) // 10))
    for second in (*(start for start, _ in edges[::every]), end):
        marks.append(
            f'<text x="{x(second):.1f}" y="{_HEIGHT - 10}" text-anchor="middle">{second:g} s</text>'
        )
    if dashed is not None:
        marks.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(dashed):.1f}" y2="{y(dashed):.1f}" '
            'stroke="#7f7f7f" stroke-width="1.5" stroke-dasharray="5 4"/>'
        )
    for i, line in enumerate(lines):
        steps = [
            f"{x(a):.1f},{y(v):.1f} {x(b):.1f},{y(v):.1f}"
            for (a, b), v in zip(edges, line, strict=False)
            if v is not None
        ]
        marks.append(
            f'<polyline points="{" ".join(steps)}" fill="none" stroke="{_colour(i)}" '
            'stroke-width="2.5"/>'
        )
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(label)}">'
        f'{"".join(marks)}<text x="{_LEFT}" y="10">{escape(label)}</text></svg>'
    )


def _ticks(low: float, high: float) -> list[float]:
    """Three to eight round values from ``low`` to ``high``."""
    span = high - low
    power = 10.0 ** math.floor(math.log10(span))
    step = next(m * power for m in (0.1, 0.2, 0.5, 1.0, 2.0) if span / (m * power) <= 7)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(i * step, 10) for i in range(first, last + 1)]


def _shares(result: TraceResult) -> str:
    """What each channel of conditioning consisted of, as bars."""
    bars = []
    names = {Channel.PROMPT: "words", Channel.INIT: "sound"}
    for row, channel in enumerate(Channel):
        at, y = float(_LEFT), 6 + 34 * row
        bars.append(f'<text x="{_LEFT - 6}" y="{y + 16}" text-anchor="end">{names[channel]}</text>')
        given = [(source.used.get(channel, 0.0), _colour(i), _name(source))
                 for i, source in enumerate(result.sources)]  # fmt: skip
        rest = (result.model_share or {}).get(channel, 0.0)
        for share, colour, name in [*given, (rest, "#9a9da3", "the model and the user's words")]:
            width = share * (_WIDTH - _LEFT - _RIGHT)
            bars.append(
                f'<rect x="{at:.1f}" y="{y}" width="{width:.1f}" height="24" fill="{colour}">'
                f"<title>{escape(name)}: {_percent(share)}</title></rect>"
            )
            at += width
    return (
        '<h2>Used</h2>\n<svg viewBox="0 0 760 74" role="img" aria-label="share of each source in '
        f'what was given to the model">{"".join(bars)}</svg>'
        '<p class="soft">Grey: the model and the user\'s own words.</p>'
    )


def _gate(checks: Mapping[str, Any]) -> str:
    compared = checks.get("compared")
    if not compared:
        return ""
    rows = "".join(
        f"<tr><td>{escape(str(near['path']))}</td><td>{'used' if near['used'] else 'not used'}</td>"
        f'<td class="number">{_figure(near["distance"])}</td>'
        f'<td class="number">{_figure(1.0 - near["allowed"])}</td></tr>'
        for near in compared
    )
    return (
        '<h2>Distance from copies</h2>\n<div class="scroll"><table><thead><tr><th>stem</th>'
        "<th></th><th>distance (0 is a copy)</th><th>least allowed</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )


def _witnesses(result: TraceResult) -> str:
    if not result.evidence:
        return ""
    rows = "".join(
        f"<tr><td>{escape(one.by)}</td><td>{escape(one.says)}</td>"
        f'<td class="number">{one.confidence:.2f}</td></tr>'
        for one in result.evidence
    )
    return (
        '<h2>Who spoke</h2>\n<div class="scroll"><table><thead><tr><th>witness</th><th>says</th>'
        f"<th>confidence</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _proof(result: TraceResult) -> str:
    if result.proof is None:
        return ""
    proof = result.proof
    path = "<br>".join(f"<code>{escape(str(one))}</code>" for one in proof["path"]) or "none"
    record = result.record
    files = "" if record is None else ", ".join(f"{n} {h}" for n, h in record.files.items())
    return (
        "<h2>Proof</h2>\n<p>The record is entry "
        f"{proof['seq']} of a log of {proof['size']} entries (RFC 6962): hashing the leaf with the "
        "path gives the root, which signed checkpoints hold.</p>\n<dl>"
        f"<dt>leaf</dt><dd><code>{escape(str(proof['leaf_hash']))}</code></dd>"
        f"<dt>root</dt><dd><code>{escape(str(proof['root']))}</code></dd>"
        f"<dt>path</dt><dd>{path}</dd>"
        f"<dt>files</dt><dd><code>{escape(files)}</code></dd></dl>"
    )


def _name(source: TracedSource) -> str:
    return source.title or source.stem[:12]


def _colour(i: int) -> str:
    return _COLOURS[i % len(_COLOURS)]


def _dot(i: int) -> str:
    return f'<span class="dot" style="background:{_colour(i)}"></span>'


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
