"""Whether the fit of a reference is the probability that it is right, in two real libraries.

    OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/bench_fit.py [--work DIR] [--fit] [--show]

The requests of :data:`benchmarks.real_material.QUERIES`, and beside them :data:`ABSENT`, for which
neither library holds anything, are searched; each of the first ten references is right where its
grade is at least 2. The logistic function of :mod:`rag_audio.retrieval.fit` is fitted anew in ten
folds of requests: what is printed of a request is said by constants that have not seen it.
Where the index knows sample types, it is told too what preferring music does to the first three.
``--fit`` prints the constants of all requests, to be copied there. ``--work`` may be that of
``bench_search.py``.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import rag_audio
from benchmarks.figures import over_groups, wilson
from benchmarks.real_material import QUERIES, NotInstalled, Truth, lay_out, truth_of
from rag_audio.domain import SampleType
from rag_audio.pipeline.workspace import Workspace
from rag_audio.retrieval.fit import INTERCEPT, SLOPE

DEPTH, RIGHT, FOLDS = 10, 2, 10
PLANNED = 3  # references of a plan
BINS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)

ABSENT = (
    "bagpipes", "throat singing", "didgeridoo", "sitar", "oboe", "clarinet", "bassoon", "tuba",
    "banjo", "mandolin", "ukulele", "shamisen", "hurdy-gurdy", "theremin", "kalimba", "gamelan",
    "opera singer", "rap vocals", "beatboxing", "dog barking", "thunderstorm", "ocean waves",
    "applause", "crying baby", "bass clarinet", "bagpipe drone", "slow sad cello", "banjo loop",
    "fast mandolin", "dark opera voice", "tuba hit", "rain on a roof", "warm oboe melody",
    "Dudelsack", "gaita", "волынка", "バグパイプ", "Fagott", "hautbois", "виолончель",
)  # fmt: skip
"""Requests for which nothing is there, some of them with a word that many files have."""


@dataclass(frozen=True, eq=False)
class Found:
    """The references of all requests, row by row.

    Attributes:
        texts: of the requests, in order. of: number of each reference's request.
        share: of the request's words that it holds. nearness: cosine by meaning.
        right: 1 where its grade is at least 2, else 0.
    """

    texts: Sequence[str]
    of: NDArray[np.int64]
    share: NDArray[np.float64]
    nearness: NDArray[np.float64]
    right: NDArray[np.float64]

    def best(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The highest of each request's references; 0 where it has none."""
        highest = np.zeros(len(self.texts))
        np.maximum.at(highest, self.of, values)
        return highest


def search(workspace: Workspace, truths: dict[str, Truth]) -> Found:
    """All requests, with what is known of their references."""
    vectors: dict[str, list[NDArray[np.float32]]] = {}
    for point in workspace.home.index.scroll():
        vectors.setdefault(point.segment.stem.id, []).append(point.dense)
    graded = {query.text: query for query in QUERIES}
    rows: list[tuple[int, float, float, float]] = []
    texts = [*graded, *ABSENT]
    for number, text in enumerate(texts):
        (meant,) = workspace.home.embedder.embed_text([text])
        for one in workspace.search(text, k=DEPTH):
            truth = truths[f"{one.stem.library}/{one.stem.path}"]
            grade = graded[text].grade(truth) if text in graded else 0
            near = max(float(vector @ meant) for vector in vectors[one.stem.id])
            rows.append((number, _share(one.fit or 0.0), near, float(grade >= RIGHT)))
    of, share, nearness, right = np.array(rows).T
    return Found(texts, of.astype(np.int64), share, nearness, right)


def _share(fit: float) -> float:
    """The evidence that a fit was made of."""
    bounded = min(max(fit, 1e-6), 1 - 1e-6)
    return (math.log(bounded / (1 - bounded)) - INTERCEPT) / SLOPE


def fitted(evidence: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intercept and slopes of the logistic regression of ``right`` ``[N]`` on ``[N, F]``.

    By Newton's method, with a ridge of 0.01.
    """
    rows = np.column_stack([np.ones(len(right)), evidence])
    weights = np.zeros(rows.shape[1])
    for _ in range(50):
        p = _logistic(rows @ weights)
        slope = rows.T @ (p - right) + 0.01 * weights
        bend = (rows * (p * (1 - p))[:, None]).T @ rows + 0.01 * np.eye(len(weights))
        weights -= np.linalg.solve(bend, slope)
    return weights


def _logistic(value: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-value)))


def validated(
    found: Found, evidence: NDArray[np.float64]
) -> tuple[NDArray[np.float64], list[float]]:
    """Each reference's fit, and each request's threshold, by constants that have not seen it."""
    fold = np.random.default_rng(0).permutation(len(found.texts)) % FOLDS
    said, thresholds = np.zeros(len(found.of)), np.zeros(len(found.texts))
    for part in range(FOLDS):
        unseen = fold[found.of] == part
        weights = fitted(evidence[~unseen], found.right[~unseen])
        rows = np.column_stack([np.ones(len(evidence)), evidence])
        p = _logistic(rows @ weights)
        said[unseen] = p[unseen]
        seen = fold != part
        thresholds[~seen] = threshold(found.best(p)[seen], found.best(found.right)[seen])
    return said, list(thresholds)


def threshold(best: NDArray[np.float64], has: NDArray[np.float64]) -> float:
    """Below which "nothing here fits" is wrong of the fewest requests: the middle of such."""
    candidates = np.arange(0.05, 0.9, 0.01)
    wrong = [((best < t) & (has == 1)).sum() + ((best >= t) & (has == 0)).sum() for t in candidates]
    return float(np.median(candidates[np.array(wrong) == min(wrong)]))


def report(found: Found) -> None:
    """Reliability, and how often "nothing here fits" is wrong."""
    has = found.best(found.right)
    print(
        f"{len(found.texts)} requests, {len(found.of)} references, {found.right.mean():.3f} right"
    )
    both = np.column_stack([found.share, found.nearness])
    for name, evidence in (
        ("words", found.share[:, None]), ("words and nearness by meaning", both),
        ("nearness by meaning", found.nearness[:, None]),
    ):  # fmt: skip
        p, _ = validated(found, evidence)
        loss = -np.log(np.where(found.right == 1, p, 1 - p)).mean()
        brier = ((p - found.right) ** 2).mean()
        print(f"{name}: log loss {loss:.3f}, Brier score {brier:.3f}")
    said, thresholds = validated(found, found.share[:, None])
    print("\n| fit | references | mean fit | right |\n|---|---|---|---|")
    for low, high in pairwise(BINS):
        inside = (said >= low) & (said < high)
        if inside.any():
            right = int(found.right[inside].sum())
            print(f"| {low:g}–{high:g} | {inside.sum()} | {said[inside].mean():.2f} | "
                  f"{wilson(right, int(inside.sum()))} |")  # fmt: skip
    nothing = found.best(said) < thresholds
    missed, alarms = int((nothing & (has == 1)).sum()), int((~nothing & (has == 0)).sum())
    with_any, without = int(has.sum()), int((has == 0).sum())
    print(f"\n'nothing here fits' is said though something right was found: "
          f"{wilson(missed, with_any)}; is not said though nothing right was found: "
          f"{wilson(alarms, without)}")  # fmt: skip


def music(workspace: Workspace, truths: dict[str, Truth]) -> None:
    """The table of requests with and without a preference for music before one-shots.

    Those for music are the ones that a loop, phrase or song is right for; the others mean hits.
    """
    types = {
        f"{one.library}/{one.path}": one.sample_type for one in workspace.home.catalogue.stems()
    }
    if not any(types.values()):
        print("\nno stem of the index has a sample type: preferring music was not measured")
        return
    print("\n| requests | music preferred | mean grade | one-shots | right and no one-shot |")
    print("|---|---|---|---|---|")
    played = {path for path, type_ in types.items() if type_ is not SampleType.ONE_SHOT}
    for name, is_music in (("for music", True), ("for hits", False)):
        asked = [
            query
            for query in QUERIES
            if is_music == any(query.grade(truths[path]) >= RIGHT for path in played)
        ]
        for preferred in (False, True):
            rows: list[list[tuple[float, float, float]]] = []
            for query in asked:
                found = workspace.search(query.text, k=PLANNED, prefers_music=preferred)
                paths = [f"{one.stem.library}/{one.stem.path}" for one in found]
                grades = [query.grade(truths[path]) for path in paths]
                rows.append([
                    (grade, path not in played, grade >= RIGHT and path in played)
                    for grade, path in zip(grades, paths, strict=True)
                ])  # fmt: skip
            cells = [over_groups([[one[part] for one in row] for row in rows]) for part in range(3)]
            print(f"| {len(asked)} {name} | {'yes' if preferred else 'no'} | "
                  f"{' | '.join(map(str, cells))} |")  # fmt: skip


def main() -> None:
    """Index where that is needed, search, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, help="folder that is kept: libraries and home")
    parser.add_argument("--fit", action="store_true", help="print the constants, of all requests")
    parser.add_argument("--show", action="store_true", help="print each request's best fit")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = given.work or Path(folder)
        try:
            roots = lay_out(work / "libraries")
        except NotInstalled as missing:
            raise SystemExit(str(missing)) from None
        files = [file for root in roots for file in sorted(root.iterdir())]
        truths = {
            f"{file.parent.name}/{file.name}": truth_of(file)
            for file in files
            if file.suffix in (".flac", ".mid")
        }
        with rag_audio.open(work / "home") as workspace:
            for root in roots:
                workspace.index(root)
            found = search(workspace, truths)
            report(found)
            music(workspace, truths)
    weights = fitted(found.share[:, None], found.right)
    fit = _logistic(weights[0] + weights[1] * found.share)
    if given.show:
        for text, best, has in zip(
            found.texts, found.best(fit), found.best(found.right), strict=True
        ):
            print(f"{text:24s} {best:.2f} {'something right' if has else 'nothing right'}")
    if given.fit:
        limit = threshold(found.best(fit), found.best(found.right))
        print(f"INTERCEPT, SLOPE = {weights[0]:.1f}, {weights[1]:.1f}\nTHRESHOLD = {limit:.2f}")


if __name__ == "__main__":
    main()
