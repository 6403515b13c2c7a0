"""Pictures of sound."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rag_audio.compiled import librosa_ready
from rag_audio.domain import Audio
from rag_audio.errors import InvalidInput
from rag_audio.files import export
from rag_audio.hearing import heard
from rag_audio.shaping import resample

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
