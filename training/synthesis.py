"""Sound from arithmetic: the engines behind our own instruments.

Every function returns float64 ``[T]`` at ``rate`` Hz; frequencies are Hz, times seconds. Sustained
tones come with a loop. Loops are sums of cosines whose phases are 0 or π at the loop point, so that
the signal is even about it: players round loop points to whole frames of the transposed sample,
and where the slope is zero such a slip makes no click.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.signal import lfilter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Signal = NDArray[np.float64]
    Spectrum = Callable[[Signal, Signal], Signal]
    """Maps harmonic numbers and their frequencies in Hz to amplitudes."""

_TOP = 0.46
"""Partials above this fraction of the sample rate are left out."""


LOOP_GUARD = 64
"""Samples after a loop's end that repeat its start."""


def whole_cycles(f0: float, rate: int, seconds: float) -> tuple[int, float]:
    """Length in samples of about ``seconds`` that holds whole periods, and the exact frequency."""
    cycles = max(1, round(f0 * seconds))
    length = round(cycles * rate / f0)
    return length, cycles * rate / length


def formants(f: Signal, peaks: Sequence[tuple[float, float, float]], floor: float = 0.05) -> Signal:
    """Resonance curve over frequencies: ``peaks`` are (centre Hz, bandwidth Hz, gain)."""
    curve = np.full_like(f, floor)
    for centre, width, gain in peaks:
        curve += gain / (1 + ((f - centre) / (width / 2)) ** 2)
    return curve


def low_pass(f: Signal, cutoff: float, order: float = 2.0) -> Signal:
    """Magnitude of a smooth low-pass at ``cutoff`` Hz."""
    return np.asarray(1 / np.sqrt(1 + (f / cutoff) ** (2 * order)))


def _ramp(u: Signal) -> Signal:
    """Half a cosine from 0 to 1 over u = 0…1."""
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * np.clip(u, 0.0, 1.0)))


def periodic_noise(length: int, rate: int, low: float, high: float, seed: int) -> Signal:
    """Band-limited noise of unit RMS, ``length`` samples periodic and even about sample 0."""
    rng = np.random.default_rng(seed)
    f = np.fft.rfftfreq(length, 1 / rate)
    band = rng.standard_normal(len(f)) * ((f > low) & (f < high))
    noise = np.fft.irfft(band, length)
    return np.asarray(noise / (np.sqrt(np.mean(noise**2)) + 1e-12))


def sustained(
    f0: float,
    rate: int,
    spectrum: Spectrum,
    *,
    loop_s: float = 0.38,
    attack_s: float = 0.06,
    spread: float = 0.7,
    vibrato: tuple[float, float] = (0.0, 0.0),
    tremolo: tuple[float, float] = (0.0, 0.0),
    breath: float = 0.0,
    chiff: float = 0.0,
    blip: float = 0.0,
    drive: float = 0.0,
    seed: int = 0,
) -> tuple[Signal, tuple[int, int]]:
    """A harmonic tone with an attack and a loop.

    Args:
        spread: how much later the highest harmonics enter than the lowest, 0…1.
        vibrato: rate Hz, depth cents (peak). The rate is rounded to whole cycles of the loop.
        tremolo: rate Hz, depth 0…1.
        breath: RMS of steady noise against the tone.
        chiff: peak of a noise burst in the attack.
        blip: extra brightness of the attack (a filter envelope), 0…3.
        drive: soft clipping.

    Returns:
        The sample and its loop.
    """
    length, f = whole_cycles(f0, rate, loop_s)
    attack = max(32, round(attack_s * rate))
    t = (np.arange(attack + length) - attack) / rate
    loop_rate = rate / length
    wobble = max(1, round(vibrato[0] / loop_rate)) * loop_rate
    depth = f * (2 ** (vibrato[1] / 1200) - 1) / wobble
    fade_in = _ramp((t + attack_s) / max(attack_s, 1e-4) * 0.9)
    phase = 2 * np.pi * f * t + depth * np.sin(2 * np.pi * wobble * t) * fade_in
    numbers = np.arange(1, int(_TOP * rate / f) + 1, dtype=np.float64)
    amplitude = spectrum(numbers, numbers * f)
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], len(numbers))
    u = (t + attack / rate) / (attack / rate)
    tone = np.zeros_like(t)
    for n, a in zip(numbers, amplitude * signs, strict=True):
        place = n / len(numbers)
        rise = _ramp(u / (1 - spread * (1 - place))) if attack_s > 0.004 else _ramp(u * 8)
        boost = 1 + blip * place**0.5 * np.clip(1 - u, 0, 1) ** 1.5
        tone += a * rise * boost * np.cos(n * phase)
    tone /= np.sqrt(np.mean(tone[attack:] ** 2))
    if drive:
        tone = np.tanh(tone * drive)
        tone /= np.sqrt(np.mean(tone[attack:] ** 2))
    if tremolo[1]:
        shake = max(1, round(tremolo[0] / loop_rate)) * loop_rate
        tone *= 1 - tremolo[1] * (0.5 - 0.5 * np.cos(2 * np.pi * shake * t))
    if breath:
        noise = periodic_noise(length, rate, 0.7 * f, min(9 * f, 0.4 * rate), seed + 1)
        tone += breath * np.resize(np.roll(noise, attack % length), len(t)) * _ramp(u * 2)
    if chiff:
        burst = np.random.default_rng(seed + 2).standard_normal(attack)
        tone[:attack] += chiff * burst * np.sin(np.pi * np.arange(attack) / attack) ** 2
    return _past_the_end(tone, attack)


def ensemble(
    f0: float,
    rate: int,
    spectrum: Spectrum,
    *,
    loop_s: float = 0.52,
    attack_s: float = 0.08,
    cents: float = 14.0,
    seed: int = 0,
) -> tuple[Signal, tuple[int, int]]:
    """Many players at once: each harmonic is a narrow band of random lines.

    After P. Nasca's PADsynth algorithm, with a real spectrum so that the loop is even.

    Args:
        cents: width of the fundamental's band (standard deviation).
    """
    length, f = whole_cycles(f0, rate, loop_s)
    rng = np.random.default_rng(seed)
    bins = np.fft.rfftfreq(length, 1 / rate)
    lines = np.zeros(len(bins))
    numbers = np.arange(1, int(_TOP * rate / f) + 1, dtype=np.float64)
    for n, a in zip(numbers, spectrum(numbers, numbers * f), strict=True):
        width = max(n**0.8 * f * (2 ** (cents / 1200) - 1), rate / length * 0.6)
        profile = np.exp(-0.5 * ((bins - n * f) / width) ** 2)
        # Of a few draws the one whose power is best centred: many voices, yet in tune.
        draws = profile * rng.standard_normal((12, len(bins)))
        draws[:, round(n * f * length / rate)] += 2.0
        centres = (draws**2 @ bins) / (draws**2).sum(1)
        line = draws[np.argmin(np.abs(centres - n * f))]
        lines += a * line / np.sqrt(np.sum(line**2))
    loop = np.fft.irfft(lines, length)
    loop /= np.sqrt(np.mean(loop**2))
    attack = max(32, round(attack_s * rate))
    whole = np.resize(np.roll(loop, attack % length), attack + length)
    whole[:attack] *= _ramp(np.arange(attack) / attack)
    return _past_the_end(whole, attack)


def _past_the_end(tone: Signal, start: int) -> tuple[Signal, tuple[int, int]]:
    """Let the loop run on a little: players read past its end when they interpolate."""
    return np.concatenate([tone, tone[start : start + LOOP_GUARD]]), (start, len(tone))


def partials(
    f0: float,
    rate: int,
    duration_s: float,
    ratios: Sequence[float] | Signal,
    levels: Sequence[float] | Signal,
    decays_s: Sequence[float] | Signal,
    *,
    attack_s: float = 0.002,
    knock: float = 0.0,
    tremolo: tuple[float, float] = (0.0, 0.0),
    seed: int = 0,
) -> Signal:
    """Struck things: partials at ``ratios`` of f0, each with its level and time constant.

    Args:
        knock: level of a short noise burst at the start.
    """
    t = np.arange(round(duration_s * rate)) / rate
    ratio, level, decay = (np.asarray(v, dtype=np.float64)[:, None] for v in
                           (ratios, levels, decays_s))  # fmt: skip
    audible = (ratio[:, 0] * f0) < _TOP * rate
    rng = np.random.default_rng(seed)
    phase = rng.uniform(0, 2 * np.pi, (len(ratio), 1))
    phase[0] = 0.0
    waves = level * np.exp(-t / decay) * np.sin(2 * np.pi * f0 * ratio * t + phase)
    tone = waves[audible].sum(0) * _ramp(t / attack_s)
    if knock:
        burst = rng.standard_normal(len(t)) * np.exp(-t / 0.006)
        tone += knock * np.abs(tone).max() * lfilter([0.3], [1, -0.7], burst)
    if tremolo[1]:
        tone *= 1 - tremolo[1] * (0.5 - 0.5 * np.cos(2 * np.pi * tremolo[0] * t))
    return fade_out(tone, rate)


def frequency_modulation(
    f0: float,
    rate: int,
    duration_s: float,
    pairs: Sequence[tuple[float, float, float, float, float, float]],
    *,
    attack_s: float = 0.002,
) -> Signal:
    """Pairs of operators (J. Chowning, 1973), summed.

    Args:
        pairs: (carrier ratio, modulator ratio, index, index decay s, level, level decay s).
    """
    t = np.arange(round(duration_s * rate)) / rate
    tone = np.zeros_like(t)
    for carrier, modulator, index, index_decay, level, decay in pairs:
        bend = index * np.exp(-t / index_decay) * np.sin(2 * np.pi * f0 * modulator * t)
        tone += level * np.exp(-t / decay) * np.sin(2 * np.pi * f0 * carrier * t + bend)
    return fade_out(tone * _ramp(t / attack_s), rate)


def pluck(
    f0: float,
    rate: int,
    duration_s: float,
    *,
    decay_s: float,
    bright: float,
    position: float = 0.2,
    damping: float = 0.3,
    seed: int = 0,
) -> Signal:
    """A plucked string (Karplus & Strong 1983; fractional delay after Jaffe & Smith 1983).

    Args:
        decay_s: time in which the fundamental falls by 60 dB.
        bright: cutoff of the excitation as a fraction of the Nyquist frequency, 0…1.
        position: where it is plucked, as a fraction of the string.
        damping: 0…1, how much faster the high partials die.
    """
    period = rate / f0
    rng = np.random.default_rng(seed)
    whole = int(period - 2.0)
    fraction = period - 1.0 - whole
    points = np.arange(4) - 1.0  # third-order Lagrange interpolation around the delay
    d = fraction - 1.0
    lagrange = np.array([np.prod([(d - p) / (q - p) for p in points if p != q]) for q in points])
    loss = np.array([damping / 2, 1 - damping, damping / 2])
    gain = 10 ** (-3 / (f0 * decay_s))
    feedback = gain * np.convolve(loss, lagrange)
    denominator = np.zeros(whole + len(feedback) + 1)
    denominator[0] = 1.0
    # The loss filter adds a sample and the Lagrange taps 1 + d: together the period.
    denominator[whole : whole + len(feedback)] -= feedback
    frames = round(duration_s * rate)
    excitation = np.zeros(frames)
    burst = rng.uniform(-1, 1, max(8, round(period)))
    smooth = np.exp(-np.pi * bright)
    burst = lfilter([1 - smooth], [1, -smooth], burst - burst.mean())
    excitation[: len(burst)] = burst
    notch = max(1, round(position * period))
    excitation[notch:] -= 0.9 * excitation[: frames - notch].copy()
    tone = lfilter([1.0], denominator, excitation)
    return fade_out(lfilter([1, -1], [1, -0.995], tone), rate)


def fade_out(tone: Signal, rate: int, share: float = 0.12) -> Signal:
    """Bring the end to zero over the last ``share`` of the sample."""
    frames = max(16, round(len(tone) * share))
    tone = tone.copy()
    tone[-frames:] *= _ramp(np.arange(frames)[::-1] / frames)
    return tone
