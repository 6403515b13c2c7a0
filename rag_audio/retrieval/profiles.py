"""The style of an artist, as far as the licensed catalogue tells it.

Made from the current rights each time: a stem whose license ended, or that was revoked, is in no
profile any more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rag_audio.audio.pictures import new_figure, write_png
from rag_audio.domain import GenerationRequest, Key, Rights, Stem, names
from rag_audio.domain.ports import StemIndex
from rag_audio.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from matplotlib.axis import Axis


MOST_HEARD = 1000
"""The sound of a larger catalogue is described by this many of its stems, evenly spread."""

_QUARTILES = (25.0, 50.0, 75.0)


@dataclass(frozen=True, eq=False)
class ArtistProfile:
    """What is typical of an artist.

    Attributes:
        stems: those whose license grants ``style``; nothing else counts.
        vectors: ``[N, D]`` unit vectors of their segments, see :data:`MOST_HEARD`.
        owners: the stem of each, by index.
        centroid: ``[D]``, their mean direction, every stem weighing the same; None without any.
        spread: mean of 1 − cosine to the centroid over stems: 0 is one sound, 1 is no direction.
        tempos: of each stem that has one. keys, tags, instruments: how many stems have them.
    """

    artist: str
    stems: tuple[Stem, ...]
    vectors: NDArray[np.float32]
    owners: tuple[int, ...]
    centroid: NDArray[np.float32] | None
    spread: float
    tempos: tuple[float, ...]
    keys: Mapping[str, int]
    tags: Mapping[str, int]
    instruments: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """For ``artists show --json``: all but the vectors."""
        bpm: dict[str, Any] = {"median": None, "quartiles": None, "stems": list(self.tempos)}
        if self.tempos:
            low, middle, high = (float(t) for t in np.percentile(self.tempos, _QUARTILES))
            bpm |= {"median": middle, "quartiles": [low, high]}
        return {
            "artist": self.artist,
            "stems": [
                {"stem": s.id, "title": s.title, "kind": s.kind.value, "license": s.license}
                for s in self.stems
            ],
            "licenses": sorted({stem.license for stem in self.stems}),
            "segments": len(self.owners),
            "spread": self.spread,
            "typicality": [round(value, 4) for value in self.typicality()],
            "bpm": bpm,
            "keys": dict(self.keys),
            "tags": dict(self.tags),
            "instruments": dict(self.instruments),
        }

    def typicality(self) -> list[float]:
        """Of each stem: cosine of its mean direction to the centroid; 0 for one not heard."""
        if self.centroid is None:
            return [0.0] * len(self.stems)
        means = _stem_means(self.vectors, self.owners, len(self.stems))
        return [float(mean @ self.centroid) for mean in means]


def licensed_stems(artist: str, stems: Iterable[Stem], rights: Rights) -> tuple[Stem, ...]:
    """The artist's stems that may be used for style here and now.

    Args:
        artist: as the library writes it.
    """
    return tuple(
        stem for stem in stems
        if names.same(stem.artist, artist) and rights.why_no_style(stem) is None
    )  # fmt: skip


def typical_words(stems: Sequence[Stem]) -> Mapping[str, float]:
    """Share of the stems, 0…1, that have each tag or instrument, as :func:`plain_words` has it."""
    count: Counter[str] = Counter()
    for stem in stems:
        count.update({plain_words(text) for text in (*stem.tags, *stem.instruments)})
    return {word: number / len(stems) for word, number in count.items()}


def wanted_tempo_and_key(
    request: GenerationRequest, own: Sequence[Stem]
) -> tuple[float | None, Key | None]:
    """What references should be near to: as the request says, else as is usual of the artist.

    Args:
        own: of the artist whose style is asked for; empty where nobody's is.

    Returns:
        The tempo in bpm, of the artist the median; the key, of the artist the most frequent.
    """
    tempos = [stem.bpm for stem in own if stem.bpm]
    keys = Counter(stem.key for stem in own if stem.key is not None)
    usual_key = min(keys, key=lambda key: (-keys[key], key), default=None)
    return (
        request.bpm or (float(np.median(tempos)) if tempos else None),
        request.key or usual_key,
    )


def make_profile(
    artist: str, stems: Iterable[Stem], rights: Rights, index: StemIndex
) -> ArtistProfile:
    """The profile from what may be used for style here and now.

    Args:
        artist: as the library writes it. stems: of the catalogue, any artist's.
    """
    own = licensed_stems(artist, stems, rights)
    vectors: list[NDArray[np.float32]] = []
    owners: list[int] = []
    for number in range(0, len(own), max(1, -(-len(own) // MOST_HEARD))):
        for point in index.find_stem(own[number].id):
            if point.segment.stem.library == own[number].library:
                vectors.append(point.dense)
                owners.append(number)
    stacked = np.stack(vectors) if vectors else np.zeros((0, 0), np.float32)
    centroid, spread = _centre(stacked, tuple(owners), len(own))
    return ArtistProfile(
        artist=artist,
        stems=own,
        vectors=stacked,
        owners=tuple(owners),
        centroid=centroid,
        spread=spread,
        tempos=tuple(round(stem.bpm, 2) for stem in own if stem.bpm is not None),
        keys=_counted([str(stem.key)] for stem in own if stem.key is not None),
        tags=_counted(stem.tags for stem in own),
        instruments=_counted(stem.instruments for stem in own),
    )


def _counted(lists: Any) -> dict[str, int]:
    """In how many of the lists each text stands, most frequent first, then by name."""
    count = Counter(text for texts in lists for text in dict.fromkeys(texts))
    return dict(sorted(count.items(), key=lambda item: (-item[1], item[0])))


def _centre(
    vectors: NDArray[np.float32], owners: tuple[int, ...], stems: int
) -> tuple[NDArray[np.float32] | None, float]:
    if not owners:
        return None, 0.0
    means = _stem_means(vectors, owners, stems)
    heard = means[np.linalg.norm(means, axis=1) > 0]
    total = heard.sum(axis=0)
    norm = float(np.linalg.norm(total))
    if norm < 1e-9:
        return None, 1.0
    centroid = np.asarray(total / norm, dtype=np.float32)
    return centroid, float(np.mean(1.0 - heard @ centroid))


def _stem_means(
    vectors: NDArray[np.float32], owners: tuple[int, ...], stems: int
) -> NDArray[np.float64]:
    """Each stem's mean direction, of unit length; zeros for a stem without a segment."""
    made = np.zeros((stems, vectors.shape[1]))
    np.add.at(made, np.array(owners), vectors)
    norms = np.linalg.norm(made, axis=1, keepdims=True)
    return np.asarray(np.divide(made, norms, out=made, where=norms > 1e-9))


def plain_words(text: str) -> str:
    """A tag or instrument in words for a model: without General MIDI's numbers."""
    return " ".join(text.lower().split()).rstrip(" 0123456789")


# One picture of an artist's style: tempos, keys, words, and where the stems lie.

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
