"""Pictures of sound."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rag_audio.audio.channels import heard
from rag_audio.audio.dsp import resample
from rag_audio.audio.librosa_cache import librosa_ready
from rag_audio.domain import AttributionRecord, Audio, Channel
from rag_audio.errors import InvalidInput
from rag_audio.storage.files import export

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_MELS = 128
_WINDOW = 2048
_MAX_RATE = 44_100
_RANGE_DB = 80.0
_MAX_COLUMNS = 1600


def spectrogram_png(audio: Audio, path: str | Path, title: str = "") -> None:
    """Write a mel spectrogram of the mono sum as a PNG, atomically; 0 dB is the loudest bin.

    Raises:
        InvalidInput: the audio is empty or the file cannot be written.
    """
    if audio.frames == 0:
        raise InvalidInput("audio of no length has no spectrogram")
    figure = new_figure((10, 4))
    axes = figure.add_subplot()
    draw_spectrogram(figure, axes, audio)
    axes.set(xlabel="time [s]", title=title)
    write_png(figure, Path(path))


def draw_spectrogram(figure: Figure, axes: Axes, audio: Audio) -> None:
    """A mel spectrogram of the mono sum with its scale; 0 dB is the loudest bin."""
    decibels, rate = _mel_decibels(audio)
    image = axes.imshow(
        decibels,
        origin="lower",
        aspect="auto",
        cmap="magma",
        vmin=-_RANGE_DB,
        vmax=0.0,
        extent=(0.0, audio.duration_s, 0.0, float(_MELS)),
    )
    axes.set_yticks(*_mel_ticks(rate))
    axes.set(ylabel="frequency [Hz]")
    figure.colorbar(image, ax=axes, label="dB re the loudest")


def new_figure(size: tuple[float, float]) -> Figure:
    """An empty figure of inches, drawn without any window."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def line_png(
    points: Sequence[tuple[float, float]],
    path: str | Path,
    labels: tuple[str, str],
    title: str = "",
) -> None:
    """Write points (x, y), y in 0…1, as a line in a PNG, atomically; none: an empty frame.

    Args:
        labels: of the two axes.

    Raises:
        InvalidInput: the file cannot be written.
    """
    figure = new_figure((10, 4))
    axes = figure.add_subplot()
    axes.plot([x for x, _ in points], [y for _, y in points], marker=".")
    axes.set(xlabel=labels[0], ylabel=labels[1], ylim=(0.0, 1.0), title=title)
    axes.grid(alpha=0.3)
    write_png(figure, Path(path))


def write_png(figure: Figure, picture: Path) -> None:
    """Write a figure, atomically; the same figure gives the same bytes.

    Raises:
        InvalidInput: the file cannot be written.
    """
    with export(picture) as draft:
        figure.savefig(draft, format="png", metadata={"Software": None})


def _mel_decibels(audio: Audio) -> tuple[np.ndarray[tuple[int, int], np.dtype[np.float32]], int]:
    """Mel power ``[M, columns]`` in dB re its maximum, and the rate it was taken at."""
    librosa = librosa_ready()
    sound = heard(audio)
    if sound.sample_rate > _MAX_RATE:
        sound = resample(sound, _MAX_RATE)
    hop = max(_WINDOW // 4, sound.frames // _MAX_COLUMNS)
    samples = sound.samples[0]
    if samples.size < _WINDOW:
        samples = np.pad(samples, (0, _WINDOW - samples.size))
    mel = librosa.feature.melspectrogram(
        y=samples, sr=sound.sample_rate, n_fft=_WINDOW, hop_length=hop, n_mels=_MELS
    )
    power = np.maximum(mel, 1e-12)
    return np.asarray(10 * np.log10(power / power.max()), dtype=np.float32), sound.sample_rate


def _mel_ticks(rate: int) -> tuple[list[float], list[str]]:
    librosa = librosa_ready()
    top = float(librosa.hz_to_mel(rate / 2))
    wanted = [hz for hz in (100, 300, 1000, 3000, 10_000) if hz < rate / 2]
    places = [float(librosa.hz_to_mel(hz)) / top * _MELS for hz in wanted]
    return places, [f"{hz}" for hz in wanted]


# One picture of an output: its waveform, its spectrogram, and what it came from.

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
