"""How well searches by words find what is meant, in two real libraries.

    OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/bench_search.py [--work DIR] [--show]
        [--held-out]

Needs Debian's ``sonic-pi-samples`` and ``openttd-openmsx``. Each request of
:data:`benchmarks.real_material.QUERIES` (``--held-out``: of ``HELD_OUT``) is searched by the
product, by the words of its index alone (its BM25), and by :mod:`benchmarks.plain_keywords`, which
knows neither the lexicon nor how names are taken apart. The first ten are graded 0…3
and scored by nDCG@10 (Järvelin & Kekäläinen, "Cumulated gain-based evaluation of IR techniques",
ACM TOIS 20(4), 2002, with gain 2^grade - 1), the best possible order being 1.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import rag_audio
from benchmarks import plain_keywords
from benchmarks.figures import over_groups
from benchmarks.real_material import (
    HELD_OUT,
    QUERIES,
    NotInstalled,
    Query,
    Truth,
    lay_out,
    truth_of,
)
from rag_audio.domain import SegmentFilter
from rag_audio.pipeline.workspace import Workspace
from rag_audio.storage.bm25 import encode_query

DEPTH = 10

Search = Callable[[str], Sequence[str]]
"""Paths found for words, best first."""


def main() -> None:
    given = _arguments()
    queries = HELD_OUT if given.held_out else QUERIES
    if given.work is None:
        with tempfile.TemporaryDirectory() as folder:
            _run(Path(folder), queries, given.show)
    else:
        _run(given.work, queries, given.show)


def _run(work: Path, queries: Sequence[Query], show: bool) -> None:
    try:
        roots = lay_out(work / "libraries")
    except NotInstalled as missing:
        raise SystemExit(str(missing)) from None
    truths = {
        f"{root.name}/{file.name}": truth_of(file)
        for root in roots
        for file in sorted(root.iterdir())
        if file.suffix in (".flac", ".mid")
    }
    with rag_audio.open(work / "home") as workspace:
        for root in roots:
            workspace.index(root)
        searches = {
            "keywords": _keywords(workspace),
            "words": _words(workspace),
            "product": _product(workspace),
        }
        scores = {
            name: [_score(q, find, truths) for q in queries] for name, find in searches.items()
        }
    if show:
        for number, query in enumerate(queries):
            shown = "  ".join(f"{name} {found[number]:.2f}" for name, found in scores.items())
            print(f"{query.text:24s} {shown}")
    print(f"{len(queries)} requests in {len(truths)} files, nDCG@{DEPTH}, mean [95 % interval]")
    for name, found in scores.items():
        nothing = sum(one == 0 for one in found)
        print(f"{name:10s} {over_groups([[one] for one in found])}   nothing right: {nothing}")


def _product(workspace: Workspace) -> Search:
    def find(text: str) -> list[str]:
        found = workspace.search(text, k=DEPTH)
        return [f"{one.stem.library}/{one.stem.path}" for one in found]

    return find


def _keywords(workspace: Workspace) -> Search:
    captions: dict[str, str] = {}
    for library in ("sonic-pi-samples", "openttd-openmsx"):
        for point in workspace.home.index.scroll(library):
            stem = point.segment.stem
            captions[f"{stem.library}/{stem.path}"] = plain_keywords.caption(stem)
    return plain_keywords.search(captions, DEPTH)


def _words(workspace: Workspace) -> Search:
    home = workspace.home
    licenses = frozenset(f"{one}/{one}" for one in ("sonic-pi-samples", "openttd-openmsx"))

    def find(text: str) -> list[str]:
        hits = home.index.search_sparse(encode_query(text), SegmentFilter(licenses), 40 * DEPTH)
        stems = (hit.segment.stem for hit in hits if hit.score > 0)
        return list(dict.fromkeys(f"{one.library}/{one.path}" for one in stems))[:DEPTH]

    return find


def _score(query: Query, find: Search, truths: dict[str, Truth]) -> float:
    """nDCG@10 of what is found for one request."""
    best = sorted((query.grade(truth) for truth in truths.values()), reverse=True)
    ideal = _gain(best[:DEPTH])
    if ideal == 0:
        raise SystemExit(f"no file is right for {query.text!r}: grade it")
    return _gain([query.grade(truths[path]) for path in find(query.text)]) / ideal


def _gain(grades: Sequence[int]) -> float:
    return sum((2**grade - 1) / math.log2(rank + 1) for rank, grade in enumerate(grades, start=1))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, help="folder that is kept: libraries and home")
    parser.add_argument("--show", action="store_true", help="print each request's score")
    parser.add_argument("--held-out", action="store_true", help="the requests kept for the end")
    return parser.parse_args()


if __name__ == "__main__":
    main()
