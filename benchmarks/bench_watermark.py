"""The watermark, measured: what it survives, how far below the sound it lies, speed, false alarms.

    OMP_NUM_THREADS=1 python benchmarks/bench_watermark.py [--quick] [--recordings DIR]
        [--results FILE.jsonl] [--minutes 90] [--false 10000] [--write benchmarks/RESULTS.md]

Every row is one attack on every clip; nothing tells the detector which. A trial counts when exactly
the payload is read, with a valid tag. Bounds are Wilson's, 95 %. Trials where the attack takes more
than 20 dB of a clip's energy are counted apart. ``--results`` keeps trials, so that a run that was
broken off goes on where it was. Where an ``audiowmark`` binary is on PATH it marks and reads the
same clips, for a second column.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import subprocess
import tempfile
import time
import zlib
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from watermark_attacks import Attack, make_attacks
from watermark_clips import make_clips

from rag_audio.audio.dsp import loudness_lufs, mono, resample
from rag_audio.audio.reading import load
from rag_audio.audio.writing import save
from rag_audio.domain import Audio
from rag_audio.domain.ports import Mark
from rag_audio.watermark import grid
from rag_audio.watermark.quality import noise_to_mask_db, snr_db
from rag_audio.watermark.spread_spectrum import SpreadSpectrumWatermarker

KEY = b"the key of the watermark benchmark"
HEADING = "## Watermark"
LOST_DB = 20.0
Trial = dict[str, Any]
Made = TypeVar("Made")


def main() -> None:
    arguments = _arguments()
    lines: list[str] = []

    def say(line: str = "") -> None:
        print(line, flush=True)
        lines.append(line)

    deadline = time.monotonic() + 60 * arguments.minutes
    rendered = 5 if arguments.quick else arguments.rendered
    clips = list(make_clips(30.0, rendered, None if arguments.quick else arguments.recordings))
    results = Results(arguments.results)
    marker = SpreadSpectrumWatermarker(KEY)
    marked = _mark_all(marker, clips, say)
    if "payloads" in arguments.parts:
        _payloads(marker, clips, 40 if arguments.quick else arguments.payloads, say)
    if "false" in arguments.parts:
        tries = 200 if arguments.quick else arguments.false
        _false_positives([clip for _, _, clip in clips], tries, deadline, say)
    attacks = make_attacks(clips[0][2])
    if arguments.quick:
        attacks = attacks[::4]
    if "attacks" in arguments.parts:
        _attack_all(marker, marked, attacks, results, deadline)
        _print_attacks(attacks, results, say)
    if arguments.write is not None:
        _write(arguments.write, lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few clips, every fourth row")
    parser.add_argument("--recordings", type=Path, help="folder of recordings to use as well")
    parser.add_argument("--rendered", type=int, default=24, help="how many scores of the demo")
    parser.add_argument("--results", type=Path, help="keeps trials; a second run goes on")
    parser.add_argument("--minutes", type=float, default=90.0)
    parser.add_argument("--payloads", type=int, default=1000)
    parser.add_argument("--false", type=int, default=10_000)
    parser.add_argument("--parts", default="payloads,false,attacks", help="what to measure")
    parser.add_argument("--write", type=Path)
    return parser.parse_args()


class Results:
    """Trials by (row, clip), appended to a file as they are made."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.trials: dict[tuple[str, str], Trial] = {}
        if path is not None and path.exists():
            for line in path.read_text().splitlines():
                trial = json.loads(line)
                self.trials[trial["row"], trial["clip"]] = trial

    def add(self, trial: Trial) -> None:
        self.trials[trial["row"], trial["clip"]] = trial
        if self.path is not None:
            with self.path.open("a") as file:
                file.write(json.dumps(trial) + "\n")

    def of(self, row: str) -> list[Trial]:
        return [trial for (name, _), trial in self.trials.items() if name == row]


Marked = list[tuple[str, str, Audio, Mark]]


def _mark_all(
    marker: SpreadSpectrumWatermarker,
    clips: list[tuple[str, str, Audio]],
    say: Callable[[str], None],
) -> Marked:
    by_kind: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    made: Marked = []
    for number, (name, kind, clip) in enumerate(clips):
        mark = Mark(zlib.crc32(name.encode()) + number * 2**32)
        marked, embed_s = _timed(lambda clip=clip, mark=mark: marker.embed(clip, mark))
        if marked is None:
            say(f"{name} ({kind}) cannot carry a mark.")
            continue
        _, detect_s = _timed(lambda marked=marked: marker.detect(marked))
        _, search_s = _timed(lambda clip=clip: marker.detect(clip))
        moved = abs(loudness_lufs(marked) - loudness_lufs(clip))
        by_kind[kind].append(
            (
                snr_db(clip, marked),
                noise_to_mask_db(clip, marked),
                moved,
                *(clip.duration_s / seconds for seconds in (embed_s, detect_s, search_s)),
            )
        )
        made.append((name, kind, marked, mark))
    say(
        "\n| kind | clips | SNR dB, least | noise to mask dB, mean, worst | LU moved, most "
        "| embed | detect | full search (× real time, median) |"
    )
    say("|---|---|---|---|---|---|---|---|")
    by_kind["all"] = [row for rows in by_kind.values() for row in rows]
    for kind, rows in by_kind.items():
        table = np.array(rows)
        speeds = " | ".join(f"{np.median(table[:, i]):.0f}" for i in (3, 4, 5))
        say(
            f"| {kind} | {len(rows)} | {table[:, 0].min():.1f} | {table[:, 1].mean():.1f}, "
            f"{table[:, 1].max():.1f} | {table[:, 2].max():.3f} | {speeds} |"
        )
    return made


def _timed(work: Callable[[], Made]) -> tuple[Made, float]:
    started = time.perf_counter()
    made = work()
    return made, time.perf_counter() - started


def _attack_all(
    marker: SpreadSpectrumWatermarker,
    marked: Marked,
    attacks: list[Attack],
    results: Results,
    deadline: float,
) -> None:
    other = Rival() if shutil.which("audiowmark") else None
    for attack in attacks:
        for name, kind, clip, mark in marked:
            if time.monotonic() > deadline:
                return
            if (attack.name, name) in results.trials:
                continue
            rng = np.random.default_rng(zlib.crc32(f"{attack.name} {name}".encode()))
            copy = attack.apply(clip, rng)
            found = marker.detect(copy)
            lost = _energy_db(clip) - _energy_db(copy)
            trial = {
                "row": attack.name, "clip": name, "kind": kind, "read": found.mark == mark,
                "wrong": found.mark not in (None, mark), "lost_db": round(lost, 1),
                "tempo": found.tempo, "semitones": found.semitones,
            }  # fmt: skip
            if other is not None:
                trial["rival"] = other.reads(name, clip, attack, rng)
            results.add(trial)


class Rival:
    """``audiowmark`` on the same clips: marks with its default strength, reads without hints."""

    message = "0123456789abcdef0011223344556677"

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp())

    def reads(self, name: str, clip: Audio, attack: Attack, rng: np.random.Generator) -> bool:
        marked = self.folder / f"{name}.wav"
        if not marked.exists():
            save(clip, self.folder / "plain.wav")
            self._run("add", str(self.folder / "plain.wav"), str(marked), self.message)
        copy = self.folder / "copy.wav"
        save(attack.apply(load(marked), rng), copy)
        return self.message in self._run("get", str(copy))

    @staticmethod
    def _run(*words: str) -> str:
        done = subprocess.run(["audiowmark", *words], capture_output=True, text=True, check=False)
        return done.stdout


def _energy_db(audio: Audio) -> float:
    return 10 * math.log10(float(np.mean(np.square(audio.samples, dtype=np.float64))) + 1e-20)


def _print_attacks(attacks: list[Attack], results: Results, say: Callable[[str], None]) -> None:
    rival = any("rival" in trial for trial in results.trials.values())
    say("\n| attack | read | Wilson 95 % | aim | |" + (" audiowmark |" if rival else ""))
    say("|---|---|---|---|---|" + ("---|" if rival else ""))
    for attack in attacks:
        trials = results.of(attack.name)
        whole = [trial for trial in trials if trial["lost_db"] <= LOST_DB]
        for part, label in (
            (whole, ""),
            ([t for t in trials if t not in whole], " (> 20 dB lost)"),
        ):
            if not part:
                continue
            hits = sum(trial["read"] for trial in part)
            low, high = wilson(hits, len(part))
            aim = "report" if attack.aim is None or label else f"{100 * attack.aim:.0f} %"
            missed = attack.aim is not None and not label and hits / len(part) < attack.aim
            names = ", ".join(t["clip"] for t in part if not t["read"])
            note = f"{'miss' if missed else ''}{': ' if missed and names else ''}{names}"
            column = f" {sum(t.get('rival', False) for t in part)} |" if rival else ""
            say(
                f"| {attack.name}{label} | {hits} of {len(part)} "
                f"| {100 * low:.0f}–{100 * high:.0f} % | {aim} | {note} |{column}"
            )
    wrong = sum(trial["wrong"] for trial in results.trials.values())
    say(f"\nWrong payloads with a valid tag: {wrong} of {len(results.trials)} trials.")


def _payloads(
    marker: SpreadSpectrumWatermarker,
    clips: list[tuple[str, str, Audio]],
    count: int,
    say: Callable[[str], None],
) -> None:
    """Different payloads, each in 10 s of a clip, read back."""
    rng = np.random.default_rng(3)
    low = [resample(mono(clip), grid.RATE) for _, _, clip in clips[:8]]
    right = 0
    for number in range(count):
        clip = low[number % len(low)]
        start = int(rng.integers(0, clip.frames - 10 * grid.RATE))
        piece = Audio(clip.samples[:, start : start + 10 * grid.RATE].copy(), grid.RATE)
        mark = Mark(int(rng.integers(0, 2**40)))
        made = marker.embed(piece, mark)
        right += made is not None and marker.detect(made, search=False).mark == mark
    say(f"\n{right} of {count} different payloads read back from 10 s of music.")


def _false_positives(
    clips: list[Audio], tries: int, deadline: float, say: Callable[[str], None]
) -> None:
    """Windows of 5 s with one key each: unmarked, or marked with another key."""
    rng = np.random.default_rng(4)
    low = [resample(mono(clip), grid.RATE) for clip in clips[:: max(1, len(clips) // 12)]]
    stranger = SpreadSpectrumWatermarker(b"a key that nobody looks for, ever")
    low += [m for clip in low[:6] if (m := stranger.embed(clip, Mark(7))) is not None]
    false, done, searched = 0, 0, max(20, tries // 25)
    for number in range(tries):
        if time.monotonic() > deadline:
            break
        clip = low[number % len(low)]
        start = int(rng.integers(0, clip.frames - 5 * grid.RATE))
        window = Audio(clip.samples[:, start : start + 5 * grid.RATE].copy(), grid.RATE)
        detector = SpreadSpectrumWatermarker(rng.bytes(32))
        false += detector.detect(window, search=number < searched).mark is not None
        done += 1
    say(
        f"\nFalse positives: {false} of {done} windows of 5 s (unmarked, or marked with another "
        f"key), one key each, {min(done, searched)} with the full search; upper Wilson bound "
        f"{wilson(false, done)[1]:.1e}. Analytic bound per file: at most 4096 decodes × 2^-32 = "
        f"{4096 / 2**32:.1e}."
    )


def wilson(hits: int, tries: int, z: float = 1.96) -> tuple[float, float]:
    """Bounds of a share, 95 % (Wilson 1927)."""
    if tries == 0:
        return 0.0, 1.0
    share = hits / tries
    middle = share + z * z / (2 * tries)
    half = z * math.sqrt(share * (1 - share) / tries + z * z / (4 * tries * tries))
    return (middle - half) / (1 + z * z / tries), (middle + half) / (1 + z * z / tries)


def _write(path: Path, lines: list[str]) -> None:
    """Put the tables in the place of the watermark's section."""
    text = path.read_text(encoding="utf-8")
    head, rest = text.split(HEADING, 1)
    after = rest[rest.index("\n## ") :] if "\n## " in rest else "\n"
    body = "\n".join(lines)
    path.write_text(f"{head}{HEADING}\n{body}\n{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
