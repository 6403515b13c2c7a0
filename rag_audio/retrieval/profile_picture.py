"""One picture of an artist's style: tempos, keys, words, and where the stems lie."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rag_audio.audio.pictures import new_figure, write_png
from rag_audio.domain import Key
from rag_audio.errors import InvalidInput
from rag_audio.retrieval.profiles import ArtistProfile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

_COLOUR, _ACCENT = "#1b6ca8", "#c2551b"
_MOST_WORDS = 10
_NAMED = 14


def profile_png(profile: ArtistProfile, path: str | Path) -> None:
    """Write the picture as a PNG, atomically.

    Raises:
        InvalidInput: the profile is empty, or the file cannot be written.
    """
    if not profile.stems:
        raise InvalidInput(f"there is nothing to draw of {profile.artist}")
    figure = new_figure((11.0, 7.2))
    panels = figure.subplots(2, 2)
    _tempos(panels[0, 0], profile)
    _keys(panels[0, 1], profile)
    _words(panels[1, 0], profile)
    _map(panels[1, 1], profile)
    name = profile.artist.replace("$", "＄")
    count = len(profile.stems)
    figure.suptitle(f"{name}: {count} licensed stem{'' if count == 1 else 's'}")
    write_png(figure, Path(path))


def _tempos(axes: Axes, profile: ArtistProfile) -> None:
    axes.set(title="tempo", xlabel="bpm", ylabel="stems")
    if profile.tempos:
        counted = Counter(round(tempo) for tempo in profile.tempos)
        width = max(1.0, (max(counted) - min(counted)) / 40)
        axes.bar(list(counted), list(counted.values()), width=width, color=_COLOUR)
        axes.set_xlim(min(counted) - 5 * width, max(counted) + 5 * width)
        middle = float(np.median(profile.tempos))
        axes.axvline(middle, color=_ACCENT, ls="--", label=f"median {middle:g}")
        axes.legend(fontsize=8, frameon=False)
    _whole(axes.yaxis)


def _keys(axes: Axes, profile: ArtistProfile) -> None:
    """Along the circle of fifths, so that related keys are neighbours."""
    fifths = [7 * n % 12 for n in range(12)]
    majors = [Key(tonic, False) for tonic in fifths]
    for shift, keys, colour in (
        (-0.2, majors, _COLOUR), (0.2, [key.relative() for key in majors], _ACCENT)
    ):  # fmt: skip
        counts = [profile.keys.get(str(key), 0) for key in keys]
        mode = "minor" if keys[0].minor else "major"
        axes.bar(np.arange(12) + shift, counts, width=0.4, color=colour, label=mode)
    names = [f"{str(k).split()[0]}\n{str(k.relative()).split()[0].lower()}" for k in majors]
    axes.set_xticks(range(12), names, fontsize=8)
    axes.set(title="key, along the circle of fifths", ylabel="stems")
    axes.legend(fontsize=8, frameon=False)
    _whole(axes.yaxis)


def _words(axes: Axes, profile: ArtistProfile) -> None:
    shown = _first(profile.tags) + [(name, n) for name, n in _first(profile.instruments)
                                    if name.lower() not in profile.tags]  # fmt: skip
    shown = shown[: 2 * _MOST_WORDS][:14][::-1]
    colours = [_COLOUR if name in profile.tags else _ACCENT for name, _ in shown]
    axes.barh([name.replace("$", "＄") for name, _ in shown], [n for _, n in shown], color=colours)
    axes.tick_params(axis="y", labelsize=8)
    axes.set(title="tags (blue) and instruments (orange)", xlabel="stems")
    _whole(axes.xaxis)


def _whole(axis: Axis) -> None:
    """Ticks at whole numbers: stems are counted."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True))


def _first(counted: Mapping[str, int]) -> list[tuple[str, int]]:
    return list(counted.items())[:_MOST_WORDS]


def _map(axes: Axes, profile: ArtistProfile) -> None:
    """Segments on the two directions in which they differ most."""
    axes.set(title=f"sound, spread {profile.spread:.2f}", xticks=(), yticks=())
    if len(profile.owners) < 3 or profile.centroid is None:
        axes.text(0.5, 0.5, "too few segments for a map", transform=axes.transAxes, ha="center")
        return
    centred = profile.vectors - profile.vectors.mean(axis=0)
    _, _, directions = np.linalg.svd(centred.astype(np.float64), full_matrices=False)
    at = centred @ directions[:2].T
    axes.scatter(at[:, 0], at[:, 1], s=14, color=_COLOUR, alpha=0.6)
    middle = (profile.centroid - profile.vectors.mean(axis=0)) @ directions[:2].T
    axes.scatter(middle[0], middle[1], marker="x", s=70, color=_ACCENT, label="centroid")
    titles = [profile.stems[n].title or profile.stems[n].path for n in profile.owners]
    centre = float(at[:, 0].mean())
    for title, _ in Counter(titles).most_common(_NAMED):
        x, y = at[[one == title for one in titles]].mean(axis=0)
        side, shift = ("right", -5) if x > centre else ("left", 5)
        axes.annotate(title.replace("$", "＄")[:24], (x, y), fontsize=6.5, ha=side, va="center",
                      textcoords="offset points", xytext=(shift, 0))  # fmt: skip
    axes.margins(0.18)
    axes.legend(fontsize=8, frameon=False)
