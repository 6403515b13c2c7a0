"""The pitch of one voice over time.

YIN (de Cheveigné & Kawahara, "YIN, a fundamental frequency estimator for speech and music",
JASA 111(4), 2002): the lag at which a sound is most like itself, by the cumulative mean
normalised difference (eq. 8) with parabolic interpolation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rag_audio.audio.analysis import estimate_key
from rag_audio.audio.channels import heard
from rag_audio.audio.dsp import resample
from rag_audio.domain import Audio, Key, Note
from rag_audio.errors import InvalidInput

HOP_S = 0.01
_RATE = 22_050
_WINDOW = 1024
_LONGEST = 344  # ⌈rate / lowest⌉, and room to interpolate
_SHORTEST = 8
_THRESHOLD, _ABOVE_BEST = 0.2, 0.1
_FRAMES_AT_ONCE = 2000
_SILENCE = 1e-10

Curve = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PitchTrack:
    """What was heard every :data:`HOP_S`, from the beginning.

    Attributes:
        semitones: ``[frames]``, MIDI pitch with cents as fractions; the best guess throughout.
        aperiodicity: ``[frames]``, 0 for a periodic sound, about 1 for noise.
        level_db: ``[frames]``, RMS in dBFS.
    """

    semitones: Curve
    aperiodicity: Curve
    level_db: Curve


def track_pitch(audio: Audio) -> PitchTrack:
    """The pitch of a voice between 65 and 2500 Hz, in windows of 46 ms; of what is heard in
    one channel (:func:`rag_audio.audio.channels.heard`).

    Windows are centred on their time. An empty sound has no frames.
    """
    wave = resample(heard(audio), _RATE).samples[0].astype(np.float64)
    frames = round(wave.size / (_RATE * HOP_S))
    size = _WINDOW + _LONGEST
    padded = np.pad(wave, (size // 2, size))
    starts = np.round(np.arange(frames) * HOP_S * _RATE).astype(int)
    windows = np.lib.stride_tricks.sliding_window_view(padded, size)
    found = [
        _hear(windows[starts[at : at + _FRAMES_AT_ONCE]])
        for at in range(0, frames, _FRAMES_AT_ONCE)
    ]
    if not found:
        return PitchTrack(np.zeros(0), np.zeros(0), np.zeros(0))
    return PitchTrack(*(np.concatenate(curve) for curve in zip(*found, strict=True)))


def _hear(windows: NDArray[np.float64]) -> tuple[Curve, Curve, Curve]:
    """Semitones, aperiodicity and level of windows ``[frames, window + longest lag]``."""
    normalised = _difference(windows)
    lag, aperiodicity = _best_lag(normalised)
    middle = windows[:, _LONGEST // 2 : _LONGEST // 2 + _WINDOW]
    power = np.mean(np.square(middle), axis=1)
    quiet = power < _SILENCE
    semitones = 69.0 + 12.0 * np.log2(_RATE / lag / 440.0)
    return semitones, np.where(quiet, 1.0, aperiodicity), 10 * np.log10(power + _SILENCE)


def _difference(windows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cumulative mean normalised difference ``[frames, lags]``, by way of the correlation."""
    size = 1 << (windows.shape[1] - 1).bit_length()
    spectra = np.fft.rfft(windows, size)
    heads = np.fft.rfft(windows[:, :_WINDOW], size)
    alike = np.fft.irfft(spectra * heads.conj(), size)[:, :_LONGEST]
    total = np.concatenate(
        [np.zeros((len(windows), 1)), np.cumsum(np.square(windows), axis=1)], axis=1
    )
    energy = total[:, _WINDOW : _WINDOW + _LONGEST] - total[:, :_LONGEST]
    apart = np.maximum(energy[:, :1] + energy - 2.0 * alike, 0.0)
    apart[:, 0] = 0.0
    mean = np.cumsum(apart, axis=1) / np.maximum(np.arange(_LONGEST), 1)
    return np.asarray(apart / np.maximum(mean, _SILENCE))


def _best_lag(normalised: NDArray[np.float64]) -> tuple[Curve, Curve]:
    """The first dip that is nearly as deep as the deepest, and how deep it is.

    A period fits as often as one likes: multiples of it dip as deep. A strong overtone dips
    earlier, but not as deep.
    """
    inner = normalised[:, _SHORTEST:-1]
    dips = (inner < normalised[:, _SHORTEST - 1 : -2]) & (inner <= normalised[:, _SHORTEST + 1 :])
    depth = np.where(dips, inner, np.inf)
    deepest = depth.min(axis=1)
    enough = np.minimum(_THRESHOLD, deepest + _ABOVE_BEST)
    first = (depth <= np.maximum(enough, deepest)[:, None]).argmax(axis=1) + _SHORTEST
    rows = np.arange(len(normalised))
    before, at, after = (normalised[rows, first + step] for step in (-1, 0, 1))
    bend = before - 2.0 * at + after
    shift = np.where(bend > 0, (before - after) / np.where(bend > 0, 2.0 * bend, 1.0), 0.0)
    lag = first + np.clip(shift, -1.0, 1.0)
    return lag, np.where(np.isfinite(deepest), np.minimum(at, 1.0), 1.0)


# Hear the tune in a sound of one voice: hummed, whistled, sung, or played on one string.


LONGEST_S = 120.0
"""A longer sound is no hummed melody."""

CLEAR = 0.6
"""So much of what is heard must have one clear pitch."""

_EVIDENT, _EVIDENT_NOTES = 0.85, 3
# Aperiodicity: of what can be a note, of a clear pitch, and of one voice alone. Two voices at once
# are periodic by halves; a voice with breath in a small room stays below the last.
_PERIODIC, _CLEARLY, _ALONE = 0.25, 0.15, 0.07
_QUIET_DB, _SILENT_DBFS = -30.0, -60.0
_SHORTEST_S, _LEAST_S = 0.07, 0.3
_DIP_DB, _DIP_MARGIN_S = 6.0, 0.06
_RING_S = 1.0
# Costs a frame of 10 ms; a semitone off costs one.
_CAP, _UNVOICED_NOTE, _VOICED_REST = 1.0, 0.6, 1.2
_CHANGE, _BREATH = 5.0, 2.0
_TUNED = 0.3


@dataclass(frozen=True)
class Tune:
    """The notes of a voice.

    Attributes:
        notes: in order of start, none over another; empty where nothing has a pitch.
        duration_s: of the sound.
        tuning_cents: how far the voice lies above concert pitch, -50…50; the notes have it removed.
        clearness: share of what is heard that has one clear pitch, 0…1.
        purity: share that is one voice and hardly anything else, 0…1.
        silent: nothing is heard.
    """

    notes: tuple[Note, ...]
    duration_s: float
    tuning_cents: float
    clearness: float
    purity: float
    silent: bool = False

    @property
    def sounding_s(self) -> float:
        """How long its notes last together."""
        return sum(note.end_s - note.start_s for note in self.notes)

    @property
    def length_s(self) -> float:
        """To a second after the last note, or to the sound's end where that is earlier."""
        end_s = max(note.end_s for note in self.notes)
        return max(end_s, min(self.duration_s, end_s + _RING_S))

    @property
    def is_clear(self) -> bool:
        """Whether it can be followed."""
        return self.clearness >= CLEAR and self.sounding_s >= _LEAST_S

    @property
    def is_evident(self) -> bool:
        """Whether it is a tune and nothing else, so that nobody need say so."""
        sung = self.purity >= _EVIDENT and len(self.notes) >= _EVIDENT_NOTES
        return sung and self.is_clear

    def key(self) -> tuple[Key | None, float]:
        """The key of its notes, and a confidence 0…1."""
        classes, opening = np.zeros(12), np.zeros(12)
        for note in self.notes:
            classes[note.pitch % 12] += note.end_s - note.start_s
        for note in (self.notes[0], self.notes[-1]) if self.notes else ():
            opening[note.pitch % 12] += 1.0
        return estimate_key(classes, None, opening)


def transcribe(audio: Audio) -> Tune:
    """The tune of a voice: pitch to the semitone, time as it was sung.

    What has a pitch is explained by notes and rests at the least cost (Viterbi): vibrato and glides
    stay within a note, a change of pitch or a breath ends one, and so does a dip of the level, for
    the same pitch may be sung again. The voice's own tuning is measured first and taken out.
    """
    track = track_pitch(audio)
    loudest = float(np.percentile(track.level_db, 95)) if track.level_db.size else -np.inf
    heard = track.level_db > max(loudest + _QUIET_DB, _SILENT_DBFS)
    voiced = heard & (track.aperiodicity < _PERIODIC)
    if not voiced.any():
        return Tune((), audio.duration_s, 0.0, 0.0, 0.0, silent=not heard.any())
    rough = track.aperiodicity[heard]
    clearness, purity = (float(np.mean(rough < most)) for most in (_CLEARLY, _ALONE))
    tuning = _tuning(track.semitones[voiced])
    states = _explain(track.semitones - tuning, voiced)
    notes = [
        Note(round(first * HOP_S, 3), round(last * HOP_S, 3), int(states[first]))
        for first, last in _runs(states, track)
        if (last - first) * HOP_S >= _SHORTEST_S
    ]
    return Tune(tuple(notes), audio.duration_s, 100.0 * tuning, clearness, purity)


def require_length(audio: Audio, name: str) -> None:
    """Let a sound pass that is no longer than a melody.

    Raises:
        InvalidInput: it is longer.
    """
    if audio.duration_s > LONGEST_S:
        raise InvalidInput(
            f"{name} is {audio.duration_s:.0f} s long; a melody is followed up to "
            f"{LONGEST_S:.0f} s",
            hint="cut out the tune, or --audio-as search",
        )


def require_clear(tune: Tune, name: str) -> None:
    """Let a tune pass that can be followed.

    Raises:
        InvalidInput: the sound is silent, has no pitch, or more than one voice.
    """
    if tune.silent:
        raise InvalidInput(
            f"there is no melody in {name}: it is silent",
            hint="hum or whistle a tune close to the microphone",
        )
    if not tune.is_clear:
        raise InvalidInput(
            f"there is no single melody to follow in {name}: of what is heard, "
            f"{tune.clearness:.0%} has one clear pitch, for {tune.sounding_s:.1f} s",
            hint="hum or whistle one voice alone, without backing or drums; or --audio-as search",
        )


def _tuning(semitones: NDArray[np.float64]) -> float:
    """How far the voice lies off the semitones, -0.5…0.5; 0 where it lies on none."""
    mean = np.mean(np.exp(2j * np.pi * semitones))
    return float(np.angle(mean) / (2 * np.pi)) if abs(mean) > _TUNED else 0.0


def _explain(semitones: NDArray[np.float64], voiced: NDArray[np.bool_]) -> NDArray[np.int_]:
    """The pitch of the note that sounds in each frame ``[frames]``, -1 for a rest."""
    low = max(0, int(np.floor(semitones[voiced].min())))
    high = min(127, int(np.ceil(semitones[voiced].max())))
    pitches = np.arange(low, high + 1)
    off = np.minimum(np.abs(semitones[:, None] - pitches), _CAP)
    costs = np.concatenate(
        [
            np.where(voiced, _VOICED_REST, 0.0)[:, None],
            np.where(voiced[:, None], off, _UNVOICED_NOTE),
        ],
        axis=1,
    )
    came = np.zeros(costs.shape, dtype=int)
    total = costs[0].copy()
    own = np.arange(total.size)
    for frame in range(1, len(costs)):
        best = int(total[1:].argmin()) + 1
        change = np.full(total.size, total[best] + _CHANGE)
        origin = np.full(total.size, best)
        change[0] = total[best] + _BREATH
        if total[0] + _BREATH < change[1]:
            change[1:], origin[1:] = total[0] + _BREATH, 0
        moved = change < total
        came[frame] = np.where(moved, origin, own)
        total = np.where(moved, change, total) + costs[frame]
    states = np.empty(len(costs), dtype=int)
    states[-1] = int(total.argmin())
    for frame in range(len(costs) - 1, 0, -1):
        states[frame - 1] = came[frame, states[frame]]
    return np.where(states == 0, -1, low + states - 1)


def _runs(states: NDArray[np.int_], track: PitchTrack) -> list[tuple[int, int]]:
    """First frame and end of every note; a note that was sung again is several."""
    edges = np.flatnonzero(np.diff(states)) + 1
    runs: list[tuple[int, int]] = []
    for first, last in zip([0, *edges], [*edges, states.size], strict=True):
        if states[first] >= 0:
            runs += _sung_again(track.level_db, int(first), int(last))
    return runs


def _sung_again(level_db: NDArray[np.float64], first: int, last: int) -> list[tuple[int, int]]:
    """Parts of a held pitch between which the level dips."""
    margin = round(_DIP_MARGIN_S / HOP_S)
    if last - first <= 2 * margin:
        return [(first, last)]
    inside = level_db[first + margin : last - margin]
    dip = first + margin + int(inside.argmin())
    beside = min(float(level_db[first:dip].max()), float(level_db[dip:last].max()))
    if beside - level_db[dip] < _DIP_DB:
        return [(first, last)]
    return _sung_again(level_db, first, dip) + _sung_again(level_db, dip, last)
