"""Render the seed audio that a plan describes."""

from __future__ import annotations

import math

import numpy as np

from rag_audio import audio as sound
from rag_audio.conditioning.conforming import LoadSegment, RenderScore, conform, loop
from rag_audio.domain import Audio, ConditioningPlan, SeedPart
from rag_audio.errors import LibraryError

__all__ = ["LoadSegment", "RenderScore", "seed_audio"]

SEED_RMS = 10 ** (-18 / 20)
SEED_PEAK_DBTP = -0.3
_SILENCE = 1e-6


def seed_audio(
    plan: ConditioningPlan,
    load: LoadSegment,
    sample_rate: int,
    channels: int,
    render: RenderScore | None = None,
) -> Audio | None:
    """The mix that seeds the latents: each part conformed, looped, levelled, then weighted.

    Parts are brought to equal loudness (BS.1770) and mixed with the square root of their weights,
    so that a weight is a share of energy as it is heard. Never padded with silence: at low strength
    it would be heard.

    Args:
        render: plays the parts that the plan wants rendered from their score.

    Returns:
        ``[channels, round(duration · sample_rate)]``, -18 dBFS RMS, or less where its true peak
        would pass -0.3 dBTP; None when the plan has no seed part.

    Raises:
        LibraryError: a segment is silent.
    """
    if not plan.seed_parts:
        return None
    frames = round(plan.duration_s * sample_rate)
    mix = np.zeros((channels, frames), dtype=np.float64)
    for part in plan.seed_parts:
        segment = plan.references[part.reference].segment
        beats = plan.controls.quarters_per_bar
        heard = conform(segment, part, load, render, sample_rate, beats)
        made = sound.to_channels(heard, channels)
        made = loop(made, part, _conformed_bpm(plan, part), frames)
        level = _level(made)
        if level < _SILENCE:
            stem = segment.stem
            raise LibraryError(
                f"{stem.path} is silent where it was to be used",
                hint=f"leave it out: --exclude {stem.id[:12]}",
            )
        mix += np.sqrt(part.weight) / level * made.samples
    mix *= SEED_RMS / np.sqrt(np.mean(mix**2))
    return sound.limit_peak(Audio(mix.astype(np.float32), sample_rate), SEED_PEAK_DBTP)


def _conformed_bpm(plan: ConditioningPlan, part: SeedPart) -> float | None:
    bpm = plan.references[part.reference].stem.bpm
    return None if bpm is None else bpm / part.time_ratio


def _level(audio: Audio) -> float:
    """Loudness as a factor; RMS of what is too quiet for the meter's gate."""
    lufs = sound.loudness_lufs(audio)
    if math.isfinite(lufs):
        return math.pow(10.0, lufs / 20.0)
    return float(np.sqrt(np.mean(np.square(audio.samples, dtype=np.float64))))
