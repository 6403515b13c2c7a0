"""What landmarks that were found say about how a sound was changed: tempo, pitch and place."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from rag_audio.recognition.store import LandmarkStore, Numbers, Postings, Reals
from rag_audio.recognition.triples import MAX_SEMITONES, MAX_TEMPO_CHANGE, Triples, probes_of

_TEMPO_CELL, _SEMITONES_CELL, _OFFSET_CELL_S = 0.05, 0.5, 0.4
_FEWEST = 3
_TEMPOS, _SHIFTS = 32, 32
_PAST = 1.1
"""Votes may lie past the limits by what the measurement of peaks is off."""


@dataclass(frozen=True)
class Hypothesis:
    """A stem may lie in a sound like this: stem time = ``tempo`` · sound time + ``offset_s``.

    Attributes:
        votes: landmarks of the sound that say so.
        tempo: of the sound against the stem.
        semitones: by how many the sound is higher.
    """

    stem_id: str
    votes: int
    tempo: float
    semitones: float
    offset_s: float


def ask(store: LandmarkStore, triples: Triples, exclude: frozenset[str]) -> Postings:
    """What the store knows of some triples; the postings' probes are indices of triples here."""
    hashes, owners = probes_of(triples)
    different, where = np.unique(hashes, return_inverse=True)
    found = store.sharing(different, exclude)
    # A hash that several triples ask for stands for each of them.
    order = np.argsort(where, kind="stable")
    low = np.searchsorted(where[order], found.probes, side="left")
    counts = np.searchsorted(where[order], found.probes, side="right") - low
    rows = np.repeat(np.arange(found.probes.size), counts)
    starts = np.cumsum(counts) - counts
    probes = owners[order][low[rows] + np.arange(rows.size) - starts[rows]]
    return Postings(
        probes,
        found.stems[rows],
        found.times_ms[rows],
        found.spans_ms[rows],
        found.pitches[rows],
        found.stem_ids,
    )


def hypotheses(triples: Triples, found: Postings, middle: float, most: int) -> list[Hypothesis]:
    """What most votes agree on, most first: at most ``most`` ways in which stems may lie here.

    Args:
        found: what :func:`ask` returned, or a part of it, from some ten seconds of the sound.
        middle: of that part, in seconds: a tempo that is known to some per cent moves places there
            least.
    """
    votes = _votes(triples, found)
    groups: list[tuple[int, Numbers]] = []
    for half, shifted in product((0.0, 0.5), repeat=2):
        keys = _keys(votes, middle, half, shifted)
        order = np.lexsort((votes.probes, keys))
        keys, probes = keys[order], votes.probes[order]
        starts = np.flatnonzero(np.diff(keys, prepend=-1))
        new = np.ones(keys.size, np.int64)
        new[1:] = (keys[1:] != keys[:-1]) | (probes[1:] != probes[:-1])
        counts = np.add.reduceat(new, starts) if starts.size else starts
        ends = np.append(starts[1:], keys.size)
        for best in np.argsort(-counts, kind="stable")[:most]:
            if counts[best] >= _FEWEST:
                groups.append((int(counts[best]), order[starts[best] : ends[best]]))
    groups.sort(key=lambda group: -group[0])
    different: dict[tuple[int, int, int, int], Hypothesis] = {}
    for count, rows in groups:
        # Cells overlap: what two of them say alike is said once.
        tempo, shift = _middle(votes.tempos[rows]), _middle(votes.shifts[rows])
        place = _middle(votes.kept_s[rows] - (votes.heard_s[rows] - middle) * np.exp(tempo))
        stem = int(votes.stems[rows[0]])
        about = (stem, round(tempo / 0.02), round(shift / 0.3), round(place / 0.15))
        if about not in different:
            ratio = float(np.exp(tempo))
            different[about] = Hypothesis(
                found.stem_ids[stem], count, ratio, shift, place - middle * ratio
            )
            if len(different) == most:
                break
    return list(different.values())


@dataclass(frozen=True, eq=False)
class _Votes:
    """``[V]``: which triple found which stem, and what that says about tempo (a logarithm), pitch
    and place."""

    probes: Numbers
    stems: Numbers
    tempos: Reals
    shifts: Reals
    heard_s: Reals
    kept_s: Reals


def _votes(triples: Triples, found: Postings) -> _Votes:
    tempos = np.log(np.maximum(found.spans_ms, 1) / 1000 / triples.spans_s[found.probes])
    shifts = triples.semitones[found.probes] - found.pitches / 100
    fits = np.abs(tempos) <= _PAST * MAX_TEMPO_CHANGE
    fits &= np.abs(shifts) <= _PAST * MAX_SEMITONES
    probes = found.probes[fits]
    return _Votes(
        probes,
        found.stems[fits],
        tempos[fits],
        shifts[fits],
        triples.times_s[probes],
        found.times_ms[fits] / 1000,
    )


def _keys(votes: _Votes, middle: float, half: float, shifted: float) -> Numbers:
    """One number for each cell of stem, tempo, pitch and place; cells are shifted by parts."""
    tempos = np.floor(votes.tempos / _TEMPO_CELL + half)
    ratios = np.exp((tempos + 0.5 - half) * _TEMPO_CELL)
    shifts = np.floor(votes.shifts / _SEMITONES_CELL + half).astype(np.int64)
    places = (votes.kept_s - (votes.heard_s - middle) * ratios) / _OFFSET_CELL_S
    cells = (tempos.astype(np.int64) + _TEMPOS // 2) * _SHIFTS + shifts + _SHIFTS // 2
    at = np.floor(places + shifted).astype(np.int64) + (1 << 20)
    return np.asarray((votes.stems * (_TEMPOS * _SHIFTS) + cells) * (1 << 21) + at)


def _middle(values: Reals) -> float:
    return float(np.partition(values, values.size // 2)[values.size // 2])
