"""Bring one reference to the tempo, key, beat and length that a plan wants of it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rag_audio.audio.analysis import beat_offset_s
from rag_audio.audio.dsp import extract, holds_nothing, loop_to, stretch
from rag_audio.domain import Audio, Layer, SeedPart, Segment, Stem, StemKind
from rag_audio.domain.music import Signature, beat_s
from rag_audio.errors import LibraryError
from rag_audio.generation.parts import aligned, is_drums


class PlaySegment(Protocol):
    """Gives the sound of a segment, see :meth:`.play`."""

    def __call__(
        self,
        segment: Segment,
        sample_rate: int,
        tempo_ratio: float = 1.0,
        semitones: int = 0,
        instruments: tuple[str, ...] = (),
        layer: Layer | None = None,
        /,
    ) -> Audio: ...


CROSSFADE_S = 0.05
_HOP_S, _RISE_S, _SEARCH_S = 0.001, 0.006, 0.03
_MIN_BEATS = 4


def conform(
    segment: Segment,
    part: SeedPart,
    play: PlaySegment,
    sample_rate: int,
    asked: Signature | None,
) -> Audio:
    """The segment from its bar line on, or from its first beat where no bar line is declared.

    A score is played at the wanted tempo and key; a recording is stretched and transposed. Up to a
    beat of what follows the segment in its stem comes along, for a loop to fade out in.

    Args:
        asked: the metre of the piece, see :func:`rag_audio.generation.parts.aligned`.

    Returns:
        ``[C, T]``; T may be a beat longer than ``part.loop_s``, and a beat shorter than planned.

    Raises:
        LibraryError: the part is a layer that the reference does not hold.
    """
    start = aligned(segment, asked)
    stem = start.stem
    room_s = max(0.0, stem.duration_s - start.start_s - start.duration_s)
    wanted = replace(start, duration_s=start.duration_s + min(beat_s(stem.bpm), room_s))
    if part.rendered:
        how = (1.0 / part.time_ratio, part.semitones, part.instruments, part.layer)
        return play(wanted, sample_rate, *how)
    made = play(wanted, sample_rate)
    if stem.kind is StemKind.AUDIO and stem.downbeat_s is None and stem.bpm is not None:
        made = from_first_beat(made, stem.bpm)
    if part.layer is not None:
        made = _layer(made, part.layer, stem)
    return stretch(made, part.time_ratio, part.semitones)


def _layer(audio: Audio, layer: Layer, stem: Stem) -> Audio:
    if layer is Layer.DRUMS and is_drums(stem):
        return audio
    found = extract(audio, layer)
    if holds_nothing(found, audio):
        raise LibraryError(
            f"there is no {layer.value} to be heard in {stem.path}",
            hint="name another stem for it: rag-audio search",
        )
    return found


def from_first_beat(audio: Audio, bpm: float) -> Audio:
    """The sound from the first beat of its measured pulse; whole where it is too short to tell."""
    if audio.duration_s < _MIN_BEATS * beat_s(bpm):
        return audio
    first = first_beat_s(audio, bpm)
    return Audio(audio.samples[:, round(first * audio.sample_rate) :], audio.sample_rate)


def first_beat_s(audio: Audio, bpm: float) -> float:
    """Seconds to the attack of the first beat at a known tempo, to a few milliseconds.

    The onset curve finds the beat to its frame of 12 ms; within 30 ms about it the steepest rise
    of the energy, summed over all beats, is the attack.
    """
    beat = beat_s(bpm)
    coarse = beat_offset_s(audio, bpm)
    rise = _energy_rise(audio)
    lags = np.arange(-round(_SEARCH_S / _HOP_S), round(_SEARCH_S / _HOP_S) + 1)
    beats = np.arange(coarse, audio.duration_s, beat) / _HOP_S
    at = np.rint(beats)[:, None].astype(int) + lags[None]
    heard = np.where((at >= 0) & (at < rise.size), rise[np.clip(at, 0, rise.size - 1)], 0.0)
    fine = coarse + float(lags[int(heard.sum(axis=0).argmax())]) * _HOP_S
    # A beat that begins with the sound, or a hair before it, is no beat late.
    return 0.0 if fine < 0 or beat - fine < _SEARCH_S / 2 else fine


def loop(audio: Audio, part: SeedPart, bpm: float | None, frames: int) -> Audio:
    """Repeated in whole bars until it is ``frames`` long, each seam where it is quietest.

    Args:
        part: its ``loop_s`` is the period, made whole beats shorter where the sound ends before.
        bpm: of the conformed sound, for that.
    """
    if part.loop_s == 0 and audio.frames >= frames:
        return Audio(audio.samples[:, :frames], audio.sample_rate)
    rate = audio.sample_rate
    crossfade = round(CROSSFADE_S * rate)
    period = round(part.loop_s * rate) or audio.frames
    if period > audio.frames and bpm is not None:
        beat = beat_s(bpm) * rate
        period = round(math.floor(audio.frames / beat) * beat)
    period = min(period, audio.frames) or audio.frames
    lead = quiet_lead(audio, period, crossfade)
    rest = Audio(np.ascontiguousarray(audio.samples[:, lead:]), rate)
    if lead >= frames:
        return Audio(audio.samples[:, :frames], rate)
    looped = loop_to(rest, frames - lead, crossfade, period)
    return Audio(np.concatenate([audio.samples[:, :lead], looped.samples], axis=1), rate)


def quiet_lead(audio: Audio, period: int, crossfade: int) -> int:
    """How many frames to play before the loop begins, so that its seams are where it is quietest.

    A seam joins what follows ``lead + period`` to what follows ``lead``: both should be quiet.
    """
    room = audio.frames - period - crossfade
    if room <= 0:
        return 0
    power = np.mean(np.square(audio.samples, dtype=np.float64), axis=0)
    total = np.concatenate([[0.0], np.cumsum(power)])
    window = total[crossfade:] - total[:-crossfade]
    leads = np.arange(0, room + 1, max(1, round(_HOP_S * audio.sample_rate)))
    return int(leads[int((window[leads] + window[leads + period]).argmin())])


def _energy_rise(audio: Audio) -> NDArray[np.float64]:
    """Rise of the energy over 6 ms, one value ≥ 0 per millisecond, at the time it begins."""
    hop = _HOP_S * audio.sample_rate
    power = np.mean(np.square(audio.samples, dtype=np.float64), axis=0)
    total = np.concatenate([[0.0], np.cumsum(power)])
    edges = np.rint(np.arange(0, audio.frames, hop)).astype(int)
    span = round(_RISE_S * audio.sample_rate)
    after = total[np.minimum(edges + span, audio.frames)] - total[edges]
    before = total[edges] - total[np.maximum(edges - span, 0)]
    return np.asarray(np.maximum(np.sqrt(after) - np.sqrt(before), 0.0))
