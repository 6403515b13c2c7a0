"""An ear for tempo, key and percussion that shares no method with the product.

The product finds a tempo by autocorrelation of a mel spectrum's rise and the Fourier harmonics of a
period, and a key by the profiles of Albrecht & Shanahan over a constant-Q transform of its own.
Here a tempo is read by laying combs over the onset strength, and a key by librosa's chroma of the
harmonic part and the profiles of Temperley.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import librosa
import numpy as np
import soundfile
from numpy.typing import NDArray

from rag_audio.domain import Key

Curve = NDArray[np.float64]

RATE = 22_050
_HOP = 128
_FRAMES_S = RATE / _HOP
_SMOOTH_S, _SLOW_S = 0.02, 0.8
_DIVISIONS = (1, 2, 4)
_AROUND = np.exp(np.arange(np.log(0.8), np.log(1.25), 0.004))
_NEAR = np.exp(np.arange(-0.045, 0.0451, 0.003))
TOLERANCE = 0.02

# Temperley, "The Cognition of Basic Musical Structures", MIT Press 2001, chapter 7: tonic first.
_MAJOR = (5.0, 2.0, 3.5, 2.0, 4.5, 4.0, 2.0, 4.5, 2.0, 3.5, 1.5, 4.0)
_MINOR = (5.0, 2.0, 3.5, 4.5, 2.0, 4.0, 2.0, 4.5, 3.5, 2.0, 1.5, 4.0)


@dataclass(frozen=True)
class Heard:
    """What is read of one sound.

    Attributes:
        onsets: strength of onsets, 5.8 ms a frame, zero mean and unit variance.
        bpm: by librosa, without knowing what was asked, refined by the comb.
        key: None: silent. percussive: share of the energy.
    """

    onsets: Curve
    bpm: float
    key: Key | None
    percussive: float

    def holds(self, bpm: float) -> bool:
        """Whether a comb at this tempo explains the onsets better than those about it.

        Of the tempos from four fifths to five fourths of it, in steps of 0.4 %, the one whose comb
        lies on most onset strength must be within 2 %. A comb has teeth of equal height on beats,
        halves and quarters of beats at one common phase, the best. Half and double time hold too,
        since their teeth fall together; a piece has to be in one of them all the same.
        """
        fits = [_comb(self.onsets, bpm * step) for step in _AROUND]
        return bool(abs(_AROUND[int(np.argmax(fits))] - 1) <= TOLERANCE)

    def octave(self, bpm: float) -> str:
        """The tempo that is read, beside an asked one: ``same``, ``half or double``, ``other``."""
        if abs(self.bpm / bpm - 1) <= TOLERANCE:
            return "same"
        if any(abs(self.bpm / (bpm * octave) - 1) <= TOLERANCE for octave in (0.5, 2.0)):
            return "half or double"
        return "other"


def read(path: Path) -> NDArray[np.float32]:
    """A sound file in mono at 22.05 kHz."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return at_rate(samples.mean(axis=1), rate)


def at_rate(samples: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    return np.asarray(librosa.resample(samples, orig_sr=rate, target_sr=RATE), dtype=np.float32)


def hear(samples: NDArray[np.float32]) -> Heard:
    """Read a sound in mono at 22.05 kHz."""
    onsets = _onsets(samples)
    spectrum = librosa.stft(samples, n_fft=2048, hop_length=512)
    harmonic, percussive = librosa.decompose.hpss(spectrum, margin=(2.0, 1.0))
    energy = [float(np.sum(np.abs(part) ** 2)) for part in (harmonic, percussive)]
    tuned = librosa.istft(harmonic, hop_length=512, length=samples.size)
    return Heard(
        onsets, _tempo(samples, onsets), _key(chroma(tuned)), energy[1] / max(1e-12, sum(energy))
    )


def _onsets(samples: NDArray[np.float32]) -> Curve:
    """Onset strength less its slow mean, cut at its 99th percentile so that no hit decides."""
    strength = librosa.onset.onset_strength(
        y=samples, sr=RATE, hop_length=_HOP, n_fft=1024, n_mels=64, fmax=8000
    )
    slow = round(_SLOW_S * _FRAMES_S)
    rise = np.maximum(strength - np.convolve(strength, np.ones(slow) / slow, "same"), 0.0)
    smooth = np.hanning(2 * round(_SMOOTH_S * _FRAMES_S) + 3)
    curve = np.convolve(np.minimum(rise, np.percentile(rise, 99)), smooth / smooth.sum(), "same")
    return np.asarray((curve - curve.mean()) / max(1e-9, float(curve.std())), dtype=np.float64)


def _comb(onsets: Curve, bpm: float) -> float:
    """The mean strength under the teeth of a comb at a tempo, summed over divisions of the beat."""
    beat = 60.0 / bpm * _FRAMES_S
    phases = np.arange(0.0, beat, 1.0)
    total = np.zeros(phases.size)
    for division in _DIVISIONS:
        step = beat / division
        starts = np.arange(0.0, step, 1.0)
        teeth = step * np.arange(int((onsets.size - step) // step))
        at = starts[:, None] + teeth[None]
        under = np.interp(at.ravel(), np.arange(onsets.size), onsets).reshape(at.shape).mean(axis=1)
        total += np.interp(phases % step, [*starts, step], [*under, under[0]])
    return float(total.max())


def _tempo(samples: NDArray[np.float32], onsets: Curve) -> float:
    """librosa's tempo with its own prior about 120 bpm, to where the comb is best within 4.5 %."""
    strength = librosa.onset.onset_strength(y=samples, sr=RATE, hop_length=256)
    found = librosa.feature.tempo(
        onset_envelope=strength, sr=RATE, hop_length=256, aggregate=np.mean, ac_size=6.0
    )
    tempi = float(np.ravel(found)[0]) * _NEAR
    return float(tempi[int(np.argmax([_comb(onsets, bpm) for bpm in tempi]))])


def chroma(samples: NDArray[np.float32]) -> Curve:
    """librosa's constant-Q chroma ``[12, frames]``, linear, of five octaves from C2."""
    found = librosa.feature.chroma_cqt(
        y=samples, sr=RATE, hop_length=1024, norm=None, fmin=librosa.note_to_hz("C2"),
        n_octaves=5, tuning=0.0,
    )  # fmt: skip
    return np.asarray(found, dtype=np.float64)


def _key(pitch_classes: Curve) -> Key | None:
    """The key of a chroma ``[12, frames]``, each frame less its median: what drums leave in all."""
    tonal = np.maximum(pitch_classes - np.median(pitch_classes, axis=0), 0.0)
    return key_of(tonal.mean(axis=1))


def key_of(weights: Curve) -> Key | None:
    """The key whose profile correlates best with weights ``[12]`` from C up; None: all equal."""
    if np.ptp(weights) <= 0:
        return None
    fits = [
        np.corrcoef(weights, np.roll(profile, tonic))[0, 1]
        for profile in (_MAJOR, _MINOR)
        for tonic in range(12)
    ]
    best = int(np.argmax(fits))
    return Key(best % 12, best >= 12)
