"""Which stems a sound holds."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from rag_audio.domain import Audio
from rag_audio.recognition.alignment import Alignment, Scene
from rag_audio.recognition.decision import accepted, confidence
from rag_audio.recognition.peaks import Peaks, find_peaks
from rag_audio.recognition.store import LandmarkStore
from rag_audio.recognition.triples import find_triples
from rag_audio.recognition.voting import Hypothesis, ask, hypotheses
from rag_audio.shaping import spread_starts

SOUND_RANK = 8
"""Peaks of a sound that are compared have fewer than 8 stronger ones around them."""
_TRIPLES_EACH = 3
_PIECE_S, _PIECE_STEP_S, _MOST_PIECES = 60.0, 50.0, 80
SEARCHED_S = _PIECE_S + (_MOST_PIECES - 1) * _PIECE_STEP_S
"""Longer sounds are searched with gaps."""
_WINDOW_S, _STEP_S = 12.0, 8.0
_MOST_HYPOTHESES = 80


@dataclass(frozen=True)
class Found:
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
) -> list[Found]:
    """The stems that a sound holds, surest first; each stem once, where it is surest.

    Found are stems at other tempos (12 %) and pitches (2.4 semitones), at other speeds within both,
    backwards, in parts of some seconds, cut up, under noise or other music.

    Args:
        sounds: one or several of one channel each: the channels of a sound and their mixes. Of
            sounds longer than 17 minutes, 20 minutes' worth of evenly spread pieces are heard.
        exclude: ids of stems that are not looked for.
    """
    best: dict[str, Found] = {}
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
) -> Found:
    start, end = fit.start_s, fit.end_s
    if backwards:
        start, end = duration_s - end, duration_s - start
    return Found(
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
