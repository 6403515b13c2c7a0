"""The embedded index, through our code, against qdrant-client's local mode, used directly.

Same points (20,000 × 512 with BM25 terms and payload), same queries, same filter, same process::

    python benchmarks/bench_store.py

Ours flushes every batch to the disk and breaks ties by id; the local mode lives in memory.
Both search exactly. A second pair of lines shows ours after its HNSW graph was built over int8
vectors, rescored by the originals.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from qdrant_client import QdrantClient, models

from rag_audio.domain import Key, Segment, SegmentFilter, Stem, StemKind
from rag_audio.domain.ports import IndexedSegment
from rag_audio.storage.bm25 import encode_document
from rag_audio.storage.qdrant_common import payload_of
from rag_audio.storage.qdrant_edge import EdgeIndex

BATCH = 256
LIMIT = 10
WORDS = ("drums", "bass", "piano", "strings", "warm", "boom bap", "lead", "pad", "organ", "vinyl")


def make_points(count: int, dimension: int) -> list[IndexedSegment]:
    """Random unit vectors on stems of eight segments, two thirds of them licensed."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((count, dimension), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    points = []
    for n in range(count):
        number = n // 8
        stem = Stem(
            id=uuid.UUID(int=number).hex * 2,
            library="bench",
            path=f"stems/{number:05}.flac",
            kind=StemKind.AUDIO if number % 5 else StemKind.MIDI,
            license=f"license-{number % 3}",
            duration_s=45.0,
            artist=f"Artist {number % 40}",
            title=f"Take {number}",
            tags=(WORDS[number % 10], WORDS[number // 10 % 10]),
            bpm=70.0 + number % 90,
            key=Key(number % 12, bool(number % 2)),
        )
        points.append(
            IndexedSegment(
                id=str(uuid.UUID(bytes=rng.bytes(16), version=4)),
                segment=Segment(stem, 5.0 * (n % 8), 10.0),
                dense=vectors[n],
                sparse=encode_document(stem.caption),
            )
        )
    return points


def upsert_rate(upsert: Callable[[list[IndexedSegment]], object], points: list) -> float:
    """Points per second over batches of 256."""
    start = time.perf_counter()
    for at in range(0, len(points), BATCH):
        upsert(points[at : at + BATCH])
    return len(points) / (time.perf_counter() - start)


def query_ms(search: Callable[[np.ndarray], list[str]], queries: np.ndarray) -> tuple[float, list]:
    """Median milliseconds of one query, and what each found; one query warms up."""
    search(queries[0])
    times, found = [], []
    for query in queries:
        start = time.perf_counter()
        found.append(search(query))
        times.append(time.perf_counter() - start)
    return float(np.median(times)) * 1e3, found


class LocalMode:
    """qdrant-client's local mode, in memory, called as its documentation does."""

    def __init__(self, dimension: int) -> None:
        self.client = QdrantClient(":memory:")
        self.client.create_collection(
            "bench",
            vectors_config={
                "clap": models.VectorParams(size=dimension, distance=models.Distance.COSINE)
            },
            sparse_vectors_config={"bm25": models.SparseVectorParams(modifier=models.Modifier.IDF)},
        )

    def upsert(self, points: list[IndexedSegment]) -> None:
        self.client.upsert(
            "bench",
            [
                models.PointStruct(
                    id=point.id,
                    vector={
                        "clap": point.dense.tolist(),
                        "bm25": models.SparseVector(
                            indices=list(point.sparse.indices), values=list(point.sparse.values)
                        ),
                    },
                    payload=payload_of(point.segment),
                )
                for point in points
            ],
        )

    def search(self, query: np.ndarray, where: models.Filter | None) -> list[str]:
        answer = self.client.query_points(
            "bench",
            query=query.tolist(),
            using="clap",
            query_filter=where,
            limit=LIMIT,
            with_payload=True,
            with_vectors=["clap"],
        )
        return [str(point.id) for point in answer.points]


LICENSED = frozenset({"bench/license-0", "bench/license-1"})
EVERY = LICENSED | {"bench/license-2"}
OURS_FILTERED = SegmentFilter(
    license_keys=LICENSED, bpm_ranges=((88.0, 96.0),), kind=StemKind.AUDIO
)
LOCAL_FILTERED = models.Filter(
    must=[
        models.FieldCondition(key="license", match=models.MatchAny(any=sorted(LICENSED))),
        models.FieldCondition(key="bpm", range=models.Range(gte=88.0, lte=96.0)),
        models.FieldCondition(key="kind", match=models.MatchAny(any=["audio"])),
    ]
)


def measure(count: int, dimension: int, queries: int, folder: Path) -> list[tuple[str, ...]]:
    """All rows of the table: what, ours, local mode, ratio."""
    warnings.filterwarnings("ignore", message="Local mode is not recommended")
    points = make_points(count, dimension)
    asked = np.random.default_rng(1).standard_normal((queries, dimension)).astype(np.float32)
    edge = EdgeIndex(folder / "index", space="bench", dimension=dimension)
    local = LocalMode(dimension)
    rates = upsert_rate(edge.upsert, points), upsert_rate(local.upsert, points)
    rows = [("upserts/s", f"{rates[0]:,.0f}", f"{rates[1]:,.0f}", f"{rates[0] / rates[1]:.1f} x")]

    def compare(what: str, where: SegmentFilter, local_where: models.Filter | None) -> None:
        ours, ours_found = query_ms(
            lambda query: [hit.id for hit in edge.search_dense(query, where, LIMIT)], asked
        )
        theirs, theirs_found = query_ms(lambda query: local.search(query, local_where), asked)
        same = sum(
            len(set(a) & set(b)) for a, b in zip(ours_found, theirs_found, strict=True)
        ) / max(1, sum(map(len, theirs_found)))
        rows.append(
            (
                f"{what}, ms (same hits {same:.1%})",
                f"{ours:.2f}",
                f"{theirs:.2f}",
                f"{theirs / ours:.1f} x",
            )
        )

    everything = SegmentFilter(license_keys=EVERY)
    compare("query, plain", everything, None)
    compare("query, filtered", OURS_FILTERED, LOCAL_FILTERED)
    start = time.perf_counter()
    edge.build()
    built_s = time.perf_counter() - start
    rows.append(("build (HNSW over int8), s", f"{built_s:.1f}", "-", "-"))
    compare("query, plain, after build", everything, None)
    compare("query, filtered, after build", OURS_FILTERED, LOCAL_FILTERED)
    edge.close()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=20_000)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--queries", type=int, default=50)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(options.points, options.dimension, options.queries, Path(folder))
    print(f"{options.points:,} points × {options.dimension}, {LIMIT} hits with payload and vector")
    load = f"load average {os.getloadavg()[0]:.1f}"
    machine = f"{platform.machine()}, {os.cpu_count()} CPUs, {load}"
    print(f"{machine}, Python {platform.python_version()}\n")
    print("| | rag-audio on Qdrant Edge | qdrant-client local mode | ratio |")
    print("|---|---:|---:|---:|")
    for row in rows:
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
