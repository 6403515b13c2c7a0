"""What is met of requests to two real libraries, before and after a change of the product.

    OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/bench_real_library.py --work DIR
        [--before REV] [--only before|after] [--requests N] [--report]

Needs Debian's ``sonic-pi-samples`` and ``openttd-openmsx``. Each request of
:data:`benchmarks.real_requests.REQUESTS` is made plainly, and once more with its tempo and key
enforced, by the tree of REV (``git archive``) and by this one, with the same seeds. Each tree
indexes the libraries anew, because what it measures of them is a part of it. All outputs are then
read by :mod:`benchmarks.real_reader`, which shares no method with the product and reads sounds of
known tempo and key first: what it gets right of these bounds what can be seen.

An output takes 4 s of one core, enforced among two candidates 8 s, reading it 2 s, and indexing the
libraries 5 minutes: about 70 minutes for all of it and both trees. What is there in DIR is not made
again, so it can be stopped and started; plain requests come first. Remove ``DIR/after`` to measure
a tree that changed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, over_groups, share_of, wilson
from benchmarks.real_material import NotInstalled, lay_out
from benchmarks.real_reading import Reading, Readings, Side
from benchmarks.real_requests import REQUESTS, Asked
from benchmarks.real_sources import HEARD_SHARE
from benchmarks.real_truths import clash_scale

ROOT = Path(__file__).resolve().parent.parent
MODES = ("plain", "enforced")


def main() -> None:
    given = _arguments()
    try:
        libraries = lay_out(given.work / "libraries")
    except NotInstalled as missing:
        raise SystemExit(str(missing)) from None
    sides = _sides(given)
    if not given.report:
        for side, tree in sides:
            if given.only in (None, side.name):
                _make(side, tree, libraries, given)
    readings = Readings(given.work, REQUESTS[: given.requests])
    _print_reader(readings.truths())
    rows = {(side.name, mode): readings.outputs(side, mode) for mode in MODES for side, _ in sides}
    _print_outputs({place: found for place, found in rows.items() if found})


def _sides(given: argparse.Namespace) -> list[tuple[Side, Path]]:
    """What is compared, each with its tree."""
    found = []
    if given.before is not None:
        folder = given.work / f"before-{given.before}"
        tree = folder / "tree"
        if not tree.is_dir():
            packed = subprocess.run(
                ["git", "archive", given.before], cwd=ROOT, capture_output=True, check=True
            ).stdout
            with tarfile.open(fileobj=BytesIO(packed)) as archive:
                archive.extractall(tree, filter="data")
        found.append((Side("before", folder), tree))
    found.append((Side("after", given.work / "after"), ROOT))
    return found


def _make(side: Side, tree: Path, libraries: list[Path], given: argparse.Namespace) -> None:
    """Run the worker under a tree, for what is not made yet."""
    jobs = [
        {"name": f"{mode}-{number:03d}", "fields": _fields(asked, mode, number, given)}
        for mode in MODES
        for number, asked in enumerate(REQUESTS[: given.requests])
    ]
    side.folder.mkdir(parents=True, exist_ok=True)
    file = side.folder / "jobs.json"
    document = {
        "home": str(side.folder.resolve() / "home"),
        "libraries": [str(root.resolve()) for root in libraries],
        "out": str(side.outputs.resolve()),
        "jobs": jobs,
    }
    file.write_text(json.dumps(document, indent=1), encoding="utf-8")
    worker = Path(__file__).with_name("real_worker.py")
    subprocess.run(
        [sys.executable, "-P", str(worker), str(file.resolve())],
        env={**os.environ, "PYTHONPATH": str(tree.resolve())},
        cwd=tree,
        check=True,
    )


def _fields(asked: Asked, mode: str, number: int, given: argparse.Namespace) -> dict[str, Any]:
    """The request as fields of the product's own."""
    fields: dict[str, Any] = {
        "prompt": asked.words,
        "bpm": asked.bpm,
        "duration_s": given.duration,
        "seed": given.seed + number,
    }
    if asked.key is not None:
        fields["key"] = asked.key
    if given.steps is not None:
        fields["steps"] = given.steps
    if mode == "enforced":
        fields["enforce"] = ["tempo"] if asked.key is None else ["tempo", "key"]
        fields["candidates"] = given.candidates
    return fields


def _print_reader(truths: list[Reading]) -> None:
    """What the reader gets right of sounds that are known: no output can do better."""
    print("\n## What the reader gets right of known sounds of 8 s\n")
    print("| sounds | n | tempo by the comb | wrong tempo taken | librosa alone: same | half or "
          "double | n with key | exact | exact or relative |")  # fmt: skip
    print("|---|---:|---|---|---|---|---:|---|---|")
    for kind in ("score", "loop", "composed"):
        own = [one for one in truths if one["kind"] == kind]
        keyed = [one for one in own if one["key"] is not None]
        print(
            f"| {kind} | {len(own)} | {_share(own, 'tempo')} | {_share(own, 'tempo_by_chance')} "
            f"| {_octave(own, 'same')} | {_octave(own, 'half or double')} | {len(keyed)} "
            f"| {_share(keyed, 'exact')} | {_share(keyed, 'key')} |"
        )
    same, apart = clash_scale()
    print(f"\nDisagreement of two parts of one score {same}, of two scores {apart}.")


def _print_outputs(rows: dict[tuple[str, str], dict[int, Reading]]) -> None:
    print("\n## Outputs\n")
    print("Requests that both sides have. A refused one meets nothing.\n")
    print("| tree | requests | n | refused | tempo met | taken by chance | librosa alone: same "
          "| half or double | tempo, drums | tempo, pitched |")  # fmt: skip
    print("|---|---|---:|---:|---|---|---|---|---|---|")
    shown = {place: _common(place, rows) for place in rows}
    for (side, mode), own in shown.items():
        drums, pitched = _split(own)
        print(
            f"| {side} | {mode} | {len(own)} | {sum('refused' in one for one in own.values())} "
            f"| {_share(own.values(), 'tempo')} | {_share(own.values(), 'tempo_by_chance')} "
            f"| {_octave(own.values(), 'same')} | {_octave(own.values(), 'half or double')} "
            f"| {_share(drums, 'tempo')} | {_share(pitched, 'tempo')} |"
        )
    print("\n| tree | requests | n pitched | key exact | exact or relative | clash | pitched "
          "references at once |")  # fmt: skip
    print("|---|---|---:|---|---|---|---|")
    for (side, mode), own in shown.items():
        _, pitched = _split(own)
        print(
            f"| {side} | {mode} | {len(pitched)} | {_share(pitched, 'exact')} "
            f"| {_share(pitched, 'key')} | {_mean(pitched, 'clash')} | {_mean(pitched, 'songs')} |"
        )
    print("\n| tree | requests | family heard | its share of the seed | percussive energy, drums "
          "| pitched | likeness | copy distance | s of processor |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---:|")
    for (side, mode), own in shown.items():
        drums, pitched = _split(own)
        heard = [one.get("family", 0.0) >= HEARD_SHARE for one in own.values()]
        print(
            f"| {side} | {mode} | {wilson(sum(heard), len(heard))} "
            f"| {_mean(own.values(), 'family')} "
            f"| {_mean(drums, 'percussive')} | {_mean(pitched, 'percussive')} "
            f"| {_mean(own.values(), 'likeness')} | {_mean(own.values(), 'copy')} "
            f"| {_mean(own.values(), 'cpu_s').value:.1f} |"
        )
    _print_aims(shown)


def _print_aims(shown: dict[tuple[str, str], dict[int, Reading]]) -> None:
    """What was aimed at, of the tree after the change."""
    for mode in MODES:
        before, after = shown.get(("before", mode)), shown.get(("after", mode))
        if after is None:
            continue
        _, pitched = _split(after)
        said = f"tempo {_share(after.values(), 'tempo')} (aim 0.80), key {_share(pitched, 'key')}"
        print(f"\nAfter, {mode}: {said} (aim 0.70).", end="")
        if before is not None:
            both = [
                (one["clash"], before[number]["clash"])
                for number, one in after.items()
                if REQUESTS[number].key is not None and "clash" in one and "clash" in before[number]
            ]
            print(f" Clash, after ÷ before: {share_of(*zip(*both, strict=True))} (aim 0.50).")
    print()


def _common(
    place: tuple[str, str], rows: dict[tuple[str, str], dict[int, Reading]]
) -> dict[int, Reading]:
    """Of one side and mode, the requests that the other side has in this mode, where it has any."""
    numbers = set.intersection(*(set(own) for (_, m), own in rows.items() if m == place[1]))
    return {number: one for number, one in rows[place].items() if number in numbers}


def _split(own: dict[int, Reading]) -> tuple[list[Reading], list[Reading]]:
    """Requests for drums, and for what has pitch."""
    drums = [one for number, one in own.items() if REQUESTS[number].key is None]
    return drums, [one for number, one in own.items() if REQUESTS[number].key is not None]


def _share(own: Iterable[Reading], what: str) -> Figure | str:
    hits = [bool(one.get(what)) for one in own]
    return wilson(sum(hits), len(hits)) if hits else "–"


def _octave(own: Iterable[Reading], octave: str) -> Figure:
    hits = [one.get("octave") == octave for one in own]
    return wilson(sum(hits), len(hits))


def _mean(own: Iterable[Reading], what: str) -> Figure:
    return over_groups([[one[what]] for one in own if one.get(what) is not None])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("real-library-out"), help="kept here")
    parser.add_argument("--before", metavar="REV", help="compare with this revision")
    parser.add_argument("--only", choices=("before", "after"), help="make only one side")
    parser.add_argument("--requests", type=int, default=len(REQUESTS), help="the first N of them")
    parser.add_argument("--seed", type=int, default=1000, help="of the first request")
    parser.add_argument("--duration", type=float, default=8.0, help="seconds of an output")
    parser.add_argument("--steps", type=int, help="of the model; its default where left out")
    parser.add_argument("--candidates", type=int, default=2, help="takes to enforce among")
    parser.add_argument("--report", action="store_true", help="only report what is there")
    return parser.parse_args()


if __name__ == "__main__":
    main()
