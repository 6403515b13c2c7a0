"""Build ``rag-audio.sf2``: all of General MIDI, from arithmetic alone, free to all (CC0).

Each of the 128 programs plays one of our instruments, some with an envelope of their own; bank 128
is a drum kit. Every sample is levelled by its K-weighted power, so that programs are about as
loud as each other. The same code gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.signal import resample_poly

from training.drums import BORROWED, DRUM_RATE, DRUMS
from training.instruments import INSTRUMENTS
from training.programs import PROGRAMS
from training.sf2 import Preset, Sample, Zone, soundfont_bytes
from training.synthesis import LOOP_GUARD, fade_out

if TYPE_CHECKING:
    from training.synthesis import Signal

MAX_BYTES = 6_000_000
_NAME = "rag-audio instruments"
_LICENSE = "CC0-1.0: no rights reserved"
_TARGET_DB = -14.0
_DRUM_TARGET_DB = -13.0
_PEAK = 0.94
_LOW_RATE, _LOW_BELOW_HZ = 16000, 300.0
_SILENT_DB = -34.0
_SILENCE = 256
_ROUNDING_DB = 9.0

_README = """# rag-audio.sf2

The instruments that rag-audio renders MIDI with: a SoundFont 2 file with all 128 General MIDI
programs and a drum kit, {samples} samples of {instruments} instruments, {size:.1f} MB.

- **License:** CC0-1.0. No recording, no sample and no preset of anybody else is in it.
- **Made by** `python -m training soundfont`, that is `training/soundfont.py` with `synthesis.py`
  (additive, subtractive and FM synthesis, Karplus-Strong strings, PADsynth-like ensembles),
  `drums.py`, `instruments.py` and `programs.py`. Running it again writes the same bytes.
- Loops are even about their ends, so that players that round loop points do not click. Levels and
  tuning are in the samples themselves; the presets carry key ranges, pan, attack and release only.

`instruments.csv` has the words by which prompts name the instruments of General MIDI (regular
expressions over small letters), and the register in which each plays melodies.
"""


def _k_weight(f: Signal) -> Signal:
    """Power response close to ITU-R BS.1770's K weighting: low cut at 38 Hz, shelf of +4 dB."""
    low_cut = (f / 38.0) ** 4 / (1 + (f / 38.0) ** 2) ** 2
    shelf = (1 + 10**0.4 * (f / 1500.0) ** 4) / (1 + (f / 1500.0) ** 4)
    return np.asarray(low_cut * shelf)


def weighted_db(tone: Signal, rate: int, window_s: float = 0.4) -> float:
    """K-weighted power in dB of the first ``window_s``, counting what is missing as silence."""
    frames = round(window_s * rate)
    piece = np.zeros(frames)
    piece[: min(frames, len(tone))] = tone[:frames]
    power = np.abs(np.fft.rfft(piece)) ** 2 * _k_weight(np.fft.rfftfreq(frames, 1 / rate))
    return float(10 * np.log10(2 * power.sum() / frames**2 + 1e-12))


def _levelled(tone: Signal, rate: int, loop: tuple[int, int] | None, target: float) -> Signal:
    """Scale to the target power, within the peak limit."""
    steady = tone if loop is None else np.resize(tone[loop[0] : loop[1]], rate)
    gain = 10 ** ((target - weighted_db(steady, rate)) / 20)
    peak = float(np.abs(tone).max())
    if gain * peak <= _PEAK:
        return tone * gain
    # A pluck's first period towers over the rest: round it off rather than turn the note down.
    gain = min(gain, _PEAK * 10 ** (_ROUNDING_DB / 20) / peak)
    return np.asarray(_PEAK * np.tanh(tone * gain / _PEAK))


def _trimmed(tone: Signal, rate: int) -> Signal:
    """Cut the end where nothing louder than the silence threshold follows; fade what is left."""
    loud = np.flatnonzero(np.abs(tone) > np.abs(tone).max() * 10 ** (_SILENT_DB / 20))
    end = min(len(tone), int(loud[-1]) + round(0.02 * rate))
    return fade_out(tone[:end], rate)


def _silent_loop(tone: Signal) -> tuple[Signal, tuple[int, int]]:
    """End in a loop of silence: players give only looped samples a release after the note."""
    end = len(tone) + _SILENCE
    return np.concatenate([tone, np.zeros(_SILENCE + LOOP_GUARD)]), (len(tone), end)


def _note_sample(name: str, root: int) -> Sample:
    """One root note of an instrument, levelled; low notes at a lower rate."""
    instrument = INSTRUMENTS[name]
    f0 = 440.0 * 2 ** ((root - 69) / 12)
    rate = min(instrument.rate, _LOW_RATE) if f0 < _LOW_BELOW_HZ else instrument.rate
    tone, loop = instrument.make(f0, rate, root)
    if loop is None:
        tone = _trimmed(tone, rate)
    levelled = _levelled(tone, rate, loop, _TARGET_DB + instrument.gain_db)
    if loop is None:
        levelled, loop = _silent_loop(levelled)
    return Sample(f"{name[:14]} {root}", levelled, rate, root, loop)


def _ranges(roots: Sequence[int]) -> list[tuple[int, int]]:
    """Key ranges that meet halfway between the roots and cover 0…127."""
    edges = [0, *[(a + b) // 2 + 1 for a, b in pairwise(roots)], 128]
    return [(low, high - 1) for low, high in pairwise(edges)]


def _drum_kit(first: int) -> tuple[list[Sample], Preset]:
    """The kit's samples, numbered from ``first``, and its preset."""
    sounds: dict[int, tuple[Sample, Zone]] = {}
    for note, (name, pan, make) in DRUMS.items():
        tone, rate = _trimmed(make(), DRUM_RATE), DRUM_RATE
        if name.endswith(("tom", "bass drum")):
            tone, rate = resample_poly(tone, 1, 2), DRUM_RATE // 2
        rings_s = len(tone) / rate + 0.05
        cut = 1 if note in (42, 44, 46) else 0
        tone, loop = _silent_loop(_levelled(tone, rate, None, _DRUM_TARGET_DB))
        zone = Zone(0, (note, note), release_s=rings_s, pan=pan, exclusive=cut)
        sounds[note] = Sample(name, tone, rate, note, loop), zone
    samples: list[Sample] = []
    zones: list[Zone] = []
    for key, source in sorted({**{note: note for note in DRUMS}, **BORROWED}.items()):
        sample, zone = sounds[source]
        # A sample header per key: players transpose by key - root, and drums must not be.
        zones.append(replace(zone, sample=first + len(samples), keys=(key, key)))
        samples.append(replace(sample, root=key))
    return samples, Preset("Drum kit", 128, 0, tuple(zones))


def soundfont() -> bytes:
    """The whole file."""
    samples: list[Sample] = []
    first: dict[str, int] = {}
    for name, instrument in INSTRUMENTS.items():
        first[name] = len(samples)
        samples += [_note_sample(name, root) for root in instrument.roots]
    presets = []
    for number, program in enumerate(PROGRAMS):
        instrument = INSTRUMENTS[program.instrument]
        attack = instrument.attack_s if program.attack_s is None else program.attack_s
        release = instrument.release_s if program.release_s is None else program.release_s
        zones = tuple(
            Zone(first[program.instrument] + index, keys, attack, release)
            for index, keys in enumerate(_ranges(instrument.roots))
        )
        presets.append(Preset(program.name, 0, number, zones))
    drums, kit = _drum_kit(len(samples))
    return soundfont_bytes(_NAME, _LICENSE, samples + drums, [*presets, kit])


def build(out: Path) -> Path:
    """Write ``rag-audio.sf2`` and its README into ``out`` (made if missing).

    Returns:
        The soundfont's path.
    """
    data = soundfont()
    if len(data) > MAX_BYTES:
        raise ValueError(f"the soundfont has {len(data)} bytes, more than {MAX_BYTES}")
    out.mkdir(parents=True, exist_ok=True)
    path = out / "rag-audio.sf2"
    path.write_bytes(data)
    roots = sum(len(instrument.roots) for instrument in INSTRUMENTS.values())
    (out / "README.md").write_text(
        _README.format(
            samples=roots + len(DRUMS), instruments=len(INSTRUMENTS), size=len(data) / 1e6
        ),
        encoding="utf-8",
    )
    return path
