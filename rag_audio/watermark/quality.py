"""How well a mark is hidden: its distance below the sound, and below what the sound masks."""

from __future__ import annotations

import csv
import math
import random
from pathlib import Path

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from rag_audio.audio.dsp import resample
from rag_audio.audio.writing import save
from rag_audio.domain import Audio
from rag_audio.errors import InvalidInput

_RATE = 48_000
_FRAME = 2048
_BATCH = 256
_BARK_STEP = 0.25
_PLAYBACK_DB = 92.0
"""Level that a sine of full scale is played at, dB SPL (ITU-R BS.1387, 2.1.3)."""


def snr_db(before: Audio, after: Audio) -> float:
    """Ratio of the sound to what was added to it; infinite where nothing was."""
    added = after.samples.astype(np.float64) - before.samples
    noise = float(np.sum(added**2))
    power = float(np.sum(np.square(before.samples, dtype=np.float64)))
    if noise == 0.0:
        return float("inf")
    return 10.0 * float(np.log10(max(power, 1e-30) / noise))


def noise_to_mask_db(before: Audio, after: Audio) -> float:
    """Total noise-to-mask ratio: how far what was added lies above (+) what the sound masks.

    Brandenburg, "Evaluation of quality for audio encoding at low bit rates", AES 82, 1987, with the
    outer-ear weighting, bands of a quarter Bark, spreading slopes and mask offsets of the FFT ear
    model of ITU-R BS.1387; spreading is added as energy and there is no smearing in time, so that
    the figure is an upper one. Below 0 the average band is masked; codecs called transparent lie
    near -10.

    Args:
        before, after: same rate, channels and length.
    """
    sound = resample(before, _RATE).samples
    added = resample(Audio(after.samples - before.samples, before.sample_rate), _RATE).samples
    ratios = [
        ratio
        for one, other in zip(sound, added, strict=True)
        for ratio in _frame_ratios(one, other)
    ]
    return 10.0 * float(np.log10(np.mean(ratios))) if ratios else float("-inf")


def _frame_ratios(sound: NDArray[np.float32], added: NDArray[np.float32]) -> list[float]:
    """Mean over bands of noise to mask, per frame that is not silent."""
    if len(sound) < _FRAME:
        return []
    weights, bark = _bands()
    window = np.hanning(_FRAME) * 10 ** (_PLAYBACK_DB / 20) * 4 / _FRAME
    views = [
        np.lib.stride_tricks.sliding_window_view(x, _FRAME)[:: _FRAME // 2] for x in (sound, added)
    ]
    found: list[float] = []
    for start in range(0, len(views[0]), _BATCH):
        energy, noise = (
            np.abs(scipy.fft.rfft(view[start : start + _BATCH] * window, axis=1)) ** 2 @ weights
            for view in views
        )
        mask = _spread(energy + 1e-2, bark) * 10 ** (-np.maximum(3.0, 0.25 * bark) / 10)
        audible = energy.sum(axis=1) > 10 ** (20 / 10)
        found += list((noise / (mask + _threshold(bark))).mean(axis=1)[audible])
    return found


def _spread(energy: NDArray[np.float64], bark: NDArray[np.float64]) -> NDArray[np.float64]:
    """``[K, Z]`` → same: 27 dB per Bark downwards, by level upwards (BS.1387, 2.1.7)."""
    level = 10.0 * np.log10(energy)
    hertz = 650.0 * np.sinh(bark / 7.0)
    upward = np.minimum(-4.0, -24.0 - 230.0 / hertz + 0.2 * level)  # [K, Z] dB per Bark
    spread = np.zeros_like(energy)
    for band in range(len(bark)):
        apart = bark - bark[band]
        up = 10.0 ** (upward[:, band, None] * np.maximum(apart, 0)[None, :] / 10)
        down = 10.0 ** (27.0 * np.minimum(apart, 0) / 10)
        shape = up * down[None, :]
        spread += energy[:, band, None] * shape / shape.sum(axis=1, keepdims=True)
    return spread


def _bands() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """``[bins, Z]`` outer-ear weight of each bin in its band; ``[Z]`` middles in Bark."""
    hertz = np.arange(_FRAME // 2 + 1) * _RATE / _FRAME
    khz = np.maximum(hertz, 20.0) / 1000
    ear_db = -2.184 * khz**-0.8 + 6.5 * np.exp(-0.6 * (khz - 3.3) ** 2) - 0.001 * khz**3.6
    bark = 7.0 * np.arcsinh(hertz / 650.0)
    lowest, highest = 7.0 * np.arcsinh(80 / 650), 7.0 * np.arcsinh(18_000 / 650)
    count = int((highest - lowest) / _BARK_STEP)
    place = np.floor((bark - lowest) / _BARK_STEP).astype(int)
    weights = np.zeros((len(hertz), count))
    known = (place >= 0) & (place < count)
    weights[np.flatnonzero(known), place[known]] = 10 ** (ear_db[known] / 10)
    used = weights.any(axis=0)
    middles = lowest + (np.arange(count) + 0.5) * _BARK_STEP
    return weights[:, used], middles[used]


def _threshold(bark: NDArray[np.float64]) -> NDArray[np.float64]:
    """``[Z]``: internal noise of the ear (BS.1387, 2.1.6)."""
    khz = 0.65 * np.sinh(bark / 7.0)
    threshold: NDArray[np.float64] = 10 ** (0.1456 * khz**-0.8)
    return threshold


# An ABX kit: what a listener needs to find out whether they hear the mark.
#
# Clark, "High-resolution subjective testing using a double-blind comparator", Journal of the
# Audio Engineering Society 30(5), 1982; ITU-R BS.1116 for how to listen.

_README = """Is the mark audible?

Each folder holds three sounds: a.wav is the original, b.wav the marked one, x.wav one of the two.
Listen as often as you like, over good headphones, and write down for each folder whether x is a
or b. Only then open answers.csv.

Who guesses is right in half of the {trials} trials; {needed} or more right answers happen by chance
less than once in twenty times. Fewer are no proof that nobody hears it.
"""


def write_kit(
    before: Audio, after: Audio, folder: Path, *, trials: int, seconds: float, seed: int
) -> int:
    """Write the folders ``01``, ``02``, …, the answers and what to do.

    Args:
        before, after: original and marked sound of the same length.
        trials: number of folders. seconds: length of each excerpt.
        seed: of where excerpts start and which sound is x.

    Returns:
        How many right answers make chance an unlikely explanation (p < 0.05).

    Raises:
        InvalidInput: a number makes no sense, or the folder has something in it.
    """
    if not 1 <= trials <= 100 or not 0.5 <= seconds <= 60:
        raise InvalidInput(
            f"an ABX kit has 1…100 trials of 0.5…60 s, got {trials} of {seconds:g} s"
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InvalidInput(f"{folder} is not an empty folder")
    rng = random.Random(seed)  # noqa: S311
    length = min(before.frames, round(seconds * before.sample_rate))
    answers = []
    for trial in range(1, trials + 1):
        start = rng.randrange(before.frames - length + 1)
        answer = rng.choice("ab")
        parts = {"a": _cut(before, start, length), "b": _cut(after, start, length)}
        here = folder / f"{trial:02d}"
        here.mkdir(parents=True)
        for name, sound in (*parts.items(), ("x", parts[answer])):
            save(sound, here / f"{name}.wav")
        answers.append((f"{trial:02d}", answer))
    with (folder / "answers.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("trial", "x is"), *answers])
    needed = right_answers_needed(trials)
    text = _README.format(trials=trials, needed=needed if needed <= trials else "(too few trials)")
    (folder / "README.txt").write_text(text, encoding="utf-8")
    return needed


def right_answers_needed(trials: int, chance: float = 0.05) -> int:
    """The fewest right answers that guessing gives with less than ``chance``; more than ``trials``
    where no number does."""
    tail = 0.0
    for right in range(trials, -1, -1):
        tail += math.comb(trials, right) / 2**trials
        if tail >= chance:
            return right + 1
    return 0


def _cut(audio: Audio, start: int, length: int) -> Audio:
    """An excerpt that fades in and out over 10 ms, so that it does not click."""
    samples = audio.samples[:, start : start + length].copy()
    fade = min(length // 2, round(0.01 * audio.sample_rate))
    ramp = np.linspace(0.0, 1.0, fade, dtype=np.float32)
    samples[:, :fade] *= ramp
    samples[:, length - fade :] *= ramp[::-1]
    return Audio(samples, audio.sample_rate)
