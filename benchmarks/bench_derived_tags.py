"""How often the tags that the embedder derives are right, on real sounds of one instrument.

    OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/bench_derived_tags.py

Needs Debian's ``lmms-common``, ``sonic-pi-samples``, ``openttd-openmsx`` and
``timgm6mb-soundfont`` (:mod:`benchmarks.derived_tags_material`). For each label: how often it is
right where it is the nearest of all; then a logistic curve from its margin, fitted on the first
set, and how often it is right in every set from the confidence on from which tags are told. The
last lines are what the product tells.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.derived_tags_material import Sound, sets
from benchmarks.figures import Figure, wilson
from benchmarks.real_material import NotInstalled
from indexer.derived_tags import LABELS, SHOWN_FROM, TagListener, margins_of
from indexer.index_points import windows
from rag_audio.audio.dsp import resample
from rag_audio.domain import Audio
from rag_audio.models.clap import ClapEmbedder
from rag_audio.resources import data_dir

_FEWEST = 20
"""Sounds of a label in the first set without which no curve is fitted."""


@dataclass(frozen=True, eq=False)
class Measured:
    """A set: margins ``[N, L]``, what is true of each sound, and what the product tells of it."""

    margins: NDArray[np.float64]
    truths: NDArray[np.str_]
    told: list[set[str]]

    def right(self, label: str, named: NDArray[np.bool_]) -> Figure:
        """How often a label is right where it is named."""
        return wilson(int((self.truths[named] == label).sum()), int(named.sum()))


def main() -> None:
    embedder = ClapEmbedder(data_dir("models/clap-mini"))
    listener = TagListener(embedder)
    try:
        found = {name: _measure(embedder, listener, list(one)) for name, one in sets().items()}
    except NotInstalled as missing:
        raise SystemExit(str(missing)) from None
    print(f"{embedder.name}, {embedder.space}, logit scale {embedder.logit_scale:.1f}")
    for name, one in found.items():
        print(f"{name}: {len(one.truths)} sounds, {(one.truths != '').sum()} with a label")
    print("\nwhere a label is the nearest")
    for at, label in enumerate(LABELS):
        print(f"{label:16s}", *_columns(found, label, at, 0.0))
    print(f"\ncurves fitted on {next(iter(found))}, from confidence {SHOWN_FROM} on")
    for at, label in enumerate(LABELS):
        first = next(iter(found.values()))
        if (first.truths == label).sum() >= _FEWEST:
            slope, offset = _curve(first.margins[:, at], first.truths == label)
            least = (np.log(SHOWN_FROM / (1 - SHOWN_FROM)) - offset) / slope
            print(f"{label:16s} slope {slope:.2f} offset {offset:.2f}")
            print(f"{'':16s}", *_columns(found, label, at, least))
    print("\nwhat the product tells")
    for label in LABELS:
        for name, one in found.items():
            named = np.array([label in told for told in one.told])
            if named.any():
                there = (one.truths == label).sum()
                figure = one.right(label, named)
                print(f"{label:16s} {name}: {figure} of {named.sum()} ({there} there)")


def _measure(embedder: ClapEmbedder, listener: TagListener, sounds: list[Sound]) -> Measured:
    rate, margins, told = embedder.sample_rate, [], []
    for sound, _ in sounds:
        heard = resample(sound, rate)
        clips = [
            Audio(heard.samples[:, round(start * rate) : round((start + length) * rate)], rate)
            for start, length in windows(heard.duration_s, embedder.window_s)
        ]
        vectors = embedder.embed_audio(clips)
        margins.append(margins_of(listener.cosines(vectors)))
        told.append({tag.text for tag in listener.tags(vectors)})
    return Measured(np.stack(margins), np.array([truth for _, truth in sounds]), told)


def _columns(found: dict[str, Measured], label: str, at: int, least: float) -> list[str]:
    shown = []
    for name, one in found.items():
        named = one.margins[:, at] >= least
        figure = one.right(label, named) if named.any() else "–"
        shown.append(f"{name}: {figure} of {named.sum()} ({(one.truths == label).sum()} there)  ")
    return shown


def _curve(margins: NDArray[np.float64], right: NDArray[np.bool_]) -> tuple[float, float]:
    """Slope and offset of the logistic curve of greatest likelihood, by Newton's method."""
    design = np.stack([margins, np.ones_like(margins)], axis=1)
    weights = np.zeros(2)
    for _ in range(50):
        p = 1 / (1 + np.exp(-design @ weights))
        curvature = design.T @ (design * (p * (1 - p))[:, None])
        weights += np.linalg.solve(curvature, design.T @ (right - p))
    slope, offset = weights.tolist()
    return slope, offset


if __name__ == "__main__":
    main()
