"""A waltz on the grid of 4/4 that edits and enforced tempos had, and on its own.

    OMP_NUM_THREADS=1 python benchmarks/bench_metre.py [--seeds 4] [--write FILE]

The demo's waltz (3/4, 108 bpm) is extended, in-painted and brought to its tempo with bars of 4/4
and of 3/4. Each stretch of two bars that is new is folded to one bar, as the rise of eight bands,
and held against the bar of the original at each eighth of a beat: where it fits best, within a
quarter of a beat, says whether its first beat lies where the original's does. Windows are counted
as they are planned, the piece's own beginning among them.
"""

from __future__ import annotations

import argparse
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
from edit_long import batch_of
from edit_material import row, share
from numpy.typing import NDArray
from scipy.signal import stft

from rag_audio.audio import midi
from rag_audio.audio.dsp import stretch
from rag_audio.domain import Aim, Audio, Channel, ConditioningPlan, Controls, Enforcement
from rag_audio.domain.music import COMMON, Signature, bar_s
from rag_audio.domain.ports import Generator
from rag_audio.generation.inpainting import Grid, paint, plan_passes
from rag_audio.generation.take_selection import enforce
from rag_audio.models.stable_audio import load_generator
from rag_audio.pipeline.edit_orders import EXTEND, INPAINT, Order, canvas_of
from rag_audio.resources import data_dir

BPM, WALTZ = 108.0, (3, 4)
BAR = bar_s(BPM, WALTZ)
BINS, BANDS, BLOCK = 24, 8, 2
RATE = 24_000
GRIDS: tuple[Signature, ...] = (COMMON, WALTZ)
WORDS = "folk waltz, steel guitar and fiddle, 108 BPM"

Profile = NDArray[np.float64]


def main() -> None:
    arguments = _arguments()
    lines: list[str] = []

    def say(line: str = "") -> None:
        print(line, flush=True)
        lines.append(line)

    started = time.perf_counter()
    generator = load_generator("stable-audio-mini")
    say("| what is new | bars of | stretches with their first beat in place, seed | as made |")
    say("|---|---|---:|---:|")
    whole = waltz(12)
    cases = (
        ("extend six bars by 30 s", Order(EXTEND, right_s=30.0), waltz(6)),
        ("in-paint four bars of twelve", Order(INPAINT, ((4 * BAR, 8 * BAR),)), whole),
    )
    for name, order, sound in cases:
        for metre in GRIDS:
            seeded, made = edits(generator, order, sound, metre, arguments.seeds)
            say(row(name, "{}/{}".format(*metre), seeded, made))
    for metre in GRIDS:
        say(row("enforce 108 bpm on 100", "{}/{}".format(*metre), "", enforced(whole, metre)))
    say("\n| a piece of 60 s, model window 12 s | windows | begin on a bar line of 3/4 |")
    say("|---|---:|---:|")
    grids = (
        ("4/4, as it was", Grid(bar_s(BPM, COMMON), loose=True)),
        ("3/4", Grid(BAR)),
    )
    for name, grid in grids:
        starts = [one.start_s for one in plan_passes(((0.0, 60.0),), 60.0, 12.0, grid)]
        hits = sum(abs(at - round(at / BAR) * BAR) < 1 / RATE for at in starts)
        say(row(name, len(starts), f"{hits} of {len(starts)}"))
    say(f"\nMade in {(time.perf_counter() - started) / 60:.1f} minutes.")
    if arguments.write is not None:
        _write(arguments.write, lines, arguments.seeds)


def waltz(bars: int) -> Audio:
    """The first bars of the demo's waltz."""
    score = data_dir("demo") / "brannoch-vey/millers-waltz.mid"
    return midi.render(score, sample_rate=RATE, duration_s=bars * BAR)


def edits(
    generator: Generator, order: Order, sound: Audio, metre: Signature, seeds: int
) -> tuple[str, str]:
    """Of what an edit starts from, and of what the model makes of it: how much is in place."""
    canvas = canvas_of(order, sound, Grid(bar_s(BPM, metre)), None)
    regions, own = canvas.regions, folded(sound)
    seeding = canvas.audio if canvas.seed is None else canvas.seed
    played = [place(part, own) for part in stretches(seeding, regions)]
    made = []
    for seed in range(seeds):
        painted = paint(canvas, batch_of(generator, WORDS, seed), generator).audio
        made += [place(part, own) for part in stretches(painted, regions)]
    return in_place(played), in_place(made)


def in_place(found: list[float]) -> str:
    """How many are within a quarter of a beat of where they should be, as text."""
    return share(sum(abs(at) <= 0.25 for at in found), len(found))


def enforced(sound: Audio, metre: Signature) -> str:
    """Of what fills takes of 8 to 12 bars that were too slow: how much is in place."""
    plan = ConditioningPlan(
        prompt="p", enriched_prompt="p", spans=(), negative_prompt="", references=(), licenses=(),
        seed_parts=(), channels=frozenset(Channel), strength=1.0, bpm=BPM, key=None,
        duration_s=sound.duration_s, seed=1, steps=1, guidance=1.0, variations=1, model="m",
        enforcement=Enforcement(frozenset({Aim.TEMPO})), controls=Controls(time_signature=metre),
    )  # fmt: skip
    found = []
    for bars in (8, 9, 10, 11, 12):
        slow = stretch(waltz(bars), BPM / 100.0, 0)
        made = enforce([(1, slow)], plan)
        if made.time_ratio == 1.0:
            raise SystemExit("the take was not conformed: there is nothing to measure")
        begins_s = bars * BAR - 0.2
        fill = Audio(made.audio.samples[:, round(begins_s * RATE) :], RATE)
        found.append(place(fill, folded(sound), begins_s))
    return in_place(found)


def stretches(sound: Audio, regions: tuple[tuple[float, float], ...]) -> list[Audio]:
    """Pieces of two bars of 3/4 within what is new; the sound began on a bar line at 0."""
    found = []
    for start, end in regions:
        first, last = int(np.ceil(start / BAR - 1e-6)), int(end / BAR + 1e-6)
        for bar in range(first, last - BLOCK + 1, BLOCK):
            a, b = round(bar * BAR * RATE), round((bar + BLOCK) * BAR * RATE)
            found.append(Audio(np.ascontiguousarray(sound.samples[:, a:b]), RATE))
    return found


def folded(sound: Audio, begins_s: float = 0.0) -> Profile:
    """Rise of the level of bands over a bar ``[BANDS, BINS]``, each band with mean 0 and norm 1.

    Args:
        begins_s: of the sound, from a bar line.
    """
    hop = 240
    _, times, spectrum = stft(sound.samples.mean(axis=0), RATE, nperseg=1024, noverlap=1024 - hop)
    edges = np.geomspace(2, spectrum.shape[0] - 1, BANDS + 1).round().astype(int)
    power = np.abs(spectrum) ** 2
    bands = np.array([power[a:b].sum(axis=0) for a, b in pairwise(edges)])
    level = 10 * np.log10(bands + 1e-8)
    rise = np.maximum(np.diff(level, axis=1), 0.0)
    places = (((times[1:] + begins_s) % BAR) / BAR * BINS).astype(int) % BINS
    made = np.array(
        [
            np.bincount(places, band, BINS) / np.maximum(np.bincount(places, minlength=BINS), 1)
            for band in rise
        ]
    )
    made -= made.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(made, axis=1, keepdims=True)
    return np.asarray(made / np.maximum(norm, 1e-9))


def place(part: Audio, own: Profile, begins_s: float = 0.0) -> float:
    """By how many beats, -1.5…1.5, the bars of a part lie after those of the original."""
    heard = folded(part, begins_s)
    fits = [float((np.roll(own, lag, axis=1) * heard).sum()) for lag in range(BINS)]
    lag = int(np.argmax(fits))
    return (lag if lag <= BINS / 2 else lag - BINS) * 3 / BINS


def _write(path: Path, lines: list[str], seeds: int) -> None:
    text = path.read_text(encoding="utf-8")
    title = "## Metre"
    before = text.split(f"{title}\n")[0].rstrip()
    command = f"OMP_NUM_THREADS=1 python benchmarks/bench_metre.py --seeds {seeds}"
    words = (__doc__ or "").split("\n\n")[2].strip()
    made = "\n".join(lines).rstrip()
    path.write_text(f"{before}\n\n{title}\n\n`{command}`. {words}\n\n{made}\n", encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=4, help="how often each edit is made")
    parser.add_argument("--write", type=Path, help="put the tables at the end of this file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
