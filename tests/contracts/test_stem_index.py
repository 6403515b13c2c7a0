"""What every StemIndex does, and what each of the two does on top."""

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

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from qdrant_client import QdrantClient

from rag_audio.backends import qdrant_server
from rag_audio.backends._payload import payload_of, segment_of
from rag_audio.backends.index_socket import IndexHost
from rag_audio.backends.qdrant_edge import EdgeIndex
from rag_audio.backends.qdrant_server import ServerIndex
from rag_audio.backends.shared_index import SharedIndex
from rag_audio.domain import Key, Segment, SegmentFilter, Stem, StemKind
from rag_audio.errors import (
    BackendError,
    BackendUnavailable,
    ConfigError,
    IndexMismatch,
    InvalidInput,
)
from rag_audio.ports import IndexedSegment, SparseVector, StemIndex

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")

SPACE = "space-a"
D = 8
LIVE_URL = os.environ.get("RAG_AUDIO_TEST_QDRANT_URL")
BACKENDS = [
    "embedded",
    "memory",
    "served",
    pytest.param(
        "live", marks=pytest.mark.skipif(not LIVE_URL, reason="RAG_AUDIO_TEST_QDRANT_URL unset")
    ),
]


@pytest.fixture(params=BACKENDS)
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StemIndex]:
    """An empty index of each kind."""
    made: StemIndex
    if request.param == "embedded":
        made = SharedIndex(tmp_path / "index", space=SPACE, dimension=D)
        yield made
    elif request.param == "served":
        held = EdgeIndex(tmp_path / "index", space=SPACE, dimension=D)
        host = IndexHost(held, tmp_path / "index")
        host.start()
        made = SharedIndex(tmp_path / "index", space=SPACE, dimension=D)
        yield made
        host.stop()
        held.close()
    elif request.param == "memory":
        made = ServerIndex(space=SPACE, dimension=D, client=QdrantClient(":memory:"))
        yield made
    else:
        key = os.environ.get("RAG_AUDIO_TEST_QDRANT_API_KEY")
        name = f"test-{uuid.uuid4()}"
        made = ServerIndex(space=SPACE, dimension=D, url=LIVE_URL, api_key=key, collection=name)
        yield made
        QdrantClient(url=LIVE_URL, api_key=key).delete_collection(name)
    made.close()


def stem(name: str, **changes: object) -> Stem:
    base = Stem(
        id=uuid.uuid5(uuid.NAMESPACE_URL, name).hex,
        library="night-shift",
        path=f"keys/{name}.flac",
        kind=StemKind.AUDIO,
        license="2026",
        duration_s=30.0,
        artist="Vera Quill",
        title=name,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def point(
    of: Stem,
    start_s: float = 0.0,
    dense: list[float] | None = None,
    terms: dict[int, float] | None = None,
) -> IndexedSegment:
    vector = np.zeros(D, dtype=np.float32)
    values = dense or [1.0]
    vector[: len(values)] = values
    terms = terms if terms is not None else {1: 1.0}
    return IndexedSegment(
        id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"{of.id}/{start_s}")),
        segment=Segment(of, start_s, 10.0),
        dense=vector / np.linalg.norm(vector),
        sparse=SparseVector(tuple(sorted(terms)), tuple(terms[t] for t in sorted(terms))),
    )


ANY = SegmentFilter(license_keys=frozenset({"night-shift/2026"}))
QUERY = np.eye(D, dtype=np.float32)[0]


def titles(index: StemIndex, where: SegmentFilter) -> set[str]:
    dense = {h.segment.stem.title for h in index.search_dense(QUERY, where, 50)}
    sparse = {
        h.segment.stem.title for h in index.search_sparse(SparseVector((1,), (1.0,)), where, 50)
    }
    assert dense == sparse
    return dense


def test_an_empty_index_finds_nothing(index: StemIndex) -> None:
    assert index.count() == 0
    assert index.search_dense(QUERY, ANY, 5) == []
    assert index.search_sparse(SparseVector((1,), (1.0,)), ANY, 5) == []
    assert list(index.scroll()) == []
    assert index.find_stem("nothing") == []
    index.upsert([])
    index.delete([])


def test_a_point_comes_back_as_it_was_put(index: StemIndex) -> None:
    whole = stem(
        "Ночь / 夜 \x00 é",
        path="caf\udce9/クリック.wav",
        kind=StemKind.MIDI,
        artist_declared=True,
        tags=("Warm", "electric piano"),
        bpm=92.5,
        bpm_confidence=0.25,
        key=Key(6, True),
        downbeat_s=0.125,
        loudness_lufs=float("-inf"),
        instruments=("Electric Piano 1",),
    )
    put = point(whole, start_s=2.5, dense=[0.6, 0.8], terms={3: 0.5, 4_000_000_000: 1.25})
    index.upsert([put])
    (got,) = index.scroll()
    assert (got.id, got.segment) == (put.id, put.segment)
    assert got.sparse == put.sparse
    np.testing.assert_allclose(got.dense, put.dense, atol=1e-6)


def test_upsert_replaces_by_id_and_forgets_what_the_old_point_had(index: StemIndex) -> None:
    old = point(stem("a", tags=("old",), bpm=90.0), dense=[1.0])
    new = replace(old, segment=Segment(stem("a"), 0.0, 10.0), dense=np.roll(old.dense, 1))
    index.upsert([old, point(stem("b"))])
    index.upsert([new])
    assert index.count() == 2
    assert titles(index, replace(ANY, tags=("old",))) == set()
    assert titles(index, replace(ANY, bpm_ranges=((80.0, 100.0),))) == set()
    (got,) = index.find_stem(old.segment.stem.id)
    np.testing.assert_allclose(got.dense, new.dense, atol=1e-6)


def test_delete_removes_and_ignores_unknown_ids(index: StemIndex) -> None:
    a, b = point(stem("a")), point(stem("b"))
    index.upsert([a, b])
    index.delete([a.id, str(uuid.uuid4())])
    assert [p.id for p in index.scroll()] == [b.id]
    assert titles(index, ANY) == {"b"}


def test_scroll_goes_in_order_of_id_over_pages_and_libraries(index: StemIndex) -> None:
    first = [point(stem(f"s{n}"), terms={}) for n in range(300)]
    second = [point(stem(f"t{n}", library="other"), terms={}) for n in range(20)]
    index.upsert(first + second)
    every = [p.id for p in index.scroll()]
    assert every == sorted(p.id for p in first + second)
    assert [p.id for p in index.scroll("other")] == sorted(p.id for p in second)
    assert list(index.scroll("absent")) == []
    assert [index.count("other"), index.count("absent")] == [len(second), 0]
    assert index.count() == 320


def test_find_stem_gives_its_segments_in_order_of_start(index: StemIndex) -> None:
    long = stem("long")
    starts = [15.0, 0.0, 5.0, 10.0, 100.0]
    index.upsert([point(long, start_s=s) for s in starts] + [point(stem("other"))])
    assert [p.segment.start_s for p in index.find_stem(long.id)] == sorted(starts)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"license_keys": frozenset()}, set()),
        ({"license_keys": frozenset({"night-shift/other"})}, {"c"}),
        ({"license_keys": frozenset({"2026"})}, set()),
        ({"artists": ("Vera  Quill",)}, {"a"}),
        ({"artists": ("vera quill",)}, set()),
        ({"artists": ("Vera Quill", "E\u0301mile")}, {"a", "b"}),
        ({"artists": ("Vera",)}, set()),
        ({"bpm_ranges": ((88.0, 92.0),)}, {"a"}),
        ({"bpm_ranges": ((88.0, 91.0), (120.0, 130.0))}, {"b"}),
        ({"keys": (Key(9, True),)}, {"a"}),
        ({"keys": (Key(9, False), Key(0, False))}, {"b"}),
        ({"kind": StemKind.MIDI}, {"b"}),
        ({"kind": StemKind.AUDIO}, {"a", "d"}),
        ({"tags": ("WARM",)}, {"a", "b"}),
        ({"tags": ("drums", "soft")}, {"a", "b"}),
        ({"min_duration_s": 30.0}, {"a", "d"}),
        ({"stems": (stem("a").id, stem("c").id)}, {"a"}),
        ({"exclude": (stem("a").id,)}, {"b", "d"}),
        ({"tags": ("warm",), "exclude": (stem("a").id,), "kind": StemKind.MIDI}, {"b"}),
        ({"tags": ("warm",), "artists": ("Nobody",)}, set()),
    ],
)
def test_every_field_of_a_filter_must_hold_and_lists_are_any_of(
    index: StemIndex, changes: dict[str, object], expected: set[str]
) -> None:
    index.upsert(
        [
            point(stem("a", bpm=92.0, key=Key(9, True), tags=("Warm", "drums"))),
            point(
                stem(
                    "b",
                    artist="Émile",
                    bpm=120.0,
                    key=Key(0, False),
                    kind=StemKind.MIDI,
                    tags=("warm", "soft"),
                    duration_s=29.9,
                )
            ),
            point(stem("c", license="other")),
            point(stem("d", artist="")),
        ]
    )
    assert titles(index, replace(ANY, **changes)) == expected  # type: ignore[arg-type]


def test_dense_search_ranks_by_cosine(index: StemIndex) -> None:
    angles = [0.9, 0.1, 0.5, 1.4, 2.5]
    index.upsert([point(stem(f"{a}"), dense=[float(np.cos(a)), float(np.sin(a))]) for a in angles])
    hits = index.search_dense(QUERY, ANY, 4)
    assert [h.segment.stem.title for h in hits] == ["0.1", "0.5", "0.9", "1.4"]
    np.testing.assert_allclose([h.score for h in hits], np.cos([0.1, 0.5, 0.9, 1.4]), atol=1e-5)
    np.testing.assert_allclose(hits[0].dense[:2], [np.cos(0.1), np.sin(0.1)], atol=1e-6)
    assert index.search_dense(QUERY, ANY, 0) == []


def test_sparse_search_applies_idf_and_returns_only_sharers_of_a_term(index: StemIndex) -> None:
    index.upsert([point(stem(f"common{n}"), terms={1: 1.0}) for n in range(5)])
    index.upsert([point(stem("rare"), terms={1: 1.0, 2: 1.0}), point(stem("none"), terms={9: 1.0})])
    hits = index.search_sparse(SparseVector((1, 2, 77), (1.0, 1.0, 1.0)), ANY, 50)
    assert hits[0].segment.stem.title == "rare"
    assert {h.segment.stem.title for h in hits[1:]} == {f"common{n}" for n in range(5)}
    assert hits[0].score - hits[1].score > hits[1].score  # the rare term weighs more
    assert index.search_sparse(SparseVector((), ()), ANY, 5) == []
    assert index.search_sparse(SparseVector((77,), (1.0,)), ANY, 5) == []


def test_ties_are_broken_by_id_even_where_the_limit_cuts_them(index: StemIndex) -> None:
    twins = [point(stem(f"twin{n}")) for n in range(90)]
    index.upsert([*twins, point(stem("better"), dense=[1.0], terms={1: 5.0})])
    ids = sorted(p.id for p in twins)
    sparse = [h.id for h in index.search_sparse(SparseVector((1,), (1.0,)), ANY, 4)]
    assert sparse[1:] == ids[:3]
    dense = [h.id for h in index.search_dense(QUERY, ANY, 7)]
    assert dense == sorted([*ids, point(stem("better")).id])[:7]


@pytest.mark.parametrize(
    "vector",
    [np.ones(D + 1, np.float32), np.full(D, np.nan, np.float32), np.ones((1, D), np.float32)],
)
def test_a_vector_that_does_not_fit_is_refused(index: StemIndex, vector: np.ndarray) -> None:
    with pytest.raises(InvalidInput):
        index.search_dense(vector, ANY, 3)
    with pytest.raises(InvalidInput):
        index.upsert([point(stem("fine")), replace(point(stem("a")), dense=vector)])
    assert index.count() == 0


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
        "from rag_audio.backends.qdrant_edge import EdgeIndex\n"
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
    monkeypatch.setattr(qdrant_server, "FORMAT", 1)
    monkeypatch.setattr(qdrant_server, "payload_of", _payload_of_format_1)
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
    payload = payload_of(segment)
    if "artist" in payload:
        payload["artist"] = unicodedata.normalize("NFKC", payload["artist"]).casefold().strip()
    return payload


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qdrant_server, "_RETRY_AFTER_S", (0.0, 0.0, 0.0))


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
