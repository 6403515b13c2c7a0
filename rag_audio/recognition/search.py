"""Which stems a sound holds."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from rag_audio.domain import Audio
from rag_audio.recognition.alignment import Alignment, Scene
from rag_audio.recognition.peaks import Peaks, find_peaks
from rag_audio.recognition.store import LandmarkStore
from rag_audio.recognition.triples import find_triples
from rag_audio.recognition.voting import Hypothesis, ask, hypotheses

SOUND_RANK = 8
ACCEPTED_EVIDENCE = 60.0
ACCEPTED_PEAKS = 12
_TRIPLES_EACH = 3
_WINDOW_S, _STEP_S, _MOST_WINDOWS = 12.0, 8.0, 64
_MOST_HYPOTHESES = 60


@dataclass(frozen=True)
class Found:
    """A stem in a sound.

    Attributes:
        stem_id: of the stem.
        confidence: 0…1; 0.5 is what just suffices.
        agreeing: peaks of the stem that the sound holds where they belong.
        start_s, end_s: where in the sound.
        offset_s: where in the stem ``start_s`` lies; where the stem is reversed, counted from the
            stem's start to the sound at ``start_s``, from which it then runs backwards.
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
    """The stems that a sound holds, surest first."""
    best: dict[str, Found] = {}
    for view, sound in enumerate(sounds):
        peaks = find_peaks(sound).strongest(SOUND_RANK)
        for backwards in (False, True):
            for stem_id, fit in alignments(peaks, store, backwards, frozenset(exclude)):
                if accepted(fit):
                    one = _found(stem_id, fit, peaks.duration_s, backwards, view)
                    if stem_id not in best or best[stem_id].confidence < one.confidence:
                        best[stem_id] = one
    return sorted(best.values(), key=lambda one: (-one.confidence, one.stem_id))


def accepted(fit: Alignment) -> bool:
    return fit.evidence >= ACCEPTED_EVIDENCE and fit.agreeing >= ACCEPTED_PEAKS


def alignments(
    peaks: Peaks, store: LandmarkStore, backwards: bool, exclude: frozenset[str] = frozenset()
) -> list[tuple[str, Alignment]]:
    """How each stem that may lie in a sound lies there best, accepted or not."""
    if peaks.times_s.size < 3:
        return []
    heard = peaks.backwards() if backwards else peaks
    guesses = _guesses(heard, store, exclude)
    kept = store.load({one.stem_id for one in guesses})
    scene = Scene(heard)
    best: dict[str, Alignment] = {}
    for one in guesses:
        stem = kept[one.stem_id]
        fit = scene.align(
            stem.peak_times_ms / 1000,
            stem.peak_pitches / 100,
            one.tempo,
            one.semitones,
            one.offset_s,
        )
        if one.stem_id not in best or best[one.stem_id].evidence < fit.evidence:
            best[one.stem_id] = fit
    return sorted(best.items(), key=lambda pair: -pair[1].evidence)


def _guesses(peaks: Peaks, store: LandmarkStore, exclude: frozenset[str]) -> list[Hypothesis]:
    """How stems may lie in a sound, window by window."""
    guesses: list[Hypothesis] = []
    for window in _windows(peaks):
        triples = find_triples(window, _TRIPLES_EACH, 0.1)
        if triples.first.size:
            guesses += hypotheses(triples, ask(store, triples, exclude), _MOST_HYPOTHESES)
    return guesses


def _windows(peaks: Peaks) -> list[Peaks]:
    last = max(0.0, peaks.duration_s - _WINDOW_S)
    count = min(_MOST_WINDOWS, 1 + math.ceil(last / _STEP_S))
    found = []
    for start in np.linspace(0.0, last, count):
        low, high = np.searchsorted(peaks.times_s, (start, start + _WINDOW_S))
        found.append(
            Peaks(
                peaks.times_s[low:high],
                peaks.semitones[low:high],
                peaks.ranks[low:high],
                peaks.duration_s,
            )
        )
    return found


def _found(stem_id: str, fit: Alignment, duration_s: float, backwards: bool, view: int) -> Found:
    start, end = fit.start_s, fit.end_s
    if backwards:
        start, end = duration_s - end, duration_s - start
    at = fit.end_s if backwards else fit.start_s
    return Found(
        stem_id,
        fit.evidence / (fit.evidence + ACCEPTED_EVIDENCE),
        fit.agreeing,
        start,
        end,
        fit.tempo * at + fit.offset_s,
        1 / fit.tempo if False else fit.tempo,
        fit.semitones,
        backwards,
        view,
    )
