"""Whether an artist's profile, tempo and key should order the references found by words.

    OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/bench_ranking.py [--work DIR] [--outputs N]

Requests in the style of invented artists, on a composed library and on the demo library, are
searched with different weights of two rankings beside the words': nearness to what is typical of
the artist, and how little a stem must be stretched and transposed. The first three references are
judged by what is known of them, not in the space that ranks. For some requests the embedded model
then makes an output from them; it is held against pieces of the artist that are not in the library
and against those of the others.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import rag_audio
from benchmarks import ranking_material as material
from benchmarks.figures import Figure, over_groups
from benchmarks.ranking_material import Ask, Truth
from rag_audio.audio.reading import load
from rag_audio.domain import Audio, GenerationRequest, Reference, Stem, Use
from rag_audio.pipeline.renderer import Renderer
from rag_audio.pipeline.workspace import Workspace
from rag_audio.retrieval.profiles import licensed_stems, wanted_tempo_and_key
from rag_audio.retrieval.references import ReferenceQuery, Weights, find_references
from training.measures import describe_sound

K = 3
FAR = 0.15  # a stretch that is heard
DURATION_S = 10.0
VARIANTS = {
    "words alone": (0.0, 0.0),
    **{f"typical {weight:g}": (weight, 0.0) for weight in (0.1, 0.25, 0.5, 1.0)},
    **{f"effort {weight:g}": (0.0, weight) for weight in (0.1, 0.25, 0.5, 1.0)},
    "typical 0.25, effort 0.5": (0.25, 0.5),
}
"""Weights of nearness to what is typical and of effort; effort 0.25 is what the product does."""
HEARD = ("words alone", "typical 0.25", "typical 1", "effort 0.5")
"""Of these, outputs are made."""

Found = dict[str, list[tuple[Reference, ...]]]
"""Per variant, the references of each request."""


@dataclass(frozen=True)
class Judged:
    """One reference, judged by what is known of it."""

    artist: float
    genre: float
    family: float
    stretch: float
    far: float
    semitones: float


def judge(found: Truth, wanted: Truth) -> Judged:
    """How a reference fits, and what must be done to it: share of stretch, semitones."""
    octaves = math.log2(wanted.bpm / found.bpm)
    stretch = 2 ** min(abs(octaves + shift) for shift in (-1, 0, 1)) - 1
    both = found.key is not None and wanted.key is not None
    return Judged(
        artist=float(found.artist == wanted.artist),
        genre=float(found.genre == wanted.genre),
        family=float(bool({*found.families} & {*wanted.families})),
        stretch=stretch,
        far=float(stretch > FAR),
        semitones=abs(found.key.semitones_to(wanted.key)) if both else 0.0,  # type: ignore[union-attr, arg-type]
    )


class Once:
    """An embedder that embeds a text once, however many variants ask."""

    def __init__(self, embedder: Any) -> None:
        self._embedder, self._known = embedder, dict[tuple[str, ...], Any]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._embedder, name)

    def embed_text(self, texts: Sequence[str]) -> Any:
        """As the embedder does."""
        key = tuple(texts)
        if key not in self._known:
            self._known[key] = self._embedder.embed_text(texts)
        return self._known[key]


def search(workspace: Workspace, asks: Sequence[Ask], styled: bool = True) -> Found:
    """All requests by all variants.

    Args:
        styled: only the artist's stems, as the product does it for ``--artist``.
    """
    pipeline, home = workspace.pipeline, workspace.home
    rights, embedder = pipeline.rights(), Once(home.embedder)
    centres = {
        name: pipeline.artist_profile(name).centroid for name in {a.wanted.artist for a in asks}
    }
    return {
        name: [
            find_references(
                ReferenceQuery(
                    text=ask.words,
                    artist=ask.wanted.artist if styled else None,
                    style=styled,
                    vectors=(centres[ask.wanted.artist],) if typical else (),
                    wanted_bpm=ask.wanted.bpm,
                    wanted_key=ask.wanted.key,
                    weights=Weights(typical, effort),
                    k=K,
                ),
                rights=rights,
                embedder=embedder,
                index=home.index,
            )
            for ask in asks
        ]
        for name, (typical, effort) in VARIANTS.items()
    }


def report(asks: Sequence[Ask], found: Found, truth: Callable[[Stem], Truth]) -> None:
    """The table of judgements: means over requests of their own means over references."""
    print("| ranking | artist | genre | family | stretch | over 15 % | semitones | as by words |")
    print("|---|---|---|---|---|---|---|---|")
    for name, lists in found.items():
        judged = [
            [judge(truth(r.stem), ask.wanted) for r in references]
            for ask, references in zip(asks, lists, strict=True)
        ]
        cells = [
            str(over_groups([[getattr(one, what) for one in group] for group in judged]))
            for what in ("artist", "genre", "family", "stretch", "far", "semitones")
        ]
        same = sum(
            len({r.stem.id for r in a} & {r.stem.id for r in b})
            for a, b in zip(lists, found["words alone"], strict=True)
        )
        cells[0] = cells[0].partition(" ")[0]
        print(f"| {name} | {' | '.join(cells)} | {same / sum(map(len, lists)):.2f} |", flush=True)


def left_open(workspace: Workspace, asks: Sequence[Ask], truth: Callable[[Stem], Truth]) -> None:
    """The table of requests without tempo and key: how far the others are from the first."""
    rights, embedder = workspace.pipeline.rights(), Once(workspace.home.embedder)
    stems = workspace.home.catalogue.stems()
    print("| wanted | genre | family | over 15 % from the first | semitones from it |")
    print("|---|---|---|---|---|")
    for name in ("any tempo and key", "the artist's usual ones"):
        rows: list[list[Judged]] = []
        apart: list[list[Judged]] = []
        for ask in asks:
            own = licensed_stems(ask.wanted.artist, stems, rights) if name[0] == "t" else ()
            bpm, key = wanted_tempo_and_key(GenerationRequest(ask.words), own)
            query = ReferenceQuery(
                text=ask.words, artist=ask.wanted.artist, style=True, wanted_bpm=bpm,
                wanted_key=key, k=K,
            )  # fmt: skip
            found = [
                truth(r.stem)
                for r in find_references(
                    query, rights=rights, embedder=embedder, index=workspace.home.index
                )
            ]
            rows.append([judge(one, ask.wanted) for one in found])
            apart.append([judge(one, found[0]) for one in found[1:]])
        cells = [
            over_groups([[getattr(j, w) for j in g] for g in rows]) for w in ("genre", "family")
        ]
        cells += [
            over_groups([[getattr(j, w) for j in g] for g in apart]) for w in ("far", "semitones")
        ]
        print(f"| {name} | {' | '.join(map(str, cells))} |", flush=True)


class Listener:
    """Makes outputs of references, and hears whose pieces they are nearer to."""

    def __init__(self, workspace: Workspace, asks: Sequence[Ask]) -> None:
        home = workspace.home
        self.workspace, self.asks = workspace, asks
        self.renderer = Renderer(home, home.generator(None), {})
        held = [load(ask.held_out, duration_s=DURATION_S) for ask in asks if ask.held_out]
        self.artists = np.array([ask.wanted.artist for ask in asks if ask.held_out])
        fixed = np.stack([describe_sound(sound) for sound in held])
        self._mean, self._scale = fixed.mean(0), fixed.std(0) + 1e-9
        self._fixed = (fixed - self._mean) / self._scale
        self._learnt = np.asarray(home.embedder.embed_audio(held))
        self._made: dict[tuple[int, tuple[str, ...]], Audio] = {}

    def make(self, ask: Ask, references: Sequence[Reference]) -> Audio:
        """The output of a request with just these references; the same are made once."""
        key = (ask.number, tuple(reference.stem.id for reference in references))
        if key not in self._made:
            request = GenerationRequest(
                ask.words, artist=ask.wanted.artist, references=key[1], k=0, bpm=ask.wanted.bpm,
                key=ask.wanted.key, duration_s=DURATION_S, seed=ask.number,
            )  # fmt: skip
            plan = self.workspace.plan(request)
            (self._made[key],) = self.renderer._generate(plan, (plan.seed,), None, None)
        return self._made[key]

    def likeness(self, ask: Ask, sound: Audio) -> tuple[float, float]:
        """How often a held-out piece of the artist is nearer than another's: 0.5 is chance.

        Returns:
            By a fixed description of the spectrum, and in the space that ranks.
        """
        own = self.artists == ask.wanted.artist
        there = (describe_sound(sound) - self._mean) / self._scale
        far = np.linalg.norm(self._fixed - there, axis=1)
        near = self._learnt @ np.asarray(self.workspace.home.embedder.embed_audio([sound]))[0]
        return _nearer(-far, own), _nearer(near, own)


def _nearer(near: NDArray[np.floating[Any]], own: NDArray[np.bool_]) -> float:
    """Share of pairs of an own and another's piece in which the own is nearer (area under ROC)."""
    return float((near[own][:, None] > near[~own][None, :]).mean())


def hear(workspace: Workspace, asks: Sequence[Ask], found: Found, outputs: int) -> None:
    """The table of outputs: evenly spread requests, so that every artist has as many."""
    listener = Listener(workspace, asks)
    chosen = [asks[n * len(asks) // outputs] for n in range(outputs)]
    print("| ranking | nearer to the artist, fixed description | in the space that ranks |")
    print("|---|---|---|")
    real = [load(ask.held_out, duration_s=DURATION_S) for ask in chosen if ask.held_out]
    rows: dict[str, list[tuple[float, float]]] = {}
    for name in HEARD:
        made = [listener.make(ask, found[name][ask.number]) for ask in chosen]
        rows[name] = [listener.likeness(a, s) for a, s in zip(chosen, made, strict=True)]
    rows["held-out pieces themselves"] = [
        listener.likeness(a, s) for a, s in zip(chosen, real, strict=True)
    ]
    for name, values in rows.items():
        fixed, learnt = (_mean([pair[side] for pair in values]) for side in (0, 1))
        print(f"| {name} | {fixed} | {learnt} |", flush=True)


def _mean(values: Sequence[float]) -> Figure:
    return over_groups([[value] for value in values])


def _licensed(workspace: Workspace) -> set[str]:
    """Artists whose style may be asked for."""
    rights = workspace.pipeline.rights()
    stems = workspace.home.catalogue.stems()
    return {s.artist for s in stems if rights.refusal(s, Use.STYLE) is None}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, help="keeps the composed library and its index")
    parser.add_argument("--stems", type=int, default=24, help="of each artist")
    parser.add_argument("--requests", type=int, default=12, help="of each artist")
    parser.add_argument("--outputs", type=int, default=32)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = given.work or Path(name)
        asks = material.lay_out(work, given.stems, given.requests)
        with rag_audio.open(work / "home") as workspace:
            workspace.index(work / "library")
            print(f"Composed library: {given.stems} stems of each of {len(material.ARTISTS)} "
                  f"artists, {len(asks)} requests, {workspace.home.index.space}.\n")  # fmt: skip
            found = search(workspace, asks)
            report(asks, found, lambda stem: material.truth_of(stem, work / "library"))
            print("\nThe same requests without tempo and key.\n")
            left_open(workspace, asks, lambda stem: material.truth_of(stem, work / "library"))
            print("\nThe same requests without an artist: all stems of all artists.\n")
            anybody = search(workspace, asks, styled=False)
            report(asks, anybody, lambda stem: material.truth_of(stem, work / "library"))
            print()
            if given.outputs:
                hear(workspace, asks, found, given.outputs)
        with rag_audio.open(Path(name) / "demo-home") as workspace:
            workspace.index(material.demo_folder())
            asks = material.demo_asks(_licensed(workspace))
            print(f"\nDemo library: {len(asks)} requests.\n")
            report(asks, search(workspace, asks), material.demo_truth)


if __name__ == "__main__":
    main()
