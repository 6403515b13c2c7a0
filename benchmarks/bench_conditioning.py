"""What the two channels of conditioning do, together and alone, at every strength.

    OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/bench_conditioning.py [--cases N] [--work DIR]
        [--write benchmarks/results/conditioning.md] [--pictures docs/pictures]

Every request says the same words, a tempo and a key. Cells differ in what one licensed reference
may give: nothing, words (its tags), sound (its audio, conformed to the asked tempo and key), or
both; where sound is given, at five strengths. What is made goes to ``DIR/trials.jsonl`` line by
line: stop it whenever you like, and the same command goes on. ``--report`` prints without making.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does

import numpy as np

import rag_audio
from benchmarks import conforming_accuracy
from benchmarks.conditioning_material import DURATION_S, lay_out
from benchmarks.conditioning_pictures import draw
from benchmarks.conditioning_trials import CHANNELS, MODES, SOUNDLESS, STRENGTHS, Bench, Trials
from benchmarks.figures import Figure, over_groups, share_of, wilson

Say = Callable[..., None]
Row = dict[str, Any]
Cells = dict[tuple[str, float], dict[str, Figure]]


def main() -> None:
    given = _arguments()
    lines: list[str] = []

    def say(line: str = "") -> None:
        print(line, flush=True)
        lines.append(line)

    trials = Trials(given.work / "trials.jsonl")
    started = time.process_time()
    if not given.report:
        _make(given, trials)
    spent = (time.process_time() - started) / 60
    rows = [row for row in trials.rows.values() if row["case"] < given.cases]
    cells = summarise(rows)
    _head(rows, given, say)
    _grid(cells, rows, say)
    _promises(rows, say)
    _conforming(say)
    if not given.report:
        print(f"\n{spent:.1f} minutes of processor time in this run.")
    if given.pictures is not None:
        draw(cells, given.pictures)
    if given.write is not None:
        given.write.write_text("\n".join(lines).strip() + "\n", encoding="utf-8")


def _make(given: argparse.Namespace, trials: Trials) -> None:
    cases = lay_out(given.work / "library", given.cases)
    with rag_audio.open(given.work / "home") as workspace:
        workspace.index(given.work / "library")
        bench = Bench(workspace, given.takes)
        trials.run(list(bench.jobs(cases, given.enforced)), lambda line: print(line, flush=True))


def summarise(rows: Sequence[Row]) -> Cells:
    """Figures of each cell of the grid; n is the number of references."""
    cells: Cells = {}
    for channels in CHANNELS:
        for strength in (1.0,) if channels in SOUNDLESS else STRENGTHS:
            own = [
                row for row in rows
                if row["kind"] == "grid" and row["channels"] == channels
                and row["strength"] == strength
            ]  # fmt: skip
            cells[channels, strength] = {
                **{what: over_groups(_hits(own, what)) for what in ("tempo", "notes", "key")},
                "similar": over_groups([row["similar"] for row in own]),
                "copy": over_groups([row["copy"] for row in own]),
                "apart": over_groups([[row["apart"]] for row in own]),
                "apart_copy": over_groups([[row["apart_copy"]] for row in own]),
            }
    return cells


def _hits(rows: Sequence[Row], what: str) -> list[list[float]]:
    """Per reference, whether each take has it; none for what has no key."""
    return [[float(t[what]) for t in row["takes"] if t[what] is not None] for row in rows]


def _head(rows: Sequence[Row], given: argparse.Namespace, say: Say) -> None:
    made = [row for row in rows if row["kind"] == "grid"]
    takes = sum(len(row["takes"]) for row in made)
    say("# What the channels of conditioning do")
    say()
    say(f"`{_command(given)}`")
    say()
    say(
        f"{len({row['case'] for row in made})} held-out pieces, {takes} takes of {DURATION_S:g} s "
        "by stable-audio-mini at its default steps and guidance, heard by clap-mini. The words are "
        "the same everywhere, with another tempo (up to a quarter octave away) and key than the "
        "piece's own. Brackets are 95 % intervals: bootstrap over pieces in the first table, "
        "Wilson's in the second."
    )
    say()


def _grid(cells: Cells, rows: Sequence[Row], say: Say) -> None:
    say("## Channels × strength")
    say()
    say(
        "Tempo: as asked within 4 %, half and double time too. Key: the asked key or its relative. "
        "Similarity: cosine to the conformed reference. Copy distance to it: 0 is a copy, 1 "
        "unrelated. Diversity: 1 − cosine between takes of different seeds."
    )
    say()
    say("| channels | strength | n | tempo | key | similarity | copy distance | diversity |")
    say("|---|---:|---:|---|---|---|---|---|")
    for (channels, strength), cell in cells.items():
        level = "–" if channels in SOUNDLESS else f"{strength:g}"
        columns = " | ".join(
            str(cell[what]) for what in ("tempo", "notes", "similar", "copy", "apart")
        )
        say(f"| {channels} | {level} | {cell['tempo'].n} | {columns} |")
    real = [row for row in rows if row["kind"] == "real"]
    tempo = over_groups([[float(row["tempo"])] for row in real])
    notes = over_groups([[float(row["notes"])] for row in real if row["notes"] is not None])
    say(f"| real renders (the ceiling) | | {tempo.n} | {tempo} | {notes} | | | |")
    say()
    _nearest(rows, say)
    keyed = cells["both", 0.4]["notes"].n
    say(f"The key is read on the {keyed} pieces that have one (drums have none).")
    say()


def _nearest(rows: Sequence[Row], say: Say) -> None:
    """What ``--strength auto`` goes by (rag_audio/generation/planning.py)."""
    columns = []
    for strength in STRENGTHS:
        copies = [
            distance for row in rows
            if row["kind"] == "grid" and row["channels"] == "both" and row["strength"] == strength
            for distance in row["copy"]
        ]  # fmt: skip
        columns.append(f"{1 - np.quantile(copies, 0.1):.2f} at {strength:g}" if copies else "–")
    say("Nine of ten takes with both channels stay below a similarity (1 − copy distance) of "
        f"{', '.join(columns)}.")  # fmt: skip
    say()


def _promises(rows: Sequence[Row], say: Say) -> None:
    say("## Tempo and key as fields, and enforced")
    say()
    say(
        "One request per piece; enforced: the best of four, conformed. By the product's own ear, "
        "which also chooses, and by a plain one (librosa's tempo, mean chroma against Krumhansl's "
        "profiles) that nothing chooses by. Share: of what the same ear reads from the real "
        "renders of the same pieces. Aims: tempo ≥ 0.90, key ≥ 0.80 of the ceiling."
    )
    say()
    say("| request | ear | n | tempo | share | n | key | share |")
    say("|---|---|---:|---|---|---:|---|---|")
    real = {row["case"]: row for row in rows if row["kind"] == "real"}
    for mode in ("real renders", *MODES):
        own = {
            row["case"]: row for row in rows
            if row["kind"] == "promise" and row["mode"] == mode and row["case"] in real
        }  # fmt: skip
        if mode == "real renders":
            cases = {row["case"] for row in rows if row["kind"] == "promise"}
            own = {case: real[case] for case in sorted(cases) if case in real}
        for ear, tempo, key in (
            ("own", "tempo", "notes"), ("plain", "plain_tempo", "plain_notes")
        ):  # fmt: skip
            columns = []
            for what in (tempo, key):
                both = [
                    (bool(own[c][what]), bool(real[c][what]))
                    for c in own if own[c][what] is not None
                ]  # fmt: skip
                hits, ceiling = [a for a, _ in both], [b for _, b in both]
                columns += [str(len(both)), str(wilson(sum(hits), len(hits)))]
                columns.append("" if mode == "real renders" else str(share_of(hits, ceiling)))
            say(f"| {mode} | {ear} | {' | '.join(columns)} |")
    say()
    for name, what, aim in (("Tempo", "tempo", 0.9), ("Key", "notes", 0.8)):
        both = [
            (bool(row[what]), bool(real[row["case"]][what])) for row in rows
            if row["kind"] == "promise" and row["mode"] == MODES[-1] and row[what] is not None
        ]  # fmt: skip
        share = share_of([a for a, _ in both], [b for _, b in both])
        verdict = "reached" if share.value >= aim else "missed"
        say(f"{name}, with a reference and enforced, by the own ear: {share} of the ceiling; "
            f"aim ≥ {aim:g}: {verdict}.")  # fmt: skip
    say()


def _conforming(say: Say) -> None:
    found = conforming_accuracy.references()
    gaps = conforming_accuracy.loudness_gaps_lu()
    keys = wilson(sum(one.key for one in found), len(found))
    say("## How exactly references are conformed")
    say()
    say("Chords with a click on every beat, whose truth is known; worst and median.")
    say()
    say("| what | aim | n | median | worst |")
    say("|---|---|---:|---:|---:|")
    tempo = [100 * one.tempo for one in found]
    beats = [1000 * one.beats_s for one in found]
    say(f"| tempo error, % | ≤ 0.5 | {len(tempo)} | {np.median(tempo):.3f} | {max(tempo):.3f} |")
    say(f"| beat error, ms | ≤ 15 | {len(beats)} | {np.median(beats):.1f} | {max(beats):.1f} |")
    say(f"| parts' loudness apart, LU | ≤ 0.5 | {len(gaps)} | {np.median(gaps):.2f} "
        f"| {max(gaps):.2f} |")  # fmt: skip
    say()
    say(f"Key as wanted, or its relative: {keys} of {len(found)}.")


def _command(given: argparse.Namespace) -> str:
    return (
        "OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/bench_conditioning.py "
        f"--cases {given.cases} --enforced {given.enforced} --takes {given.takes}"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cases", type=int, default=100, help="held-out pieces")
    parser.add_argument("--enforced", type=int, default=100, help="of them for the second table")
    parser.add_argument("--takes", type=int, default=3, help="seeds of a cell")
    parser.add_argument("--work", type=Path, default=Path("conditioning-out"), help="kept here")
    parser.add_argument("--report", action="store_true", help="only report what is there")
    parser.add_argument("--write", type=Path, help="put the tables into this file")
    parser.add_argument("--pictures", type=Path, help="put the plots into this folder")
    return parser.parse_args()


if __name__ == "__main__":
    main()
