"""What landmarks that were found say about how a sound was changed: tempo, pitch and place."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from rag_audio.audio.dsp import spread_starts
from rag_audio.domain import Audio
from rag_audio.domain.landmarks import LandmarkStore, Numbers, Postings, Reals
from rag_audio.retrieval.landmarks import (
    SEMITONES,
    STEMS,
    Peaks,
    TripleGrid,
    Triples,
    find_peaks,
    find_triples,
)

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
    hashes, owners, _ = STEMS.probes_of(triples)
    different, where = np.unique(hashes, return_inverse=True)
    return for_each_triple(store.sharing(different, exclude), where, owners)


def for_each_triple(found: Postings, where: Numbers, owners: Numbers) -> Postings:
    """The postings with triples in place of hashes as their probes: a hash that several triples
    ask for stands for each of them.

    Args:
        where: ``[P]``, which of the asked hashes each probe is. owners: the triple it belongs to.
    """
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


def hypotheses(
    triples: Triples, found: Postings, middle: float, most: int, grid: TripleGrid = STEMS
) -> list[Hypothesis]:
    """What most votes agree on, most first: at most ``most`` ways in which stems may lie here.

    Args:
        found: what :func:`ask` returned, or a part of it, from some ten seconds of the sound.
        middle: of that part, in seconds: a tempo that is known to some per cent moves places there
            least.
        grid: of the hashes.
    """
    votes = _votes(triples, found, grid)
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


def _votes(triples: Triples, found: Postings, grid: TripleGrid) -> _Votes:
    tempos = np.log(np.maximum(found.spans_ms, 1) / 1000 / triples.spans_s[found.probes])
    shifts = triples.semitones[found.probes] - found.pitches / 100
    fits = np.abs(tempos) <= _PAST * grid.tempo_change
    fits &= np.abs(shifts) <= _PAST * grid.shift + grid.off_semitones
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


# Whether a stem's peaks are in a sound where a hypothesis puts them, and whether by chance.

_CELL_S, _CELL_SEMITONES = 0.012, 0.2
_REACH_S, _REACH_SEMITONES = 3, 2
_AROUND_S, _AROUND_SEMITONES = 0.8, 5.0
_EXPECTED = 0.35
_LEAST, _MOST = 0.02, 0.6
_SILENCE = 0.3
_HOPELESS = 5.0
_EXACT, _SIGMA_S, _SIGMA_SEMITONES = 0.7, 0.007, 0.1


@dataclass(frozen=True)
class Alignment:
    """How a stem lies in a sound: stem time = ``tempo`` · sound time + ``offset_s``.

    Attributes:
        evidence: natural logarithm of how much likelier the peaks are with the stem there than
            without; the part of the sound where it is greatest.
        agreeing: peaks of the stem that are where they belong, in that part.
        of: peaks of the stem in that part.
        exactness: 0…1, which share of the agreeing peaks is as near as those of a copy (4 ms), of
            those that are so near or as near as those of another performance (12 ms), both less
            what is there by chance (as much as from 12 to 20 ms); but at most 0.15 above the share
            of 4 ms within 20 ms. Above 0.8 for most copies; about 0.5 for other performances of the
            same pattern with the same sounds.
        start_s, end_s: that part, in the sound.
    """

    evidence: float
    agreeing: int
    of: int
    exactness: float
    start_s: float
    end_s: float
    tempo: float
    semitones: float
    offset_s: float


class Scene:
    """A sound's peaks, laid out so that a stem's can be looked up among them."""

    def __init__(self, peaks: Peaks) -> None:
        self._peaks = peaks
        frames = int(peaks.duration_s / _CELL_S) + 2 * _REACH_S + 2
        bands = int(SEMITONES / _CELL_SEMITONES) + 2 * _REACH_SEMITONES + 2
        self._nearest = np.full((frames, bands), -1, np.int32)
        rows, columns = self._place(peaks.times_s, peaks.semitones)
        # The weaker ones first, so that the strongest of several near a place is found there.
        order = np.argsort(-peaks.ranks, kind="stable")
        reach = [
            (i, j)
            for i in range(-_REACH_S, _REACH_S + 1)
            for j in range(-_REACH_SEMITONES, _REACH_SEMITONES + 1)
        ]
        for i, j in sorted(reach, key=lambda one: -(one[0] ** 2 + one[1] ** 2)):
            self._nearest[rows[order] + i, columns[order] + j] = order
        self._chance, self._silent = _chance(self._nearest >= 0)

    def align(
        self, times_s: Reals, semitones: Reals, tempo: float, shift: float, offset_s: float
    ) -> Alignment:
        """The best alignment near a hypothesis.

        Args:
            times_s, semitones: ``[N]``, the stem's peaks in order of time.
            tempo, shift, offset_s: the hypothesis.
        """
        best = self._weigh(times_s, semitones, tempo, shift, offset_s)
        if best.evidence < _HOPELESS:
            return best
        for _ in range(3):
            better = self._refined(times_s, semitones, best)
            if better is None or better.evidence <= best.evidence + 1e-6:
                break
            best = better
        return best

    def _place(self, times_s: Reals, semitones: Reals) -> tuple[Numbers, Numbers]:
        rows = np.rint(times_s / _CELL_S).astype(np.int64) + _REACH_S
        columns = np.rint(semitones / _CELL_SEMITONES).astype(np.int64) + _REACH_SEMITONES
        return rows, columns

    def _look(
        self, times_s: Reals, semitones: Reals, tempo: float, shift: float, offset_s: float
    ) -> tuple[Numbers, Numbers, NDArray[np.float32], NDArray[np.bool_]]:
        """Which of the stem's peaks fall into the sound, the sound's peak there (or -1), how likely
        one is there by chance, and whether all around is silent."""
        places = (times_s - offset_s) / tempo
        heard = semitones + shift
        inside = np.flatnonzero(
            (places >= 0) & (places < self._peaks.duration_s) & (heard >= 0) & (heard < SEMITONES)
        )
        rows, columns = self._place(places[inside], heard[inside])
        return (
            inside,
            self._nearest[rows, columns].astype(np.int64),
            self._chance[rows, columns],
            self._silent[rows, columns],
        )

    def _weigh(
        self, times_s: Reals, semitones: Reals, tempo: float, shift: float, offset_s: float
    ) -> Alignment:
        inside, found, chance, silent = self._look(times_s, semitones, tempo, shift, offset_s)
        there = found >= 0
        late = (times_s[inside] - offset_s) / tempo - self._peaks.times_s[found]
        high = semitones[inside] + shift - self._peaks.semitones[found]
        present = _EXPECTED + (1 - _EXPECTED) * chance
        # Where the sound is silent nothing was put in the stem's place: it was cut out.
        weight = np.where(silent, _SILENCE, 1.0)
        gains = np.where(
            there,
            np.log(present / chance) + _precision(late, high),
            weight * np.log((1 - present) / (1 - chance)),
        )
        start, end, evidence = _best_run(gains)
        if end == start:
            return Alignment(0.0, 0, 0, 0.0, 0.0, 0.0, tempo, shift, offset_s)
        places = (times_s[inside[start:end]] - offset_s) / tempo
        return Alignment(
            evidence,
            int(there[start:end].sum()),
            end - start,
            _exactness(late[start:end][there[start:end]], high[start:end][there[start:end]]),
            float(places[0]),
            float(places[-1]),
            tempo,
            shift,
            offset_s,
        )

    def _refined(self, times_s: Reals, semitones: Reals, near: Alignment) -> Alignment | None:
        inside, found, *_ = self._look(
            times_s, semitones, near.tempo, near.semitones, near.offset_s
        )
        places = (times_s[inside] - near.offset_s) / near.tempo
        used = (found >= 0) & (places >= near.start_s) & (places <= near.end_s)
        if used.sum() < 4:
            return None
        heard = self._peaks.times_s[found[used]]
        kept = times_s[inside[used]]
        centre = heard.mean()
        spread = float(((heard - centre) ** 2).sum())
        tempo = near.tempo
        if spread > 1.0:
            tempo = float(((heard - centre) * (kept - kept.mean())).sum()) / spread
        tempo = float(np.clip(tempo, near.tempo * 0.97, near.tempo * 1.03))
        offset = float(np.median(kept - tempo * heard))
        shift = float(np.median(self._peaks.semitones[found[used]] - semitones[inside[used]]))
        return self._weigh(times_s, semitones, tempo, shift, offset)


def _precision(late: Reals, high: Reals) -> Reals:
    """How much likelier a copy lies so far off than a peak that is near by chance: a logarithm."""
    width, height = (2 * _REACH_S + 1) * _CELL_S, (2 * _REACH_SEMITONES + 1) * _CELL_SEMITONES
    normal = np.exp(-0.5 * ((late / _SIGMA_S) ** 2 + (high / _SIGMA_SEMITONES) ** 2))
    density = normal / (2 * np.pi * _SIGMA_S * _SIGMA_SEMITONES)
    return np.asarray(np.log(_EXACT * density * width * height + 1 - _EXACT))


def _exactness(late: Reals, high: Reals) -> float:
    """Of the agreeing peaks' errors in seconds and semitones; see :class:`Alignment`."""
    off = np.abs(late[np.abs(high) < 0.25])
    copied = np.count_nonzero(off < 0.004)
    played = np.count_nonzero((off >= 0.004) & (off < 0.012))
    by_chance = np.count_nonzero((off >= 0.012) & (off < 0.02))
    more = max(0.0, copied - by_chance / 2)
    share = copied / max(1, copied + played + by_chance)
    return float(min(more / max(1.0, more + max(0, played - by_chance)), share + 0.15))


def _chance(taken: NDArray[np.bool_]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """How likely each place is taken by chance, from what surrounds it, and where all is silent.

    Notes that sound together, and notes that stay, make it likelier: at one time or at one pitch
    there is more than around the place.
    """
    from scipy.ndimage import uniform_filter

    long, high = 2 * round(_AROUND_S / _CELL_S) + 1, 2 * round(_AROUND_SEMITONES / _CELL_SEMITONES)
    shares = taken.astype(np.float32)
    around = uniform_filter(shares, (long, high + 1), mode="constant")
    together = uniform_filter(shares, (1, high + 1), mode="constant")
    staying = uniform_filter(shares, (long, 1), mode="constant")
    chance = np.maximum(around, together * staying / np.maximum(around, 1e-3))
    return np.clip(chance, _LEAST, _MOST), together < 1e-6


def _best_run(gains: Reals) -> tuple[int, int, float]:
    """Where the sum over a run is greatest: start, end (exclusive) and sum."""
    if gains.size == 0:
        return 0, 0, 0.0
    sums = np.concatenate([[0.0], np.cumsum(gains)])
    lowest = np.minimum.accumulate(sums)
    end = int(np.argmax(sums - lowest))
    start = int(np.argmin(sums[: end + 1]))
    return start, end, float(sums[end] - sums[start])


# When an alignment is good enough to name its stem.
#
# Unrelated music seldom reaches an evidence of 40. What goes above it without being the stem is
# other performances: one drum kit that plays the same pattern at another tempo, one instrument
# that plays the same figure in another key. They agree in many peaks, but not to the millisecond,
# and not in most. What one change explains (none, a shift of pitch, another speed) is seldom met
# by chance and needs little exactness; what differs in tempo, or in both, has to show more.
# Measured by ``benchmarks/bench_recognition.py``.


LEAST_EVIDENCE = 40.0
_LEAST_PEAKS, _LEAST_S = 12, 1.5
_SAME_SEMITONES, _SAME_DRIFT_S = 0.1, 0.012
_SPEED_SEMITONES = 0.06
_LEAST_EXACTNESS = 0.4


@dataclass(frozen=True)
class _Claim:
    """Least share of the stem's peaks, exactness and evidence."""

    share: float
    exactness: float
    evidence: float

    def holds(self, fit: Alignment) -> bool:
        return (
            fit.agreeing >= self.share * fit.of
            and fit.exactness >= self.exactness
            and fit.evidence >= self.evidence
        )


_AT_OTHER_PITCH_AND_TEMPO = (
    _Claim(0.65, 0.55, 0.0),
    _Claim(0.0, 0.6, 120.0),
    _Claim(0.0, 0.75, 90.0),
)
_AT_OTHER_TEMPO = (_Claim(0.9, 0.55, 0.0), _Claim(0.65, 0.7, 0.0), _Claim(0.0, 0.8, 100.0))


def accepted(fit: Alignment) -> bool:
    """Whether an alignment names its stem."""
    length_s = fit.end_s - fit.start_s
    if fit.evidence < LEAST_EVIDENCE or fit.agreeing < _LEAST_PEAKS or length_s < _LEAST_S:
        return False
    same_tempo = abs(fit.tempo - 1) * length_s <= _SAME_DRIFT_S
    if same_tempo or abs(fit.semitones - 12 * math.log2(fit.tempo)) <= _SPEED_SEMITONES:
        return fit.exactness >= _LEAST_EXACTNESS
    if abs(fit.semitones) <= _SAME_SEMITONES:
        return any(claim.holds(fit) for claim in _AT_OTHER_TEMPO)
    return any(claim.holds(fit) for claim in _AT_OTHER_PITCH_AND_TEMPO)


def confidence(fit: Alignment) -> float:
    """0…1, 0.5 at the evidence that just suffices."""
    return fit.evidence / (fit.evidence + LEAST_EVIDENCE)


# Which stems a sound holds.

SOUND_RANK = 8
"""Peaks of a sound that are compared have fewer than 8 stronger ones around them."""
_TRIPLES_EACH = 3
_PIECE_S, _PIECE_STEP_S, _MOST_PIECES = 60.0, 50.0, 80
SEARCHED_S = _PIECE_S + (_MOST_PIECES - 1) * _PIECE_STEP_S
"""Longer sounds are searched with gaps."""
_WINDOW_S, _STEP_S = 12.0, 8.0
_MOST_HYPOTHESES = 80


@dataclass(frozen=True)
class StemMatch:
    """A stem in a sound.

    Attributes:
        stem_id: of the stem.
        confidence: 0.5…1: how far the evidence is above what just suffices.
        agreeing: peaks of the stem that the sound holds where they belong.
        start_s, end_s: where in the sound.
        offset_s: the place in the stem that sounds at ``start_s``; the stem runs on from there, or
            back where it is reversed.
        tempo: of the sound against the stem; 1.05 is 5 % faster.
        semitones: by how many the sound is higher than the stem.
        reversed: whether it runs backwards.
        view: which of the given sounds it was found in, from 0.
    """

    stem_id: str
    confidence: float
    agreeing: int
    start_s: float
    end_s: float
    offset_s: float
    tempo: float
    semitones: float
    reversed: bool
    view: int


def recognise(
    sounds: Sequence[Audio], store: LandmarkStore, exclude: Collection[str] = ()
) -> list[StemMatch]:
    """The stems that a sound holds, surest first; each stem once, where it is surest.

    Found are stems at other tempos (12 %) and pitches (2.4 semitones), at other speeds within both,
    backwards, in parts of some seconds, cut up, under noise or other music.

    Args:
        sounds: one or several of one channel each: the channels of a sound and their mixes. Of
            sounds longer than 17 minutes, 20 minutes' worth of evenly spread pieces are heard.
        exclude: ids of stems that are not looked for.
    """
    best: dict[str, StemMatch] = {}
    for view, sound in enumerate(sounds):
        for start_s, piece in _spread(find_peaks(sound).strongest(SOUND_RANK)):
            for backwards in (False, True):
                for stem_id, fit in alignments(piece, store, backwards, frozenset(exclude)):
                    if accepted(fit):
                        one = _found(stem_id, fit, start_s, piece.duration_s, backwards, view)
                        if stem_id not in best or best[stem_id].confidence < one.confidence:
                            best[stem_id] = one
    return sorted(best.values(), key=lambda one: (-one.confidence, one.stem_id))


def alignments(
    peaks: Peaks, store: LandmarkStore, backwards: bool, exclude: frozenset[str] = frozenset()
) -> list[tuple[str, Alignment]]:
    """How each stem that may lie in a sound of at most a minute lies there best, accepted or not.

    Args:
        backwards: whether the sound is heard backwards; times of the alignments then count from
            its end.
    """
    if peaks.times_s.size < 3:
        return []
    heard = peaks.backwards() if backwards else peaks
    guesses = _guesses(heard, store, exclude)
    kept = store.load({one.stem_id for one in guesses})
    scene = Scene(heard)
    best: dict[str, Alignment] = {}
    for one in guesses:
        stem = kept.get(one.stem_id)
        if stem is None:  # its landmarks were taken out since
            continue
        fit = scene.align(
            stem.peak_times_ms / 1000,
            stem.peak_pitches / 100,
            one.tempo,
            one.semitones,
            one.offset_s,
        )
        # The strongest, not the first that would do: of many short ones one is exact by luck.
        if one.stem_id not in best or best[one.stem_id].evidence < fit.evidence:
            best[one.stem_id] = fit
    return sorted(best.items(), key=lambda pair: (-pair[1].evidence, pair[0]))


def _guesses(peaks: Peaks, store: LandmarkStore, exclude: frozenset[str]) -> list[Hypothesis]:
    """How stems may lie in a sound, window by window; of nearly equal ones the first."""
    triples = find_triples(peaks, _TRIPLES_EACH, 0.1)
    if not triples.first.size:
        return []
    found = ask(store, triples, exclude)
    begins = triples.times_s[found.probes]
    different: dict[tuple[str, int, int, int], Hypothesis] = {}
    last = max(0.0, peaks.duration_s - _WINDOW_S)
    for start in np.linspace(0.0, last, 1 + math.ceil(last / _STEP_S)):
        inside = (begins >= start) & (begins <= start + _WINDOW_S)
        middle = float(start) + min(_WINDOW_S, peaks.duration_s) / 2
        for one in hypotheses(triples, found.of(inside), middle, _MOST_HYPOTHESES):
            place = one.tempo * middle + one.offset_s
            about = (round(one.tempo * 40), round(one.semitones * 2), round(place * 4))
            different.setdefault((one.stem_id, *about), one)
    return list(different.values())


def _spread(peaks: Peaks) -> list[tuple[float, Peaks]]:
    """Pieces of a minute that overlap, at most eighty, with where they begin; times from there."""
    found = []
    for start in spread_starts(peaks.duration_s, _PIECE_S, _MOST_PIECES, _PIECE_STEP_S):
        part = _between(peaks, start, start + _PIECE_S)
        length = min(_PIECE_S, peaks.duration_s)
        found.append((start, Peaks(part.times_s - start, part.semitones, part.ranks, length)))
    return found


def _between(peaks: Peaks, start_s: float, end_s: float) -> Peaks:
    low, high = np.searchsorted(peaks.times_s, (start_s, end_s))
    part = slice(low, high)
    return Peaks(peaks.times_s[part], peaks.semitones[part], peaks.ranks[part], peaks.duration_s)


def _found(
    stem_id: str, fit: Alignment, begin_s: float, duration_s: float, backwards: bool, view: int
) -> StemMatch:
    start, end = fit.start_s, fit.end_s
    if backwards:
        start, end = duration_s - end, duration_s - start
    return StemMatch(
        stem_id,
        confidence(fit),
        fit.agreeing,
        begin_s + start,
        begin_s + end,
        fit.tempo * (fit.end_s if backwards else fit.start_s) + fit.offset_s,
        fit.tempo,
        fit.semitones,
        backwards,
        view,
    )
