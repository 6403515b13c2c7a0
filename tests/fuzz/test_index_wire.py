"""Damaged messages to the process that holds the index: it answers or hangs up, and goes on."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rag_audio.domain.codec import encode
from rag_audio.domain.ports import SparseVector
from rag_audio.errors import RagAudioError
from rag_audio.storage import index_socket
from rag_audio.storage.index_socket import IndexHost, SocketIndex
from rag_audio.storage.locks import SOCKET
from rag_audio.storage.qdrant_edge import EdgeIndex
from rag_audio.testing.index import ANY, DIMENSION, QUERY, SPACE, point, stem
from tests.fuzz.harness import altered, damaged, fuzzed

_POINT = index_socket._to_json(point(stem("a")))
_VECTOR = index_socket._vector_to_json(QUERY)
_WHERE = encode(ANY)
_SPARSE = encode(SparseVector((1, 2), (0.5, 1.0)))
QUESTIONS: tuple[dict[str, Any], ...] = (
    {"op": "hello"},
    {"op": "count", "library": None},
    {"op": "upsert", "points": [_POINT]},
    {"op": "delete", "ids": [_POINT["id"]]},
    {"op": "search_dense", "vector": _VECTOR, "where": _WHERE, "limit": 3, "after": 0},
    {"op": "search_sparse", "vector": _SPARSE, "where": _WHERE, "limit": 3, "after": 0},
    {"op": "scroll", "library": None, "after": ""},
    {"op": "find_stem", "stem": "a"},
    {"op": "copy", "into": ".backup-x"},
)
LINES = tuple(json.dumps(question).encode() + b"\n" for question in QUESTIONS)


class Held:
    """An index that is served, and what its threads failed with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.failed: list[str] = []
        threading.excepthook = lambda told: self.failed.append(repr(told.exc_value))
        self.index = EdgeIndex(folder, space=SPACE, dimension=DIMENSION)
        self.index.upsert([point(stem("a"))])
        self.host = IndexHost(self.index, folder)
        self.host.start()
        self.asker = SocketIndex(folder, space=SPACE, dimension=DIMENSION)

    def told(self, sent: bytes) -> None:
        """Send bytes, read what comes; then the index still answers others."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as opened:
            opened.settimeout(20)
            opened.connect(str(self.folder / SOCKET))
            opened.sendall(sent)
            opened.shutdown(socket.SHUT_WR)
            with opened.makefile("rb") as answers:
                for line in answers:
                    assert isinstance(json.loads(line), dict)
        assert self.asker.count() >= 0
        assert not self.failed, self.failed

    def close(self) -> None:
        self.asker.close()
        self.host.stop()
        self.index.close()


_held: list[Held] = []


@pytest.fixture(scope="module", autouse=True)
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Held]:
    before = threading.excepthook
    _held.append(Held(tmp_path_factory.mktemp("wire") / "index"))
    yield _held[-1]
    _held.pop().close()
    threading.excepthook = before


@fuzzed(damaged(LINES), examples=200)
def test_messages_of_any_bytes(content: bytes) -> None:
    _held[-1].told(content)


@fuzzed(altered(QUESTIONS).map(lambda said: json.dumps(said).encode() + b"\n"), examples=300)
def test_messages_of_other_values(content: bytes) -> None:
    _held[-1].told(content)


@pytest.mark.parametrize(
    "line", [b"[" * 100_000, b'{"op":' * 50_000, b"1" * 5000, b"\xff\xfe", b"{}", b"[]", b'"x"']
)
def test_what_is_no_message_is_answered(held: Held, line: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as opened:
        opened.settimeout(20)
        opened.connect(str(held.folder / SOCKET))
        opened.sendall(line + b"\n")
        with opened.makefile("rb") as answers:
            said = json.loads(answers.readline())
    assert said["error"] == "BackendError"
    assert not held.failed


def test_a_sparse_vector_of_too_few_values_is_refused(held: Held) -> None:
    """Stored, it would end the thread of the index with a panic."""
    broken = {**_POINT, "sparse": [[1, 2], [0.5]]}
    held.told(json.dumps({"op": "upsert", "points": [broken]}).encode() + b"\n")


class Answering:
    """A process that holds an index, and answers what it is told to."""

    def __init__(self, folder: Path, answer: bytes) -> None:
        folder.mkdir()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(folder / SOCKET))
        self._listener.listen(4)
        self._hello = json.dumps({"name": "x", "space": SPACE}).encode() + b"\n"
        self._answer = answer
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                opened, _ = self._listener.accept()
            except OSError:
                return
            with opened, opened.makefile("rb") as asked:
                for line in asked:
                    is_hello = b'"hello"' in line
                    opened.sendall(self._hello if is_hello else self._answer)
                    if not is_hello:
                        break

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"{}", b"[]", b"[" * 100_000, b'{"points": 3, "hits": 3, "more": 1, "count": "x"}',
        b'{"error": []}', b'{"points": [{}], "hits": [{"id": 1}], "more": false, "count": []}',
        b'{"count": 1e400, "points": [1], "hits": [1], "more": false}',
    ],
)  # fmt: skip
def test_an_answer_that_is_none_is_an_error_of_the_backend(tmp_path: Path, answer: bytes) -> None:
    answering = Answering(tmp_path / "index", answer + b"\n")
    index = SocketIndex(tmp_path / "index", space=SPACE, dimension=DIMENSION)
    for ask in (
        lambda: index.count(),
        lambda: index.find_stem("a"),
        lambda: list(index.scroll()),
        lambda: index.search_dense(QUERY, ANY, 3),
    ):
        with pytest.raises(RagAudioError):
            ask()
    index.close()
    answering.close()
