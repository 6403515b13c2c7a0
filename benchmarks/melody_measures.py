"""What ``bench_melody.py`` measures: pitch against a tune, and sound against an instrument's."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from rag_audio.audio import analysis, midi
from rag_audio.audio.dsp import mono, resample
from rag_audio.audio.librosa_cache import librosa_ready
from rag_audio.domain import Audio
from rag_audio.domain.ports import Embedder
from tests.support.hums import Hummed, make_notes, perform

HZ, HOP = 22_050, 1024
NEAR_CENTS = 50
_EXAMPLES = 4
Curve = NDArray[np.float64]


@dataclass(frozen=True)
class Reading:
    """Shares, 0…1, and two judgements.

    Attributes:
        kept: of the frames where the tune sounds those with its pitch class, within 50 cents once
            the difference in tuning (50 cents at most) is taken out.
        by_chance: the same with another tune.
        intervals: of the steps from note to note those as wide, octaves aside.
        direction: of the steps that rise or fall those that do the same.
        strongest: of the frames those whose strongest pitch class is the tune's.
        nearer_heard, nearer_colour: nearer to the asked instrument than to such a voice.
    """

    kept: float
    by_chance: float
    intervals: float
    direction: float
    strongest: float
    nearer_heard: bool
    nearer_colour: bool


def read(made: Audio, one: Hummed, other: Hummed, nearer: tuple[bool, bool]) -> Reading:
    """Hold an output against its tune and against another."""
    cents = _pitch_cents(made, one.contour.size)
    intervals, direction = _steps(cents, one)
    return Reading(
        kept=_kept(cents, one.contour),
        by_chance=_kept(cents, other.contour),
        intervals=intervals,
        direction=direction,
        strongest=_strongest(made, one),
        nearer_heard=nearer[0],
        nearer_colour=nearer[1],
    )


def _pitch_cents(sound: Audio, frames: int) -> Curve:
    """Cents above A4 every 10 ms, NaN where pYIN hears no pitch."""
    wave = resample(mono(sound), HZ).samples[0]
    hz, _, _ = librosa_ready().pyin(
        wave, fmin=60, fmax=2400, sr=HZ, frame_length=2048, hop_length=HOP, resolution=0.2
    )
    at = np.minimum(np.round(np.arange(frames) * HZ / 100 / HOP).astype(int), hz.size - 1)
    return np.asarray(1200 * np.log2(hz[at] / 440.0))


def _kept(cents: Curve, contour: Curve) -> float:
    sounds = contour > 0
    size = min(cents.size, contour.size)
    sounds, cents = sounds[:size], cents[:size]
    apart = cents[sounds] - 1200 * np.log2(contour[:size][sounds] / 440.0)
    apart = apart[np.isfinite(apart)]
    if apart.size == 0:
        return 0.0
    tuning = 100 * np.angle(np.mean(np.exp(2j * np.pi * apart / 100))) / (2 * np.pi)
    folded = np.abs((apart - tuning + 600) % 1200 - 600)
    return float((folded <= NEAR_CENTS).sum() / sounds.sum())


def _steps(cents: Curve, one: Hummed) -> tuple[float, float]:
    """Shares of intervals and of directions that agree with the notes."""
    heard = []
    for note in one.notes:
        span = cents[round(note.start_s * 100) + 3 : round(note.end_s * 100)]
        span = span[np.isfinite(span)]
        heard.append(float(np.median(span)) if span.size else np.nan)
    wide = np.diff(np.array(heard))
    asked = 100.0 * np.diff([note.pitch for note in one.notes])
    same = np.abs((wide - asked + 600) % 1200 - 600) <= NEAR_CENTS
    moves = asked != 0
    return float(np.mean(same)), float(np.mean(np.sign(wide[moves]) == np.sign(asked[moves])))


def _strongest(made: Audio, one: Hummed) -> float:
    classes = analysis.chroma(made)
    share = 0.0
    total = 0
    for note in one.notes:
        frames = slice(
            *(round(t * classes.shape[1] / made.duration_s) for t in (note.start_s, note.end_s))
        )
        best = classes[:, frames].argmax(axis=0)
        share += float((best == note.pitch % 12).sum())
        total += best.size
    return share / max(1, total)


class Judge:
    """Whether a sound is nearer to an instrument or to a voice: each by four tunes of its own."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._instrument = cache(
            lambda name: self._mean([_played(name, i) for i in range(_EXAMPLES)])
        )
        self._voice = cache(lambda kind: self._mean([_sung(kind, i) for i in range(_EXAMPLES)]))

    def nearer(self, made: Audio, instrument: str, kind: str) -> tuple[bool, bool]:
        """By the cosine of embeddings, and by the mean spectrum in 40 mel bands."""
        vector, colour = self._mean([made])
        asked, voice = self._instrument(instrument), self._voice(kind)
        heard = vector @ asked[0] > vector @ voice[0]
        near = np.linalg.norm(colour - asked[1]) < np.linalg.norm(colour - voice[1])
        return bool(heard), bool(near)

    def _mean(self, sounds: list[Audio]) -> tuple[Curve, Curve]:
        vectors = np.asarray(self._embedder.embed_audio(sounds), dtype=np.float64).mean(axis=0)
        colours = np.mean([_colour(sound) for sound in sounds], axis=0)
        return vectors / np.linalg.norm(vectors), colours


def _played(name: str, number: int) -> Audio:
    return midi.play_notes(make_notes(900 + number, high=number % 2 == 1), name, duration_s=8.0)


def _sung(kind: str, number: int) -> Audio:
    notes = make_notes(900 + number, high=kind == "whistle")
    if kind == "played":
        return through_a_room(midi.play_notes(notes, "Ocarina", duration_s=8.0), number)
    return perform(notes, kind, seed=900 + number).audio


def _colour(sound: Audio) -> Curve:
    """Mean level of 40 mel bands in dB, less their mean: what is left of loudness."""
    wave = resample(mono(sound), HZ).samples[0]
    bands = librosa_ready().feature.melspectrogram(y=wave, sr=HZ, n_mels=40).mean(axis=1)
    level = 10 * np.log10(np.maximum(bands, bands.max() * 1e-6))
    return np.asarray(level - level.mean(), dtype=np.float64)


def through_a_room(sound: Audio, number: int) -> Audio:
    """In mono, with the echo of a small room and noise 30 dB below."""
    rng = np.random.default_rng(number)
    wave = mono(sound).samples[0].astype(np.float64)
    rate = sound.sample_rate
    t = np.arange(round(0.3 * rate)) / rate
    echo = 0.04 * rng.standard_normal(t.size) * 10 ** (-3 * t / 0.3)
    echo[0] = 1.0
    size = wave.size + echo.size
    wet = np.fft.irfft(np.fft.rfft(wave, size) * np.fft.rfft(echo, size), size)[: wave.size]
    level = float(np.sqrt(np.mean(wet**2)))
    wet += 10 ** (-30 / 20) * level * rng.standard_normal(wet.size)
    return Audio((0.1 * wet / level)[None].astype(np.float32), rate)
