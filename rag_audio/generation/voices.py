"""Which references sound together: those that share one harmony and one tempo.

A seed has one harmonic source. Beside it play percussion, parts of the same song, and what agrees
with its harmony bar by bar once it is brought to its tempo and transposed by little. What is named
always plays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from rag_audio.audio.key_profiles import CLEAR_KEY, KNOWN_KEY, key_of, profile_scores
from rag_audio.domain import (
    Clash,
    ConditioningPlan,
    GenerationRequest,
    Key,
    Layer,
    Mix,
    SeedPart,
    Segment,
    Stem,
    StemKind,
)
from rag_audio.domain.lexicon import concepts
from rag_audio.domain.music import bar_s
from rag_audio.generation.asked_instruments import (
    asks_for_a_beat,
    instruments_asked_for,
    is_said_of,
)
from rag_audio.generation.harmony import FRAME_S, Harmony, disagreement, roughness
from rag_audio.generation.percussion import is_drums, is_one_shot
from rag_audio.generation.same_song import is_same_music, is_same_song, is_within
from rag_audio.generation.seed_layout import (
    MIN_CONFIDENCE,
    ReferencePart,
    aligned,
    has_tempo,
    places_on_grid,
    seed_parts,
)

Listen = Callable[[Segment], Harmony | None]
"""Gives the partials of a segment; None: it cannot be heard."""

MOST_DISAGREEMENT = 0.4
"""Two parts whose pitch classes disagree more clash; see ``benchmarks/bench_harmony.py``."""

FURTHEST_SEMITONES = 3
"""A recording that would be transposed further is a worse choice; scores are free."""

FURTHEST_STRETCH = 1.2
"""So is one that would be stretched or squeezed by more."""

NO_TEMPO = "it has no tempo"
_LEAST_SCORE = 0.6
"""Of the best score: what is further down than wanted and matches less does not play."""
_COMPARED_S = 10.0
_MOST_COMPARED = 16
_HEARD_S = 60.0
_PER_SEMITONE = 0.02


def silent(segment: Segment) -> None:
    """Where nothing can be heard: keys alone decide."""


@dataclass(frozen=True)
class Voices:
    """What plays.

    Attributes:
        chosen: what is named first, then the harmonic source, then the others by rank: the order in
            which they are asked for tempo and key.
        left_out: why others do not play, by stem id.
    """

    chosen: Sequence[ReferencePart] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)


def choose_voices(
    request: GenerationRequest,
    candidates: Sequence[ReferencePart],
    most: int,
    listen: Listen = silent,
    hummed: Key | None = None,
) -> Voices:
    """The candidates that play together.

    One that takes a large stretch or transposition stands ``most`` places further down, and so does
    a score without a clear key where one is asked for. What has an instrument that the words ask
    for comes first. The lead is the first that has pitch and a tempo; without one the first that
    may play at all. Where the words ask for drums and for no other instrument, and neither a key, a
    melody nor an artist is asked for, percussion plays alone, if there is any.

    Args:
        candidates: what may sound, best first; those that the request names always play.
        most: how many others may play.
        listen: gives their harmony; where it does not, keys decide.
        hummed: the key of a melody.
    """
    named = [c for c in candidates if is_named(request, c.stem)]
    found = [c for c in candidates if c not in named]
    if request.mix is Mix.ALL:
        return Voices([*named, *found[:most]])
    asked = instruments_asked_for(request)
    kinds = {concepts()[name].kind for name in asked}
    found, left_out = _once(found)
    fits = _Fits(request, listen, *tempo_and_key(request, named, hummed))
    has_harmony = request.key is not None or hummed is not None or request.artist is not None
    if kinds == {"drum"} and not has_harmony:
        timely = [c for c in found if is_drums(c.stem) and fits.why_untimely(c) is None]
        if timely:
            left_out |= {c.stem.id: "drums are asked for" for c in found if c not in timely}
            found = timely
    least = _LEAST_SCORE * max((c.reference.score for c in found), default=0.0)
    found = [c for n, c in enumerate(found) if n < most or c.reference.score >= least]
    best = {c.stem.id for c in found[:most]}
    strained = {c.stem.id: fits.is_strained(c) for c in found}
    lacking = {c.stem.id: bool(asked) and not is_said_of(c.stem, asked) for c in found}
    places = {c.stem.id: n + most * strained[c.stem.id] for n, c in enumerate(found)}
    found.sort(key=lambda c: (lacking[c.stem.id], places[c.stem.id], strained[c.stem.id]))
    chosen = [fits.in_its_key(c) for c in named]
    if most and all(is_drums(c.stem) for c in named):
        lead = fits.lead_of([c for c in found if c.stem.id in best])
        is_pitched = lead is not None and has_tempo(lead.stem) and not is_drums(lead.stem)
        if lead is None or is_pitched or has_harmony or "instrument" in kinds:
            lead = fits.lead_of(found)
        chosen += [] if lead is None else [fits.in_its_key(lead)]
        fits = _Fits(request, listen, *tempo_and_key(request, chosen, hummed))
    is_with_drums = asks_for_a_beat(request)
    for candidate in found:
        if len(chosen) == len(named) + most:
            break
        # Only of what has pitch can be told whether it fits: drums further down are not looked for,
        # unless the music that is asked for is made on drums.
        is_fitting = is_with_drums or not is_drums(candidate.stem)
        playing = {c.stem.id for c in chosen}
        is_near = candidate.stem.id in best
        is_near |= is_fitting and places[candidate.stem.id] < 2 * most
        if candidate.stem.id in playing or not is_near:
            continue
        fitting, why = fits.beside(candidate, chosen)
        if fitting is None:
            left_out[candidate.stem.id] = why
        else:
            chosen.append(fitting)
    return Voices(chosen, left_out)


def _once(found: Sequence[ReferencePart]) -> tuple[list[ReferencePart], dict[str, str]]:
    """The candidates without what is the same music as a better one, and why these do not play."""
    kept: list[ReferencePart] = []
    left_out = {}
    for candidate in found:
        better = next((c for c in kept if is_same_music(c.stem, candidate.stem)), None)
        if better is None:
            kept.append(candidate)
        else:
            left_out[candidate.stem.id] = f"{name_of(better.stem)} is the same music"
    return kept, left_out


def is_named(request: GenerationRequest, stem: Stem) -> bool:
    """Whether the request names the stem."""
    return any(stem.id.startswith(prefix) for prefix in request.named)


def has_key(stem: Stem) -> bool:
    """Whether the stem has a key that is known surely enough."""
    return stem.key is not None and stem.key_confidence >= MIN_CONFIDENCE and not is_drums(stem)


def tempo_and_key(
    request: GenerationRequest, candidates: Sequence[ReferencePart], hummed: Key | None = None
) -> tuple[float | None, Key | None]:
    """The request's, else a melody's key, else those of the first candidate that has them."""
    bpm, key = request.bpm, request.key or hummed
    for candidate in candidates:
        stem = candidate.stem
        if bpm is None and has_tempo(stem):
            bpm = stem.bpm
        own = candidate.key or (stem.key if has_key(stem) else None)
        if key is None and own is not None:
            key = Key((own.tonic + (candidate.semitones or 0)) % 12, own.minor)
    return bpm, key


def name_of(stem: Stem) -> str:
    """What notes call it."""
    return stem.title or stem.path


@dataclass(frozen=True)
class _Fits:
    """Whether candidates fit what plays, at a tempo and in a key as far as these are settled."""

    request: GenerationRequest
    listen: Listen
    bpm: float | None
    key: Key | None
    _heard: dict[tuple[Segment, int], NDArray[np.float64]] = field(default_factory=dict)

    def is_strained(self, candidate: ReferencePart) -> bool:
        """Whether a recording would be changed by much or lacks the key that is asked for, or a
        score's passage stands in no clear one."""
        stem = candidate.stem
        if is_one_shot(stem):
            return False
        if stem.kind is StemKind.MIDI:
            return self.key is not None and not is_drums(stem) and not self._is_clear(candidate)
        part = self._part(candidate)
        is_far = (
            self.key is not None
            and not is_drums(stem)
            and (not has_key(stem) or abs(part.semitones) > FURTHEST_SEMITONES)
        )
        return is_far or not 1 / FURTHEST_STRETCH <= part.time_ratio <= FURTHEST_STRETCH

    def lead_of(self, candidates: Sequence[ReferencePart]) -> ReferencePart | None:
        """The first with pitch and a tempo, else the first that may play."""
        timely = [c for c in candidates if self.why_untimely(c) is None]
        pitched = (c for c in timely if has_tempo(c.stem) and not is_drums(c.stem))
        return next(pitched, timely[0] if timely else None)

    def beside(
        self, candidate: ReferencePart, chosen: Sequence[ReferencePart]
    ) -> tuple[ReferencePart | None, str]:
        """The candidate as it plays beside others, or why it does not."""
        why = self.why_untimely(candidate)
        is_free = self.bpm is None and not self.request.free_time
        if why is None and is_free and chosen and has_tempo(candidate.stem):
            why = f"{name_of(chosen[0].stem)} plays in its own time"
        if why is not None:
            return None, why
        if is_drums(candidate.stem):
            return candidate, ""
        others = [c for c in chosen if not is_drums(c.stem)]
        siblings = [c for c in others if is_same_song(c.stem, candidate.stem)]
        whole = next((c for c in siblings if is_within(c.stem, candidate.stem)), None)
        if whole is not None:
            return None, f"{name_of(whole.stem)} is the same music, or holds it"
        if siblings:
            return _like(siblings[0], candidate), ""
        if not others:
            return candidate, ""
        candidate = self.in_its_key(candidate)
        fitting, clash, other = candidate, 0.0, others[0]
        heard = self._chroma(candidate)
        if heard is not None:
            fitting, clash, other = self._transposed(candidate, heard, others)
        elif not self._in_key(candidate):
            clash = 1.0
        if clash > MOST_DISAGREEMENT:
            size = "" if heard is None else f" ({clash:.2f})"
            return None, f"its harmony clashes with {name_of(other.stem)}{size}"
        if self._leads_away(fitting, others):
            return None, f"with it the piece does not stand in {self.key}"
        return fitting, ""

    def _leads_away(self, candidate: ReferencePart, others: Sequence[ReferencePart]) -> bool:
        """Whether what plays stands in the key that is asked for, or its relative, and no longer
        with the candidate."""
        heard = [self._chroma(one) for one in (*others, candidate)]
        if self.key is None or any(one is None for one in heard):
            return False
        sums = [one.sum(axis=0) for one in heard if one is not None]
        levels = [one / max(float(one.sum()), 1e-9) for one in sums]
        wanted = (self.key, self.key.relative())
        with_it, without = (
            key_of(profile_scores(np.sum(each, axis=0)))[0] in wanted
            for each in (levels, levels[:-1])
        )
        return without and not with_it

    def in_its_key(self, candidate: ReferencePart) -> ReferencePart:
        """The candidate with the key that its passage is heard in; a declared key stands."""
        stem = candidate.stem
        is_declared = stem.kind is StemKind.AUDIO and stem.key_confidence == 1.0
        if is_drums(stem) or is_declared:
            return candidate
        heard = self.listen(aligned(candidate.reference.segment, self.request.time_signature))
        if heard is None:
            return candidate
        # Brought to a key that is asked for even an unsure one is right more often than none.
        is_sure = heard.key_clarity >= KNOWN_KEY
        key = heard.key if is_sure or self.key is not None else None
        # Major or minor of the same notes is better known from the whole of a recording.
        is_as_known = key is not None and has_key(stem) and key.relative() == stem.key
        return replace(candidate, key=stem.key if is_as_known else key)

    def _is_clear(self, candidate: ReferencePart) -> bool:
        heard = self.listen(aligned(candidate.reference.segment, self.request.time_signature))
        return heard is None or heard.key_clarity >= CLEAR_KEY

    def why_untimely(self, candidate: ReferencePart) -> str | None:
        """Why a candidate has no place in the piece's time; None where it has one."""
        stem = candidate.stem
        if is_one_shot(stem):
            if not places_on_grid(stem):
                return "it is a one-shot with no place in a beat"
            return None if self.bpm is not None else "it is a one-shot, and no tempo is known"
        is_free = self.request.free_time or (self.bpm is None and not is_drums(stem))
        if has_tempo(stem) or is_free:
            return None
        return NO_TEMPO

    def _part(self, candidate: ReferencePart) -> SeedPart:
        alone = [candidate]
        return seed_parts(alone, alone, self.bpm, self.key, self._length_s, self.request)[0]

    @property
    def _length_s(self) -> float:
        return min(self.request.duration_s or _COMPARED_S, _HEARD_S)

    def _in_key(self, candidate: ReferencePart) -> bool:
        """Whether it comes into the key by a small transposition, by what is known of it."""
        is_free = candidate.stem.kind is StemKind.MIDI
        near = is_free or abs(self._part(candidate).semitones) <= FURTHEST_SEMITONES
        return self.key is not None and has_key(candidate.stem) and near

    def _chroma(self, candidate: ReferencePart) -> NDArray[np.float64] | None:
        heard = self.listen(aligned(candidate.reference.segment, self.request.time_signature))
        if heard is None:
            return None
        part = self._part(candidate)
        place = candidate.reference.segment, part.semitones
        if place not in self._heard:
            laid = heard.laid_out(self._length_s, part.time_ratio, part.semitones, part.loop_s)
            self._heard[place] = laid.chroma(bar_s(self.bpm, self.request.time_signature))
        return self._heard[place]

    def _transposed(
        self,
        candidate: ReferencePart,
        heard: NDArray[np.float64],
        others: Sequence[ReferencePart],
    ) -> tuple[ReferencePart, float, ReferencePart]:
        """Where its harmony agrees best, how much it disagrees there, and with which."""
        usual = self._part(candidate).semitones
        known = [(self._chroma(other), other) for other in others]
        near = set(range(-FURTHEST_SEMITONES, FURTHEST_SEMITONES + 1))
        if candidate.stem.kind is StemKind.MIDI:
            near.add(usual)
        best = (math.inf, candidate, 1.0, others[0])
        for semitones in sorted(near, key=lambda one: abs(one - usual)):
            moved = np.roll(heard, semitones - usual, axis=1)
            clashes = [
                (0.0 if chroma is None else disagreement(moved, chroma), other)
                for chroma, other in known
            ]
            clash, other = max(clashes, key=lambda pair: pair[0])
            cost = clash + _PER_SEMITONE * abs(semitones - usual)
            if cost < best[0]:
                best = (cost, replace(candidate, semitones=semitones), clash, other)
        return best[1:]


def _like(sibling: ReferencePart, candidate: ReferencePart) -> ReferencePart:
    """Another part of a song, transposed as the one that plays, at the same passage of the song."""
    played, stem = sibling.reference.segment, candidate.stem
    length_s = min(played.duration_s, stem.duration_s - played.start_s)
    passage = candidate.reference.segment
    if stem.downbeat_s == sibling.stem.downbeat_s and length_s > played.duration_s / 2:
        passage = Segment(stem, played.start_s, length_s)
    reference = replace(candidate.reference, segment=passage)
    return replace(candidate, reference=reference, semitones=sibling.semitones, key=sibling.key)


def clash_of(plan: ConditioningPlan, listen: Listen) -> Clash | None:
    """How far the plan's pitched parts are from one harmony, in its first minute at most.

    Chroma disagreement and roughness of each pair of parts, weighted by the product of their
    shares; of more than 16 parts the heaviest. None where fewer than two of them are heard.
    """
    heard = []
    for part in sorted(plan.seed_parts, key=lambda one: -one.weight):
        segment = plan.references[part.reference].segment
        if part.layer is Layer.DRUMS or is_drums(segment.stem):
            continue
        found = listen(aligned(segment, plan.controls.time_signature))
        if found is not None:
            played = _played(found, part, plan)
            heard.append((part.weight, played, played.chroma(plan.bar_s)))
        if len(heard) == _MOST_COMPARED:
            break
    pairs = list(combinations(heard, 2))
    if not pairs:
        return None
    weights = [first[0] * second[0] for first, second in pairs]
    chroma = [disagreement(first[2], second[2]) for first, second in pairs]
    rough = [roughness(first[1], second[1]) for first, second in pairs]
    return Clash(
        round(float(np.average(chroma, weights=weights)), 2),
        round(float(np.average(rough, weights=weights)), 3),
    )


def _played(harmony: Harmony, part: SeedPart, plan: ConditioningPlan) -> Harmony:
    """A part's harmony from the beginning of the piece, silent where it does not play."""
    length_s = min(plan.duration_s, _HEARD_S)
    end_s = length_s if part.end_s is None else min(part.end_s, length_s)
    laid = harmony.laid_out(end_s - part.start_s, part.time_ratio, part.semitones, part.loop_s)
    before = round(part.start_s / FRAME_S)
    hz, levels = (np.pad(rows, ((before, 0), (0, 0))) for rows in (laid.hz, laid.levels))
    return Harmony(hz, levels)
