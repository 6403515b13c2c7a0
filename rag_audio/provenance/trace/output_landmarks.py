"""Landmarks of outputs that no change of tempo or pitch moves, for the index they are found by.

They are triples of peaks, as those of stems (:mod:`rag_audio.retrieval.landmarks`), and follow from
the fingerprint that is kept: an index can be made again at any time, and checked. What is kept says
where peaks are to a millisecond and a quarter of a semitone, so cells of leaps are wider.

A sound is asked about as it is, and then at all speeds, forwards and backwards, in one question. Of
what it may ask for, it first asks for what tells most: hashes that few outputs have, and cells into
which no change need have moved a landmark. So much is read as a question may, and no more, however
many outputs there are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rag_audio.domain.landmarks import Postings
from rag_audio.provenance.trace.alignment import peaks_of
from rag_audio.provenance.trace.fingerprint import Fingerprint, Numbers, PeakSet, Reals, backwards
from rag_audio.retrieval.landmarks import (
    MIN_RATIO,
    Peaks,
    TripleGrid,
    Triples,
    triples_near,
)
from rag_audio.retrieval.matching import for_each_triple, hypotheses

GRID = TripleGrid(
    leap=0.7, pitch=6.0, shortest_s=0.3, longest_s=1.4, semitones=52, leap_border=0.4,
    tempo_change=0.13, shift=3.6, off_semitones=0.25,
)  # fmt: skip
"""Of outputs; tempo and pitch may be changed by as much as :mod:`.content_matching` tries."""
PLAIN = replace(GRID, tempo_change=0.02, shift=0.3)
"""The same hashes, where a sound is asked about as it is."""
_KEPT_EACH, _ASKED_EACH = 6, 12
"""Triples that begin with one peak."""
_MOST_GUESSES = 120


@dataclass(frozen=True)
class OutputCandidate:
    """An output that a sound may be.

    Attributes:
        votes: landmarks of the sound that agree on how it was changed.
        tempo: of the sound against the output.
        semitones: by about how many the sound is higher.
    """

    output: int
    votes: int
    tempo: float = 1.0
    semitones: float = 0.0


@dataclass(frozen=True, eq=False)
class Question:
    """What is asked about a sound: hashes, and how far from its own cell each is.

    Attributes:
        hashes: ``[H]`` different ones, ascending.
        steps: ``[H]``, 0…5: of the landmark that is nearest to it.
        plain: it is asked about as it is, which needs fewer answers.
    """

    hashes: Numbers
    steps: Numbers
    plain: bool = False


Sharing = Callable[[Question], Postings]
"""Landmarks of outputs that have a hash of the question; ``stem_ids`` are numbers of outputs."""


def index_rows(kept: Fingerprint) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    """Hash, time in ms, span in ms and pitch in cents of the landmarks of an output: ``[N]``."""
    triples = _triples(peaks_of(kept), _KEPT_EACH, 0.0)
    columns = (triples.times_s * 1000, triples.spans_s * 1000, triples.semitones * 100)
    times, spans, cents = (np.rint(column).astype(np.int64) for column in columns)
    return GRID.hashes_of(triples), times, spans, cents


def plain_candidates(sharing: Sharing, piece: PeakSet) -> list[OutputCandidate]:
    """The outputs that a piece of sound may be as it is, most likely first, each once."""
    return _candidates(sharing, [piece], PLAIN)


def changed_candidates(sharing: Sharing, piece: PeakSet) -> list[OutputCandidate]:
    """The outputs that a piece of sound may be however it was changed, most likely first."""
    return _candidates(sharing, [piece, backwards(piece)], GRID)


def _candidates(
    sharing: Sharing, ways: Sequence[PeakSet], grid: TripleGrid
) -> list[OutputCandidate]:
    asked = [_triples(one, _ASKED_EACH, grid.tempo_change) for one in ways]
    probes = [grid.probes_of(triples) for triples in asked]
    hashes = np.concatenate([some for some, _, _ in probes])
    if not hashes.size:
        return []
    different, where = np.unique(hashes, return_inverse=True)
    steps = np.full(different.size, 5)
    np.minimum.at(steps, where, np.concatenate([moved for _, _, moved in probes]))
    found = sharing(Question(different, steps, grid is PLAIN))
    best: dict[int, OutputCandidate] = {}
    at = 0
    for triples, (some, owners, _) in zip(asked, probes, strict=True):
        mine = for_each_triple(found, where[at : at + some.size], owners)
        at += some.size
        middle = triples.peaks.duration_s / 2
        for guess in hypotheses(triples, mine, middle, _MOST_GUESSES, grid):
            output = int(guess.stem_id)
            if output not in best or best[output].votes < guess.votes:
                change = (guess.tempo, guess.semitones)
                best[output] = OutputCandidate(output, guess.votes, *change)
    return sorted(best.values(), key=lambda one: (-one.votes, one.output))


def _triples(peaks: PeakSet, each: int, stretch: float) -> Triples:
    """For every peak the triples that begin with it, those that are over soonest.

    Args:
        stretch: natural logarithm by which the span may lie outside of what is stored.
    """
    times = peaks.times_s
    shortest, longest = GRID.shortest_s * np.exp(-stretch), GRID.longest_s * np.exp(stretch)
    low = np.searchsorted(times, times + shortest * MIN_RATIO)
    high = np.searchsorted(times, times + longest, side="right")
    every = Peaks(times, peaks.semitones, np.zeros(times.size, np.int64), peaks.duration_s)
    found = triples_near(every, np.arange(times.size), low, high, shortest)
    return Triples(every, *_soonest(times, found, each))


def _soonest(times: Reals, triples: Numbers, each: int) -> Numbers:
    """``[3, N]``: of triples in order of their first peak those that end soonest, ``each`` at most;
    of those that end with the same peak the ones whose second comes first."""
    first, second, third = triples
    order = np.lexsort((times[second] - times[first], times[third] - times[first], first))
    counts = np.bincount(first, minlength=1)
    places = np.arange(first.size) - np.repeat(np.cumsum(counts) - counts, counts)
    return triples[:, order[places < each]]
