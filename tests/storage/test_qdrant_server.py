"""What a Qdrant server is sent: by a stand-in that speaks its REST API and notes every request.

What a real server does with it is in ``test_qdrant_server_real.py``.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from rag_audio.domain import SegmentFilter
from rag_audio.domain.ports import SpaceState, SparseVector
from rag_audio.errors import BackendError, IndexMismatch, InvalidInput
from rag_audio.storage.qdrant_collections import CollectionOptions
from rag_audio.storage.qdrant_server import ServerIndex, ServerSpaces
from rag_audio.testing.index import ANY, QUERY, SPACE, point, stem
from rag_audio.testing.index import DIMENSION as D

Request = tuple[str, str, dict[str, list[str]], Any]


class Stored(bytes):
    """A file that is fetched."""


class StandIn:
    """Keeps collections and aliases; answers searches with nothing."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.collections: dict[str, dict[str, Any]] = {}
        self.schemas: dict[str, dict[str, Any]] = {}
        self.aliases: dict[str, str] = {}
        self.statuses = ["green"]
        """Of collections, in turn; the last one stays."""
        self.cluster: dict[str, Any] = {"status": "disabled"}
        self.checksum: str | None = None
        self.uploaded = b""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                raw = self.rfile.read(length)
                is_json = "json" in (self.headers.get("Content-Type") or "")
                body = (json.loads(raw) if is_json else raw) if length else None
                url = urlsplit(self.path)
                outer.requests.append((self.command, url.path, parse_qs(url.query), body))
                status, result = outer.said(self.command, url.path.strip("/").split("/"), body)
                answer = {"result": result, "status": "ok", "time": 0.0}
                is_file = isinstance(result, Stored)
                told = result if is_file else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(told)))
                self.end_headers()
                self.wfile.write(told)

            do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = _answer  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:
                """Silent."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def said(self, method: str, path: list[str], body: Any) -> tuple[int, Any]:
        match method, path:
            case "GET", ["cluster"]:
                return 200, self.cluster
            case "POST", ["collections", _, "snapshots"]:
                return 200, {"name": "x.snapshot", "size": 4, "checksum": self.checksum}
            case "GET", ["collections", _, "snapshots", _]:
                return 200, Stored(b"snap")
            case "DELETE", ["collections", _, "snapshots", _]:
                return 200, True
            case "POST", ["collections", name, "snapshots", "upload"]:
                self.uploaded = body
                metadata = {"format": 2, "space": SPACE, "dimension": D}
                self.collections[name], self.schemas[name] = {"metadata": metadata}, {}
                return 200, True
            case "GET", ["aliases"]:
                pairs = sorted(self.aliases.items())
                return 200, {"aliases": [dict(alias_name=a, collection_name=c) for a, c in pairs]}
            case "GET", ["collections"]:
                return 200, {"collections": [{"name": name} for name in self.collections]}
            case "POST", ["collections", "aliases"]:
                for action in body["actions"]:
                    if "create_alias" in action:
                        made = action["create_alias"]
                        if made["alias_name"] in self.collections:
                            return 400, None
                        self.aliases[made["alias_name"]] = made["collection_name"]
                    else:
                        self.aliases.pop(action["delete_alias"]["alias_name"], None)
                return 200, True
            case "GET", ["collections", name, "exists"]:
                return 200, {"exists": self.aliases.get(name, name) in self.collections}
            case "PUT", ["collections", name]:
                self.collections[name], self.schemas[name] = body, {}
                return 200, True
            case "DELETE", ["collections", name]:
                del self.collections[name]
                return 200, True
            case "GET", ["collections", name]:
                return 200, self._info(self.aliases.get(name, name))
            case "PUT", ["collections", name, "index"]:
                self.schemas[name][body["field_name"]] = {"data_type": "keyword", "points": 0}
                return 200, self._updated()
            case "POST", ["collections", _, "points", "query", "batch"]:
                return 200, [{"points": []} for _ in body["searches"]]
            case "POST", ["collections", _, "points", "count"]:
                return 200, {"count": 7}
            case _:
                return 200, self._updated() if "points" in path else True

    def _updated(self) -> dict[str, Any]:
        return {"operation_id": 1, "status": "completed"}

    def _info(self, name: str) -> dict[str, Any]:
        made = self.collections[name]
        params = {"vectors": made.get("vectors", {})}
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return {
            "status": status,
            "optimizer_status": {"error": "no space left"} if status == "red" else "ok",
            "points_count": 5,
            "indexed_vectors_count": 3,
            "segments_count": 1,
            "payload_schema": self.schemas[name],
            "config": {
                "params": params,
                "hnsw_config": {"m": 16, "ef_construct": 100, "full_scan_threshold": 10000},
                "optimizer_config": {
                    "deleted_threshold": 0.2,
                    "vacuum_min_vector_number": 1000,
                    "default_segment_number": 0,
                    "flush_interval_sec": 5,
                },
                "metadata": made.get("metadata"),
            },
        }

    def sent(self, method: str, end: str) -> list[Request]:
        """Requests by method and the end of the path, in order."""
        return [one for one in self.requests if one[0] == method and one[1].endswith(end)]

    def open(self, space: str = SPACE, **said: Any) -> ServerIndex:
        return ServerIndex(space=space, dimension=D, url=self.url, **said)

    def spaces(self) -> ServerSpaces:
        return ServerSpaces(url=self.url)


@pytest.fixture
def server() -> Iterator[StandIn]:
    made = StandIn()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_a_collection_is_made_as_settings_say_with_small_vectors_in_memory(
    server: StandIn,
) -> None:
    options = CollectionOptions(shards=6, replicas=2, write_consistency=2)
    server.open(options=options, collection="songs")
    ((_, path, query, made),) = server.sent("PUT", "songs--space-a")
    assert path == "/collections/songs--space-a"
    assert int(query["timeout"][0]) >= 600
    assert [made[n] for n in ("shard_number", "replication_factor")] == [6, 2]
    assert made["write_consistency_factor"] == 2
    assert made["vectors"]["clap"] == {"size": D, "distance": "Cosine", "on_disk": True}
    assert made["quantization_config"] == {"scalar": {"type": "int8", "always_ram": True}}
    assert made["metadata"] == {"format": 2, "space": SPACE, "dimension": D}
    strict = made["strict_mode_config"]
    assert strict["enabled"] is True
    assert strict["unindexed_filtering_retrieve"] is False
    assert strict["unindexed_filtering_update"] is False
    assert strict["max_query_limit"] > 4096
    assert server.aliases == {"songs": "songs--space-a"}


def test_a_collection_is_spread_as_the_server_says_where_settings_do_not(server: StandIn) -> None:
    server.open()
    ((*_, made),) = server.sent("PUT", "rag-audio--space-a")
    assert not {"shard_number", "replication_factor", "write_consistency_factor"} & {
        name for name, value in made.items() if value is not None
    }


def test_every_filtered_field_is_indexed_and_libraries_are_tenants(server: StandIn) -> None:
    server.open()
    made = {one[3]["field_name"]: one[3]["field_schema"] for one in server.sent("PUT", "/index")}
    assert made["library"]["is_tenant"] is True
    assert all(int(one[2]["timeout"][0]) >= 600 for one in server.sent("PUT", "/index"))
    assert made["revoked"] == "bool"
    filtered = {"library", "license", "artist", "key", "kind", "sample_type", "tags", "stem_id"}
    assert made.keys() == filtered | {"bpm", "duration_s", "revoked"}
    server.requests.clear()
    server.open()
    assert server.sent("PUT", "") == []


def test_an_older_collection_gets_the_index_that_it_lacks(server: StandIn) -> None:
    server.open()
    del server.schemas["rag-audio--space-a"]["revoked"]
    server.requests.clear()
    server.open()
    assert [one[3]["field_name"] for one in server.sent("PUT", "/index")] == ["revoked"]


def test_several_queries_are_one_request_without_vectors_rescored_and_without_revoked(
    server: StandIn,
) -> None:
    index = server.open(timeout_s=4)
    where = SegmentFilter(ANY.license_keys, libraries=("night-shift",), exclude=("e",))
    found = index.search_many([QUERY, SparseVector((3,), (1.0,))], where, 60)
    assert found == [[], []]
    ((_, _, query, sent),) = server.sent("POST", "/query/batch")
    assert query["timeout"] == ["4"]
    dense, sparse = sent["searches"]
    assert (dense["using"], sparse["using"]) == ("clap", "bm25")
    quantization = dense["params"]["quantization"]
    assert (quantization["rescore"], quantization["oversampling"]) == (True, 2.0)
    for one in (dense, sparse):
        assert one["limit"] < 100
        assert not one.get("with_vector")
        assert one["with_payload"] == ["segment", "stem"]
        assert one["filter"]["must_not"] == [
            {"key": "revoked", "match": {"value": True}},
            {"key": "stem_id", "match": {"any": ["e"]}},
        ]
        assert {"key": "library", "match": {"any": ["night-shift"]}} in one["filter"]["must"]


def test_a_revocation_is_one_request_however_many_points_it_is_about(server: StandIn) -> None:
    index = server.open()
    index.set_revoked(["a", "b"], True, "night-shift")
    index.set_revoked(["a"], False)
    ((_, _, query, marked),) = server.sent("POST", "/points/payload")
    assert marked["payload"] == {"revoked": True}
    assert query["wait"] == ["true"]
    assert marked["filter"]["must"] == [
        {"key": "stem_id", "match": {"any": ["a", "b"]}},
        {"key": "library", "match": {"any": ["night-shift"]}},
    ]
    ((*_, taken),) = server.sent("POST", "/points/payload/delete")
    assert taken["keys"] == ["revoked"]


def test_an_estimate_is_asked_for_where_it_will_do(server: StandIn) -> None:
    index = server.open()
    assert [index.count(), index.count(exact=False)] == [7, 7]
    assert [one[3]["exact"] for one in server.sent("POST", "/count")] == [True, False]


def test_in_bulk_no_graph_is_built_until_all_is_there(server: StandIn) -> None:
    index = server.open()
    told: list[tuple[int, int]] = []
    with index.bulk(lambda done, total: told.append((done, total))):
        index.upsert([point(stem(f"{n}")) for n in range(1200)])
        server.statuses = ["yellow", "green"]
    changes = [one[3]["optimizers_config"] for one in server.sent("PATCH", "")]
    assert [one["indexing_threshold"] for one in changes] == [0, 20_000 * D * 4 // 1024]
    puts = server.sent("PUT", "/points")
    assert sorted(len(one[3]["points"]) for one in puts) == [176, 512, 512]
    assert sorted(one[2]["wait"][0] for one in puts) == ["false", "false", "true"]
    assert puts[-1][2]["wait"] == ["true"]
    assert told == [(3, 5), (3, 5)]


def test_bulk_that_fails_turns_the_graph_on_again(server: StandIn) -> None:
    index = server.open()
    with pytest.raises(ZeroDivisionError), index.bulk():
        raise ZeroDivisionError
    last = server.sent("PATCH", "")[-1][3]["optimizers_config"]
    assert last["indexing_threshold"] > 0


def test_a_graph_that_the_server_cannot_build_is_not_waited_for(server: StandIn) -> None:
    index = server.open()
    with pytest.raises(BackendError, match=r"the graph .*: no space left"), index.bulk():
        index.upsert([point(stem("a"))])
        server.statuses = ["yellow", "red"]


def test_whether_the_index_was_switched_is_one_request_for_each_write(server: StandIn) -> None:
    index = server.open()
    server.requests.clear()
    index.upsert([point(stem("a"))])
    assert [(method, path) for method, path, *_ in server.requests] == [
        ("GET", "/aliases"),
        ("PUT", "/collections/rag-audio--space-a/points"),
    ]


def test_a_switch_is_one_request_and_so_is_the_way_back(server: StandIn) -> None:
    index, spaces = server.open(), server.spaces()
    beside = spaces.open_space("space-b", D)
    assert server.aliases == {"rag-audio": "rag-audio--space-a"}
    beside.upsert([point(stem("a"))])
    server.requests.clear()
    spaces.switch("space-b")
    ((*_, sent),) = server.sent("POST", "/collections/aliases")
    assert [one["create_alias"] for one in sent["actions"]] == [
        {"alias_name": "rag-audio", "collection_name": "rag-audio--space-b"},
        {"alias_name": "rag-audio--previous", "collection_name": "rag-audio--space-a"},
    ]
    states = {one.space: one.state for one in spaces.spaces()}
    assert states == {SPACE: SpaceState.PREVIOUS, "space-b": SpaceState.CURRENT}
    index.search_dense(QUERY, ANY, 3)
    assert "rag-audio--space-a" in server.sent("POST", "/query/batch")[-1][1]
    with pytest.raises(IndexMismatch, match="switched from embedding space space-a"):
        index.upsert([point(stem("late"))])
    spaces.switch(SPACE)
    assert server.aliases["rag-audio"] == "rag-audio--space-a"
    index.upsert([point(stem("again"))])
    spaces.remove("space-b")
    assert list(server.collections) == ["rag-audio--space-a"]
    assert server.aliases == {"rag-audio": "rag-audio--space-a"}
    with pytest.raises(InvalidInput, match="is in use"):
        spaces.remove(SPACE)
    with pytest.raises(InvalidInput, match="no collection"):
        spaces.switch("space-b")


def test_a_collection_called_like_the_alias_goes_on_and_can_be_moved_away_from(
    server: StandIn,
) -> None:
    metadata = {"format": 2, "space": SPACE, "dimension": D}
    server.said("PUT", ["collections", "rag-audio"], {"metadata": metadata})
    index, spaces = server.open(), server.spaces()
    index.upsert([point(stem("a"))])
    assert list(server.collections) == ["rag-audio"]
    spaces.open_space("space-b", D)
    spaces.switch("space-b")
    assert server.aliases == {
        "rag-audio--current": "rag-audio--space-b",
        "rag-audio--previous": "rag-audio",
    }
    assert server.open("space-b").space == "space-b"
    assert server.open(SPACE).space == SPACE
    with pytest.raises(IndexMismatch, match="space-c"):
        server.open("space-c")
    spaces.switch(SPACE)
    assert server.aliases["rag-audio--current"] == "rag-audio"
    index.upsert([point(stem("b"))])
    spaces.switch("space-b")
    spaces.remove(SPACE)
    assert {one.space: one.state for one in spaces.spaces()} == {"space-b": SpaceState.CURRENT}
    with pytest.raises(IndexMismatch, match="space-c"):
        server.open("space-c")


def test_a_snapshot_is_fetched_checked_removed_there_and_brought_back(
    server: StandIn, tmp_path: Path
) -> None:
    server.open()
    server.checksum = sha256(b"snap").hexdigest()
    spaces = ServerSpaces(url=server.url, api_key="key-1")
    assert spaces.snapshots.take(tmp_path) is None
    assert (tmp_path / "collection.snapshot").read_bytes() == b"snap"
    described = json.loads((tmp_path / "collection.json").read_text())
    assert described["collection"] == "rag-audio--space-a"
    assert (described["space"], described["dimension"]) == (SPACE, D)
    assert server.sent("DELETE", "/snapshots/x.snapshot")
    assert "stays as it is" in spaces.snapshots.recover(tmp_path)
    server.collections.clear()
    server.aliases.clear()
    assert "was brought back" in spaces.snapshots.recover(tmp_path)
    ((_, _, query, body),) = server.sent("POST", "/snapshots/upload")
    assert query["priority"] == ["snapshot"] and query["checksum"] == [server.checksum]
    assert b"snap" in body
    assert server.aliases == {"rag-audio": "rag-audio--space-a"}
    assert server.open().count() == 7


def test_a_damaged_snapshot_is_refused_on_both_ways(server: StandIn, tmp_path: Path) -> None:
    server.open()
    server.checksum = "0" * 64
    with pytest.raises(BackendError, match="came damaged"):
        server.spaces().snapshots.take(tmp_path)
    assert server.sent("DELETE", "/snapshots/x.snapshot")
    (tmp_path / "collection.snapshot").unlink()
    server.checksum = None
    server.spaces().snapshots.take(tmp_path)
    (tmp_path / "collection.snapshot").write_bytes(b"else")
    server.collections.clear()
    server.aliases.clear()
    with pytest.raises(InvalidInput, match="is not the snapshot"):
        server.spaces().snapshots.recover(tmp_path)
    with pytest.raises(InvalidInput, match="holds no snapshot"):
        server.spaces().snapshots.recover(tmp_path / "nowhere")


def test_a_server_of_several_nodes_makes_its_own_snapshots(server: StandIn, tmp_path: Path) -> None:
    server.open()
    peers = {"1": {"uri": "http://a"}, "2": {"uri": "http://b"}}
    raft = {"term": 1, "commit": 1, "pending_operations": 0, "is_voter": True}
    thread = {"consensus_thread_status": "working", "last_update": "2026-01-01T00:00:00Z"}
    server.cluster = {
        "status": "enabled",
        "peer_id": 1,
        "peers": peers,
        "raft_info": raft,
        "consensus_thread_status": thread,
        "message_send_failures": {},
    }
    said = server.spaces().snapshots.take(tmp_path)
    assert said is not None and "has 2 nodes" in said
    assert list(tmp_path.iterdir()) == [] and not server.sent("POST", "/snapshots")
