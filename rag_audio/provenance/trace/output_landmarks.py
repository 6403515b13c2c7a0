"""Landmarks of outputs that no change of tempo or pitch moves, for the index they are found by.

They are triples of peaks, as those of stems (:mod:`rag_audio.retrieval.landmarks`), and follow from
the fingerprint that is kept: an index can be made again at any time, and checked. What is kept says
where peaks are to a millisecond and a quarter of a semitone, so cells of leaps are wider.

A sound is asked about at all speeds, forwards and backwards, in one question. Of what it may ask
for, it first asks for what tells most: hashes that few outputs have, and cells into which no change
need have moved a landmark. So much is read as a question may, and no more, however many outputs
there are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rag_audio.domain.landmarks import Postings
from rag_audio.provenance.trace.alignment import peaks_of
from rag_audio.provenance.trace.fingerprint import Fingerprint, Numbers, PeakSet, Reals, backwards
from rag_audio.retrieval.landmarks import (
    MAX_LEAP,
    MAX_RATIO,
    MIN_RATIO,
    Peaks,
    TripleGrid,
    Triples,
)
from rag_audio.retrieval.matching import for_each_triple, hypotheses

GRID = TripleGrid(
    leap=0.7, pitch=6.0, shortest_s=0.3, longest_s=1.4, semitones=52, leap_border=0.4,
    tempo_change=0.13, shift=3.6, off_semitones=0.25,
)  # fmt: skip
"""Of outputs; tempo and pitch may be changed by as much as :mod:`.content_matching` tries."""
_KEPT_EACH, _ASKED_EACH = 6, 12
"""Triples that begin with one peak."""
_STRETCH = 0.12
_MOST_GUESSES = 120
_PLAIN_TEMPO, _PLAIN_SEMITONES = 0.04, 0.8


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

    @property
    def is_plain(self) -> bool:
        """Whether it may have the output's own tempo and pitch, and runs forwards."""
        return abs(self.tempo - 1.0) <= _PLAIN_TEMPO and abs(self.semitones) <= _PLAIN_SEMITONES


@dataclass(frozen=True, eq=False)
class Question:
    """What is asked about a sound: hashes, and how far from its own cell each is.

    Attributes:
        hashes: ``[H]`` different ones, ascending.
        steps: ``[H]``, 0…5: of the landmark that is nearest to it.
    """

    hashes: Numbers
    steps: Numbers


Sharing = Callable[[Question], Postings]
"""Landmarks of outputs that have a hash of the question; ``stem_ids`` are numbers of outputs."""


def index_rows(kept: Fingerprint) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    """Hash, time in ms, span in ms and pitch in cents of the landmarks of an output: ``[N]``."""
    triples = _triples(peaks_of(kept), _KEPT_EACH, 0.0)
    columns = (triples.times_s * 1000, triples.spans_s * 1000, triples.semitones * 100)
    times, spans, cents = (np.rint(column).astype(np.int64) for column in columns)
    return GRID.hashes_of(triples), times, spans, cents


def candidates(sharing: Sharing, piece: PeakSet) -> tuple[list[OutputCandidate], ...]:
    """The outputs that a piece of sound may be, most likely first, each once.

    Returns:
        Those that it may be as it is, forwards and at the output's tempo and pitch; and those that
        it may be however it was changed.
    """
    ways = [_triples(one, _ASKED_EACH, _STRETCH) for one in (piece, backwards(piece))]
    probes = [GRID.probes_of(triples) for triples in ways]
    hashes = np.concatenate([asked for asked, _, _ in probes])
    if not hashes.size:
        return [], []
    different, where = np.unique(hashes, return_inverse=True)
    steps = np.full(different.size, 5)
    np.minimum.at(steps, where, np.concatenate([moved for _, _, moved in probes]))
    found = sharing(Question(different, steps))
    plain: dict[int, OutputCandidate] = {}
    changed: dict[int, OutputCandidate] = {}
    at = 0
    for triples, (asked, owners, _) in zip(ways, probes, strict=True):
        mine = for_each_triple(found, where[at : at + asked.size], owners)
        at += asked.size
        for guess in hypotheses(triples, mine, piece.duration_s / 2, _MOST_GUESSES, GRID):
            one = OutputCandidate(int(guess.stem_id), guess.votes, guess.tempo, guess.semitones)
            _keep(changed, one)
            if triples is ways[0] and one.is_plain:
                _keep(plain, one)
    return _best_first(plain), _best_first(changed)


def _keep(best: dict[int, OutputCandidate], one: OutputCandidate) -> None:
    if one.output not in best or best[one.output].votes < one.votes:
        best[one.output] = one


def _best_first(best: dict[int, OutputCandidate]) -> list[OutputCandidate]:
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
    rows = [
        _from(times, peaks.semitones, first, np.arange(low[first], high[first]), shortest, each)
        for first in range(times.size)
    ]
    found = np.concatenate(rows, axis=1) if rows else np.zeros((3, 0), np.int64)
    ranks = np.zeros(times.size, np.int64)
    return Triples(Peaks(times, peaks.semitones, ranks, peaks.duration_s), *found)


def _from(
    times: Reals, semitones: Reals, first: int, near: Numbers, shortest: float, each: int
) -> Numbers:
    """``[3, N]``: the triples that begin with a peak."""
    near = near[np.abs(semitones[near] - semitones[first]) <= MAX_LEAP]
    after = times[near] - times[first]
    gaps, spans = after[:, None], after[None]
    fits = (spans >= shortest) & (gaps >= MIN_RATIO * spans) & (gaps <= MAX_RATIO * spans)
    second, third = np.nonzero(fits)
    # Of those that end with the same peak the ones whose second comes first.
    soonest = np.lexsort((after[second], after[third]))[:each]
    chosen = [near[second[soonest]], near[third[soonest]]]
    return np.asarray(np.stack([np.full(soonest.size, first), *chosen]), np.int64)
