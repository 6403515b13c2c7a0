"""How long a library's rows take to be sealed, held against the log, and verified.

    python benchmarks/bench_sealing.py --rows 1000000

Rows are as long as real ones. *Seal* is what an index run that changed something adds at its end,
*begin* what every run adds at its start, and *verify* the whole of ``ledger verify`` on a log
with this library alone. ``RAG_AUDIO_DATABASE_URL`` names a PostgreSQL to measure there.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Engine, insert

from rag_audio.domain import Stem, StemKind
from rag_audio.domain.codec import encode
from rag_audio.provenance.ledger.ledger import SqlLedger
from rag_audio.provenance.ledger.rights_log import SqlRightsLog
from rag_audio.storage.catalogue import SqlCatalogue
from rag_audio.storage.database import connect, sqlite_url, writing
from rag_audio.storage.rights_tables import files

_ROWS_AT_ONCE = 5000


def fill(engine: Engine, count: int) -> None:
    """Rows of ``count`` files of one library, which :class:`SqlCatalogue` would write slower."""
    for start in range(0, count, _ROWS_AT_ONCE):
        rows = []
        for i in range(start, min(count, start + _ROWS_AT_ONCE)):
            stem = Stem(
                id=f"{i:064x}",
                library="bench",
                path=f"drums/loops/pack {i // 100:05d}/break {i:07d}.flac",
                kind=StemKind.AUDIO,
                license="bench",
                duration_s=30.25,
                artist=f"Artist {i % 997}",
                title=f"Break {i}",
                tags=("drums", "boom bap"),
                bpm=92.5,
            )
            rows.append(
                {
                    "library": "bench",
                    "path": stem.path,
                    "size": 3_000_000 + i,
                    "mtime_ns": 1_790_000_000_123_456_789 + i,
                    "declared": f"{i % 991:064x}",
                    "space": "c" * 64,
                    "stem_id": stem.id,
                    "artist": stem.artist,
                    "stem": json.dumps(encode(stem), ensure_ascii=False),
                    "decision": "",
                }
            )
        with writing(engine) as db:
            db.execute(insert(files), rows)


def timed(name: str, rows: int, work: Callable[[], object]) -> object:
    """Print how long it takes, and the most memory that the process had until then."""
    began = time.perf_counter()
    result = work()
    took = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"| {name} | {took:.1f} | {rows / took:,.0f} | {peak:.0f} |")
    return result


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        own = sqlite_url(Path(folder, "ledger.db"))
        engine = connect(os.environ.get("RAG_AUDIO_DATABASE_URL") or own)
        catalogue, ledger = SqlCatalogue(engine, SqlRightsLog()), SqlLedger(engine)
        catalogue.put_library("bench", "Bench", "/nowhere")
        fill(engine, rows)
        print(f"{engine.dialect.name}, {rows:,} rows, load {os.getloadavg()[0]:.1f}\n")
        print("| what | seconds | rows a second | peak memory, MiB |\n|---|---:|---:|---:|")
        timed("seal", rows, lambda: catalogue.seal("bench"))
        if timed("begin", rows, lambda: catalogue.begin("bench")):
            raise SystemExit("rows were taken for changed")
        if timed("verify", rows, ledger.verify):
            raise SystemExit("the rows do not verify")


if __name__ == "__main__":
    main()
