"""One picture of an output: its waveform, its spectrogram, and what it came from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rag_audio.domain import AttributionRecord, Audio, Channel
from rag_audio.errors import InvalidInput
from rag_audio.hearing import heard
from rag_audio.pictures import draw_spectrogram, new_figure, write_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = 1200
_MODEL = "#b8b8b8"
_LONGEST_NAME = 28


def output_png(audio: Audio, record: AttributionRecord, path: str | Path) -> None:
    """Write the picture as a PNG, atomically.

    From the top: the waveform, with bars over it where the seed was arranged; the spectrogram; the
    likeness of each source over time (cosine in the embedding space, from the record); and the
    shares of words and sound that each source supplied, the model's and the user's own in grey.

    Raises:
        InvalidInput: the audio is empty, or the file cannot be written.
    """
    if audio.frames == 0:
        raise InvalidInput("audio of no length cannot be drawn")
    names = [_name(source.reference.stem.title or source.reference.stem.path)
             for source in record.sources]  # fmt: skip
    figure = new_figure((10.0, 9.2))
    rows = figure.add_gridspec(4, 1, height_ratios=[1.1, 2.2, 1.4, 1.2])
    _waveform(figure.add_subplot(rows[0]), audio, record)
    axes = figure.add_subplot(rows[1])
    draw_spectrogram(figure, axes, audio)
    _likeness(figure.add_subplot(rows[2]), audio, record, names)
    _shares(figure.add_subplot(rows[3]), record, names)
    prompt = str(record.plan.get("prompt", ""))
    figure.suptitle(f"output {record.output}: {_name(prompt, 70)}", fontsize=11)
    write_png(figure, Path(path))


def _waveform(axes: Axes, audio: Audio, record: AttributionRecord) -> None:
    samples = heard(audio).samples[0]
    edges = np.linspace(0, samples.size, min(_COLUMNS, samples.size) + 1).astype(int)[:-1]
    high, low = np.maximum.reduceat(samples, edges), np.minimum.reduceat(samples, edges)
    axes.fill_between(edges / audio.sample_rate, low, high, color="#444", lw=0)
    axes.set(xlim=(0, audio.duration_s), ylim=(-1.05, 1.05), yticks=(-1, 0, 1), ylabel="amplitude")
    rows = [(i, part) for i, source in enumerate(record.sources) for part in source.played]
    if not rows:
        return
    axes.set_ylim(-1.05, 1.1 + 0.3 * len(rows))
    for n, (i, part) in enumerate(rows):
        base = 1.15 + 0.3 * (len(rows) - 1 - n)
        axes.barh(base + 0.1, part.end_s - part.start_s, left=part.start_s, height=0.22,
                  color=_colour(i))  # fmt: skip
        stem = record.sources[i].reference.stem
        said = f"{_name(stem.title or stem.path)}{', ' + part.layer if part.layer else ''}"
        axes.text(part.start_s + 0.05, base + 0.09, said, fontsize=7, va="center", color="white")


def _likeness(axes: Axes, audio: Audio, record: AttributionRecord, names: Sequence[str]) -> None:
    timeline: dict[str, Any] = dict(record.checks.get("timeline") or {})
    rows, window_s = timeline.get("similar") or [], float(timeline.get("window_s", 1.0))
    for i, name in enumerate(names):
        points = [(n * window_s, row[i]) for n, row in enumerate(rows)
                  if i < len(row) and row[i] is not None]  # fmt: skip
        if points:
            at = [start + min(window_s, audio.duration_s - start) / 2 for start, _ in points]
            axes.plot(at, [value for _, value in points], marker="o", ms=4,
                      color=_colour(i), label=name)  # fmt: skip
    lowest = min([0.0, *(value for row in rows for value in row if value is not None)])
    axes.set(xlim=(0, audio.duration_s), ylim=(lowest - 0.05, 1.02))
    axes.set(xlabel="time [s]", ylabel="likeness")
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend(fontsize=7, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False,
                    ncols=min(4, len(names)))  # fmt: skip
    else:
        axes.text(0.5, 0.5, "no source", transform=axes.transAxes, ha="center", color="#777")


def _shares(axes: Axes, record: AttributionRecord, names: Sequence[str]) -> None:
    for row, channel in enumerate(reversed(list(Channel))):
        left = 0.0
        parts = [(source.influence.used.get(channel, 0.0), _colour(i), names[i])
                 for i, source in enumerate(record.sources)]  # fmt: skip
        parts.append((record.model_share.get(channel, 0.0), _MODEL, "model and user"))
        for share, colour, name in parts:
            axes.barh(row, share, left=left, color=colour, height=0.7)
            if share >= 0.08:
                axes.text(left + share / 2, row, f"{_name(name, 16)}\n{share:.0%}", fontsize=7,
                          ha="center", va="center",
                          color="black" if colour == _MODEL else "white")  # fmt: skip
            left += share
    labels = {Channel.PROMPT: "words", Channel.INIT: "sound"}
    rows = [labels[channel] for channel in reversed(list(Channel))]
    axes.set(xlim=(0, 1), yticks=range(len(rows)), yticklabels=rows)
    axes.set_xlabel("share of what conditioned the model")


def _colour(i: int) -> str:
    palette = ("#1b6ca8", "#c2551b", "#2f7d3f", "#7b4ea3", "#8c6d1f", "#b03060", "#2a7f7f")
    return palette[i % len(palette)]


def _name(text: str, longest: int = _LONGEST_NAME) -> str:
    """Short, and with no sign that a plot would read as mathematics."""
    plain = " ".join(text.split()).replace("$", "＄")
    return plain if len(plain) <= longest else plain[: longest - 1] + "…"
