"""Enforce tempo and key: measure every candidate, choose the nearest, conform what is still off.

A tempo counts as met within one percent, at half and double time too: which of them a listener
counts is no property of the sound. A key counts as met by the key alone; its relative has the same
notes and cannot be brought nearer by transposing, so it is chosen after the key itself and never
transposed. What was not heard is not met.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rag_audio.audio.analysis import Analysis, analyse
from rag_audio.audio.dsp import loop_to, stretch
from rag_audio.domain import Audio, ConditioningPlan, Key
from rag_audio.domain.controls import Aim
from rag_audio.domain.music import beat_s

TEMPO_TOLERANCE = 0.01
"""A tempo nearer than this share is left as it is: the measurement knows no better."""

MAX_STRETCH = 1.3
"""The musical limit of a time-stretch, either way."""

MIN_CONFIDENCE = 0.2
_UNHEARD = 1.0
_MET = 0.028
_CROSSFADE_S = 0.03


@dataclass(frozen=True)
class MeasuredTake:
    """Tempo and key of one candidate as measured, and how far they are from what was wanted.

    Attributes:
        bpm: brought to the octave nearest to the wanted tempo; None: no pulse was heard.
        distance: 0 is as wanted; an octave of tempo, or the far side of the circle of fifths, is 1.
    """

    seed: int
    bpm: float | None
    key: Key | None
    distance: float

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; the seed is a string, because JSON numbers end at 2^53."""
        return {
            "seed": str(self.seed),
            "bpm": None if self.bpm is None else round(self.bpm, 3),
            "key": None if self.key is None else str(self.key),
            "distance": round(self.distance, 6),
        }


@dataclass(frozen=True)
class Promise:
    """One aim, and whether the finished sound keeps to it.

    Attributes:
        wanted: bpm, or the name of a key. heard: the same as measured; None: not heard.
    """

    aim: Aim
    wanted: float | str
    heard: float | str | None
    met: bool

    def to_json(self) -> dict[str, Any]:
        return {
            "aim": self.aim.value,
            "wanted": self.wanted,
            "heard": self.heard,
            "met": self.met,
        }


@dataclass(frozen=True, eq=False)
class Enforced:
    """The chosen candidate, conformed where it was off, and all that was measured.

    Attributes:
        candidates: in the order of their making.
        time_ratio, semitones: what was done to the chosen one; 1 and 0: nothing.
        after: measured once more on the finished sound.
        promises: of each aim, by ``after``.
    """

    audio: Audio
    seed: int
    candidates: tuple[MeasuredTake, ...]
    time_ratio: float
    semitones: int
    after: MeasuredTake
    notes: tuple[str, ...]
    promises: tuple[Promise, ...]

    @property
    def met(self) -> bool:
        """Whether every aim is met."""
        return all(promise.met for promise in self.promises)

    def to_json(self) -> dict[str, Any]:
        """What the ledger keeps of it."""
        return {
            "met": self.met,
            "promises": [promise.to_json() for promise in self.promises],
            "candidates": [one.to_json() for one in self.candidates],
            "chosen": str(self.seed),
            "time_ratio": self.time_ratio,
            "semitones": self.semitones,
            "after": self.after.to_json(),
        }


def enforce(takes: Sequence[tuple[int, Audio]], plan: ConditioningPlan) -> Enforced:
    """The take that is nearest to the plan's tempo and key, conformed to them.

    A take keeps its length: what a faster tempo leaves free at the end is filled by repeating
    whole bars, or beats where no bar fits.

    Args:
        takes: seed and sound of each candidate; the first of equals wins.
    """
    heard = [_heard(seed, analyse(audio), plan) for seed, audio in takes]
    best = min(range(len(takes)), key=lambda n: heard[n].distance)
    seed, audio = takes[best]
    found = heard[best]
    ratio, semitones, notes = _correction(found, plan)
    made, after, done = audio, found, (1.0, 0)
    # Either alone where both together mislead the ear that measures.
    for change in dict.fromkeys([(ratio, semitones), (ratio, 0), (1.0, semitones)]):
        if change == (1.0, 0) or after.distance < _MET:
            continue
        tried = _conform(audio, *change, plan)
        measured = _heard(seed, analyse(tried), plan)
        if measured.distance < after.distance:
            made, after, done = tried, measured, change
    if done != (ratio, semitones):
        notes.append("conforming would have brought part of it no nearer, and was left out")
    said = f"best of {len(takes)} candidates: {_words(found, plan)}"
    if made is not audio:
        said += f"; conformed ×{done[0]:.3f} in time, {done[1]:+d} semitones: {_words(after, plan)}"
    promises = _promises(after, plan)
    notes += [unmet_line(promise.to_json()) for promise in promises if not promise.met]
    return Enforced(made, seed, tuple(heard), *done, after, (said, *notes), promises)


def unmet_line(promise: Mapping[str, Any]) -> str:
    """``tempo not met: 92 bpm was enforced, 88.1 bpm is heard``.

    Args:
        promise: one of :func:`rag_audio.domain.unmet_promises`.
    """
    wanted, heard = promise["wanted"], promise["heard"]
    if promise["aim"] == Aim.TEMPO.value:
        wanted = f"{wanted:g} bpm"
        heard = "no pulse" if heard is None else f"{heard:.1f} bpm"
    return f"{promise['aim']} not met: {wanted} was enforced, {heard or 'no clear key'} is heard"


def _promises(after: MeasuredTake, plan: ConditioningPlan) -> tuple[Promise, ...]:
    found = []
    if Aim.TEMPO in plan.enforcement.aims and plan.bpm is not None:
        met = after.bpm is not None and abs(after.bpm / plan.bpm - 1) <= TEMPO_TOLERANCE
        heard = None if after.bpm is None else round(after.bpm, 3)
        found.append(Promise(Aim.TEMPO, plan.bpm, heard, met))
    if Aim.KEY in plan.enforcement.aims and plan.key is not None:
        named = None if after.key is None else str(after.key)
        found.append(Promise(Aim.KEY, str(plan.key), named, after.key == plan.key))
    return tuple(found)


def tempo_near(bpm: float, wanted: float) -> float:
    """The tempo, its half or its double: whichever octave is nearest to the wanted one."""
    return bpm * 2.0 ** round(math.log2(wanted / bpm))


def key_distance(key: Key, wanted: Key) -> float:
    """0 for the key, 0.1 for its relative, else steps on the circle of fifths over six, 0…1."""
    if key == wanted:
        return 0.0
    steps = key.semitones_to(wanted) * 7 % 12
    apart = min(steps, 12 - steps) / 6
    return apart if key.minor == wanted.minor else max(0.1, apart)


def _heard(seed: int, analysis: Analysis, plan: ConditioningPlan) -> MeasuredTake:
    bpm = analysis.bpm if analysis.bpm_confidence >= MIN_CONFIDENCE else None
    key = analysis.key if analysis.key_confidence >= MIN_CONFIDENCE else None
    distance = 0.0
    if Aim.TEMPO in plan.enforcement.aims and plan.bpm is not None:
        bpm = None if bpm is None else tempo_near(bpm, plan.bpm)
        distance += _UNHEARD if bpm is None else 2 * abs(math.log2(bpm / plan.bpm))
    if Aim.KEY in plan.enforcement.aims and plan.key is not None:
        distance += _UNHEARD if key is None else key_distance(key, plan.key)
    return MeasuredTake(seed, bpm, key, distance)


def _correction(heard: MeasuredTake, plan: ConditioningPlan) -> tuple[float, int, list[str]]:
    """Time ratio and semitones that put the candidate right, and why where nothing can."""
    ratio, semitones, notes = 1.0, 0, []
    if Aim.TEMPO in plan.enforcement.aims and plan.bpm is not None:
        if heard.bpm is None:
            notes.append("tempo not enforced: no pulse was heard")
        elif not 1 / MAX_STRETCH <= heard.bpm / plan.bpm <= MAX_STRETCH:
            notes.append(f"tempo not enforced: {heard.bpm:.1f} bpm is too far to stretch")
        elif abs(heard.bpm / plan.bpm - 1) > TEMPO_TOLERANCE:
            ratio = heard.bpm / plan.bpm
    if Aim.KEY in plan.enforcement.aims and plan.key is not None:
        if heard.key is None:
            notes.append("key not enforced: none was heard clearly")
        else:
            semitones = heard.key.semitones_to(plan.key)
    return ratio, semitones, notes


def _conform(audio: Audio, ratio: float, semitones: int, plan: ConditioningPlan) -> Audio:
    """Stretched and transposed, at the length it had."""
    if ratio == 1.0 and semitones == 0:
        return audio
    made = stretch(audio, ratio, semitones)
    if made.frames >= audio.frames:
        return Audio(made.samples[:, : audio.frames], audio.sample_rate)
    crossfade = round(_CROSSFADE_S * audio.sample_rate)
    return loop_to(made, audio.frames, crossfade, _period(made, plan, crossfade))


def _period(audio: Audio, plan: ConditioningPlan, crossfade: int) -> int | None:
    """The longest run of whole bars, else of beats, that leaves room for a crossfade."""
    if plan.bpm is None:
        return None
    for unit_s in (plan.bar_s, beat_s(plan.bpm)):
        unit = unit_s * audio.sample_rate
        count = math.floor((audio.frames - crossfade) / unit)
        if count > 0:
            return round(count * unit)
    return None


def _words(heard: MeasuredTake, plan: ConditioningPlan) -> str:
    said = []
    if Aim.TEMPO in plan.enforcement.aims:
        said.append("no pulse" if heard.bpm is None else f"{heard.bpm:.1f} bpm")
    if Aim.KEY in plan.enforcement.aims:
        said.append(str(heard.key or "no clear key"))
    return ", ".join(said)
