"""What can be done to sound in memory: rate, channels, loops, time-stretch and transposition.

All functions take and give :class:`Audio`, samples float32 ``[C, T]``; none changes its input.
"""

from __future__ import annotations

import math

import numpy as np
import soxr
from numpy.typing import NDArray

from rag_audio.audio.layouts import ChannelLayout, usual_layout
from rag_audio.audio.librosa_cache import librosa_ready
from rag_audio.audio.loudness import GATING_BLOCK_S, MIN_METER_RATE, LoudnessMeter, TruePeakMeter
from rag_audio.domain import Audio
from rag_audio.domain.controls import Layer
from rag_audio.errors import InvalidInput

Samples = NDArray[np.float32]

MAX_CHANNELS = 8
_MIN_RATE, _MAX_RATE = 1000, 768_000
_MAX_STRETCH = 8.0
_MAX_SEMITONES = 24
_DECLICK_S = 0.003
_FADE_IN_S, _FADE_OUT_S = 0.002, 0.01
_MEL_BREAK_HZ, _MEL_HZ, _MEL_LOG_STEP = 1000.0, 200.0 / 3, np.log(6.4) / 27.0
"""Slaney's mel scale: up to where it is linear, Hz per mel there, and log Hz per mel above."""


def spread_starts(length: float, window: float, most: int, hop: float | None = None) -> list[float]:
    """Where windows begin that are evenly spread from the beginning to the end of a length.

    Args:
        length, window: in one unit, seconds or frames; that of the result. Window > 0.
        most: at most so many windows, ≥ 1.
        hop: the largest step where ``most`` allows it; None: the windows just cover the length.
    """
    last = max(0.0, length - window)
    count = min(most, 1 + math.ceil(last / (hop or window)))
    return [last * n / max(1, count - 1) for n in range(count)]


def spread_windows(audio: Audio, window_s: float, most: int, overlap: float = 0.0) -> list[Audio]:
    """At most ``most`` windows, evenly spread over a sound; a shorter sound is one window.

    Args:
        overlap: of neighbours at least, 0…1, where ``most`` allows it.
    """
    size = max(1, round(window_s * audio.sample_rate))
    starts = map(round, spread_starts(audio.frames, size, most, size * (1.0 - overlap)))
    return [Audio(audio.samples[:, at : at + size], audio.sample_rate) for at in starts]


def resample(audio: Audio, sample_rate: int) -> Audio:
    """The audio at ``sample_rate`` Hz (soxr, high quality), ``round(T · new / old)`` frames long.

    Raises:
        InvalidInput: the rate is not between 1 kHz and 768 kHz.
    """
    if not _MIN_RATE <= sample_rate <= _MAX_RATE:
        raise InvalidInput(f"sample_rate must be {_MIN_RATE}…{_MAX_RATE} Hz, got {sample_rate}")
    if sample_rate == audio.sample_rate:
        return audio
    wanted = round(audio.frames * sample_rate / audio.sample_rate)
    if audio.frames == 0 or wanted == 0:
        return Audio(np.zeros((audio.channels, wanted), np.float32), sample_rate)
    frames = audio.samples.T
    if audio.frames == 1:  # soxr refuses the strides of one frame of several channels
        frames = np.array(frames, order="C", ndmin=2)
    made = soxr.resample(frames, audio.sample_rate, sample_rate, quality="HQ").T
    return Audio(_fit(np.ascontiguousarray(made, dtype=np.float32), wanted), sample_rate)


def to_channels(audio: Audio, n: int, layout: ChannelLayout | None = None) -> Audio:
    """The audio with ``n`` channels.

    One channel from two is their mean; one or two from more is the ITU-R BS.775 downmix, scaled so
    that it cannot clip; more from one are copies; more from two keep left and right, the rest
    silent.

    Args:
        layout: of the audio's channels; None: the usual one of as many.

    Raises:
        InvalidInput: ``n`` or the audio's own count is not in 1…8.
    """
    for count in (n, audio.channels):
        if not 1 <= count <= MAX_CHANNELS:
            raise InvalidInput(f"channels must be 1…{MAX_CHANNELS}, got {count}")
    if n == audio.channels:
        return audio
    if n == 1:
        return mono(audio, layout)
    if audio.channels == 1:
        return Audio(np.repeat(audio.samples, n, axis=0), audio.sample_rate)
    stereo = audio.samples
    if audio.channels > 2:
        stereo = (layout or usual_layout(audio.channels)).stereo_gains @ audio.samples
    mixed = np.zeros((n, audio.frames), np.float32)
    mixed[:2] = stereo
    return Audio(mixed, audio.sample_rate)


def mono(audio: Audio, layout: ChannelLayout | None = None) -> Audio:
    """One channel: the mean of two; of more the downmix by their layout, None: the usual one."""
    if audio.channels == 1:
        return audio
    gains = (layout or usual_layout(audio.channels)).mono_gains
    if np.ptp(gains) > 0:
        folded = gains.astype(np.float32)[None] @ audio.samples
        return Audio(np.ascontiguousarray(folded), audio.sample_rate)
    return Audio(audio.samples.mean(axis=0, keepdims=True, dtype=np.float32), audio.sample_rate)


def loop_to(audio: Audio, frames: int, crossfade: int, period: int | None = None) -> Audio:
    """The audio repeated, never padded, until it is exactly ``frames`` long.

    Repetitions start every ``period`` frames; what the audio holds past the period (at most
    ``crossfade`` frames) fades out while the next repetition fades in, with gains that sum to 1.
    Where it holds nothing more, the last 3 ms fade instead, so that the seam does not click.

    Args:
        frames: wanted length.
        crossfade: longest overlap of two repetitions in frames.
        period: default: all of the audio but the crossfade.

    Raises:
        InvalidInput: the audio is empty, or the period is not within it.
    """
    if audio.frames == 0:
        raise InvalidInput("audio of no length cannot be looped")
    if period is None:
        period = audio.frames - max(0, min(crossfade, audio.frames // 2))
    if not 0 < period <= audio.frames:
        raise InvalidInput(f"the loop must be 1…{audio.frames} frames long, got {period}")
    if audio.frames >= frames and period == audio.frames:
        return Audio(audio.samples[:, :frames], audio.sample_rate)
    once = _seamless(audio, period, max(0, crossfade))
    repeats = -(-frames // period)
    made = np.tile(once, (1, repeats))[:, :frames]
    made[:, : min(period, frames)] = audio.samples[:, : min(period, frames)]
    if frames > period:  # the first pass leads into the first seam
        tail = _declick_frames(audio, period, crossfade)
        made[:, period - tail : period] = once[:, period - tail : period]
    return Audio(made, audio.sample_rate)


def stretch(audio: Audio, time_ratio: float, semitones: int) -> Audio:
    """Change length and pitch independently (Signalsmith Stretch).

    Args:
        time_ratio: output / input duration, 1/8…8; the output has ``round(T · ratio)`` frames.
        semitones: -24…24.

    Raises:
        InvalidInput: a value is out of range.
    """
    if not 1 / _MAX_STRETCH <= time_ratio <= _MAX_STRETCH:
        raise InvalidInput(f"time_ratio must be 1/8…8, got {time_ratio:g}")
    if abs(semitones) > _MAX_SEMITONES:
        raise InvalidInput(f"semitones must be -24…24, got {semitones}")
    wanted = round(audio.frames * time_ratio)
    if (wanted == audio.frames and semitones == 0) or audio.frames == 0:
        return audio
    from python_stretch import Signalsmith

    machine = Signalsmith.Stretch()
    machine.preset(audio.channels, audio.sample_rate)
    machine.setTimeFactor(1.0 / time_ratio)
    machine.setTransposeSemitones(semitones)
    # The machine needs a whole block before and after: it plays short clips as silence otherwise.
    room = int(machine.blockSamples())
    padded = np.pad(audio.samples, ((0, 0), (0, room)))
    made = np.asarray(machine.process(np.ascontiguousarray(padded)), dtype=np.float32)
    return Audio(_fit(made, wanted), audio.sample_rate)


def fade_edges(audio: Audio, *, start: bool = True, end: bool = True) -> Audio:
    """The audio with its first 2 ms faded in and its last 10 ms faded out: it begins and ends at 0.

    Both are raised cosines, over no more than a quarter of the sound. What was cut out of the
    middle of a sound clicks without; a kick struck at the first sample loses less than 1 dB of
    its first 20 ms.

    Args:
        start, end: whether that edge is faded.
    """
    samples, most = audio.samples.copy(), audio.frames // 4
    rising = min(round(_FADE_IN_S * audio.sample_rate), most) if start else 0
    falling = min(round(_FADE_OUT_S * audio.sample_rate), most) if end else 0
    if rising:
        samples[:, :rising] *= _rise(rising)
    if falling:
        samples[:, -falling:] *= _rise(falling)[::-1]
    return Audio(samples, audio.sample_rate)


def _rise(frames: int) -> Samples:
    """A raised cosine from 0 up to, and not quite, 1."""
    return np.asarray(0.5 - 0.5 * np.cos(np.pi / frames * np.arange(frames)), dtype=np.float32)


def mel_filters(
    sample_rate: int,
    fft: int,
    bands: int,
    low_hz: float = 0.0,
    high_hz: float | None = None,
    *,
    equal_area: bool = True,
) -> Samples:
    """Triangular filters on Slaney's mel scale, float32 ``[bands, fft // 2 + 1]``.

    The scale is linear below 1 kHz and logarithmic above (Slaney, "Auditory Toolbox", Interval
    Research technical report 1998-010). Equal to ``librosa.filters.mel``, whose import takes over
    a second, to the last bit.

    Args:
        sample_rate: Hz. fft: samples. low_hz, high_hz: edges in Hz; None is half the rate.
        equal_area: each filter has the area 2 / Hz; else each has the peak 1.
    """
    top = sample_rate / 2 if high_hz is None else high_hz
    edges = _hz_of(np.linspace(_mel_of(low_hz), _mel_of(top), bands + 2))
    widths, slopes = np.diff(edges), np.subtract.outer(edges, np.fft.rfftfreq(fft, 1 / sample_rate))
    rising, falling = -slopes[:-2] / widths[:-1, None], slopes[2:] / widths[1:, None]
    filters: Samples = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    if equal_area:
        filters *= (2.0 / (edges[2:] - edges[:-2]))[:, None]
    return filters


def _mel_of(hz: float) -> float:
    if hz < _MEL_BREAK_HZ:
        return hz / _MEL_HZ
    return float(_MEL_BREAK_HZ / _MEL_HZ + np.log(hz / _MEL_BREAK_HZ) / _MEL_LOG_STEP)


def _hz_of(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    above = _MEL_BREAK_HZ * np.exp(_MEL_LOG_STEP * (mels - _MEL_BREAK_HZ / _MEL_HZ))
    return np.where(mels >= _MEL_BREAK_HZ / _MEL_HZ, above, mels * _MEL_HZ)


def _seamless(audio: Audio, period: int, crossfade: int) -> Samples:
    """One period whose end leads into its start."""
    once = audio.samples[:, :period].copy()
    overlap = min(crossfade, audio.frames - period, period)
    if overlap > 0:
        rising = np.sin(np.linspace(0, np.pi / 2, overlap, dtype=np.float32)) ** 2
        tail = audio.samples[:, period : period + overlap]
        once[:, :overlap] = once[:, :overlap] * rising + tail * (1 - rising)
        return once
    tail_frames = _declick_frames(audio, period, crossfade)
    once[:, period - tail_frames :] *= np.linspace(1, 0, tail_frames, dtype=np.float32)
    return once


def _declick_frames(audio: Audio, period: int, crossfade: int) -> int:
    if min(crossfade, audio.frames - period) > 0:
        return 0
    return min(round(_DECLICK_S * audio.sample_rate), period // 2)


def _fit(samples: Samples, frames: int) -> Samples:
    """Cut to ``frames``, or repeat the last sample for the one or two that rounding left out."""
    missing = frames - samples.shape[1]
    if missing <= 0:
        return np.ascontiguousarray(samples[:, :frames])
    return np.pad(samples, ((0, 0), (0, missing)), mode="edge")


# Take the drums, or what has pitch, out of a recording.

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


# How loud sound is.


def loudness_lufs(audio: Audio, layout: ChannelLayout | None = None) -> float:
    """Integrated loudness in LUFS (ITU-R BS.1770-5, gated); ``-inf`` for silence, and for sound in
    the low-frequency channel alone, which is not counted.

    A clip shorter than one 0.4 s gating block is repeated to fill it: its loudness is that of the
    sound going on.

    Args:
        layout: of the channels; None: the usual one of as many.
    """
    if audio.samples.size == 0 or not np.any(audio.samples):
        return -math.inf
    samples, rate = audio.samples, audio.sample_rate
    if rate < MIN_METER_RATE:
        samples = soxr.resample(samples.T.astype(np.float64), rate, MIN_METER_RATE).T
        rate = MIN_METER_RATE
    block = math.ceil(GATING_BLOCK_S * rate) + 1
    if samples.shape[1] < block:
        samples = np.tile(samples, (1, -(-block // samples.shape[1])))
    meter = LoudnessMeter(rate, layout or usual_layout(audio.channels))
    meter.add(samples)
    return meter.loudness_lufs


def true_peak_dbtp(audio: Audio) -> float:
    """True peak over all channels in dBTP (BS.1770-5 annex 2, 4 × oversampling).

    ``-inf`` for silence.
    """
    meter = TruePeakMeter(audio.sample_rate)
    meter.add(audio.samples)
    return meter.peak_dbtp


def limit_peak(audio: Audio, max_true_peak_dbtp: float = -1.0) -> Audio:
    """The audio turned down, by one gain, until its true peak fits; unchanged where it does."""
    over_db = true_peak_dbtp(audio) - max_true_peak_dbtp
    if not over_db > 0:
        return audio
    return Audio((audio.samples * 10 ** (-over_db / 20)).astype(np.float32), audio.sample_rate)
