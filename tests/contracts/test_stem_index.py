"""The contract of indexes, run by each of ours, and what each of the two does on top."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import unicodedata
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from qdrant_client import QdrantClient

from rag_audio.domain import Key, Segment, SegmentFilter, Stem, StemKind
from rag_audio.domain.ports import StemIndex
from rag_audio.errors import BackendError, BackendUnavailable, ConfigError, IndexMismatch
from rag_audio.storage import qdrant_calls, qdrant_collections, qdrant_common, qdrant_server
from rag_audio.storage.index_socket import IndexHost
from rag_audio.storage.qdrant_common import payload_of, segment_of
from rag_audio.storage.qdrant_edge import EdgeIndex
from rag_audio.storage.qdrant_server import ServerIndex
from rag_audio.storage.shared_index import SharedIndex
from rag_audio.testing import StemIndexContract
from rag_audio.testing.index import ANY, QUERY, SPACE, point, stem
from rag_audio.testing.index import DIMENSION as D

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")

LIVE_URL = os.environ.get("RAG_AUDIO_TEST_QDRANT_URL")


class OnDisk(StemIndexContract):
    def make(self, folder: Path, *, space: str, dimension: int) -> StemIndex:
        return SharedIndex(folder, space=space, dimension=dimension)


class TestEmbedded(OnDisk):
    pass


class TestServed(OnDisk):
    def make(self, folder: Path, *, space: str, dimension: int) -> StemIndex:
        self.held = EdgeIndex(folder, space=space, dimension=dimension)
        self.host = IndexHost(self.held, folder)
        self.host.start()
        return super().make(folder, space=space, dimension=dimension)

    def close(self) -> None:
        self.host.stop()
        self.held.close()
        super().close()


class TestMemory(StemIndexContract):
    def make(self, folder: Path, *, space: str, dimension: int) -> StemIndex:
        return ServerIndex(space=space, dimension=dimension, client=QdrantClient(":memory:"))


@pytest.mark.skipif(not LIVE_URL, reason="RAG_AUDIO_TEST_QDRANT_URL unset")
class TestLive(StemIndexContract):
    key = os.environ.get("RAG_AUDIO_TEST_QDRANT_API_KEY")

    def make(self, folder: Path, *, space: str, dimension: int) -> StemIndex:
        self.name = f"test-{uuid.uuid4()}"
        return ServerIndex(
            space=space,
            dimension=dimension,
            url=LIVE_URL,
            api_key=self.key,
            collection=self.name,
        )

    def close(self) -> None:
        client = QdrantClient(url=LIVE_URL, api_key=self.key)
        for one in client.get_collections().collections:
            if one.name.startswith(self.name):
                client.delete_collection(one.name)
        super().close()


@pytest.fixture(params=[TestEmbedded, TestServed, TestMemory])
def index(request: pytest.FixtureRequest) -> Iterator[StemIndex]:
    """An empty index of each kind."""
    made: StemIndexContract = request.param()
    made.setup_method()
    yield made.index
    made.teardown_method()


TEXT = st.text(max_size=12)
STEMS = st.builds(
    Stem,
    id=st.uuids().map(lambda u: u.hex),
    library=st.text(min_size=1, max_size=8),
    path=st.text(st.characters(), min_size=1, max_size=20),
    kind=st.sampled_from(StemKind),
    license=TEXT,
    duration_s=st.floats(0, 1e5),
    artist=TEXT,
    artist_declared=st.booleans(),
    title=TEXT,
    tags=st.lists(TEXT, max_size=3).map(tuple),
    bpm=st.none() | st.floats(20, 400),
    bpm_confidence=st.floats(0, 1),
    key=st.none() | st.builds(Key, st.integers(0, 11), st.booleans()),
    key_confidence=st.floats(0, 1),
    downbeat_s=st.none() | st.floats(0, 100),
    isrc=TEXT,
    loudness_lufs=st.none() | st.floats(-100, 5) | st.just(float("-inf")),
    instruments=st.lists(TEXT, max_size=3).map(tuple),
    time_signature=st.none() | st.sampled_from([(3, 4), (6, 8), (7, 8)]),
)


@given(stem=STEMS, start_s=st.floats(0, 1e5), duration_s=st.floats(0.1, 10))
def test_any_segment_survives_its_payload_as_strict_utf8_json(
    stem: Stem, start_s: float, duration_s: float
) -> None:
    segment = Segment(stem, start_s, duration_s)
    text = json.dumps(payload_of(segment), allow_nan=False, ensure_ascii=False)
    assert segment_of(json.loads(text.encode("utf-8"))) == segment


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stem=STEMS)
def test_any_stem_is_stored_and_found_under_its_own_license(index: StemIndex, stem: Stem) -> None:
    put = point(stem)
    index.upsert([put])
    where = SegmentFilter(
        license_keys=frozenset({stem.license_key}),
        stems=(stem.id,),
        tags=stem.tags,
        artists=(stem.artist,) if stem.artist else (),
    )
    assert [h.segment.stem for h in index.search_dense(QUERY, where, 3)] == [stem]
    assert put.id in {p.id for p in index.scroll(stem.library)}


def test_a_point_of_another_product_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(BackendError, match="cannot be read") as caught:
        segment_of({"title": "something else"})
    assert "index the library again" in caught.value.hint


# --- the embedded index -------------------------------------------------------------------------


def test_edge_keeps_everything_over_close_and_open(tmp_path: Path) -> None:
    with_space = {"space": SPACE, "dimension": D}
    edge = EdgeIndex(tmp_path / "index", **with_space)  # type: ignore[arg-type]
    edge.upsert([point(stem(f"s{n}", tags=("x",)), dense=[1.0, n / 10]) for n in range(30)])
    before = edge.search_dense(QUERY, replace(ANY, tags=("x",)), 10)
    edge.close()
    edge.close()
    with pytest.raises(BackendError, match="closed"):
        edge.count()
    again = EdgeIndex(tmp_path / "index", **with_space)  # type: ignore[arg-type]
    after = again.search_dense(QUERY, replace(ANY, tags=("x",)), 10)
    assert [(h.id, h.score) for h in after] == [(h.id, h.score) for h in before]
    assert again.count() == 30
    again.close()


@pytest.mark.parametrize(("space", "dimension"), [("space-b", D), (SPACE, D + 1)])
def test_edge_refuses_another_space_or_dimension_naming_both(
    tmp_path: Path, space: str, dimension: int
) -> None:
    EdgeIndex(tmp_path / "index", space=SPACE, dimension=D).close()
    with pytest.raises(IndexMismatch) as caught:
        EdgeIndex(tmp_path / "index", space=space, dimension=dimension)
    assert SPACE in caught.value.message and space in caught.value.message
    assert str(D) in caught.value.message and str(dimension) in caught.value.message
    assert "rag-audio index" in caught.value.hint
    EdgeIndex(tmp_path / "index", space=SPACE, dimension=D).close()  # the lock was given back


def test_edge_names_the_process_that_holds_it(tmp_path: Path) -> None:
    held = _child(tmp_path / "index", "import time; print('open', flush=True); time.sleep(60)")
    assert held.stdout is not None
    assert held.stdout.readline().strip() == "open"
    try:
        with pytest.raises(BackendUnavailable) as caught:
            EdgeIndex(tmp_path / "index", space=SPACE, dimension=D)
    finally:
        os.kill(held.pid, signal.SIGKILL)
        held.wait()
    message = caught.value.message
    assert f"the index at {tmp_path / 'index'} is in use by pid {held.pid} (" in message
    assert "since 20" in message and "WAL" not in message
    EdgeIndex(tmp_path / "index", space=SPACE, dimension=D).close()  # death frees the lock


def test_edge_cannot_be_opened_twice_in_one_process(tmp_path: Path) -> None:
    first = EdgeIndex(tmp_path / "index", space=SPACE, dimension=D)
    with pytest.raises(BackendUnavailable, match=f"in use by pid {os.getpid()} "):
        EdgeIndex(tmp_path / "index", space=SPACE, dimension=D)
    first.close()


def test_edge_loses_no_acknowledged_point_when_killed_amid_writes(tmp_path: Path) -> None:
    body = """
from tests.contracts.test_stem_index import point, stem
for n in range(100000):
    index.upsert([point(stem(f"s{n}-{m}"), terms={m: 1.0}) for m in range(20)])
    print(n, flush=True)
"""
    acknowledged = 0
    for round_ in range(3):
        child = _child(tmp_path / "index", body)
        assert child.stdout is not None
        for line in child.stdout:
            acknowledged = max(acknowledged, int(line) + 1)
            if int(line) == 12 * (round_ + 1):
                os.kill(child.pid, signal.SIGKILL)
                break
        acknowledged = max([acknowledged, *(int(line) + 1 for line in child.stdout)])
        child.wait()
    index = EdgeIndex(tmp_path / "index", space=SPACE, dimension=D)
    stored = {p.segment.stem.title for p in index.scroll()}
    assert acknowledged >= 37
    assert {f"s{n}-{m}" for n in range(acknowledged) for m in range(20)} <= stored
    assert index.count() == len(stored)
    index.close()


def test_edge_recovers_from_a_first_opening_that_was_cut_off(tmp_path: Path) -> None:
    half = tmp_path / "index" / "shard.new" / "segments"
    half.mkdir(parents=True)
    index = EdgeIndex(tmp_path / "index", space=SPACE, dimension=D)
    index.upsert([point(stem("a"))])
    assert index.count() == 1
    index.close()


def test_edge_with_a_damaged_shard_says_so_in_one_line(tmp_path: Path) -> None:
    EdgeIndex(tmp_path / "index", space=SPACE, dimension=D).close()
    (tmp_path / "index" / "shard" / "edge_config.json").write_text("{", encoding="utf-8")
    with pytest.raises(BackendUnavailable, match="cannot be opened") as caught:
        EdgeIndex(tmp_path / "index", space=SPACE, dimension=D)
    assert "\n" not in caught.value.message
    assert "rag-audio index" in caught.value.hint


def _child(path: Path, body: str) -> subprocess.Popen[str]:
    """A process that opens the index at ``path`` and runs ``body`` with it."""
    code = (
        "from pathlib import Path\n"
        "from rag_audio.storage.qdrant_edge import EdgeIndex\n"
        f"index = EdgeIndex(Path({str(path)!r}), space={SPACE!r}, dimension={D})\n"
        f"{body}"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


# --- the server's index -------------------------------------------------------------------------


def test_server_refuses_a_collection_of_another_space_or_dimension() -> None:
    client = QdrantClient(":memory:")
    ServerIndex(space=SPACE, dimension=D, client=client)
    for space, dimension in [("space-b", D), (SPACE, D + 1)]:
        with pytest.raises(IndexMismatch) as caught:
            ServerIndex(space=space, dimension=dimension, client=client)
        assert SPACE in caught.value.message and space in caught.value.message
        assert "rag-audio index" in caught.value.hint
    ServerIndex(space="space-b", dimension=D, client=client, collection="another")


def test_server_refuses_a_collection_that_is_not_ours() -> None:
    client = QdrantClient(":memory:")
    client.create_collection("rag-audio", vectors_config={})
    with pytest.raises(IndexMismatch, match="not made by rag-audio"):
        ServerIndex(space=SPACE, dimension=D, client=client)


def test_server_shares_points_between_clients_of_one_collection() -> None:
    client = QdrantClient(":memory:")
    ServerIndex(space=SPACE, dimension=D, client=client).upsert([point(stem("a"))])
    assert ServerIndex(space=SPACE, dimension=D, client=client).count() == 1


def test_an_index_that_held_artists_in_another_form_is_brought_up_to_date(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = QdrantClient(":memory:")
    artists = ("ラウド", "Vera Quill", "!!!", "")
    points = [point(stem(f"{i}", artist=artist)) for i, artist in enumerate(artists)]
    monkeypatch.setattr(qdrant_collections, "FORMAT", 1)
    monkeypatch.setattr(qdrant_server, "FORMAT", 1)
    monkeypatch.setattr(qdrant_common, "payload_of", _payload_of_format_1)
    ServerIndex(space=SPACE, dimension=D, client=client).upsert(points)
    monkeypatch.undo()
    index = ServerIndex(space=SPACE, dimension=D, client=client)
    assert client.get_collection("rag-audio").config.metadata == {
        "format": 2, "space": SPACE, "dimension": D,
    }  # fmt: skip
    assert index.count() == len(points)
    for artist in artists[:3]:
        where = SegmentFilter(frozenset({points[0].segment.stem.license_key}), artists=(artist,))
        found = index.search_dense(points[0].dense, where, 10)
        assert {hit.segment.stem.artist for hit in found} == {artist}
    again = ServerIndex(space=SPACE, dimension=D, client=client)
    assert [one.segment for one in again.scroll()] == [one.segment for one in index.scroll()]


def _payload_of_format_1(segment: Segment) -> dict[str, Any]:
    made = payload_of(segment)
    if "artist" in made:
        made["artist"] = unicodedata.normalize("NFKC", made["artist"]).casefold().strip()
    return made


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qdrant_calls, "_RETRY_AFTER_S", (0.0, 0.0, 0.0))


@pytest.fixture
def answering() -> Iterator[Callable[[list[int]], tuple[str, list[str | None]]]]:
    """Starts a server that gives these statuses in turn; returns its URL and the keys it saw."""
    servers: list[ThreadingHTTPServer] = []

    def start(statuses: list[int]) -> tuple[str, list[str | None]]:
        seen: list[str | None] = []

        class Answers(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                seen.append(self.headers.get("api-key"))
                status = statuses.pop(0) if len(statuses) > 1 else statuses[0]
                found = {"result": {"exists": True}, "status": "ok", "time": 0.0}
                body = json.dumps(found if status == 200 else {"status": {"error": "x"}}).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Silent."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}", seen

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.usefixtures("no_waiting")
def test_server_that_is_away_is_named_and_the_key_is_not() -> None:
    for grpc in (False, True):
        with pytest.raises(BackendUnavailable) as caught:
            ServerIndex(
                space=SPACE,
                dimension=D,
                url="http://someone:password@127.0.0.1:9",
                api_key="very-secret",
                prefer_grpc=grpc,
                timeout_s=2,
            )
        shown = f"{caught.value.message} {caught.value.hint}"
        assert "http://127.0.0.1:9" in shown
        assert "very-secret" not in shown and "password" not in shown


@pytest.mark.usefixtures("no_waiting")
def test_server_is_asked_again_while_it_is_busy(answering: Callable) -> None:
    url, seen = answering([503, 429, 200])
    with pytest.raises(BackendError):  # its third answer is fine, what follows is no collection
        ServerIndex(space=SPACE, dimension=D, url=url, api_key="key-1")
    assert len(seen) >= 4
    assert set(seen) == {"key-1"}
    url, seen = answering([503])
    with pytest.raises(BackendUnavailable, match="cannot be reached"):
        ServerIndex(space=SPACE, dimension=D, url=url)
    assert len(seen) == 4


def test_server_that_refuses_the_key_is_asked_once(answering: Callable) -> None:
    url, seen = answering([401])
    with pytest.raises(BackendUnavailable, match="refuses the API key") as caught:
        ServerIndex(space=SPACE, dimension=D, url=url, api_key="wrong-key")
    assert len(seen) == 1
    assert "wrong-key" not in caught.value.message
    assert "RAG_AUDIO_QDRANT_API_KEY" in caught.value.hint


@pytest.mark.parametrize("url", ["localhost:6333", "ftp://x", "http://", "http://x:port"])
def test_server_url_that_is_none_is_a_setting_to_mend(url: str) -> None:
    with pytest.raises(ConfigError, match="Qdrant URL"):
        ServerIndex(space=SPACE, dimension=D, url=url)


def test_a_full_disk_is_told_before_it_kills_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shard maps its files: writing into a page that has no room would be a bus error."""
    space = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as full:
        full.setattr(shutil, "disk_usage", lambda path: space._replace(free=3_000_000))
        with pytest.raises(BackendUnavailable, match="the disk is nearly full: 3 MB are free"):
            EdgeIndex(tmp_path / "index", space=SPACE, dimension=D)
    index = EdgeIndex(tmp_path / "index", space=SPACE, dimension=D)
    assert index.count() == 0
    index.close()
