"""Render the seed audio that a plan describes."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from rag_audio.audio.channels import fitted
from rag_audio.audio.loudness import limit_peak, loudness_lufs, true_peak_dbtp
from rag_audio.domain import Audio, ConditioningPlan, Melody, Mix, SeedPart
from rag_audio.domain.music import beat_s
from rag_audio.domain.ports import SeedMix
from rag_audio.errors import ConfigError, InvalidInput, LibraryError
from rag_audio.generation.conforming import PlaySegment, conform, loop
from rag_audio.generation.melody import PlayNotes, melody_audio

SEED_RMS = 10 ** (-18 / 20)
SEED_PEAK_DBTP = -0.3
_SILENCE = 1e-6
_ATTACK_S, _RING_S = 0.005, 0.5


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
    rings on for a beat under what follows. A melody plays from beginning to end, rests and all.

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
    seed = limit_peak(Audio(mix.astype(np.float32), sample_rate), SEED_PEAK_DBTP)
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
    if part.loop_s == 0:
        tail = max(0, min(tail, heard.frames - (last - first)))
    made = loop(heard, part, _conformed_bpm(plan, part), last - first + tail)
    if first == 0 and tail == 0:
        return made, 0
    samples = made.samples.copy()
    if first > 0:
        attack = min(round(_ATTACK_S * rate), samples.shape[1])
        samples[:, :attack] *= np.linspace(0, 1, attack, dtype=np.float32)
    if tail:
        falling = np.cos(np.linspace(0, np.pi / 2, tail, dtype=np.float32)) ** 2
        samples[:, -tail:] *= falling
    elif last < frames:
        end = min(round(_ATTACK_S * rate), samples.shape[1])
        samples[:, samples.shape[1] - end :] *= np.linspace(1, 0, end, dtype=np.float32)
    return Audio(samples, rate), tail


def _conformed_bpm(plan: ConditioningPlan, part: SeedPart) -> float | None:
    bpm = plan.references[part.reference].stem.bpm
    return None if bpm is None else bpm / part.time_ratio


def _level(audio: Audio) -> float:
    """Loudness as a factor; RMS of what is too quiet for the meter's gate."""
    lufs = loudness_lufs(audio)
    if math.isfinite(lufs):
        return math.pow(10.0, lufs / 20.0)
    return float(np.sqrt(np.mean(np.square(audio.samples, dtype=np.float64))))
