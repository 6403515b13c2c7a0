"""Voices that hum, sing and whistle tunes whose notes are known, none of them quite clean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rag_audio.domain import Audio, Note

RATE = 44_100
_FRAME_S = 0.01
_FORMANTS = {"hum": ((250, 1.0, 80),), "sung": ((700, 1.0, 110), (1200, 0.5, 130))}


@dataclass(frozen=True, eq=False)
class Hummed:
    """A sound, the notes in it, and its pitch in Hz every 10 ms, 0 in a rest."""

    audio: Audio
    notes: tuple[Note, ...]
    contour: NDArray[np.float64]
    kind: str


def make_notes(seed: int, duration_s: float = 8.0, *, high: bool = False) -> tuple[Note, ...]:
    """A tune in a major or minor scale: small steps and some leaps, repeated notes and breaths."""
    rng = np.random.default_rng(seed)
    scale = ((0, 2, 4, 5, 7, 9, 11, 12), (0, 2, 3, 5, 7, 8, 10, 12))[int(rng.integers(2))]
    root = int(rng.integers(48, 60)) + (24 if high else 0)
    beat_s = 60.0 / rng.uniform(70, 140)
    at, step, notes = 0.1, int(rng.integers(0, 8)), []
    while True:
        length = beat_s * float(rng.choice([0.5, 1.0, 1.0, 1.5, 2.0])) * rng.uniform(0.92, 1.08)
        if at + length > duration_s - 0.1:
            return tuple(notes)
        step = int(np.clip(step + rng.choice([-4, -2, -1, -1, 0, 1, 1, 2, 4]), 0, 7))
        breath = 0.14 if rng.random() < 0.25 else 0.03
        notes.append(Note(round(at, 3), round(at + length - breath, 3), root + scale[step]))
        at += length


def perform(
    notes: tuple[Note, ...],
    kind: str,
    *,
    seed: int = 0,
    duration_s: float = 8.0,
    cents_off: float | None = None,
) -> Hummed:
    """The tune by a voice.

    Args:
        kind: ``hum`` (closed mouth), ``sung`` (an open vowel) or ``whistle``.
        cents_off: how far the voice lies off concert pitch; None: up to 40 cents, as it comes.

    Every note slides in from a little below or from the one before, has vibrato, is up to 15 cents
    out, and breath goes with it; the room adds noise at -50 dB.
    """
    rng = np.random.default_rng(1000 + seed)
    frames = round(duration_s / _FRAME_S)
    off = rng.uniform(-40, 40) if cents_off is None else cents_off
    pitch, loud = np.zeros(frames), np.zeros(frames)
    before = notes[0].pitch - 1.0
    for note in notes:
        first, last = round(note.start_s / _FRAME_S), round(note.end_s / _FRAME_S)
        t = np.arange(last - first) * _FRAME_S
        glide = (before - note.pitch) * np.exp(-t / 0.02)
        vibrato = 0.25 * np.minimum(t / 0.3, 1) * np.sin(2 * np.pi * rng.uniform(4.5, 6.5) * t)
        pitch[first:last] = note.pitch + glide + vibrato + rng.uniform(-0.15, 0.15)
        loud[first:last] = rng.uniform(0.7, 1.0) * np.minimum(np.minimum(t, t[::-1]) / 0.03, 1)
        before = float(note.pitch)
    hz = np.where(pitch > 0, 440.0 * 2 ** ((pitch + off / 100 - 69) / 12), 0.0)
    audio = _voice(hz, loud, kind, rng)
    return Hummed(audio, notes, np.where(loud > 0.3, hz, 0.0), kind)


def _voice(
    hz: NDArray[np.float64], loud: NDArray[np.float64], kind: str, rng: np.random.Generator
) -> Audio:
    at = np.arange(hz.size) * _FRAME_S
    t = np.arange(round(hz.size * _FRAME_S * RATE)) / RATE
    held = hz.copy()
    for frame in range(1, held.size):
        held[frame] = held[frame] or held[frame - 1]
    held[held == 0] = held[held > 0][0]
    curve = np.exp(np.interp(t, at, np.log(held)))
    phase = 2 * np.pi * np.cumsum(curve) / RATE
    level = np.interp(t, at, loud)
    if kind == "whistle":
        wave, breath = np.sin(phase), 0.05
    else:
        wave, breath = np.zeros_like(t), 0.03
        for harmonic in range(1, 25):
            strength = sum(
                gain / (1 + ((curve * harmonic - centre) / width) ** 2)
                for centre, gain, width in _FORMANTS[kind]
            )
            tilt = 1.0 / harmonic**1.2
            audible = (curve * harmonic < 5000).astype(float)
            wave += (strength + 0.15) * tilt * audible * np.sin(harmonic * phase)
        wave /= np.abs(wave).max()
    noise = rng.standard_normal(t.size)
    wave = (wave + breath * noise) * level
    wave = 0.1 * wave / np.sqrt(np.mean(wave**2)) + 0.0003 * rng.standard_normal(t.size)
    return Audio(wave[None].astype(np.float32), RATE)


def tune(number: int, duration_s: float = 8.0) -> Hummed:
    """The tune of that number: hummed, whistled and sung in turn."""
    kind = ("hum", "whistle", "sung")[number % 3]
    notes = make_notes(number, duration_s, high=kind == "whistle")
    return perform(notes, kind, seed=number, duration_s=duration_s)


def pad_chords(duration_s: float = 6.0) -> Audio:
    """Four-part chords: pitch, and no single melody."""
    t = np.arange(round(duration_s * RATE)) / RATE
    wave = np.zeros_like(t)
    for start, chord in enumerate(((57, 60, 64, 67), (53, 57, 60, 65), (55, 59, 62, 67)) * 2):
        on = (t >= start) & (t < start + 1)
        for pitch in chord:
            hz = 440 * 2 ** ((pitch - 69) / 12)
            wave += on * sum(np.sin(2 * np.pi * hz * h * t) / h for h in (1, 2, 3))
    return Audio((0.05 * wave)[None].astype(np.float32), RATE)
