"""Ways to make the notes of an instrument: parameters in, a maker of notes out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from training import synthesis as syn

if TYPE_CHECKING:
    from training.synthesis import Signal

Sound = tuple["Signal", tuple[int, int] | None]
Maker = Callable[[float, int, int], Sound]
"""Makes the note of a frequency (Hz) at a sample rate (Hz) with a seed."""


@dataclass(frozen=True)
class Instrument:
    """A multisampled instrument.

    Attributes:
        roots: MIDI notes that are synthesised; players transpose between them.
        attack_s, release_s: of the volume envelope around the sample.
        gain_db: on top of the common level, for sounds that end sooner than others.
    """

    make: Maker
    roots: tuple[int, ...]
    rate: int = 22050
    attack_s: float = 0.001
    release_s: float = 0.15
    gain_db: float = 0.0


def struck(
    decay: float, duration: float, ratios: list[float], levels: list[float], **kw: Any
) -> Maker:
    """Bars and bells: the decay of a partial falls with its ratio and with pitch."""

    def make(f0: float, rate: int, seed: int) -> Sound:
        scale = (440 / f0) ** 0.5
        decays = [decay * scale / ratio**0.8 for ratio in ratios]
        length = min(duration, 3 * decay * scale)
        return syn.partials(f0, rate, length, ratios, levels, decays, seed=seed, **kw), None

    return make


def piano(hardness: float, detune: float = 0.0) -> Maker:
    """Stiff strings (Fletcher's inharmonicity), two decay rates, hammer knock."""

    def make(f0: float, rate: int, seed: int) -> Sound:
        n = np.arange(1, min(40, int(0.45 * rate / f0)) + 1, dtype=np.float64)
        stiff = 0.00012 * (f0 / 262) ** 0.9
        ratio = n * np.sqrt(1 + stiff * n**2) / np.sqrt(1 + stiff)
        level = np.abs(np.sin(np.pi * n / 8.3)) ** 0.7 * n**-0.9
        level *= np.exp(-n * f0 / (2200 * hardness))
        decay = 2.2 * (262 / f0) ** 0.6 / (1 + 0.25 * n**0.9)
        length = float(np.clip(1.35 * (262 / f0) ** 0.4, 0.5, 1.6))
        ratios, levels, decays = [ratio], [level], [decay]
        if detune:
            for cents in (-detune, detune):
                ratios.append(ratio * 2 ** (cents / 1200))
                levels.append(level * 0.8)
                decays.append(decay)
        args = (np.concatenate(ratios), np.concatenate(levels), np.concatenate(decays))
        tone = syn.partials(f0, rate, length, *args, knock=0.05 * hardness, seed=seed)
        return tone, None

    return make


def fm(duration: float, *pairs: tuple[float, float, float, float, float, float]) -> Maker:
    """Pairs of FM operators (see synthesis); brightness and decay fall with pitch."""

    def make(f0: float, rate: int, seed: int) -> Sound:
        scale = (330 / f0) ** 0.35
        tamed = [(c, m, i * min(1.0, scale), di, a, d * scale) for c, m, i, di, a, d in pairs]
        return syn.frequency_modulation(f0, rate, duration, tamed), None

    return make


def string(decay: float, bright: float, position: float, damping: float, duration: float) -> Maker:
    """A plucked string whose decay shortens with pitch."""

    def make(f0: float, rate: int, seed: int) -> Sound:
        scale = (196 / f0) ** 0.4
        tone = syn.pluck(
            f0, rate, min(duration, decay * scale), decay_s=decay * scale, bright=bright,
            position=position, damping=damping, seed=seed,
        )  # fmt: skip
        return tone, None

    return make


def blown(spectrum: syn.Spectrum, **kw: Any) -> Maker:
    """A single sustained voice of this spectrum."""
    return lambda f0, rate, seed: syn.sustained(f0, rate, spectrum, seed=seed, **kw)


def many(spectrum: syn.Spectrum, **kw: Any) -> Maker:
    """An ensemble of this spectrum."""
    return lambda f0, rate, seed: syn.ensemble(f0, rate, spectrum, seed=seed, **kw)


def drawbars(*levels: float) -> syn.Spectrum:
    """Organ stops: footages 16, 5⅓, 8, 4, 2⅔, 2, 1⅗, 1⅓, 1 over half the note's frequency."""
    places = {1: 0, 3: 1, 2: 2, 4: 3, 6: 4, 8: 5, 10: 6, 12: 7, 16: 8}

    def spectrum(n: Signal, f: Signal) -> Signal:
        return np.array([levels[places[int(k)]] if int(k) in places else 0.0 for k in 2 * n])

    return spectrum


def harmonics(*levels: float) -> syn.Spectrum:
    """Levels of the first harmonics."""

    def spectrum(n: Signal, f: Signal) -> Signal:
        table = np.zeros(max(len(n), len(levels)))
        table[: len(levels)] = levels
        return table[: len(n)]

    return spectrum


def slope(power: float, cutoff: float, odd: float = 1.0, even: float = 1.0) -> syn.Spectrum:
    """n^-power below a low-pass, odd and even harmonics weighted apart."""

    def spectrum(n: Signal, f: Signal) -> Signal:
        weight = np.where(n % 2 == 1, odd, even)
        return np.asarray(weight * n**-power * syn.low_pass(f, cutoff))

    return spectrum


def tube(power: float, cutoff: float, *peaks: tuple[float, float, float]) -> syn.Spectrum:
    """n^-power below a low-pass, through resonances."""

    def spectrum(n: Signal, f: Signal) -> Signal:
        return n**-power * syn.low_pass(f, cutoff) * syn.formants(f, peaks, 0.25)

    return spectrum


# Resonances (centre Hz, bandwidth Hz, gain): a violin's body, the vowels ah and oo.
BODY = ((290, 120, 0.9), (460, 150, 1.0), (1100, 500, 0.5), (2600, 900, 0.8))
AH = ((730, 110, 1.0), (1100, 130, 0.6), (2600, 200, 0.25), (3300, 300, 0.1))
OO = ((330, 90, 1.0), (800, 110, 0.3), (2400, 250, 0.03))


def surf(rate: int, seed: int) -> Sound:
    """Noise without a pitch."""
    noise = syn.periodic_noise(rate, rate, 200, 7000, seed)
    return np.concatenate([noise, noise[: syn.LOOP_GUARD]]), (0, rate)


def tremolo(f0: float, rate: int, seed: int) -> Sound:
    """A bowed ensemble whose bows go back and forth 12 times a second."""
    tone, loop = syn.ensemble(f0, rate, tube(0.8, 5000, *BODY), cents=10, attack_s=0.05, seed=seed)
    length = loop[1] - loop[0]
    strokes = round(12 * length / rate)
    place = (np.arange(len(tone)) - loop[0]) / length
    return tone * (0.55 + 0.45 * np.cos(2 * np.pi * strokes * place)), loop
