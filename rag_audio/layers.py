"""Take the drums, or what has pitch, out of a recording."""

from __future__ import annotations

import numpy as np

from rag_audio.compiled import librosa_ready
from rag_audio.controls import Layer
from rag_audio.domain import Audio

_WINDOW = 2048
_MARGIN = 1.5
_PAST_DB = 30.0


def extract(audio: Audio, layer: Layer) -> Audio:
    """The percussive or the harmonic part of the sound, same rate, channels and length.

    Median filters along time and frequency tell one from the other (Fitzgerald, "Harmonic /
    percussive separation using median filtering", DAFx 2010; the margin is that of Driedger, Müller
    and Disch, ISMIR 2014); one mask serves all channels. It is made
    from their mean power, so that what has opposite polarity in two of them counts too. It is no
    source separation: a plucked string's attack counts as percussion, a long cymbal as harmony.
    """
    if audio.frames < _WINDOW:
        return audio
    librosa = librosa_ready()
    spectra = librosa.stft(audio.samples, n_fft=_WINDOW)
    together = np.sqrt(np.mean(np.square(np.abs(spectra)), axis=0))
    harmonic, percussive = librosa.decompose.hpss(together, mask=True, margin=_MARGIN)
    mask = percussive if layer is Layer.DRUMS else harmonic
    made = librosa.istft(spectra * mask[None], n_fft=_WINDOW, length=audio.frames)
    return Audio(np.ascontiguousarray(made, dtype=np.float32), audio.sample_rate)


def holds_nothing(part: Audio, whole: Audio) -> bool:
    """Whether a layer is so far (30 dB) below its sound that it is what the filter left over."""
    energies = [float(np.mean(np.square(a.samples, dtype=np.float64))) for a in (part, whole)]
    return energies[0] <= energies[1] * 10 ** (-_PAST_DB / 10)
