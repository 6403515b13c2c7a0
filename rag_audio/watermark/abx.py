"""An ABX kit: what a listener needs to find out whether they hear the mark.

Clark, "High-resolution subjective testing using a double-blind comparator", Journal of the Audio
Engineering Society 30(5), 1982; ITU-R BS.1116 for how to listen.
"""

from __future__ import annotations

import csv
import math
import random
from pathlib import Path

import numpy as np

from rag_audio.audio import save
from rag_audio.domain import Audio
from rag_audio.errors import InvalidInput

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
