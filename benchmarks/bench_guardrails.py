"""How long the guardrails take for a prompt with 10,000 names, against the obvious ways.

The labelled prompts of ``tests/data/guardrails`` and long ones made of them, one after the other::

    python benchmarks/bench_guardrails.py [--names 10000]

The other ways find less: one regular expression of all names (exact spelling only), and RapidFuzz's
``partial_ratio`` of every name against the prompt (misspelling, no disguises, no style phrases).
CPU time stands beside wall time, because other work on the machine adds to the latter only.
"""

from __future__ import annotations

import argparse
import csv
import random
import re
import time
from collections.abc import Callable
from pathlib import Path

from rapidfuzz import fuzz, process

from rag_audio import guardrails
from rag_audio.guardrails import Artist, Policy
from rag_audio.guardrails.normalise import fold

SETS = Path(__file__).parent.parent / "tests" / "data" / "guardrails"
SYLLABLES = (
    *("zor", "bla", "quil", "vey", "tron", "mir", "osk", "bram", "vin", "rel", "dax", "lu", "ka"),
    *("mo", "ne", "ra", "si", "to", "pel", "han", "gor", "wik", "sten", "fal", "jor", "ber", "del"),
    *("nim", "cas", "tor"),
)


def invented(count: int, rng: random.Random) -> list[Artist]:
    """Artists that do not exist, with one to three words in their names."""
    names: set[str] = set()
    while len(names) < count:
        words = [
            "".join(rng.choices(SYLLABLES, k=rng.randint(2, 3))).capitalize()
            for _ in range(rng.choice((1, 2, 2, 2, 3)))
        ]
        names.add(" ".join(words))
    return [Artist(name) for name in sorted(names)]


def prompts() -> tuple[list[str], list[str]]:
    """The labelled prompts, and ones of about 60 words made of innocent ones."""
    short, calm = [], []
    for name in ("dev.csv", "heldout.csv", "fresh.csv"):
        with (SETS / name).open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                short.append(row["prompt"])
                if row["label"] == "innocent":
                    calm.append(row["prompt"])
    return short, [", ".join(calm[i : i + 10]) for i in range(0, len(calm) - 10)]


def times(check: Callable[[str], object], texts: list[str]) -> dict[str, float]:
    """Milliseconds per prompt: wall p50 and p99, CPU p50, p99 and worst; one pass warms up."""
    for text in texts[:20]:
        check(text)
    wall, cpu = [], []
    for text in texts:
        start, begun = time.perf_counter(), time.process_time()
        check(text)
        cpu.append((time.process_time() - begun) * 1e3)
        wall.append((time.perf_counter() - start) * 1e3)
    wall.sort()
    cpu.sort()
    at99 = int(0.99 * len(texts))
    return {
        "p50": wall[len(wall) // 2], "p99": wall[at99],
        "cpu p50": cpu[len(cpu) // 2], "cpu p99": cpu[at99], "cpu max": cpu[-1],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--names", type=int, default=10_000)
    count = parser.parse_args().names
    shipped = guardrails.load_roster(None)
    more = invented(max(0, count - len(shipped.artists)), random.Random(0))
    roster = shipped.with_artists(more)
    policy = Policy(frozenset({"Copper Lantern Trio"}), frozenset(), roster)
    begun = time.process_time()
    guardrails.check("warm piano", policy)
    built = time.process_time() - begun
    print(f"{len(roster.artists)} names; index and first prompt: {built:.2f} s CPU")

    folded = [fold(artist.name) for artist in roster.artists]
    pattern = re.compile(r"\b(?:" + "|".join(map(re.escape, folded)) + r")\b")
    short, long = prompts()
    ways: list[tuple[str, Callable[[str], object], list[str]]] = [
        ("guardrails.check", lambda t: guardrails.check(t, policy), short),
        ("one regular expression", lambda t: pattern.search(fold(t)), short),
        (
            "RapidFuzz over all names",
            lambda t: process.extractOne(fold(t), folded, scorer=fuzz.partial_ratio),
            short[:60],
        ),
        ("guardrails.check, 60 words", lambda t: guardrails.check(t, policy), long),
    ]
    columns = ("p50", "p99", "cpu p50", "cpu p99", "cpu max")
    print(f"{'ms per prompt':28}{'prompts':>8}" + "".join(f"{c:>10}" for c in columns) + "   ratio")
    first: float | None = None
    for name, check, texts in ways:
        found = times(check, texts)
        first = first or found["cpu p50"]
        row = "".join(f"{found[c]:10.2f}" for c in columns)
        print(f"{name:28}{len(texts):8}{row}{found['cpu p50'] / first:8.1f}")


if __name__ == "__main__":
    main()
