"""The ledger's appends, beside bare commits on the same file and beside pymerkle.

    python benchmarks/bench_ledger.py

A *bare commit* is one row of the same document's size, inserted into a table of its own in the same
SQLite file with ``synchronous=FULL``: what the disk allows. Single appends and bare commits take
turns, block by block, so that another load on the machine strikes both alike. pymerkle (GPL-3, so
never a dependency) is measured where somebody has installed it, in its own SQLite file.
"""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from sqlalchemy import func, select

from rag_audio.domain import (
    AttributionRecord,
    Channel,
    Influence,
    License,
    Reference,
    Segment,
    SourceUse,
    Stem,
    StemKind,
    Use,
)
from rag_audio.provenance.ledger.audit import faults
from rag_audio.provenance.ledger.audit_tables import table_faults
from rag_audio.provenance.ledger.ledger import SqlLedger
from rag_audio.provenance.trace.fingerprint import HASHES, Fingerprint
from rag_audio.provenance.trace.fingerprint_store import SqlFingerprints, postings
from rag_audio.storage.database import connect, reading, sqlite_url

LICENSE = License(
    "bench", "lab", "Bench Holder", "CC0-1.0", frozenset({Use.PROMPT, Use.INIT_AUDIO})
)


def make_record(output: int, references: int = 3) -> AttributionRecord:
    """As long as a real one: three references, a plan with its spans."""
    from datetime import UTC, datetime

    sources = []
    for i in range(references):
        stem = Stem(
            id=f"{output * 10 + i:064x}",
            library="lab",
            path=f"keys/take {i}.flac",
            kind=StemKind.AUDIO,
            license="bench",
            duration_s=30.0,
            artist=f"Artist {i}",
            title=f"Take {i}",
            tags=("keys", "warm"),
            bpm=92.0,
        )
        influence = Influence({Channel.PROMPT: 0.1, Channel.INIT: 0.2}, None, 0.5)
        sources.append(
            SourceUse(Reference(Segment(stem, 0.0, 10.0), 0.7, i + 1), LICENSE, influence)
        )
    spans = [
        {"start": i, "end": i + 9, "text": f"words {i}", "tokens": 2, "stem": f"{i:064x}"}
        for i in range(references)
    ]
    plan = {
        "prompt": "dusty boom bap",
        "enriched_prompt": "dusty boom bap, warm keys",
        "spans": spans,
        "seed_parts": [{"reference": i, "weight": 0.25, "gain_db": 0.5} for i in range(references)],
        "strength": 0.4,
        "notes": ["tempo from the first reference"],
    }
    return AttributionRecord(
        output=output,
        created=datetime.now(UTC),
        request={"prompt": "dusty boom bap", "negative_prompt": "", "k": references},
        plan=plan,
        sources=tuple(sources),
        model_share={Channel.PROMPT: 0.7, Channel.INIT: 0.4},
        model="bench",
        model_id="0" * 64,
        embedder_id="bench",
        index_id="bench",
        untrained=False,
        seed=output,
        pcm_sha256=f"{output:064x}",
        marked_pcm_sha256=f"{output + 2**50:064x}",
        files={"out.wav": f"{output + 2**51:064x}"},
        watermark={"name": "bench", "payload": output},
        versions={"torch": "2", "numpy": "1"},
    )


def rate(work: Callable[[], object], times: int) -> float:
    """Calls per second."""
    start = time.perf_counter()
    for _ in range(times):
        work()
    return times / (time.perf_counter() - start)


def alternating(folder: Path, blocks: int, each: int) -> list[tuple[str, float, float]]:
    """Medians of the rates per block, and of their ratio to the block of bare commits beside it."""
    path = folder / "ledger.db"
    ledger = SqlLedger(connect(sqlite_url(path)))
    ledger.append(make_record(ledger.next_output_id()))
    size = len(next(ledger.documents()))
    bare = sqlite3.connect(path, isolation_level=None)
    bare.execute("PRAGMA synchronous = FULL")
    bare.execute("CREATE TABLE bench (n INTEGER PRIMARY KEY, document BLOB)")

    def commit() -> None:
        bare.execute("BEGIN IMMEDIATE")
        bare.execute("INSERT INTO bench (document) VALUES (?)", (os.urandom(size),))
        bare.execute("COMMIT")

    def number_and_append() -> None:
        ledger.append(replace(record, output=ledger.next_output_id()))

    rates: dict[str, list[float]] = {name: [] for name in ("bare", "append", "both")}
    for _ in range(blocks):
        record = make_record(1)
        rates["bare"].append(rate(commit, each))
        numbers = [ledger.next_output_id() for _ in range(each)]
        waiting = iter([make_record(number) for number in numbers])
        rates["append"].append(rate(lambda w=waiting: ledger.append(next(w)), each))
        rates["both"].append(rate(number_and_append, each))
    bare.close()
    names = {"bare": "bare commits", "append": "append", "both": "next_output_id + append"}
    return [
        (
            label,
            statistics.median(rates[name]),
            statistics.median(a / b for a, b in zip(rates[name], rates["bare"], strict=True)),
        )
        for name, label in names.items()
    ]


def batched(folder: Path, batch: int, batches: int) -> tuple[float, float]:
    """Records per second of ``append_many``: by the clock, and of processor time."""
    ledger = SqlLedger(connect(sqlite_url(folder / "batched.db")))
    waiting = iter(
        [[make_record(ledger.next_output_id()) for _ in range(batch)] for _ in range(batches)]
    )
    start = time.process_time()
    found = batch * rate(lambda: ledger.append_many(next(waiting)), batches)
    return found, batch * batches / (time.process_time() - start)


def pymerkle_rate(folder: Path, times: int) -> float | None:
    """Appends per second of pymerkle's SqliteTree; None where it is not installed."""
    try:
        from pymerkle import SqliteTree
    except ImportError:
        return None
    content = os.urandom(3000)
    with SqliteTree(str(folder / "pymerkle.db")) as tree:
        tree.con.execute("PRAGMA synchronous = FULL")
        return rate(lambda: tree.append_entry(content), times)


def verify_rate(folder: Path) -> float:
    """Entries per second that ``verify`` checks."""
    ledger = SqlLedger(connect(sqlite_url(folder / "batched.db")))
    start = time.perf_counter()
    if ledger.verify():
        raise SystemExit("the ledger does not verify")
    return ledger.size() / (time.perf_counter() - start)


def side_tables_rate(folder: Path, outputs: int, landmarks: int) -> tuple[float, float]:
    """What fingerprints add to ``verify``: rows of their index per second of processor time, and
    the time of a verification with all tables by that of the log alone."""
    engine = connect(sqlite_url(folder / "prints.db"))
    ledger, store, draw = SqlLedger(engine), SqlFingerprints(engine), np.random.default_rng(1)
    for _ in range(outputs):
        hashes, times = draw.integers(0, HASHES, landmarks), draw.integers(0, 30_000, landmarks)
        made, number = Fingerprint(hashes, times, 30.0), ledger.next_output_id()
        said = {"sha256": made.sha256, "landmarks": landmarks, "duration_s": 30.0}
        record = replace(make_record(number), checks={"fingerprint": said})
        ledger.append_many([record], partial(store.put_in, output=number, fingerprint=made))
    spent = []
    with reading(engine) as db:
        rows = db.execute(select(func.count()).select_from(postings)).scalar_one()
        for check in (faults, table_faults):
            start = time.process_time()
            if list(check(db)):
                raise SystemExit("the database does not verify")
            spent.append(time.process_time() - start)
    return rows / spent[1], sum(spent) / spent[0]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=9)
    parser.add_argument("--each", type=int, default=60)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, closing(sqlite3.connect(":memory:")) as db:
        folder = Path(name)
        version = db.execute("SELECT sqlite_version()").fetchone()[0]
        print(
            f"{platform.machine()}, {os.cpu_count()} cores, SQLite {version}, load "
            f"{os.getloadavg()[0]:.1f}; {given.blocks} blocks of {given.each}\n"
        )
        print("| what | per second | × bare commits |\n|---|---|---|")
        for label, found, ratio in alternating(folder, given.blocks, given.each):
            print(f"| {label} | {found:.0f} | {ratio:.2f} |")
        by_clock, by_cpu = batched(folder, 500, 6)
        print(f"| append_many, batches of 500 | {by_clock:.0f} | |")
        print(f"| the same, per second of processor time | {by_cpu:.0f} | |")
        beside = pymerkle_rate(folder, 200)
        said = "not installed" if beside is None else f"{beside:.0f}"
        print(f"| pymerkle SqliteTree.append_entry | {said} | |")
        print(f"| verify, entries | {verify_rate(folder):.0f} | |")
        rows, ratio = side_tables_rate(folder, 500, 1000)
        print(f"| verify, rows of the index of fingerprints | {rows:.0f} | |")
        print(f"\nverify with 1,000 landmarks per output takes {ratio:.1f} × that of the log alone")


if __name__ == "__main__":
    main()
