"""What a real Qdrant server does with what it is sent: runs where ``RAG_AUDIO_TEST_QDRANT_URL`` is.

``RAG_AUDIO_TEST_QDRANT_API_KEY`` is its key, if it has one. The server is 1.16 or newer, one node
or several; what needs several is skipped on one. Each test works in collections of its own, which
are deleted. The contract of :class:`.StemIndex` runs against it in ``tests/contracts``, too.

Not run yet: it is written against the server's documentation (collections, aliases, payload
indexes, quantization, optimizer, strict mode, distributed deployment, snapshots).
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

from rag_audio.domain.ports import IndexedSegment, SpaceState, SparseVector
from rag_audio.errors import BackendUnavailable, IndexMismatch, InvalidInput, RagAudioError
from rag_audio.storage.qdrant_collections import CollectionOptions
from rag_audio.storage.qdrant_common import EXACT_BELOW
from rag_audio.storage.qdrant_server import ServerIndex, ServerSpaces
from rag_audio.testing.index import ANY, QUERY, SPACE, point, stem
from rag_audio.testing.index import DIMENSION as D

URL = os.environ.get("RAG_AUDIO_TEST_QDRANT_URL")
KEY = os.environ.get("RAG_AUDIO_TEST_QDRANT_API_KEY")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not URL, reason="RAG_AUDIO_TEST_QDRANT_URL unset"),
]
WIDE = 64
"""Dimensions of vectors by which recall is measured."""


@dataclass
class Server:
    """A name of our own on the server."""

    name: str
    client: QdrantClient

    def said(self, **more: Any) -> dict[str, Any]:
        return {"url": URL, "api_key": KEY, "collection": self.name, **more}

    def open(self, space: str = SPACE, dimension: int = D, **more: Any) -> ServerIndex:
        return ServerIndex(space=space, dimension=dimension, **self.said(**more))

    def spaces(self, **more: Any) -> ServerSpaces:
        return ServerSpaces(**self.said(**more))

    def info(self, space: str = SPACE) -> models.CollectionInfo:
        return self.client.get_collection(f"{self.name}--{space}")

    def peers(self) -> int:
        """Nodes of the server; 1 where it is no cluster."""
        status: Any = self.client.cluster_status()
        return max(1, len(getattr(status, "peers", None) or {}))


@pytest.fixture
def server() -> Iterator[Server]:
    client = QdrantClient(url=URL, api_key=KEY, timeout=60)
    made = Server(f"test-{uuid.uuid4().hex[:12]}", client)
    yield made
    for one in client.get_collections().collections:
        if one.name.startswith(made.name):
            client.delete_collection(one.name)
    client.close()


def random_points(count: int, seed: int = 0) -> list[IndexedSegment]:
    """Segments with random unit vectors, five to a stem."""
    made = np.random.default_rng(seed).standard_normal((count, WIDE)).astype(np.float32)
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    stems = [stem(f"{seed}-{n}") for n in range(-(-count // 5))]
    return [
        replace(point(stems[n // 5], start_s=5.0 * (n % 5)), dense=vector)
        for n, vector in enumerate(made)
    ]


def test_a_collection_is_as_it_was_asked_for(server: Server) -> None:
    server.open(options=CollectionOptions(shards=3))
    info = server.info()
    params, vectors = info.config.params, info.config.params.vectors
    assert isinstance(vectors, dict)
    assert params.shard_number == 3
    assert (vectors["clap"].size, vectors["clap"].on_disk) == (D, True)
    assert params.on_disk_payload is True
    quantized = info.config.quantization_config
    assert isinstance(quantized, models.ScalarQuantization)
    assert quantized.scalar.type is models.ScalarType.INT8 and quantized.scalar.always_ram
    assert info.config.metadata == {"format": 2, "space": SPACE, "dimension": D}
    strict = info.config.strict_mode_config
    assert strict is not None and strict.enabled and strict.unindexed_filtering_retrieve is False
    assert params.sparse_vectors is not None
    assert params.sparse_vectors["bm25"].modifier is models.Modifier.IDF


def test_payload_indexes_are_there_and_libraries_are_tenants(server: Server) -> None:
    server.open()
    schema = server.info().payload_schema
    library = schema["library"].params
    assert isinstance(library, models.KeywordIndexParams) and library.is_tenant
    assert schema["revoked"].data_type is models.PayloadSchemaType.BOOL
    filtered = {"library", "license", "artist", "key", "kind", "sample_type", "tags", "stem_id"}
    assert filtered | {"bpm", "duration_s", "revoked"} == schema.keys()


def test_strict_mode_refuses_a_filter_without_an_index(server: Server) -> None:
    index = server.open()
    index.upsert([point(stem("a"))])
    matches = models.FieldCondition(key="stem", match=models.MatchValue(value="x"))
    with pytest.raises(UnexpectedResponse) as caught:
        server.client.scroll(server.name, scroll_filter=models.Filter(must=[matches]))
    assert caught.value.status_code in {400, 403, 422}


def test_processes_that_begin_at_once_make_one_collection(server: Server) -> None:
    with ThreadPoolExecutor(4) as pool:
        indexes = list(pool.map(lambda _: server.open(), range(4)))
    indexes[0].upsert([point(stem("a"))])
    assert [one.count() for one in indexes] == [1] * 4
    assert [one.space for one in server.spaces().spaces()] == [SPACE]


def test_another_space_or_dimension_is_refused_and_a_wrong_key(server: Server) -> None:
    server.open()
    with pytest.raises(IndexMismatch):
        server.open("space-b")
    with pytest.raises(IndexMismatch):
        server.open(dimension=D + 1)
    if KEY:
        with pytest.raises(BackendUnavailable, match="refuses the API key"):
            server.open(api_key="wrong")


@pytest.mark.parametrize("grpc", [False, True])
def test_several_queries_answer_as_each_alone_in_order_and_ties_by_id(
    server: Server, grpc: bool
) -> None:
    try:
        index = server.open(prefer_grpc=grpc)
    except BackendUnavailable:
        pytest.skip("no gRPC port")
    index.upsert([point(stem(f"{n}"), terms={n % 3 + 1: 1.0}) for n in range(200)])
    terms = SparseVector((1,), (1.0,))
    together = index.search_many([QUERY, terms], ANY, 60)
    alone = [index.search_dense(QUERY, ANY, 60), index.search_sparse(terms, ANY, 60)]
    assert [[hit.id for hit in hits] for hits in together] == [
        [hit.id for hit in hits] for hits in alone
    ]
    dense = [hit.id for hit in together[0]]
    assert len(dense) == 60 and dense == sorted(dense)
    found = index.vectors([*dense[:3], str(uuid.uuid4())])
    assert set(found) == set(dense[:3])


def test_what_is_revoked_is_found_by_no_search_until_that_is_taken_back(server: Server) -> None:
    index = server.open()
    both = [point(stem("a")), point(stem("b"))]
    index.upsert([*both, replace(point(stem("a", library="other"), start_s=1.0))])
    index.set_revoked([stem("a").id], True, stem("a").library)
    assert [hit.segment.stem.title for hit in index.search_dense(QUERY, ANY, 9)] == ["b"]
    assert index.count() == 3 and len(index.find_stem(stem("a").id)) >= 1
    index.set_revoked([stem("a").id], False)
    assert len(index.search_dense(QUERY, ANY, 9)) == 2


def test_all_points_are_read_in_order_from_any_id_on(server: Server) -> None:
    index = server.open()
    index.upsert([point(stem(f"{n}")) for n in range(700)])
    ids = [one.id for one in index.scroll()]
    assert ids == sorted(ids) and len(ids) == 700
    assert [one.id for one in index.scroll(after=ids[399])] == ids[400:]
    index.delete(ids[:100])
    assert index.count() == 600 and index.count(exact=False) > 0


def test_points_put_in_bulk_are_built_in_and_found_as_exact_search_finds_them(
    server: Server,
) -> None:
    index = server.open(dimension=WIDE)
    points = random_points(EXACT_BELOW + 5000)
    told: list[tuple[int, int]] = []
    with index.bulk(lambda done, total: told.append((done, total))):
        for start in range(0, len(points), 5000):
            index.upsert(points[start : start + 5000])
    info = server.info()
    assert info.status is models.CollectionStatus.GREEN
    assert info.config.optimizer_config.indexing_threshold == EXACT_BELOW * WIDE * 4 // 1024
    assert index.count() == len(points) and told[-1][1] > 0
    table = np.stack([one.dense for one in points])
    right = 0
    for query in random_points(50, seed=1):
        nearest = {points[n].id for n in np.argsort(-table @ query.dense)[:10]}
        right += len(nearest & {hit.id for hit in index.search_dense(query.dense, ANY, 10)})
    assert right / 500 >= 0.95


def test_searches_go_on_while_another_space_is_filled_switched_to_and_back(
    server: Server,
) -> None:
    index, spaces = server.open(), server.spaces()
    index.upsert([point(stem(f"{n}")) for n in range(50)])
    failed: list[RagAudioError] = []
    counts: set[int] = set()
    ended = threading.Event()

    def search() -> None:
        while not ended.is_set():
            try:
                counts.add(len(index.search_dense(QUERY, ANY, 100)))
            except RagAudioError as error:
                failed.append(error)

    searcher = threading.Thread(target=search)
    searcher.start()
    try:
        beside = spaces.open_space("space-b", D + 1)
        vector = np.ones(D + 1, np.float32)
        beside.upsert([replace(point(stem(f"{n}")), dense=vector) for n in range(20)])
        spaces.switch("space-b", "an-embedder")
        assert spaces.embedder_in_use() == "an-embedder"
        assert server.open("space-b", D + 1).count() == 20
        with pytest.raises(IndexMismatch, match="was switched"):
            index.upsert([point(stem("late"))])
        states = {one.space: (one.points, one.state) for one in spaces.spaces()}
        assert states == {SPACE: (50, SpaceState.PREVIOUS), "space-b": (20, SpaceState.CURRENT)}
        spaces.switch(SPACE)
        assert spaces.embedder_in_use() is None
    finally:
        ended.set()
        searcher.join(60)
    assert not failed and counts == {50}
    with pytest.raises(InvalidInput, match="is in use"):
        spaces.remove(SPACE)
    spaces.remove("space-b")
    assert [one.space for one in spaces.spaces()] == [SPACE]
    aliases = {one.alias_name for one in server.client.get_aliases().aliases}
    assert server.name in aliases and f"{server.name}--previous" not in aliases


def test_a_collection_that_is_called_like_the_alias_is_used_and_moved_away_from(
    server: Server,
) -> None:
    server.client.create_collection(
        server.name,
        vectors_config={"clap": models.VectorParams(size=D, distance=models.Distance.COSINE)},
        sparse_vectors_config={"bm25": models.SparseVectorParams(modifier=models.Modifier.IDF)},
        metadata={"format": 2, "space": SPACE, "dimension": D},
    )
    index, spaces = server.open(), server.spaces()
    index.upsert([point(stem("a"))])
    spaces.open_space("space-b", D)
    spaces.switch("space-b")
    assert server.open("space-b").count() == 0
    assert server.open(SPACE).count() == 1


def test_a_snapshot_brings_the_collection_in_use_back(server: Server, tmp_path: Path) -> None:
    index, snapshots = server.open(), server.spaces(timeout_s=60).snapshots
    index.upsert([point(stem(f"{n}")) for n in range(300)])
    before = [hit.id for hit in index.search_dense(QUERY, ANY, 50)]
    said = snapshots.take(tmp_path)
    if server.peers() > 1:
        assert said is not None and "nodes" in said
        return
    assert said is None
    assert server.client.list_snapshots(f"{server.name}--{SPACE}") == []
    assert "stays as it is" in snapshots.recover(tmp_path)
    server.client.delete_collection(f"{server.name}--{SPACE}")
    assert "brought back" in snapshots.recover(tmp_path)
    again = server.open()
    assert again.count() == 300
    assert [hit.id for hit in again.search_dense(QUERY, ANY, 50)] == before


def test_shards_are_copied_and_writes_wait_for_so_many(server: Server) -> None:
    if server.peers() < 2:
        pytest.skip("the server is one node")
    index = server.open(options=CollectionOptions(shards=2, replicas=2, write_consistency=2))
    index.upsert([point(stem(f"{n}")) for n in range(100)])
    params = server.info().config.params
    assert (params.replication_factor, params.write_consistency_factor) == (2, 2)
    cluster: Any = server.client.collection_cluster_info(f"{server.name}--{SPACE}")
    shards = [one.shard_id for one in (*cluster.local_shards, *cluster.remote_shards)]
    assert sorted(shards) == [0, 0, 1, 1]
    assert index.count() == 100
