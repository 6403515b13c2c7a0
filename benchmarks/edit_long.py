"""Parts of ``bench_edit.py`` that paint without a home: seams, and extensions to three minutes."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from edit_material import SONGS, row, share, song, spread, sustained_clips

from rag_audio.audio import analysis
from rag_audio.audio.dsp import loudness_lufs
from rag_audio.domain import Audio
from rag_audio.domain.music import COMMON, bar_s
from rag_audio.domain.ports import DiffusionInput, Generator
from rag_audio.generation.inpainting import Grid, Painted, paint
from rag_audio.pipeline.edit_orders import EXTEND, INPAINT, STRENGTHS, Order, canvas_of
from tests.pipeline.editing.seams import measure_seams

Say = Callable[..., None]
WINDOW_S = 30.0


def batch_of(generator: Generator, words: str, seed: int) -> DiffusionInput:
    """The default settings of an extension."""
    info = generator.info
    return DiffusionInput(
        words, "", 10.0, info.default_steps, info.default_guidance, (seed,), STRENGTHS[EXTEND]
    )


def seams(generator: Generator, count: int, say: Say) -> None:
    """In-paintings, and extensions to both sides, of sustained clips."""
    say("\n### Seams on sustained clips\n")
    say(
        "The largest at a seam (within 0.1 s) over the largest elsewhere in the piece, mean over "
        "clips [95 %] and the worst; a seam stands out above 1. Level: the step from the 0.4 s "
        "before to the 0.4 s after, at the seams and the largest elsewhere.\n"
    )
    say("| edit | clips | sample step | worst | high-band flux | worst | no seam stands out | "
        "level at seams, dB | elsewhere, dB |")  # fmt: skip
    say("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for order in (
        Order(INPAINT, ((2.5, 4.5), (6.5, 7.5))),
        Order(EXTEND, left_s=4.0, right_s=12.0),
    ):
        found = []
        for i, (_, sound, words) in enumerate(sustained_clips(count)):
            canvas = canvas_of(order, sound, Grid(), None)
            painted = paint(canvas, batch_of(generator, words, i), generator)
            found.append(measure_seams(painted.audio, painted.seams_s))
        passed = sum(one.step <= 1 and one.flux <= 1 for one in found)
        name = "inpaint, two regions" if order.kind == "inpaint" else "extend, both sides"
        say(
            row(
                name,
                len(found),
                spread([one.step for one in found]),
                f"{max(one.step for one in found):.2f}",
                spread([one.flux for one in found]),
                f"{max(one.flux for one in found):.2f}",
                share(passed, len(found)),
                spread([one.level_db for one in found], 1),
                spread([one.level_elsewhere_db for one in found], 1),
            )
        )


def extensions(generator: Generator, count: int, say: Say) -> None:
    """Eight bars of a demo song made three minutes long."""
    say("\n### Extension to 3 minutes\n")
    say(
        f"Tempo and loudness of every whole window of {WINDOW_S:g} s that is new, against those of "
        "the eight bars that were extended. Where the model's music has no clear pulse in a "
        "window, no tempo is measured or another multiple (2:3, 3:4, …) of the song's: those are "
        "counted, and drift is that of the others.\n"
    )
    say("| song | bpm | tempo drift, worst window | windows without it "
        "| loudness drift, worst window, LU | last window, LU |")  # fmt: skip
    say("|---|---:|---:|---:|---:|---:|")
    tempo_ok = loud_ok = windows = lost = 0
    worst: list[float] = []
    loud: list[float] = []
    for i in range(count):
        name, words, bpm = SONGS[i % len(SONGS)]
        sound = song(name, bpm)
        painted = extended(generator, sound, words, bpm, 180.0, i)
        drifts, others, levels = drift(painted.audio, sound, bpm)
        windows, lost = windows + len(levels), lost + others
        worst.append(max(drifts, default=math.nan))
        loud.append(max(map(abs, levels)))
        tempo_ok += bool(drifts) and worst[-1] <= 1.0 and others == 0
        loud_ok += loud[-1] <= 1.0
        title = name.split("/")[1] + (f" (seed {i})" if i >= len(SONGS) else "")
        say(row(title, bpm, f"{worst[-1]:.2f} %", f"{others} of {len(levels)}",
                f"{loud[-1]:.2f}", f"{levels[-1]:+.2f}"))  # fmt: skip
    say(
        f"\nTempo drift at most 1 % in every window: {share(tempo_ok, count)}; of windows at the "
        f"song's tempo: {share(windows - lost, windows)}. Loudness drift at most 1 LU in every "
        f"window: {share(loud_ok, count)}; mean of the worst {spread(loud)} LU."
    )


def extended(
    generator: Generator, sound: Audio, words: str, bpm: float, total_s: float, seed: int
) -> Painted:
    """The sound, extended to the right as ``rag-audio extend`` does."""
    order = Order(EXTEND, right_s=total_s - sound.duration_s)
    canvas = canvas_of(order, sound, Grid(bar_s(bpm, COMMON)), None)
    return paint(canvas, batch_of(generator, f"{words}, {bpm} bpm", seed), generator)


def drift(piece: Audio, source: Audio, bpm: float) -> tuple[list[float], int, list[float]]:
    """Per cent of tempo by window, windows at another multiple, and loudness steps in LU."""
    target = loudness_lufs(source)
    drifts: list[float] = []
    others = 0
    levels: list[float] = []
    frames = round(WINDOW_S * piece.sample_rate)
    for start in range(source.frames, piece.frames - frames + 1, frames):
        window = Audio(np.ascontiguousarray(piece.samples[:, start : start + frames]),
                       piece.sample_rate)  # fmt: skip
        levels.append(loudness_lufs(window) - target)
        found = analysis.analyse(window).bpm
        if found is None:
            others += 1
            continue
        ratio = found / bpm
        ratio /= 2.0 ** round(math.log2(ratio))
        if abs(ratio - 1) > 0.04:
            others += 1
        else:
            drifts.append(100 * abs(ratio - 1))
    return drifts, others, levels


def memory(say: Say) -> None:
    """Peak memory of a process of its own that extends a song to one and to three minutes."""
    say("\n### Memory\n")
    say("Peak resident memory of a process that extends eight bars (stereo, 44.1 kHz).\n")
    say("| piece | peak, MB | the piece's own samples, MB |")
    say("|---|---:|---:|")
    peaks = []
    for total_s in (20.0, 60.0, 180.0):
        command = [sys.executable, __file__, str(total_s)]
        made = subprocess.run(command, capture_output=True, check=True, text=True)
        peak, own = json.loads(made.stdout.splitlines()[-1])
        peaks.append((peak, own))
        say(row(f"{total_s:g} s", f"{peak:.0f}", f"{own:.0f}"))
    more = (peaks[-1][0] - peaks[1][0]) / (peaks[-1][1] - peaks[1][1])
    say(f"\nFrom one minute to three: {more:.1f} bytes of peak for each byte of the piece.")


def _child(total_s: float) -> None:
    from rag_audio.models.stable_audio import load_generator

    name, words, bpm = SONGS[0]
    sound = song(name, bpm)
    painted = extended(load_generator("stable-audio-mini"), sound, words, bpm, total_s, 0)
    # Not getrusage: its peak is inherited from the process that started this one.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]
    print(json.dumps([peak, painted.audio.samples.nbytes / 2**20]))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    _child(float(sys.argv[1]))
