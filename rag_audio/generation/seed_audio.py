"""Render the seed audio that a plan describes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rag_audio.audio.analysis import beat_offset_s
from rag_audio.audio.channels import fitted
from rag_audio.audio.dsp import (
    extract,
    fade_edges,
    holds_nothing,
    limit_peak,
    loop_to,
    loudness_lufs,
    stretch,
    true_peak_dbtp,
)
from rag_audio.domain import (
    Audio,
    ConditioningPlan,
    Layer,
    Melody,
    Mix,
    SampleType,
    SeedPart,
    Segment,
    Stem,
    StemKind,
)
from rag_audio.domain.music import Signature, beat_s
from rag_audio.domain.ports import SeedMix
from rag_audio.errors import ConfigError, InvalidInput, LibraryError
from rag_audio.generation.melody_arrangement import PlayNotes, melody_audio
from rag_audio.generation.percussion import is_drums
from rag_audio.generation.seed_layout import LOOP_SLACK, aligned

SEED_RMS = 10 ** (-18 / 20)
SEED_PEAK_DBTP = -0.3
_SILENCE = 1e-6
_ATTACK_S, _RING_S = 0.005, 0.5
_MOST_STRUCK = 10 ** (16 / 20)
"""Peak of a part that is struck, over its loudness: sharper strokes would turn all else down."""
_LEAD_S, _ATTACK_LEVEL = 0.001, 0.1


def seed_audio(
    plan: ConditioningPlan,
    play: PlaySegment,
    sample_rate: int,
    channels: int,
    play_notes: PlayNotes | None = None,
) -> Audio | None:
    """The mix that seeds the latents: each part conformed, looped, levelled, then weighted.

    Parts are brought to equal loudness (BS.1770) and mixed with the square root of their weights,
    so that a weight is a share of energy as it is heard. Never padded with silence: at low strength
    it would be heard. A part that begins later begins on its bar line, and one that ends earlier
    rings on for a beat under what follows. A one-shot is silent between its strokes. A melody plays
    from beginning to end, rests and all. The first 2 and the last 10 ms of the mix are faded.

    Args:
        play: plays the references. play_notes: plays the plan's melody.

    Returns:
        ``[channels, round(duration · sample_rate)]``, -18 dBFS RMS, or less where its true peak
        would pass -0.3 dBTP; for a plan that mixes latents with its parts; None when the plan has
        neither seed parts nor a melody.

    Raises:
        LibraryError: a segment is silent, or has no such layer.
    """
    if not plan.is_seeded:
        return None
    frames = round(plan.duration_s * sample_rate)
    mix = np.zeros((channels, frames), dtype=np.float64)
    played = np.zeros(frames, dtype=bool)
    parts = []
    for part in plan.seed_parts:
        first, last = _frames_of(part, sample_rate, frames)
        segment = plan.references[part.reference].segment
        asked = plan.controls.time_signature
        heard = conform(segment, part, play, sample_rate, asked)
        made, tail = _laid_out(fitted(heard, channels), part, plan, first, last, frames)
        level = _level(Audio(made.samples[:, : last - first], sample_rate))
        if level < _SILENCE:
            stem = segment.stem
            raise LibraryError(
                f"{stem.path} is silent where it was to be used",
                hint=f"leave it out: --exclude {stem.id[:12]}",
            )
        if part.hits_s:
            level = max(level, float(np.abs(made.samples).max()) / _MOST_STRUCK)
        # A weight is a share of the whole piece's energy: what plays for half of it is louder then.
        share = plan.references_weight * part.weight
        gain = np.sqrt(share * (frames / (last - first))) / level
        mix[:, first : last + tail] += gain * made.samples
        played[first:last] = True
        if plan.mix is Mix.LATENT:
            parts.append(made.samples / level)
    if plan.melody is not None:
        mix += _melody(plan, plan.melody, play_notes, sample_rate, channels)
        played[:] = True
    gain = SEED_RMS / np.sqrt(np.mean(mix[:, played] ** 2))
    mix *= gain
    mixed = fade_edges(Audio(mix.astype(np.float32), sample_rate))
    seed = limit_peak(mixed, SEED_PEAK_DBTP)
    if len(parts) < 2:
        return seed
    return _apart(seed, [gain * part for part in parts], [p.weight for p in plan.seed_parts])


def _melody(
    plan: ConditioningPlan,
    melody: Melody,
    play: PlayNotes | None,
    sample_rate: int,
    channels: int,
) -> NDArray[np.float64]:
    """The melody's part of the mix ``[channels, T]``, as loud as its weight says."""
    if play is None:
        raise ConfigError("the plan has a melody, and there is nothing to play it with")
    made = melody_audio(melody, play, plan.duration_s, sample_rate, channels)
    level = _level(made)
    if level < _SILENCE:
        raise InvalidInput(f"no note of the melody sounds within {plan.duration_s:g} s")
    scaled = np.sqrt(melody.weight) / level * made.samples
    return np.asarray(scaled, dtype=np.float64)


def _apart(seed: Audio, parts: list[NDArray[np.float64]], weights: list[float]) -> SeedMix:
    """The mix with its parts beside it, all turned down together where one has no headroom."""
    made = [Audio(part.astype(np.float32), seed.sample_rate) for part in parts]
    over_db = max(0.0, *(true_peak_dbtp(part) - SEED_PEAK_DBTP for part in made))
    down = np.float32(10 ** (-over_db / 20))
    parts_now = tuple(Audio(part.samples * down, seed.sample_rate) for part in made)
    return SeedMix(seed.samples, seed.sample_rate, parts_now, tuple(weights))


def _frames_of(part: SeedPart, sample_rate: int, frames: int) -> tuple[int, int]:
    """First and last frame of the part's section."""
    last = frames if part.end_s is None else min(frames, round(part.end_s * sample_rate))
    return round(part.start_s * sample_rate), last


def _laid_out(
    heard: Audio, part: SeedPart, plan: ConditioningPlan, first: int, last: int, frames: int
) -> tuple[Audio, int]:
    """The part as long as its section, with what rings on after it, and how long that is."""
    rate = heard.sample_rate
    tail = min(round((beat_s(plan.bpm) or _RING_S) * rate), frames - last)
    if part.hits_s:
        hits = [max(0, round(at * rate) - first) for at in part.hits_s]
        return _faded(strike(heard, hits, last - first + tail), 0, tail, last < frames), tail
    if part.loop_s == 0:
        tail = max(0, min(tail, heard.frames - (last - first)))
    made = loop(heard, part, _conformed_bpm(plan, part), last - first + tail)
    attack = round(_ATTACK_S * rate) if first > 0 else 0
    return _faded(made, attack, tail, last < frames), tail


def _faded(made: Audio, attack: int, tail: int, ends_early: bool) -> Audio:
    """The part with its attack faded in, and its tail, or where it ends early its end, out."""
    samples, frames = made.samples.copy(), made.frames
    attack = min(attack, frames)
    samples[:, :attack] *= np.linspace(0, 1, attack, dtype=np.float32)
    if tail:
        samples[:, -tail:] *= np.cos(np.linspace(0, np.pi / 2, tail, dtype=np.float32)) ** 2
    elif ends_early:
        end = min(round(_ATTACK_S * made.sample_rate), frames)
        samples[:, frames - end :] *= np.linspace(1, 0, end, dtype=np.float32)
    return Audio(samples, made.sample_rate)


def strike(heard: Audio, hits: Sequence[int], frames: int) -> Audio:
    """One sound, struck again and again: silence, and from each hit on the sound until the next.

    The attack, where the sound first reaches a tenth of its peak, lies up to 1 ms behind its hit;
    what is before that millisecond is left out.

    Args:
        hits: frames at which it is struck, rising. frames: length of the result.
    """
    rate, made = heard.sample_rate, np.zeros((heard.channels, frames), dtype=np.float32)
    peaks = np.abs(heard.samples).max(axis=0)
    attack = int((peaks >= _ATTACK_LEVEL * peaks.max(initial=0.0)).argmax())
    sound = heard.samples[:, max(0, attack - round(_LEAD_S * rate)) :]
    for first, following in pairwise((*hits, frames)):
        length = min(following - first, sound.shape[1])
        fade = min(round(_ATTACK_S * rate), length)
        made[:, first : first + length] = sound[:, :length]
        made[:, first + length - fade : first + length] *= np.linspace(1, 0, fade, dtype=np.float32)
    return Audio(made, rate)


def _conformed_bpm(plan: ConditioningPlan, part: SeedPart) -> float | None:
    bpm = plan.references[part.reference].stem.bpm
    return None if bpm is None else bpm / part.time_ratio


def _level(audio: Audio) -> float:
    """Loudness as a factor; RMS of what is too quiet for the meter's gate."""
    lufs = loudness_lufs(audio)
    if math.isfinite(lufs):
        return math.pow(10.0, lufs / 20.0)
    return float(np.sqrt(np.mean(np.square(audio.samples, dtype=np.float64))))


# Bring one reference to the tempo, key, beat and length that a plan wants of it.


PlaySegment = Callable[..., Audio]
"""Gives the sound of a segment: :meth:`rag_audio.generation.stem_player.StemPlayer.play`."""

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

    A loop begins on the beat as it is, and a one-shot is whole. A score is played at the wanted
    tempo and key; a recording is stretched and transposed. Up to a beat of what follows the segment
    in its stem comes along, for a loop to fade out in.

    Args:
        asked: the metre of the piece, see :func:`rag_audio.generation.seed_layout.aligned`.

    Returns:
        ``[C, T]``; T may be a beat longer than ``part.loop_s``, and a beat shorter than planned.

    Raises:
        LibraryError: the part is a layer that the reference does not hold.
    """
    start = segment if part.hits_s else aligned(segment, asked)
    stem = start.stem
    room_s = max(0.0, stem.duration_s - start.start_s - start.duration_s)
    wanted = replace(start, duration_s=start.duration_s + min(beat_s(stem.bpm), room_s))
    if part.rendered:
        how = (1.0 / part.time_ratio, part.semitones, part.instruments, part.layer)
        return play(wanted, sample_rate, *how)
    made = play(wanted, sample_rate)
    is_loop = stem.sample_type is SampleType.LOOP and start.start_s == 0
    on_beat = bool(part.hits_s) or is_loop or stem.downbeat_s is not None
    if stem.kind is StemKind.AUDIO and not on_beat and stem.bpm is not None:
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
        part: its ``loop_s`` is the period, made whole beats shorter where the sound ends more than
            2 % of a beat before.
        bpm: of the conformed sound, for that.
    """
    if part.loop_s == 0 and audio.frames >= frames:
        return Audio(audio.samples[:, :frames], audio.sample_rate)
    rate = audio.sample_rate
    crossfade = round(CROSSFADE_S * rate)
    period = round(part.loop_s * rate) or audio.frames
    if period > audio.frames and bpm is not None:
        beat = beat_s(bpm) * rate
        if period > audio.frames + LOOP_SLACK * beat + 1:
            period = round(math.floor(audio.frames / beat + LOOP_SLACK) * beat)
        short = max(0, period - audio.frames)
        audio = Audio(np.pad(audio.samples, ((0, 0), (0, short)), mode="edge"), rate)
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
