"""What landmarks that were found say about how a sound was changed: tempo, pitch and place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rag_audio.recognition.peaks import Numbers, Reals
from rag_audio.recognition.store import LandmarkStore, Postings
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


def hypotheses(triples: Triples, found: Postings, most: int) -> list[Hypothesis]:
    """What most votes agree on, most first: at most ``most`` ways in which stems may lie here."""
    tempos = np.log(found.spans_ms / 1000 / triples.spans_s[found.probes])
    shifts = triples.semitones[found.probes] - found.pitches / 100
    fits = (np.abs(tempos) <= _PAST * MAX_TEMPO_CHANGE) & (np.abs(shifts) <= _PAST * MAX_SEMITONES)
    if not fits.any():
        return []
    probes, stems = found.probes[fits], found.stems[fits]
    tempos, shifts = tempos[fits], shifts[fits]
    heard, kept = triples.times_s[probes], found.times_ms[fits] / 1000
    # Tempo is known to some per cent only: places are compared where that matters least.
    middle = float((triples.times_s.min() + triples.times_s.max()) / 2)
    every: list[tuple[int, Hypothesis]] = []
    for half in (0.0, 0.5):
        cells = np.floor(tempos / _TEMPO_CELL + half)
        tempo = np.exp((cells + 0.5 - half) * _TEMPO_CELL)
        across = np.floor(shifts / _SEMITONES_CELL + half)
        places = kept - (heard - middle) * tempo
        for shifted in (0.0, 0.5):
            at = np.floor(places / _OFFSET_CELL_S + shifted)
            keys = _keys(stems, cells, across, at)
            groups, counts = _different(keys, probes)
            best = np.argsort(-counts, kind="stable")[:most]
            for group, count in zip(groups[best], counts[best], strict=True):
                if count >= _FEWEST:
                    members = keys == group
                    ratio = float(np.exp(np.median(tempos[members])))
                    place = float(np.median(kept[members] - (heard[members] - middle) * ratio))
                    every.append(
                        (
                            int(count),
                            Hypothesis(
                                found.stem_ids[int(stems[members][0])],
                                int(count),
                                ratio,
                                float(np.median(shifts[members])),
                                place - middle * ratio,
                            ),
                        )
                    )
    every.sort(key=lambda one: -one[0])
    return [one for _, one in every[:most]]


def _keys(stems: Numbers, tempos: Reals, shifts: Reals, places: Reals) -> Numbers:
    at = places.astype(np.int64) + (1 << 20)
    cells = (tempos.astype(np.int64) + _TEMPOS // 2) * _SHIFTS
    cells += shifts.astype(np.int64) + _SHIFTS // 2
    return np.asarray((stems * (_TEMPOS * _SHIFTS) + cells) * (1 << 21) + at)


def _different(keys: Numbers, probes: Numbers) -> tuple[Numbers, Numbers]:
    """Each key, and how many different probes have it."""
    order = np.lexsort((probes, keys))
    keys, probes = keys[order], probes[order]
    new = np.ones(keys.size, bool)
    new[1:] = (keys[1:] != keys[:-1]) | (probes[1:] != probes[:-1])
    return np.unique(keys[new], return_counts=True)
