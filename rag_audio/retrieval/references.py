"""Find the best licensed references for a query of words, sound, stems and artists.

Each part of a query ranks the stems on its own; the rankings are fused by reciprocal rank
(Cormack, Clarke & Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank
Learning Methods", SIGIR 2009), and a varied set is chosen by maximal marginal relevance
(Carbonell & Goldstein, "The Use of MMR …", SIGIR 1998). Rights are a filter of every search, and
are checked again on everything that comes back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from rag_audio.audio.dsp import spread_windows
from rag_audio.domain import (
    Audio,
    Key,
    Reference,
    Rights,
    SampleType,
    SegmentFilter,
    Stem,
    StemKind,
    Use,
    coercion,
    limits,
)
from rag_audio.domain.fields import key_of
from rag_audio.domain.ports import Embedder, Hit, SearchableIndex, SparseVector
from rag_audio.domain.translation import in_english
from rag_audio.errors import InvalidInput
from rag_audio.retrieval.fit import Captions, SoughtWords
from rag_audio.retrieval.transposition_cost import effort_of
from rag_audio.retrieval.twins import Recordings
from rag_audio.storage.bm25 import encode_query

if TYPE_CHECKING:
    from numpy.typing import NDArray


# What is looked for when references are sought.

_HEAVIEST = limits.Number(0, 1000)


@dataclass(frozen=True)
class Weights:
    """How much rankings count beside 1 for the keywords'; see ``benchmarks/bench_ranking.py``.

    Attributes:
        vectors: of nearness to the ready query vectors.
        effort: of how little a stem must be changed to have the wanted tempo and key.
    """

    vectors: float = 1.0
    effort: float = 0.25

    def __post_init__(self) -> None:
        coercion.settle(self, dict.fromkeys(("vectors", "effort"), coercion.number))
        for name in ("vectors", "effort"):
            _HEAVIEST.check(name, getattr(self, name))


@dataclass(frozen=True, eq=False)
class ReferenceQuery:
    """What to look for. Any mix of the first five parts; the others narrow it down.

    Attributes:
        text: words, matched by meaning and by keyword.
        audio: sound, matched by similarity; longer than the embedder's window it is cut in up to
            eight windows.
        vectors: ready query vectors ``[D]``, matched like ``audio``.
        like: ids of stems to resemble; they are not returned themselves.
        artist: only this artist's stems.
        wanted_bpm, wanted_key: what references will be brought to; the less it takes, the better.
        weights: how much these count.
        bpm: lowest and highest tempo; with ``octaves`` also half and double that.
        key: only this key; with ``fifths`` also its neighbours on the circle of fifths.
        libraries: only of these, by id. licenses: only under one of these, by key
            (``library/license``).
        kind, sample_types (any of them), tags (any of them), min_duration_s (of the stem), stems,
            exclude: filters.
        uses: a license must grant at least one of these.
        style: a license must grant ``style`` as well, to an artist whom ``stems.csv`` names.
        prefers_music: one-shots stand behind what is as good otherwise: a single sound makes no
            music by itself.
        k: at most so many references, 0…1000.
        variety: 0 takes the best ones, 1 the most different ones.
    """

    text: str = ""
    audio: Audio | None = None
    vectors: tuple[NDArray[np.float32], ...] = ()
    like: tuple[str, ...] = ()
    artist: str | None = None
    wanted_bpm: float | None = None
    wanted_key: Key | None = None
    weights: Weights = Weights()
    bpm: tuple[float, float] | None = None
    octaves: bool = True
    key: Key | None = None
    fifths: bool = False
    libraries: tuple[str, ...] = ()
    licenses: tuple[str, ...] = ()
    kind: StemKind | None = None
    sample_types: tuple[SampleType, ...] = ()
    tags: tuple[str, ...] = ()
    min_duration_s: float | None = None
    stems: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    uses: frozenset[Use] = frozenset({Use.PROMPT, Use.INIT_AUDIO})
    style: bool = False
    prefers_music: bool = False
    k: int = 10
    variety: float = limits.VARIETY

    def __post_init__(self) -> None:
        coercion.settle(self, _FIELDS, _UNSET)
        for name, limit in limits.SEARCH.items():
            value = getattr(self, name)
            for one in value if name == "bpm" and value is not None else (value,):
                limit.check("limit (k)" if name == "k" else name, one)
        if not self.uses:
            raise InvalidInput("uses is empty: say what the references are for")
        if self.bpm is not None and self.bpm[0] > self.bpm[1]:
            raise InvalidInput(
                f"bpm must be a range, the lowest tempo first, got {list(self.bpm)}",
                hint="such as --bpm 88-96",
            )
        if not self._asks_for_something():
            raise InvalidInput(
                "nothing to search for", hint="give a text, a sound, a stem, an artist or a filter"
            )

    def _asks_for_something(self) -> bool:
        given = (
            *(self.text.strip(), self.vectors, self.like, self.artist, self.tags, self.stems),
            *(self.libraries, self.licenses, self.sample_types),
        )
        rest = (self.audio, self.bpm, self.key, self.kind, self.min_duration_s)
        return any(given) or any(part is not None for part in rest)


def _tempos(name: str, value: object) -> tuple[float, float]:
    low, high = coercion.pair(name, value, "a lowest and a highest tempo")
    return coercion.number(name, low), coercion.number(name, high)


def _sound(name: str, value: object) -> Audio:
    if not isinstance(value, Audio):
        raise coercion.refused(name, value, "an Audio")
    return value


def _weights(name: str, value: object) -> Weights:
    if not isinstance(value, Weights):
        raise coercion.refused(name, value, "Weights")
    return value


def _query_vectors(name: str, value: object) -> tuple[NDArray[np.float32], ...]:
    """From a list of vectors, or rows ``[N, D]``."""
    wanted = "vectors [D] of finite numbers"
    if not isinstance(value, list | tuple | np.ndarray):
        raise coercion.refused(name, value, wanted)
    found = []
    for row in value:
        try:
            vector = np.asarray(row, dtype=np.float32)
        except (TypeError, ValueError, OverflowError) as error:
            raise coercion.refused(name, row, wanted) from error
        if vector.ndim != 1 or not np.isfinite(vector).all():
            raise coercion.refused(name, row, wanted)
        found.append(vector)
    return tuple(found)


_FIELDS: dict[str, Callable[[str, object], object]] = {
    **dict.fromkeys(("text", "artist"), coercion.text),
    **dict.fromkeys(("like", "libraries", "licenses", "tags", "stems", "exclude"), coercion.texts),
    **dict.fromkeys(("wanted_bpm", "min_duration_s", "variety"), coercion.number),
    **dict.fromkeys(("octaves", "fifths", "style", "prefers_music"), coercion.flag),
    **dict.fromkeys(("wanted_key", "key"), key_of),
    "audio": _sound,
    "vectors": _query_vectors,
    "weights": _weights,
    "bpm": _tempos,
    "kind": lambda name, value: coercion.one_of(name, value, StemKind),
    "sample_types": lambda name, value: tuple(sorted(coercion.some_of(name, value, SampleType))),
    "uses": lambda name, value: coercion.some_of(name, value, Use),
    "k": coercion.whole,
}
_UNSET = frozenset(
    ["audio", "artist", "wanted_bpm", "wanted_key", "bpm", "key", "kind", "min_duration_s"]
)


RRF_K = 60
"""The constant of reciprocal rank fusion, as in the paper."""

QUERY_WINDOWS = 8
"""At most so many windows of a query's sound, or of a stem it resembles, are used."""

_CATALOGUE_SAMPLE = 4096
"""So many segments give the centroid by which a query of filters alone is ordered."""

_POOL_LEAST, _POOL_FACTOR, _POOL_BEYOND = 50, 5, 256
"""Candidates beside those that are asked for, among which variety is sought: see :func:`_pool`."""


_BEYOND = 10
"""Hits that are asked for first, beside as many as stems are wanted."""

_WINDOWS = 8
"""Windows of a stem that are kept of each ranking, best first."""

_LEAST_MEANING = 0.01
"""Of its weight, nearness of meaning keeps this where captions hold all of the words: it decides
between equals."""

_ONE_SHOT = 0.7
"""Share of its score that a one-shot keeps where music is preferred; see
``benchmarks/bench_fit.py``."""


def find_references(
    query: ReferenceQuery, *, rights: Rights, embedder: Embedder, index: SearchableIndex
) -> tuple[Reference, ...]:
    """The best licensed references, best first, one segment per stem.

    A reference's score is its fused reciprocal rank over the best possible one: 1 means first in
    every ranking the query gave, and a stem that only a light ranking knows stays near 0.
    Of a recording that is there in several files (:mod:`.twins`) the best is given. The same query
    on the same index gives the same answer. A stem to resemble that may not be used
    itself has nothing to give: the answer is empty.

    Raises:
        InvalidInput: a stem to resemble is not in the index, or a query vector does not fit.
        BackendError: the index failed.
    """
    usable = rights.keys_granting(*query.uses)
    if query.style:
        usable &= rights.keys_granting(Use.STYLE)
    if query.licenses:
        usable &= frozenset(query.licenses)
    if query.k == 0 or not usable:
        return ()
    liked = {stem: _vectors_of(index, stem, rights, query.uses) for stem in query.like}
    if not all(liked.values()):
        return ()
    where = _filter(query, usable)

    def allowed(hits: Iterable[Hit]) -> frozenset[str]:
        usable = [hit for hit in hits if _may_be_used(hit.segment.stem, rights, query, where)]
        gone = rights.revoked_among({hit.segment.stem.id for hit in usable})
        return frozenset(hit.id for hit in usable if hit.segment.stem.id not in gone)

    parts = _parts(query, liked, embedder, index, where)
    rankings = _rankings(parts, index, where, allowed, _pool(query.k))
    named = [ranking for part, ranking in zip(parts, rankings, strict=True) if part.terms]
    by_words = [stem for ranking in named for stem in ranking.found()]
    captions = Captions(index)
    captions.ask(hits[0] for ranking in named for hits in ranking.stems.values())
    words = SoughtWords.of(query.text, by_words, index.count(exact=False), captions)
    # What captions say in so many words, nearness of meaning can only blur.
    said = max((words.share(stem) for stem in by_words[: query.k]), default=0.0)
    rankings = [
        replace(ranking, weight=ranking.weight * max(_LEAST_MEANING, 1 - said))
        if part.is_meaning
        else ranking
        for part, ranking in zip(parts, rankings, strict=True)
    ]
    if query.weights.effort > 0 and (query.wanted_bpm, query.wanted_key) != (None, None):
        rankings.append(_by_effort(rankings, query))
    return _choose(_fuse(rankings, query), rankings, query, words, index)


@dataclass(frozen=True, eq=False)
class _QueryPart:
    """One part of the query: sound-like (``vectors``) or keywords (``terms``).

    ``is_meaning``: the vectors are of the query's words.
    """

    weight: float
    vectors: tuple[NDArray[np.float32], ...] = ()
    terms: str = ""
    is_meaning: bool = False

    def queries(self) -> Sequence[NDArray[np.float32] | SparseVector]:
        """What the index is asked for this part."""
        return (encode_query(self.terms),) if self.terms else self.vectors


@dataclass(frozen=True, eq=False)
class _Ranking:
    """One part's answer: hits of each stem, the stems in order of their best hit."""

    weight: float
    vectors: tuple[NDArray[np.float32], ...]
    stems: dict[str, list[Hit]]

    def found(self) -> list[Stem]:
        """The stems, best first."""
        return [hits[0].segment.stem for hits in self.stems.values()]

    def ranks(self) -> dict[str, int]:
        """Rank of each stem from 1; equal scores share one, so that ids decide nothing here."""
        ranks: dict[str, int] = {}
        rank, last = 0, math.inf
        for position, (stem, hits) in enumerate(self.stems.items(), start=1):
            if hits[0].score < last - 1e-6:
                rank, last = position, hits[0].score
            ranks[stem] = rank
        return ranks


@dataclass(eq=False)
class _Candidate:
    """A stem with its fused score and the segments of it that were found."""

    score: float = 0.0
    hits: dict[str, Hit] = field(default_factory=dict)

    @property
    def sample_type(self) -> SampleType | None:
        return next(iter(self.hits.values())).segment.stem.sample_type


def _parts(
    query: ReferenceQuery,
    liked: dict[str, tuple[NDArray[np.float32], ...]],
    embedder: Embedder,
    index: SearchableIndex,
    where: SegmentFilter,
) -> list[_QueryPart]:
    parts: list[_QueryPart] = []
    if query.text.strip():
        meaning = tuple(embedder.embed_text([in_english(query.text)]))
        parts.append(_QueryPart(embedder.text_weight, meaning, is_meaning=True))
        parts.append(_QueryPart(1.0, terms=query.text))
    if query.audio is not None:
        windows = spread_windows(query.audio, embedder.window_s, QUERY_WINDOWS)
        parts.append(_QueryPart(1.0, tuple(embedder.embed_audio(windows))))
    if query.vectors:
        parts.append(_QueryPart(query.weights.vectors, query.vectors))
    parts += [_QueryPart(1.0, vectors) for vectors in liked.values()]
    if not parts:
        centroid = _centroid(index, where, embedder.dimension)
        parts = [_QueryPart(1.0, (centroid,))] if centroid is not None else []
    return parts


def _vectors_of(
    index: SearchableIndex, stem: str, rights: Rights, uses: Iterable[Use]
) -> tuple[NDArray[np.float32], ...]:
    """Of the windows of a stem to resemble; none when no library licenses it."""
    points = index.find_stem(stem)
    if not points:
        raise InvalidInput(f"stem {stem!r} is not in the index", hint="see rag-audio library")
    # Points of other libraries may have no say here; a copy that has one answers for its bytes.
    copies = {point.segment.stem for point in points}
    if all(rights.refusal(copy, use) is not None for copy in copies for use in uses):
        return ()
    step = math.ceil(len(points) / QUERY_WINDOWS)
    return tuple(point.dense for point in points[::step])


def _centroid(
    index: SearchableIndex, where: SegmentFilter, dimension: int
) -> NDArray[np.float32] | None:
    """The mean direction of what the filter lets through: order of a catalogue without a query."""
    anything = np.full(dimension, dimension**-0.5, dtype=np.float32)
    hits = index.search_dense(anything, where, min(index.count(exact=False), _CATALOGUE_SAMPLE))
    if not hits:
        return None
    ordered = sorted(hits, key=lambda hit: hit.id)
    vectors = index.vectors([hit.id for hit in ordered])
    mean = np.mean(list(vectors.values()), axis=0, dtype=np.float64)
    norm = float(np.linalg.norm(mean))
    return anything if norm < 1e-9 else np.asarray(mean / norm, dtype=np.float32)


def _filter(query: ReferenceQuery, usable: frozenset[str]) -> SegmentFilter:
    """What an index can tell of points; revocations and conflicts are asked about of what is found:
    there may be more of them than a filter should name."""
    keys: tuple[Key, ...] = ()
    if query.key is not None:
        keys = query.key.neighbours() if query.fifths else (query.key,)
    ranges: tuple[tuple[float, float], ...] = ()
    if query.bpm is not None:
        low, high = query.bpm
        factors = (1.0, 0.5, 2.0) if query.octaves else (1.0,)
        ranges = tuple((low * factor, high * factor) for factor in factors)
    return SegmentFilter(
        license_keys=usable,
        artists=(query.artist,) if query.artist else (),
        bpm_ranges=ranges,
        keys=keys,
        libraries=query.libraries,
        kind=query.kind,
        sample_types=query.sample_types,
        tags=query.tags,
        min_duration_s=query.min_duration_s,
        stems=query.stems,
        exclude=tuple(sorted({*query.exclude, *query.like})),
    )


def _may_be_used(stem: Stem, rights: Rights, query: ReferenceQuery, where: SegmentFilter) -> bool:
    """The filter once more, on what came back: an index is not a place to trust with rights."""
    if not rights.holds_for(stem):
        return False  # another copy of the same bytes is the one that is licensed
    if query.style and rights.why_no_style(stem) is not None:
        return False
    return stem.id not in where.exclude and any(
        rights.refusal(stem, use) is None for use in query.uses
    )


def _rankings(
    parts: Sequence[_QueryPart],
    index: SearchableIndex,
    where: SegmentFilter,
    allowed: Callable[[Iterable[Hit]], frozenset[str]],
    want: int,
) -> list[_Ranking]:
    """Search ever deeper until ``want`` allowed stems are found for each part, in one call for
    all: one long stem may fill many hits, and a right may be missing for many."""
    stems: list[dict[str, list[Hit]]] = [{} for _ in parts]
    left, limit = list(range(len(parts))), want + _BEYOND
    while left:
        queries = [parts[n].queries() for n in left]
        answers = iter(index.search_many([one for some in queries for one in some], where, limit))
        found = [_best([hit for _ in some for hit in next(answers)], limit) for some in queries]
        fine = allowed(hit for hits in found for hit in hits)
        for n, hits in zip(left, found, strict=True):
            stems[n] = _by_stem(hit for hit in hits if hit.id in fine)
        left = [
            n
            for n, hits in zip(left, found, strict=True)
            if len(hits) == limit and len(stems[n]) < want
        ]
        limit = _deeper(limit, want, min((len(stems[n]) for n in left), default=want))
    return [
        _Ranking(part.weight, part.vectors, found) for part, found in zip(parts, stems, strict=True)
    ]


def _best(hits: Iterable[Hit], limit: int) -> list[Hit]:
    """The best of hits of several vectors, each segment once."""
    best: dict[str, Hit] = {}
    for hit in hits:
        if hit.id not in best or hit.score > best[hit.id].score:
            best[hit.id] = hit
    return sorted(best.values(), key=lambda hit: (-hit.score, hit.id))[:limit]


def _by_stem(hits: Iterable[Hit]) -> dict[str, list[Hit]]:
    stems: dict[str, list[Hit]] = {}
    for hit in hits:
        of_stem = stems.setdefault(hit.segment.stem.id, [])
        if len(of_stem) < _WINDOWS:
            of_stem.append(hit)
    return stems


def _deeper(limit: int, want: int, found: int) -> int:
    """How many hits likely hold ``want`` stems where ``limit`` held ``found``: twice to four times
    as many."""
    likely = math.ceil(1.2 * limit * want / max(1, found))
    return min(4 * limit, max(2 * limit, likely))


def _by_effort(rankings: Sequence[_Ranking], query: ReferenceQuery) -> _Ranking:
    """What the others found, in the order of how little must be done to it."""
    found: dict[str, dict[str, Hit]] = {}
    for ranking in rankings:
        for stem, hits in ranking.stems.items():
            found.setdefault(stem, {}).update((hit.id, hit) for hit in hits)
    efforts = {
        stem: effort_of(next(iter(hits.values())).segment.stem, query.wanted_bpm, query.wanted_key)
        for stem, hits in found.items()
    }
    # A stem whose tempo nobody knows is neither the nearest nor the farthest.
    usual = np.median([one for one in efforts.values() if one is not None] or [0.0])
    stems = {
        stem: [replace(hit, score=-float(usual if effort is None else effort)) for hit in hits]
        for stem, effort in efforts.items()
        for hits in [list(found[stem].values())]
    }
    ordered = sorted(stems.items(), key=lambda item: (-item[1][0].score, item[0]))
    return _Ranking(query.weights.effort, (), dict(ordered))


def _fuse(rankings: Sequence[_Ranking], query: ReferenceQuery) -> dict[str, _Candidate]:
    best_possible = sum(ranking.weight / (RRF_K + 1) for ranking in rankings)
    candidates: dict[str, _Candidate] = {}
    for ranking in rankings:
        ranks = ranking.ranks()
        for stem, hits in ranking.stems.items():
            candidate = candidates.setdefault(stem, _Candidate())
            candidate.score += ranking.weight / (RRF_K + ranks[stem]) / best_possible
            candidate.hits.update((hit.id, hit) for hit in hits)
    for candidate in candidates.values():
        candidate.score = min(1.0, candidate.score)
        if query.prefers_music and candidate.sample_type is SampleType.ONE_SHOT:
            candidate.score *= _ONE_SHOT
    return candidates


def _pool(k: int) -> int:
    """How many of the best stems ``k`` are chosen from: variety looks a fixed way further down."""
    return max(_POOL_LEAST, min(_POOL_FACTOR * k, k + _POOL_BEYOND))


@dataclass(frozen=True, eq=False)
class _Pooled:
    """A recording that may be chosen: its score, and the window that is nearest to the query."""

    score: float
    hit: Hit
    vector: NDArray[np.float32]


def _pooled(
    candidates: Iterable[_Candidate],
    rankings: Sequence[_Ranking],
    size: int,
    index: SearchableIndex,
) -> list[_Pooled]:
    """The first ``size`` recordings, in the order given; vectors are read for no others."""
    recordings, pool, left = Recordings(), list[_Pooled](), iter(candidates)
    while len(pool) < size and (some := list(islice(left, size))):
        vectors = index.vectors([point for one in some for point in one.hits])
        for one in some:
            hits = [hit for hit in one.hits.values() if hit.id in vectors]
            heard = [(hit.segment.start_s, vectors[hit.id]) for hit in hits]
            if not hits or not recordings.add(hits[0].segment.stem, heard):
                continue
            best = min(hits, key=lambda hit: _nearest_first(hit, vectors[hit.id], rankings))
            pool.append(_Pooled(one.score, best, vectors[best.id]))
    return pool[:size]


def _nearest_first(
    hit: Hit, vector: NDArray[np.float32], rankings: Sequence[_Ranking]
) -> tuple[float, float, str]:
    """Orders windows of a stem: by nearness to what was asked with vectors, start and id."""
    nearness = sum(
        ranking.weight * max(float(asked @ vector) for asked in ranking.vectors)
        for ranking in rankings
        if ranking.vectors
    )
    return -nearness, hit.segment.start_s, hit.id


def _choose(
    candidates: dict[str, _Candidate],
    rankings: Sequence[_Ranking],
    query: ReferenceQuery,
    words: SoughtWords,
    index: SearchableIndex,
) -> tuple[Reference, ...]:
    """Pick k recordings by maximal marginal relevance; return them best score first."""
    ordered = sorted(candidates.items(), key=lambda item: (-item[1].score, item[0]))
    pool = _pooled((one for _, one in ordered), rankings, _pool(query.k), index)
    chosen: list[_Pooled] = []
    nearest = np.zeros(len(pool))
    left = list(range(len(pool)))
    while left and len(chosen) < query.k:
        picked = max(
            left,
            key=lambda n: ((1 - query.variety) * pool[n].score - query.variety * nearest[n], -n),
        )
        left.remove(picked)
        chosen.append(pool[picked])
        for n in left:
            nearest[n] = max(nearest[n], float(pool[n].vector @ pool[picked].vector))
    chosen.sort(key=lambda one: (-one.score, one.hit.segment.stem.id))
    if words.terms:
        words.captions.ask(one.hit for one in chosen)
    return tuple(
        Reference(
            one.hit.segment,
            one.score,
            n,
            words.fit(one.hit.segment.stem) if words.terms else None,
        )
        for n, one in enumerate(chosen, start=1)
    )
